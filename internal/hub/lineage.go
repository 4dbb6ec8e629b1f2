package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Begin begins a new life of the hub, after its database was put back from a copy:
// on the operator's word, or by itself where that is configured. Devices that saw
// nothing of what was lost go on as before; the others read their data anew and
// hand in again what they had handed in. After Restored that is applied, after
// Undone it waits for review. Sessions end and come back.
func (h *Hub) Begin(ctx context.Context, mode change.BranchMode) (change.Branch, error) {
	return h.begin(ctx, mode, h.Behind())
}

// begin is Begin on account of what was found out; nil: of nothing.
func (h *Hub) begin(ctx context.Context, mode change.BranchMode, found *Behind) (change.Branch, error) {
	kind, what := EventHubBack, "what the devices had handed in since is taken back"
	switch mode {
	case change.Restored:
	case change.Undone:
		kind, what = EventHubUndo, "what the devices had handed in since waits for review"
	default:
		return change.Branch{}, fmt.Errorf("begin a new life of the hub: a life begins as %s or %s, not as %q", change.Restored, change.Undone, mode)
	}
	b, err := h.store.Begin(ctx, mode)
	if err != nil {
		return b, err
	}
	err = h.store.Update(ctx, func(tx Tx) error {
		if err := tx.PutRecord(kindBehind, behindID, nil); err != nil {
			return err
		}
		if found != nil {
			if err := tx.PutRecord(kindReplaced, found.Seen.Epoch.String(), []byte("{}")); err != nil {
				return err
			}
		}
		return addEvent(tx, change.DeviceID{}, b.At, kind, fmt.Sprintf("the hub was put back to %s and goes on as %s: %s", b.Fork, b.Epoch, what))
	})
	if err != nil {
		return b, fmt.Errorf("note that the hub was put back: %w", err)
	}
	h.past.epoch.Store(uint64(b.Epoch))
	h.past.lives.Add(1)
	h.past.behind.Store(nil)
	h.bump(change.DeviceID{})
	h.log.Warn("the hub took up a new life", "epoch", b.Epoch.String(), "mode", string(mode), "fork", b.Fork.String())
	return b, nil
}

