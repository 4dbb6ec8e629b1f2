package hub

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Ask has a device do something: wire.AskSync or wire.AskVerify. A connected device
// hears of it at once, with whichever process it is; another one when it calls. It is
// kept in Device.Control.Asked until the device says that it began, which builds from
// before this was known never do.
func (h *Hub) Ask(ctx context.Context, id change.DeviceID, what string) (*Device, error) {
	if what != wire.AskSync && what != wire.AskVerify {
		return nil, fmt.Errorf("ask device %s: %w", id, &InputError{"what", fmt.Sprintf("a device can be asked to %s or to %s, not to %q", wire.AskSync, wire.AskVerify, what)})
	}
	d, err := h.alter(ctx, id, "", func(d *Device) (Deed, error) {
		if d.State == Revoked {
			return Deed{}, ErrRevoked
		}
		if slices.Contains(d.Control.Asked, what) {
			return Deed{}, nil
		}
		d.Control.Asked = append(d.Control.Asked, what)
		return Deed{Kind: DeedAsked, Detail: what}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask device %s: %w", id, err)
	}
	return d, nil
}

// asking is what a session's device is asked for. Whoever steps the session uses it.
type asking struct {
	want []string // as its record last said
	told []string // what it heard of
	n    uint64
}

func (a *asking) noticed(d *Device) { a.want = d.Control.Asked }

// letIn welcomes a device, and tells it what it is asked for.
func (s *Session) letIn(dev *Device, w *wire.Welcome, emit func(wire.Message) error) error {
	s.arrive(s.hello.Agent)
	s.heed.as(w.Scopes)
	if err := emit(w); err != nil {
		return err
	}
	s.asked.noticed(dev)
	s.asked.told = nil
	return s.askAgain(emit)
}

// askPing is beyond what else counts pings.
const askPing = 1 << 61

// askAgain tells the device what it has not heard of yet.
func (s *Session) askAgain(emit func(wire.Message) error) error {
	a := &s.asked
	var fresh []string
	for _, w := range a.want {
		if !slices.Contains(a.told, w) {
			fresh = append(fresh, w)
		}
	}
	a.told = slices.Clone(a.want) // what was begun may be asked for again
	if len(fresh) == 0 {
		return nil
	}
	a.n++
	return emit(&wire.Ping{N: askPing + a.n, Ask: fresh})
}

// takeWord takes in what a device says beside its status: what it began of what it was
// asked for, and how a comparison with the hub ended.
func (s *Session) takeWord(ctx context.Context, m *wire.Ping) error {
	var report *wire.VerifyReport
	if m.Status != nil {
		report = m.Status.Verified
	}
	at := time.Time{}
	if report != nil {
		at = report.At
	}
	known := false
	s.hub.note(s.device, func(p *presence) { known = at.IsZero() || p.verified.Equal(at) })
	if known && len(m.Begun) == 0 {
		return nil
	}
	err := s.hub.store.Update(ctx, func(tx Tx) error {
		d, err := readDevice(tx, s.device)
		if err != nil {
			return err
		}
		d.Control.Asked = slices.DeleteFunc(d.Control.Asked, func(w string) bool { return slices.Contains(m.Begun, w) })
		if report != nil && (d.Status.Verified == nil || !d.Status.Verified.At.Equal(at)) {
			d.Status.Verified = report
			deed := &Deed{Device: d.ID, At: s.hub.clock.Now().UTC(), Kind: DeedVerified, Detail: verifiedText(report)}
			if err := addDeed(tx, deed); err != nil {
				return err
			}
		}
		return s.hub.saveDevice(tx, d)
	})
	if err != nil {
		return fmt.Errorf("note what device %s says: %w", s.device, err)
	}
	s.hub.note(s.device, func(p *presence) { p.verified = at })
	s.asked.told = slices.DeleteFunc(s.asked.told, func(w string) bool { return slices.Contains(m.Begun, w) })
	return nil
}

// verifiedText is the outcome of a comparison for people.
func verifiedText(r *wire.VerifyReport) string {
	if r.Equal {
		return "equal to the hub in " + count(r.Rows, "row")
	}
	out := count(uint64(r.Differing), "row") + " of " + count(r.Rows, "row") + " differed, in "
	for i, t := range r.Tables {
		if i > 0 {
			out += ", "
		}
		out += t
	}
	return out
}
