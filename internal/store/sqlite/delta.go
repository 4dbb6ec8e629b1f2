package sqlitestore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
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
		return originNone, nil
	}
	id, ok, err := sqlite.One(v.c, `SELECT id FROM _tidemark_origin WHERE inc=?`, change.BlobString(string(inc[:])))
	if err != nil {
		return 0, fmt.Errorf("read origin: %w", err)
	}
	if !ok {
		return originNone, nil
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
	} else if !t.scope.all {
		in = t.inScopes("t.", here)
	}
	return "SELECT " + strings.Join(logKeys("l.", len(t.key)), ", ") + ", l.other, t." + sqlite.Quote(t.keyNames[0]) + " IS NOT NULL, " + in + ", " + t.columns +
		" FROM (SELECT " + keys + ", max(origin <> ? OR op = " + strconv.Itoa(opFollow) + ") AS other FROM _tidemark_log WHERE pos > ? AND +tbl = ? AND scope IN (" + marks(entries) +
		") AND +k0 IS NOT NULL GROUP BY " + keys + ") AS l LEFT JOIN " + t.name + " AS t ON " + equals("t.", t.keyNames, logKeys("l.", len(t.key)))
}

func (v *view) deltaOf(t *table, pos, origin int64, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	var here []change.Value
	if rel := t.relevant(scopes); len(rel) > 0 {
		here = pad(rel)
	}
	entries := pad(scopes)
	q := t.deltaSQL(len(entries), len(here))
	var args []change.Value
	if len(here) > 0 && !t.scope.all {
		args = append(args, here...)
	}
	args = append(args, change.Int(origin), change.Int(pos), change.Int(t.id))
	args = append(args, entries...)
	b := t.batch(limit, emit)
	nk := len(t.key)
	err := sqlite.Query(v.c, q, func(s *sqlite.Stmt) error {
		other, there, in := s.ColumnInt64(nk) != 0, s.ColumnInt64(nk+1) != 0, s.ColumnInt64(nk+2) != 0
		switch {
		case there && in && other:
			return b.row(s, nk+3)
		case there && in: // the reader's own change, which it has
			return nil
		case !there && !other: // likewise
			return nil
		}
		return b.gone(s)
	}, args...)
	if err != nil {
		return err
	}
	return b.flush()
}

// A batch collects rows of one table and hands them on at about limit bytes.
type batch struct {
	t     *table
	limit int
	size  int
	rows  *change.Rows
	emit  func(*change.Rows) error
}

func (t *table) batch(limit int, emit func(*change.Rows) error) *batch {
	return &batch{t: t, limit: limit, emit: emit}
}

func (t *table) newRows() *change.Rows {
	return &change.Rows{Table: t.def.Name, Columns: t.names, Key: t.key}
}

func (b *batch) row(s *sqlite.Stmt, from int) error {
	if b.rows == nil {
		b.rows = b.t.newRows()
	}
	for i := range b.t.names {
		val := sqlite.Column(s, from+i)
		b.size += val.Size()
		b.rows.Values = append(b.rows.Values, val)
	}
	return b.full()
}

// gone takes the key in the statement's first columns.
func (b *batch) gone(s *sqlite.Stmt) error {
	if b.rows == nil {
		b.rows = b.t.newRows()
	}
	for i := range b.t.key {
		val := sqlite.Column(s, i)
		b.size += val.Size()
		b.rows.Gone = append(b.rows.Gone, val)
	}
	return b.full()
}

func (b *batch) full() error {
	if b.size < b.limit {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if b.rows == nil {
		return nil
	}
	rows := b.rows
	b.rows, b.size = nil, 0
	return b.emit(rows)
}
