package hub

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Health is the hub's state in numbers. The first to look at is OldestUnsafe:
// a hub may look healthy while nothing moves.
type Health struct {
	Name         string          `json:"name"`
	At           time.Time       `json:"at"`
	Epoch        change.Epoch    `json:"epoch"`
	Cursor       change.Cursor   `json:"cursor"`
	Lineage      []change.Branch `json:"lineage"`          // the hub's lives, oldest first
	Rollback     *Behind         `json:"behind,omitempty"` // why nothing is served; nil: all is well
	Histories    Histories       `json:"histories"`
	Setup        change.Hash     `json:"setup"`
	Tables       int             `json:"tables"`
	Devices      []DeviceStatus  `json:"devices"`
	Quarantine   int             `json:"quarantine"`
	Oldest       time.Duration   `json:"oldest_quarantined"` // age; 0 when none
	Receipts     int             `json:"receipts"`           // neither undone nor accepted
	OldestUnsafe time.Duration   `json:"oldest_unsafe"`      // as devices last said, aged since; 0 when none
	UnsafeDevice change.DeviceID `json:"unsafe_device"`      // whose that is
}

// A DeviceStatus is one device as the hub sees it.
type DeviceStatus struct {
	Device
	Behind       bool          `json:"behind"`        // there is a newer state than it was given
	Quiet        time.Duration `json:"quiet"`         // since its last message; 0 when it never spoke
	Stalled      time.Duration `json:"stalled"`       // since something last moved; 0 when nothing ever did
	Quarantine   int           `json:"quarantine"`    // at the hub
	OldestUnsafe time.Duration `json:"oldest_unsafe"` // as it last said, aged since
	ClockAhead   bool          `json:"clock_ahead"`   // trap D6
	Connected    bool          `json:"connected"`     // now, with this process or another one
	Held         int           `json:"held"`          // copies of its file that wait for a word
	Restored     time.Time     `json:"restored"`      // when its file last went on from an older state; zero when that was a copy
	Schema       string        `json:"schema"`        // short name of its file's schema; "" when it has not said
	Current      bool          `json:"current"`       // that schema is as the hub's
	Level        Level         `json:"level"`
	Why          string        `json:"why"` // of the level, for people
}

// Status reads the state in one snapshot. What did not change since the last time is
// remembered.
func (h *Hub) Status(ctx context.Context) (*Health, error) {
	shape, now := h.shape.Load(), h.clock.Now()
	st := &Health{Name: h.name, At: now, Setup: shape.setup.Hash, Tables: len(shape.tables)}
	var devices []*Device
	var facts facts
	err := h.view(ctx, func(v View) (err error) {
		if devices, err = h.roster.all(v, now); err != nil {
			return err
		}
		if st.Cursor, err = v.Cursor(); err != nil {
			return err
		}
		st.Epoch, st.Rollback = st.Cursor.Epoch, h.Behind()
		if st.Lineage, err = v.Lineage(); err != nil {
			return err
		}
		var events []Event
		if facts, events, err = h.facts(v, shape, now); err != nil {
			return err
		}
		st.Histories = historiesOf(events, facts.held, now)
		st.Receipts, err = h.known.open.get(v, now, func() (int, error) { return h.openReceipts(v) }, kindOpen, kindReceipt)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hub status: %w", err)
	}
	facts.here = h.visits.here()
	st.Quarantine = facts.all
	if !facts.oldest.IsZero() {
		st.Oldest = now.Sub(facts.oldest)
	}
	st.Devices = make([]DeviceStatus, len(devices))
	for i := range devices {
		d := &st.Devices[i]
		d.Device = *devices[i]
		h.refresh(&d.Device)
		facts.tell(d, st.Cursor, now)
		if d.State == Active && d.OldestUnsafe > st.OldestUnsafe {
			st.OldestUnsafe, st.UnsafeDevice = d.OldestUnsafe, d.ID
		}
	}
	return st, nil
}

// DeviceStatus is one device of Status, or ErrNotFound.
func (h *Hub) DeviceStatus(ctx context.Context, id change.DeviceID) (*DeviceStatus, error) {
	out := &DeviceStatus{}
	var at change.Cursor
	var facts facts
	err := h.view(ctx, func(v View) error {
		d, err := readDevice(v, id)
		if err != nil {
			return err
		}
		out.Device = *d
		if at, err = v.Cursor(); err != nil {
			return err
		}
		facts, err = factsOf(v, h.shape.Load(), id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	facts.here = h.visits.here()
	h.refresh(&out.Device)
	facts.tell(out, at, h.clock.Now())
	return out, nil
}

// since tells what the device's record says as of now.
func (d *DeviceStatus) since(cur change.Cursor, now time.Time) {
	d.Behind = d.State == Active && d.Cursor != cur
	if !d.Seen.IsZero() {
		d.Quiet = now.Sub(d.Seen)
	}
	if !d.Progress.IsZero() {
		d.Stalled = now.Sub(d.Progress)
	}
	if d.Status.OutboxDepth > 0 { // what was unsafe when it last spoke has only grown older
		d.OldestUnsafe = d.Status.OldestUnsafe + d.Quiet
	}
	d.ClockAhead = d.Offset < -MaxDrift || !d.Future.IsZero() && now.Sub(d.Future) < 24*time.Hour
}

// Digests sums all tables in the given scopes (nil: the whole hub is not a set of
// scopes, so this means all scopes that devices were granted), at one cursor.
func (h *Hub) Digests(ctx context.Context, scopes []rule.ScopeID) (change.Cursor, []change.Digest, error) {
	var at change.Cursor
	var out []change.Digest
	err := h.view(ctx, func(v View) (err error) {
		if at, err = v.Cursor(); err != nil {
			return err
		}
		for _, t := range h.shape.Load().tables {
			d, err := v.Digest(t.schema.Name, scopes)
			if err != nil {
				return fmt.Errorf("digest %s: %w", t.schema.Name, err)
			}
			out = append(out, d)
		}
		return nil
	})
	if err != nil {
		return at, nil, fmt.Errorf("hub digests: %w", err)
	}
	return at, out, nil
}
