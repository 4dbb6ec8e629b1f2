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
	Receipts     int             `json:"receipts"`           // not undone
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
}

// Status reads the state in one snapshot.
func (h *Hub) Status(ctx context.Context) (*Health, error) {
	devices, err := h.Devices(ctx)
	if err != nil {
		return nil, fmt.Errorf("hub status: %w", err)
	}
	shape, now := h.shape.Load(), h.clock.Now()
	st := &Health{Name: h.name, At: now, Setup: shape.setup.Hash, Tables: len(shape.tables)}
	parked := map[change.DeviceID]int{}
	err = h.view(ctx, func(v View) error {
		if st.Cursor, err = v.Cursor(); err != nil {
			return err
		}
		st.Epoch, st.Rollback = st.Cursor.Epoch, h.Behind()
		if st.Lineage, err = v.Lineage(); err != nil {
			return err
		}
		if st.Histories, err = historiesOf(v, now); err != nil {
			return err
		}
		list, err := parkedOf(v, change.DeviceID{})
		if err != nil {
			return err
		}
		for _, p := range list {
			parked[p.Device]++
			st.Oldest = max(st.Oldest, now.Sub(p.At))
		}
		st.Quarantine = len(list)
		return eachRecord(v, kindReceipt, "", func(string, []byte) error { st.Receipts++; return nil })
	})
	if err != nil {
		return nil, fmt.Errorf("hub status: %w", err)
	}
	for i := range devices {
		d := deviceStatus(&devices[i], st.Cursor, now)
		d.Quarantine = parked[d.ID]
		if d.State == Active && d.OldestUnsafe > st.OldestUnsafe {
			st.OldestUnsafe, st.UnsafeDevice = d.OldestUnsafe, d.ID
		}
		st.Devices = append(st.Devices, d)
	}
	return st, nil
}

func deviceStatus(d *Device, cur change.Cursor, now time.Time) DeviceStatus {
	out := DeviceStatus{Device: *d, Behind: d.State == Active && d.Cursor != cur}
	if !d.Seen.IsZero() {
		out.Quiet = now.Sub(d.Seen)
	}
	if !d.Progress.IsZero() {
		out.Stalled = now.Sub(d.Progress)
	}
	if d.Status.OutboxDepth > 0 { // what was unsafe when it last spoke has only grown older
		out.OldestUnsafe = d.Status.OldestUnsafe + out.Quiet
	}
	out.ClockAhead = d.Offset < -MaxDrift || !d.Future.IsZero() && now.Sub(d.Future) < 24*time.Hour
	return out
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
