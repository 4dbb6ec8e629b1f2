package hub

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// codeIsolated is the Parked.Code of what an isolated device handed in.
const codeIsolated = "isolated"

// releaseGroup is how many transactions are tried in one Update, so that pushes get
// between.
const releaseGroup = 256

// Isolate has everything that a device hands in from now on parked, until Release. It
// reads on.
func (h *Hub) Isolate(ctx context.Context, id change.DeviceID, reason string, v Version) (*Device, error) {
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		if d.State == Revoked {
			return Deed{}, ErrRevoked
		}
		d.Control.Isolated = &Bar{At: h.clock.Now().UTC(), Reason: reason}
		return Deed{Kind: DeedIsolated, Detail: reason}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("isolate device %s: %w", id, err)
	}
	return d, nil
}

// Release ends an Isolate and tries what was parked by it, in the order in which it
// came. What cannot be applied stays in quarantine for its own reason, and what depends
// on it with it. Called again it goes on where it was cut short.
func (h *Hub) Release(ctx context.Context, id change.DeviceID, v Version) (*Device, []Settled, error) {
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		if d.Control.Isolated == nil {
			return Deed{}, nil
		}
		d.Control.Isolated = nil
		return Deed{Kind: DeedReleased}, nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("release device %s: %w", id, err)
	}
	var all []Settled
	for {
		var some []Settled
		err := h.update(ctx, func(tx Tx) error {
			dev, err := readDevice(tx, id)
			if err != nil {
				return err
			}
			if dev.Control.Isolated != nil { // again, by somebody else
				some = nil
				return nil
			}
			b, err := h.batchFor(tx, dev)
			if err != nil {
				return err
			}
			some, err = b.letIn(releaseGroup)
			return err
		})
		all = append(all, some...)
		if err != nil {
			return d, all, fmt.Errorf("release device %s: try what it handed in: %w", id, err)
		}
		if len(some) == 0 {
			break
		}
	}
	if len(all) > 0 {
		h.bump(change.DeviceID{})
		h.log.Info("what an isolated device handed in was tried", "device", id.String(), "count", len(all))
	}
	return d, all, nil
}

// isolated is why what the device hands in is parked; nil: it is not.
func (b *batch) isolated() *refusal {
	bar := b.dev.Control.Isolated
	if bar == nil {
		return nil
	}
	return &refusal{code: codeIsolated, reason: "device " + b.dev.Name + " is isolated" + because(bar.Reason) + ". Release it to have this tried, or retry it alone"}
}

// letIn tries the first most transactions that were parked by an isolation.
func (b *batch) letIn(most int) (out []Settled, err error) {
	list, err := parkedWork(b.tx, b.dev.ID)
	if err != nil {
		return nil, err
	}
	b.holds = &holds{}
	if err := b.holds.inherit(b.shape, b.tx, b.dev); err != nil {
		return nil, err
	}
	var done []change.TxID
	for _, p := range list {
		if p.Code != codeIsolated || len(out) == most {
			if err := b.holds.add(b.shape, p); err != nil {
				return nil, err
			}
			continue
		}
		s, err := b.letOne(p)
		if err != nil {
			return nil, fmt.Errorf("transaction %s: %w", p.ID, err)
		}
		if out = append(out, s); s.Status != Quarantined {
			done = append(done, p.ID)
		}
	}
	waits := func(id change.TxID) bool {
		return slices.ContainsFunc(list, func(p *Parked) bool { return slices.Contains(p.DependsOn, id) })
	}
	for _, id := range done {
		if !waits(id) {
			continue
		}
		rest, err := b.release(id)
		if err != nil {
			return nil, err
		}
		out = append(out, rest...)
	}
	return out, nil
}

// letOne tries one of them, while what came before it and still waits is in b.holds.
func (b *batch) letOne(p *Parked) (Settled, error) {
	t, err := p.Transaction()
	if err != nil {
		return Settled{}, err
	}
	v, err := b.resettle(p, t)
	if err != nil {
		return Settled{}, err
	}
	if v.park != nil {
		list, err := b.parkAgain(p, v)
		if err != nil {
			return Settled{}, err
		}
		return list[0], b.holds.add(b.shape, p)
	}
	return b.conclude(p, v)
}
