package edge

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Export moves what the application committed since the last export from the
// capture log into the outbox and returns how many transactions that made.
// Without new work it takes no lock that the application could run into.
func (e *Engine) Export() (n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return 0, nil
	}
	return e.exportNow()
}

// exportNow is Export for callers that hold e.mu, with a file that is enrolled.
func (e *Engine) exportNow() (n int, err error) {
	idle, err := e.idle()
	if err != nil || idle {
		return 0, err
	}
	err = sqlite.Immediate(e.conn, func() error {
		n, err = e.export(e.cfg.Clock.Now())
		return err
	})
	if err == nil && n > 0 {
		e.synced = true // this commit waited for the disk
	}
	return n, err
}

// idle reports whether an export would find nothing to do.
func (e *Engine) idle() (bool, error) {
	v, err := e.version()
	if err != nil || v != e.shape {
		return false, err
	}
	_, some, err := sqlite.One(e.conn, `SELECT 1 FROM _tidemark_undo LIMIT 1`)
	if err != nil {
		return false, fmt.Errorf("read undo log: %w", err)
	}
	return !some, nil
}

// export is Export inside the caller's write transaction. Only there is it sure
// that no commit of the application falls between reading the log and what the
// caller does next (trap S24).
func (e *Engine) export(now time.Time) (n int, err error) {
	drifted, err := e.reload()
	if err != nil {
		return 0, err
	}
	if drifted {
		if err := e.noteColumns(); err != nil {
			return 0, err
		}
	}
	if n, err = e.exportLog(now); err != nil {
		return 0, fmt.Errorf("export: %w", err)
	}
	if drifted {
		d, err := e.recapture()
		if err != nil {
			return 0, err
		}
		n += d.found
	}
	return n, nil
}

// exportLog turns the whole log into transactions and empties it.
func (e *Engine) exportLog(now time.Time) (n int, err error) {
	groups, err := e.readLog()
	if err != nil || len(groups) == 0 {
		return 0, err
	}
	if n, err = e.exportGroups(groups, now); err != nil {
		return 0, err
	}
	return n, e.clearLog()
}

// exportGroups turns groups of the log, oldest first, into transactions of the outbox.
func (e *Engine) exportGroups(groups []*group, now time.Time) (n int, err error) {
	seed, err := e.meta(metaSeed)
	if err != nil {
		return 0, err
	}
	x, err := e.newExporter(now)
	if err != nil {
		return 0, err
	}
	for i, g := range groups {
		ops, err := x.ops(g)
		if err != nil {
			return n, err
		}
		if len(ops) == 0 {
			continue
		}
		t := &change.Transaction{ID: txID(seed.Str(), int64(i)), Unaware: !g.begun, Bases: x.takeBases(), Ops: ops}
		if _, err := x.write(t, g.first, g.last); err != nil {
			return n, err
		}
		n++
	}
	if err := x.finish(); err != nil {
		return n, err
	}
	return n, e.rotateSeed()
}

// clearLog empties the log but for records of tables that the file lacks just
// now: they are work too, and wait for the table.
func (e *Engine) clearLog() error {
	gone := ""
	for i := range e.tables {
		if e.tables[i].missing {
			gone += fmt.Sprintf(", %d", e.tables[i].id)
		}
	}
	sql := `DELETE FROM _tidemark_undo`
	if gone != "" {
		sql += ` WHERE tbl NOT IN (` + gone[2:] + `)`
	}
	if err := sqlite.Exec(e.conn, sql); err != nil {
		return fmt.Errorf("clear undo log: %w", err)
	}
	return nil
}

// exportOps writes a transaction of Tidemark's own making into the outbox, as if
// the application had committed ops at the given time. Its rows must not have a
// shadow yet unless they have pending work. It must run inside a write transaction.
func (e *Engine) exportOps(ops []change.Op, unaware bool, at time.Time) (seq uint64, err error) {
	x, err := e.newExporter(at)
	if err != nil {
		return 0, err
	}
	for i := range ops {
		t := e.tableNamed(ops[i].Table)
		if t == nil {
			return 0, fmt.Errorf("export operations: table %s does not sync", ops[i].Table)
		}
		ops[i].BaseAt = x.baseAt(x.cursor)
		if err := x.shadowOf(t, &ops[i]); err != nil {
			return 0, err
		}
	}
	id, err := change.NewTxID(e.cfg.Rand)
	if err != nil {
		return 0, err
	}
	t := &change.Transaction{ID: id, Unaware: unaware, Bases: x.takeBases(), Ops: ops}
	if seq, err = x.write(t, at.UnixMilli(), at.UnixMilli()); err != nil {
		return 0, err
	}
	return seq, x.finish()
}

// Outbox returns the transactions after a seq that the hub is not known to have,
// in order: at least one if there is any, and then as many as fit in maxBytes and
// were confirmed in the same life of the hub, if they ever were.
func (e *Engine) Outbox(after uint64, maxBytes int) ([]*change.Transaction, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	out, _, err := e.outbox(after, maxBytes)
	return out, err
}

// outbox is Outbox for callers that hold e.mu, and tells in which epoch a hub
// confirmed what it returns; 0: none did.
func (e *Engine) outbox(after uint64, maxBytes int) (out []*change.Transaction, confirmed change.Epoch, err error) {
	size, epoch := 0, int64(0)
	err = sqlite.Query(e.conn, `SELECT body, epoch FROM _tidemark_outbox WHERE state=0 AND seq>? ORDER BY seq`, func(s *sqlite.Stmt) error {
		n := s.ColumnLen(0)
		if len(out) > 0 && (size+n > maxBytes || s.ColumnInt64(1) != epoch) {
			return errEnough
		}
		size, epoch = size+n, s.ColumnInt64(1)
		t, err := change.DecodeTransaction([]byte(sqlite.Column(s, 0).Str()))
		if err != nil {
			return err
		}
		out = append(out, t)
		return nil
	}, change.Int(int64(after)))
	if err != nil && !errors.Is(err, errEnough) {
		return nil, 0, fmt.Errorf("read outbox: %w", err)
	}
	return out, change.Epoch(epoch), nil
}

// unexported tells how many records the capture log holds that no transaction of
// the outbox has yet, and the wall clock (Unix ms) of the oldest; 0 when none.
func (e *Engine) unexported() (n, oldest int64, err error) {
	err = sqlite.Query(e.conn, `SELECT count(*), coalesce(min(at),0) FROM _tidemark_undo WHERE tbl>0`, func(s *sqlite.Stmt) error {
		if n = s.ColumnInt64(0); n > 0 {
			oldest = min(julianMillis(s.ColumnFloat(1)), e.cfg.Clock.Now().UnixMilli())
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read undo log: %w", err)
	}
	return n, oldest, nil
}

// julianMillis converts a Julian day number to Unix milliseconds; not before 0.
func julianMillis(day float64) int64 {
	return max(int64((day-2440587.5)*86400000+0.5), 0)
}
