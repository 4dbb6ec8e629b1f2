package hub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// A Promotable is a Store whose database is copied to other servers as it is written,
// one of which may take over and lack the last of it. It is optional.
type Promotable interface {
	// OnPromotion says who decides then: settle, before anything else is read or
	// written. Its context lets calls of the store through; there the present life
	// ends where surely nothing is missing, and Begin leaves it there, unless another
	// process did: see InLife. When settle
	// returns nil and no life began, the hub waits for its operator, and serves nothing.
	OnPromotion(settle func(ctx context.Context) error)
}

// A sight is a state that somebody saw of the database, and when.
type sight struct {
	cursor change.Cursor
	at     time.Time
}

// Noted tells the hub what the note beside the database says from now on.
func (h *Hub) Noted(c change.Cursor, at time.Time) { h.past.noted.Store(&sight{c, at}) }

// promoted is settle of a Promotable. That another server took over is no restore that
// somebody made for a purpose, as long as nothing speaks of more than seconds: a new life
// begins by itself, and takes back what the devices had handed in. Who saw nothing of
// what may be lost goes on as before. Where the note proves that more is gone, and the
// hub is to wait for its operator, it waits.
func (h *Hub) promoted(ctx context.Context) error {
	var b *Behind
	var c *claim
	err := h.store.View(ctx, func(v View) (err error) {
		if b, err = PeekBehind(v.Record); err != nil {
			return err
		}
		c, err = h.missed(v)
		return err
	})
	mode := h.past.word
	switch {
	case err != nil:
		return err
	case mode != "": // the operator has spoken
	case b != nil:
		h.past.behind.CompareAndSwap(nil, b)
		return nil
	case c != nil && !h.past.recover:
		return h.stop(ctx, c)
	default:
		mode = change.Restored
	}
	if c != nil {
		b = c.behind(h.clock.Now())
	}
	return h.beginOnce(ctx, mode, b)
}

// missed is what the note knows and the database lacks.
func (h *Hub) missed(v View) (*claim, error) {
	n := h.past.noted.Load()
	if n == nil || n.cursor.IsZero() {
		return nil, nil
	}
	err := lost(v, n.cursor, n.at)
	if c, ok := errors.AsType[*claim](err); ok {
		return c, nil
	}
	return nil, err
}

// beginOnce begins a life after the one that the context names, unless another process
// did.
func (h *Hub) beginOnce(ctx context.Context, mode change.BranchMode, found *Behind) error {
	_, err := h.begin(ctx, mode, found)
	if !errors.Is(err, ErrOtherLife) {
		return err
	}
	h.log.Info("another process began the new life")
	err = h.store.View(ctx, func(v View) error {
		_, err := h.recall(v)
		return err
	})
	if err != nil {
		return fmt.Errorf("take up the life that another process began: %w", err)
	}
	h.ring(change.DeviceID{})
	return nil
}
