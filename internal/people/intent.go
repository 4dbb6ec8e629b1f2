package people

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// kindIntent are the acts that have begun and are not put down yet: what is left of one
// whose process ended in between.
const kindIntent = "audit-intent"

// intentFor is after how long an act that was begun is taken for cut off: far longer
// than any takes.
const intentFor = 10 * time.Minute

// unsettled is what the audit says of an act that was cut off.
const unsettled = "the hub stopped before it was put down how this ended: look whether it was done"

// An intent is an act that has begun.
type intent struct {
	At    time.Time `json:"at"`
	Entry Entry     `json:"entry"`
}

// Intend puts down that somebody is about to act, before anything is done. The entry
// that Note gets afterwards carries the intent on, and takes its place.
func (b *Book) Intend(ctx context.Context, e *Entry) error {
	id, err := b.newID()
	if err != nil {
		return err
	}
	now := b.cfg.Clock.Now().UTC()
	err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error {
		if err := settleOld(tx, now); err != nil {
			return err
		}
		kept := *e
		kept.trim()
		return put(tx, kindIntent, id, intent{now, kept})
	})
	if err != nil {
		return fmt.Errorf("put down that %s begins: %w", e.Action, err)
	}
	e.Intent = id
	return nil
}

// SettleIntents adds to the audit the acts that were cut off. The process around the hub
// calls it now and then.
func (b *Book) SettleIntents(ctx context.Context) error {
	now, any := b.cfg.Clock.Now().UTC(), false
	err := b.cfg.Store.View(ctx, func(v hub.View) error {
		any = false
		return each(v, kindIntent, "", func(_ string, i *intent) error {
			any = any || i.old(now)
			return nil
		})
	})
	if err == nil && any {
		err = b.cfg.Store.Update(ctx, func(tx hub.Tx) error { return settleOld(tx, now) })
	}
	if err != nil {
		return fmt.Errorf("settle acts that were cut off: %w", err)
	}
	return nil
}

func (i *intent) old(now time.Time) bool {
	age := now.Sub(i.At)
	return age > intentFor || age < -intentFor // or the clock was set back
}

func settleOld(tx hub.Tx, now time.Time) error {
	cut := map[string]*intent{}
	var order []string
	err := each(tx, kindIntent, "", func(id string, i *intent) error {
		if i.old(now) {
			cut[id] = i
			order = append(order, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range order {
		e := cut[id].Entry
		e.At, e.Error, e.Intent = now, fmt.Sprintf("%s (it began at %s)", unsettled, cut[id].At.Format(time.RFC3339)), id
		if err := e.add(tx); err != nil {
			return err
		}
	}
	return nil
}
