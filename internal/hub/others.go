package hub

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Any number of processes may serve one store, each with a Hub of its own. What they
// decide by is in the store. What a Hub remembers beside it is of three kinds: who
// spoke last and which schema its file has, of which the others tell and which is
// forgotten now and then, in case nobody did; the life of the hub, likewise; and what
// only costs time when it is wrong: presence, of which the later one counts, and how
// much waits for patience.

// Commons is a Store that other processes may serve under rules of their own. It is
// optional.
type Commons interface {
	// Rules are those that the capture is made for, whichever process put them in force.
	Rules() *rule.Rules
}

// tellOthers tells the hubs of other processes to look at a device again.
func (h *Hub) tellOthers(device change.DeviceID) {
	if h.tell != nil {
		h.tell(device)
	}
}

// Heard makes the hub look again at what another process changed about a device; zero:
// about any, and about the hub itself. It is called for each Config.Tell of another
// process.
func (h *Hub) Heard(ctx context.Context, device change.DeviceID) error {
	h.spoken.forget(device)
	h.forgetShapes(device)
	h.ring(device)
	if !device.IsZero() {
		return nil
	}
	return h.CatchUp(ctx)
}

// CatchUp takes up what other processes, and other programs, did to the hub and its
// tables. It is called now and then: what nobody told is noticed at last.
func (h *Hub) CatchUp(ctx context.Context) error {
	h.spoken.forget(change.DeviceID{})
	h.forgetShapes(change.DeviceID{})
	changed := false
	err := h.store.View(ctx, func(v View) (err error) {
		changed, err = h.recall(v)
		return err
	})
	if err != nil {
		return fmt.Errorf("look what other processes did: %w", err)
	}
	if changed {
		h.log.Warn("another process began a new life of the hub, or found that it is behind", "behind", h.Behind() != nil)
		h.ring(change.DeviceID{})
	}
	return h.Reload(ctx, h.shape.Load().rules)
}

// recall takes up what the store says of the hub's life, and reports whether that is
// new. Only a new life ends the wait for the operator's word.
func (h *Hub) recall(v View) (changed bool, err error) {
	b, err := PeekBehind(v.Record)
	if err != nil {
		return false, err
	}
	at, err := v.Cursor()
	if err != nil {
		return false, err
	}
	if h.past.epoch.Swap(uint64(at.Epoch)) != uint64(at.Epoch) {
		h.past.lives.Add(1)
		changed = true
	}
	if b != nil || changed {
		was := h.past.behind.Swap(b)
		changed = changed || was == nil
	}
	return changed, nil
}

// forget makes who spoke last of a device unknown; zero: of all.
func (s *speakers) forget(device change.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if device.IsZero() {
		clear(s.last)
		return
	}
	delete(s.last, device)
}

// forgetShapes makes which schema a device's file has unknown; zero: of all.
func (h *Hub) forgetShapes(device change.DeviceID) {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	h.shapes++
	for id, p := range h.seen {
		if device.IsZero() || id == device {
			p.shape = change.SchemaHash{}
		}
	}
}
