package postgresstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Delta implements hub.View. It refuses a cursor as Check does. emit must not read.
func (v *view) Delta(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	m, err := v.check(since)
	if err != nil || len(scopes) == 0 {
		return err
	}
	origin, err := v.origin(self)
	if err != nil {
		return err
	}
	touched, err := v.touchedTables(&m, scopes)
	if err != nil {
		return err
	}
	for _, t := range v.p.tables {
		if !touched[t.id] {
			continue
		}
		if err := v.deltaOf(t, &m, origin, scopes, limit, emit); err != nil {
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
	id := int64(originNone)
	err := v.query(`SELECT id FROM tidemark.origin WHERE inc = $1::bytea`, func(r *row) error {
		id = r.int(0)
		return nil
	}, inc[:])
	if err != nil {
		return 0, fmt.Errorf("read origin: %w", err)
	}
	return id, nil
}

func (v *view) touchedTables(m *moment, scopes []rule.ScopeID) (map[int64]bool, error) {
	out := map[int64]bool{}
	var a args
	q := "SELECT DISTINCT l.tbl FROM tidemark.log AS l WHERE l.scope = ANY(" + a.add(scopeTexts(scopes)) + "::text[]) AND " + m.beyond("l.", &a)
	err := v.query(q, func(r *row) error {
		out[r.int(0)] = true
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("read the change log: %w", err)
	}
	return out, nil
}

// deltaSQL joins the keys touched in some of the scopes with the rows as they are.
// What follows a parent that the reader moved or deleted is not the reader's own
// change: the hub may have taken children along that it does not know of.
// Columns: whether anybody but self touched the row, whether it is there, whether it
// is in the scopes, the key as logged, the stored columns.
func (t *table) deltaSQL(m *moment, origin int64, scopes []rule.ScopeID, a *args) string {
	here := "false"
	if rel := t.relevant(scopes); len(rel) > 0 {
		here = "coalesce(" + t.within("t.", rel, a) + ", false)"
	}
	return "SELECT l.other, t." + quote(t.keyNames[0]) + " IS NOT NULL, " + here + ", " + strings.Join(keyParts("l.", len(t.key)), ", ") + ", " + t.columns +
		" FROM (SELECT e.key, bool_or(e.origin <> " + a.add(origin) + "::int4 OR e.op = " + strconv.Itoa(opFollow) + ") AS other FROM tidemark.log AS e WHERE e.tbl = " +
		a.add(t.id) + "::int4 AND e.scope = ANY(" + a.add(scopeTexts(scopes)) + "::text[]) AND " + m.beyond("e.", a) +
		" AND e.key IS NOT NULL GROUP BY e.key) AS l LEFT JOIN " + t.name + " AS t ON " + t.atLogKey("t.", "l.")
}

func (v *view) deltaOf(t *table, m *moment, origin int64, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	var a args
	q := t.deltaSQL(m, origin, scopes, &a)
	b := &batch{t: t, limit: limit, emit: emit}
	nk := len(t.key)
	err := v.query(q, func(r *row) error {
		other, there, in := r.bool(0), r.bool(1), r.bool(2)
		switch {
		case there && in && other:
			return b.row(t.row(r, 3+nk))
		case there && in: // the reader's own change, which it has
			return nil
		case !there && !other: // likewise
			return nil
		}
		return b.gone(r, 3)
	}, a.list...)
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

func (t *table) newRows() *change.Rows {
	return &change.Rows{Table: t.def.Name, Columns: t.names, Key: t.key}
}

func (b *batch) row(values []change.Value) error {
	if b.rows == nil {
		b.rows = b.t.newRows()
	}
	for _, v := range values {
		b.size += v.Size()
	}
	b.rows.Values = append(b.rows.Values, values...)
	return b.full()
}

// gone takes the key, as the log holds it, from column from on.
func (b *batch) gone(r *row, from int) error {
	if b.rows == nil {
		b.rows = b.t.newRows()
	}
	for i, k := range b.t.key {
		v, err := b.t.cols[k].parse(r.text(from + i))
		if err != nil {
			return err
		}
		b.size += v.Size()
		b.rows.Gone = append(b.rows.Gone, v)
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