// Outlive tells, before a new life begins, which lives there were that the database
// that was put back knows nothing of: they are over, too. It must not come before
// Compare: what a life that is over gave out proves nothing any more.
func (h *Hub) Outlive(ctx context.Context, lives []change.Epoch) error {
	var over []change.Epoch
	err := h.store.View(ctx, func(v View) error {
		lineage, err := v.Lineage()
		if err != nil {
			return err
		}
		for _, life := range lives {
			if slices.ContainsFunc(lineage, func(b change.Branch) bool { return b.Epoch == life }) {
				continue
			}
			_, err := v.Record(kindReplaced, life.String())
			if errors.Is(err, ErrNotFound) {
				over = append(over, life)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(over) > 0 {
		err = h.store.Update(ctx, func(tx Tx) error {
			for _, life := range over {
				if err := tx.PutRecord(kindReplaced, life.String(), []byte("{}")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("note lives of the hub that are over: %w", err)
	}
	return nil
}

// Lineage is the hub's lives, oldest first.
func (h *Hub) Lineage(ctx context.Context) (list []change.Branch, err error) {
	err = h.store.View(ctx, func(v View) (err error) {
		list, err = v.Lineage()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lineage: %w", err)
	}
	return list, nil
}

// ended is the life that ended the history in which a cursor was given out, at a
// time when that is known; ok is false when the hub cannot tell.
func ended(lineage []change.Branch, epoch change.Epoch, at time.Time) (change.Branch, bool) {
	if b, ok := change.Successor(lineage, nil, epoch); ok || at.IsZero() {
		return b, ok
	}
	for _, b := range lineage[1:] {
		if b.At.After(at) {
			return b, true
		}
	}
	return change.Branch{}, false
}

// astray completes the answer to a cursor of another history: what ended it, and
// whether the device may hold what the hub lost. err is a claim when the hub did
// not know that it lost anything.
func (s *Session) astray(v View, cursor change.Cursor, re *wire.Rebase) error {
	at, ok := s.believe(s.hello, cursor)
	if ok {
		if err := lost(v, cursor, at); err != nil {
			return err
		}
	}
	lineage, err := v.Lineage()
	if err != nil {
		return err
	}
	b, ok := ended(lineage, cursor.Epoch, at)
	if !ok {
		return nil
	}
	re.Reason = "the hub was put back to an earlier state on " + b.At.UTC().Format(time.DateTime) + " UTC"
	re.Salvage = b.Mode == change.Restored && !s.hub.past.noSalvage
	return nil
}

// lacksNewest reports whether the hub never heard of a transaction that it is told it
// confirmed. What it once heard of it never forgets, so that it was set back since.
func lacksNewest(v View, n *wire.Landmark) (bool, error) {
	if n.ID.IsZero() {
		return false, nil
	}
	rec, err := v.Known(n.ID)
	if err == nil && rec.Content != n.Content { // another one's: a copy of the file drew the same id
		_, err = v.Known(aliasOf(n.ID, n.Incarnation, n.Seq))
	}
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up transaction %s: %w", n.ID, err)
	}
	return false, nil
}

// tellLineage lets a device of another life know the hub's.
func tellLineage(v View, m *wire.Hello, w *wire.Welcome) (err error) {
	if m.At.Epoch != w.Epoch {
		w.Lineage, err = v.Lineage()
	}
	return err
}

// codeUndone is Parked.Code of what was handed in before the hub was set back on
// purpose.
const codeUndone = "undone"

// A review is what a batch's transactions have to go through, by what is said of
// them as a whole.
type review struct {
	salvage   bool
	carried   bool     // the device itself did not speak
	reoffered bool     // a hub had confirmed them before
	undone    *refusal // why those that are new to the hub wait; nil: they do not
	taken     int      // transactions that were applied, or some of their rows
	waits     int      // transactions parked that may wait for lost work only
	choices   []choice // that a person made in the present transaction

	lost *branchPoint
}

// branchPoint is where the present life began.
type branchPoint struct {
	at    change.Cursor
	known bool // the log reaches back to it
}

// accept reads what a push says of its transactions: what they stand for, in which
// life of the hub they were confirmed to their device, and the lineage as that knows it.
func (b *batch) accept(m *wire.Push) error {
	b.stub, b.review.salvage = m.Stub, m.Salvage
	if m.Confirmed == 0 {
		return nil
	}
	b.review.reoffered = true
	lineage, err := b.tx.Lineage()
	if err != nil {
		return fmt.Errorf("read lineage: %w", err)
	}
	if br, ok := change.Successor(lineage, m.Lineage, m.Confirmed); ok && br.Mode == change.Undone {
		b.review.undone = &refusal{code: codeUndone, reason: "it had been handed in before the hub was set back on purpose, on " +
			br.At.UTC().Format(time.DateTime) + " UTC: retry it to take it after all, discard it to let it go"}
	}
	return nil
}

// setAside parks what a person has to look at before it is applied. done is false
// when t is not of that kind.
func (b *batch) setAside(rec *Received, t *change.Transaction, places []uint32) (done bool, err error) {
	no := b.review.undone
	if no == nil {
		no = b.isolated()
	}
	switch {
	case b.review.salvage:
		return true, b.salvage(rec, t)
	case no != nil:
		v := parkWhole(t, no)
		if err := v.keepable(rec.ID); err != nil {
			return true, err
		}
		v.park.Places = places
		rec.Status, rec.Reason = v.status, v.reason
		b.parked++
		return true, b.park(rec, v)
	}
	return false, nil
}

// present is where the present life began, and whether the log still tells what
// happened since.
func (b *batch) present() (*branchPoint, error) {
	if b.review.lost != nil {
		return b.review.lost, nil
	}
	lineage, err := b.tx.Lineage()
	if err != nil {
		return nil, fmt.Errorf("read lineage: %w", err)
	}
	p := &branchPoint{at: lineage[len(lineage)-1].Fork}
	switch err := b.tx.Check(p.at); {
	case err == nil:
		p.known = !p.at.IsZero()
	case !errors.Is(err, ErrBelowFloor) && !errors.Is(err, ErrOtherHistory):
		return nil, fmt.Errorf("check the fork: %w", err)
	}
	b.review.lost = p
	return p, nil
}
