package edge

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// ErrUnsafe means that the file holds work which the hub is not known to have.
var ErrUnsafe = errors.New("the file holds work that is not at the hub")

// Detach takes Tidemark out of the file without a trace: its tables and
// triggers, and its guards on the application's triggers. While work is unsafe or
// parked it refuses with ErrUnsafe, unless force is set (trap D20). The engine
// can then only be closed, or installed anew.
func (e *Engine) Detach(force bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	has, err := e.hasLayout()
	if err != nil || !has {
		return err
	}
	err = sqlite.Immediate(e.conn, func() error {
		if !force {
			if err := e.refuseUnsafe(); err != nil {
				return err
			}
		}
		if err := e.restoreTriggers(); err != nil {
			return err
		}
		if err := e.dropTriggers(); err != nil {
			return err
		}
		if err := e.dropViews(); err != nil {
			return err
		}
		return e.dropLayout()
	})
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	e.forget()
	return nil
}

// refuseUnsafe counts what would be lost.
func (e *Engine) refuseUnsafe() error {
	var parts []string
	for _, q := range []struct{ sql, what string }{
		{`SELECT count(*) FROM _tidemark_outbox WHERE state=0`, "waiting to be sent"},
		{`SELECT count(*) FROM _tidemark_outbox WHERE state=2`, "in quarantine"},
		{`SELECT count(*) FROM _tidemark_undo WHERE tbl>0`, "captured and not yet exported"},
	} {
		if strings.Contains(q.sql, "_undo") && e.setup == nil {
			continue
		}
		n, _, err := sqlite.One(e.conn, q.sql)
		if err != nil {
			return err
		}
		if n.Int() > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.Int(), q.what))
		}
	}
	if len(parts) > 0 {
		return fmt.Errorf("%w: %s; sync first, or use force", ErrUnsafe, strings.Join(parts, ", "))
	}
	return nil
}

// dropLayout drops every table of ours, and their traces in SQLite's own tables.
func (e *Engine) dropLayout() error {
	var names []string
	err := sqlite.Query(e.conn, `SELECT name FROM sqlite_schema WHERE type='table'`, func(s *sqlite.Stmt) error {
		if n := s.ColumnText(0); sqlite.Ours(n) {
			names = append(names, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, n := range names {
		if err := sqlite.Script(e.conn, "DROP TABLE "+sqlite.Quote(n)); err != nil {
			return fmt.Errorf("drop table %s: %w", n, err)
		}
	}
	_, analyzed, err := sqlite.One(e.conn, `SELECT 1 FROM sqlite_schema WHERE name='sqlite_stat1'`)
	if err != nil || !analyzed {
		return err
	}
	return sqlite.Exec(e.conn, `DELETE FROM sqlite_stat1 WHERE substr(tbl,1,?2)=?1`,
		change.Text(sqlite.Prefix), change.Int(int64(len(sqlite.Prefix))))
}
