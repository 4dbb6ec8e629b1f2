package sqlitestore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Delta implements hub.View. It refuses a cursor as Check does.
func (v *view) Delta(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	pos, err := v.check(since)
	if err != nil {
		return err
	}
	tail, err := v.tail()
	if err != nil || tail == pos || len(scopes) == 0 {
		return err
	}
	origin, err := v.origin(self)
	if err != nil {
		return err
	}
	touched, err := v.touchedTables(pos, scopes)
	if err != nil {
		return err
	}
	for _, t := range v.p.tables {
		if !touched[t.id] {
			continue
		}
		if err := v.deltaOf(t, pos, origin, scopes, limit, emit); err != nil {
			return fmt.Errorf("changes of %s: %w", t.def.Name, err)
		}
	}
	return nil
}

// origin is an incarnation's number; originNone for the hub itself, whose
// entries nobody filters, and for one that never wrote.
func (v *view) origin(inc change.Incarnation) (int64, error) {
	if inc.IsZero() {
		return ledger.Nobody, nil
	}
	id, ok, err := sqlite.One(v.c, `SELECT id FROM _tidemark_origin WHERE inc=?`, change.BlobString(string(inc[:])))
	if err != nil {
		return 0, fmt.Errorf("read origin: %w", err)
	}
	if !ok {
		return ledger.Nobody, nil
	}
	return id.Int(), nil
}

func (v *view) touchedTables(pos int64, scopes []rule.ScopeID) (map[int64]bool, error) {
	out := map[int64]bool{}
	list := pad(scopes)
	err := sqlite.Query(v.c, touchedSQL(len(list)), func(s *sqlite.Stmt) error {
		out[s.ColumnInt64(0)] = true
		return nil
	}, append([]change.Value{change.Int(pos)}, list...)...)
	if err != nil {
		return nil, fmt.Errorf("read the change log: %w", err)
	}
	return out, nil
}

// touchedSQL lists the tables with entries in some of n scopes.
func touchedSQL(n int) string {
	return "SELECT DISTINCT tbl FROM _tidemark_log WHERE pos > ? AND scope IN (" + marks(n) + ")"
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// deltaSQL joins the keys touched in some of n scopes with the rows as they are.
// What follows a parent that the reader moved or deleted is not the reader's own
// change: the hub may have taken children along that it does not know of.
// The + keeps SQLite from the index on (tbl, key), by which it would read all that
// the log holds of the table (trap D19).
// Columns: the key as logged, whether anybody but self touched it, whether the
// row is there, whether it is in the scopes, the stored columns.
func (t *table) deltaSQL(entries, here int) string {
	keys := strings.Join(logKeys("", len(t.key)), ", ")
	in := "1"
	if here == 0 {
		in = "0"
	} else if !t.scope.All {
		in = t.inScopes("t.", here)
	}
	return "SELECT " + strings.Join(logKeys("l.", len(t.key)), ", ") + ", l.other, t." + sqlite.Quote(t.keyNames[0]) + " IS NOT NULL, " + in + ", " + t.columns +
		" FROM (SELECT " + keys + ", max(origin <> ? OR op = " + strconv.Itoa(ledger.Follow) + ") AS other FROM _tidemark_log WHERE pos > ? AND +tbl = ? AND scope IN (" + marks(entries) +
		") AND +k0 IS NOT NULL GROUP BY " + keys + ") AS l LEFT JOIN " + t.name + " AS t ON " + equals("t.", t.keyNames, logKeys("l.", len(t.key)))
}

func (v *view) deltaOf(t *table, pos, origin int64, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	var here []change.Value
	if rel := t.scope.Relevant(scopes); len(rel) > 0 {
		here = pad(rel)
	}
	entries := pad(scopes)
	q := t.deltaSQL(len(entries), len(here))
	var args []change.Value
	if len(here) > 0 && !t.scope.All {
		args = append(args, here...)
	}
	args = append(args, change.Int(origin), change.Int(pos), change.Int(t.id))
	args = append(args, entries...)
	b := ledger.NewBatch(t.newRows(), limit, emit)
	nk := len(t.key)
	row := make([]change.Value, len(t.names))
	err := sqlite.Query(v.c, q, func(s *sqlite.Stmt) error {
		other, there, in := s.ColumnInt64(nk) != 0, s.ColumnInt64(nk+1) != 0, s.ColumnInt64(nk+2) != 0
		switch {
		case there && in && other:
			return b.Row(readInto(row, s, nk+3))
		case there && in: // the reader's own change, which it has
			return nil
		case !there && !other: // likewise
			return nil
		}
		return b.Gone(readInto(row[:nk], s, 0))
	}, args...)
	if err != nil {
		return err
	}
	return b.Flush()
}

// newRows is an empty set of the table's rows.
func (t *table) newRows() *change.Rows {
	return &change.Rows{Table: t.def.Name, Columns: t.names, Key: t.key}
}
