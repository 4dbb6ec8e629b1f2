package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// pruneStep is how many log entries go in one write transaction, so that nobody
// waits long for it.
const pruneStep = 20_000

// Prune implements hub.Store. What counts is when an entry came to the hub, to
// about a minute, not the clock it carries: an edge that was away for weeks
// hands in old readings. The newest entry always stays, and so does every
// transaction in quarantine. The floor moves first, in the first step.
func (s *Store) Prune(ctx context.Context, before time.Time) (change.Cursor, error) {
	var floor change.Cursor
	var pos int64
	err := s.Update(ctx, func(t hub.Tx) (err error) {
		pos, floor, err = t.(*tx).sink(before)
		return err
	})
	for more := pos > 0; err == nil && more; {
		err = s.Update(ctx, func(t hub.Tx) (err error) {
			more, err = t.(*tx).prune(pos)
			return err
		})
	}
	if err == nil {
		err = s.Update(ctx, func(t hub.Tx) error { return t.(*tx).pruneJournal(before) })
	}
	if err != nil {
		return change.Cursor{}, fmt.Errorf("prune: %w", err)
	}
	return floor, nil
}

// sink moves the floor to the last entry that was there at the time.
func (t *tx) sink(before time.Time) (pos int64, at change.Cursor, err error) {
	floor, nonce, err := t.floor()
	if err == nil {
		err = t.sync()
	}
	if err != nil {
		return 0, at, err
	}
	known := `SELECT max(pos) FROM _tidemark_time WHERE at < ?`
	if before.After(t.s.cfg.Clock.Now()) { // all there is
		known = `SELECT max(pos) FROM _tidemark_log WHERE ? > 0`
	}
	err = sqlite.Query(t.c, `SELECT pos, nonce FROM _tidemark_log WHERE pos = (`+known+`)`, func(s *sqlite.Stmt) error {
		if p := s.ColumnInt64(0); p > floor {
			floor, nonce = p, s.ColumnInt64(1)
		}
		return nil
	}, change.Int(before.UnixMilli()))
	if err != nil {
		return 0, at, err
	}
	if err := sqlite.Exec(t.c, `DELETE FROM _tidemark_time WHERE pos < ?`, change.Int(floor)); err != nil {
		return 0, at, err
	}
	if at, err = t.mint(floor, nonce); err != nil {
		return 0, at, err
	}
	return floor, at, t.s.setFloor(floor, nonce)
}

// prune drops entries below pos.
func (t *tx) prune(pos int64) (more bool, err error) {
	first, _, err := sqlite.One(t.c, `SELECT min(pos) FROM _tidemark_log`)
	if err != nil || first.IsNull() || first.Int() >= pos {
		return false, err
	}
	end := change.Int(min(pos, first.Int()+pruneStep))
	for _, q := range []string{`DELETE FROM _tidemark_tomb WHERE pos < ?`, `DELETE FROM _tidemark_log WHERE pos < ?`} {
		if err := sqlite.Exec(t.c, q, end); err != nil {
			return false, err
		}
	}
	return true, nil
}

// pruneJournal drops what old transactions did. That they came, and what became
// of them, stays for good: a device restored from an old backup hands them in
// again, and one that was away has not heard of the outcome yet. Those that a
// person parked or discarded stay whole.
func (t *tx) pruneJournal(before time.Time) error {
	return sqlite.Exec(t.c, `DELETE FROM _tidemark_batch WHERE id < (SELECT max(id) FROM _tidemark_batch)
		AND id NOT IN (SELECT batch FROM _tidemark_tx WHERE at >= ? OR status IN (?, ?))`,
		change.Int(before.UnixMilli()), change.Int(int64(hub.Quarantined)), change.Int(int64(hub.Discarded)))
}
