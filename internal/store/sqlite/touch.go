package sqlitestore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// keyed is the condition that a log entry is about a row. Where the key's
// collation folds, an index on the stored bytes cannot answer; then the entries
// are looked through.
func (t *table) keyed(prefix string) string {
	parts := make([]string, len(t.key))
	for i, k := range logKeys(prefix, len(t.key)) {
		parts[i] = k + " = ?"
		if coll := collation(t.def.Columns[t.def.Key[i]].Collation); coll != "BINARY" {
			parts[i] += " COLLATE " + coll
		}
	}
	return strings.Join(parts, " AND ")
}

// Touched implements hub.View. It refuses a cursor as Check does, but for the
// zero cursor, which asks for all that the log still holds.
func (v *view) Touched(name string, key change.Key, since change.Cursor, self change.Incarnation) ([]hub.Touch, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	if err := v.sync(); err != nil {
		return nil, err
	}
	var pos int64
	if !since.IsZero() {
		if pos, err = v.check(since); err != nil {
			return nil, err
		}
	}
	me, err := v.origin(self)
	if err != nil {
		return nil, err
	}
	var out []hub.Touch
	vanished := -1 // where out would hold the deletion that REPLACE made silently
	var maybe hub.Touch
	q := "SELECT l.op, l.mask, l.origin, l.hlc, o.inc FROM _tidemark_log AS l LEFT JOIN _tidemark_origin AS o ON o.id = l.origin WHERE l.tbl = ? AND " +
		t.keyed("l.") + " AND l.pos > ? AND l.op IN (1, 2, 3, 8) ORDER BY l.pos"
	args := append(append([]change.Value{change.Int(t.id)}, key...), change.Int(pos))
	err = sqlite.Query(v.c, q, func(s *sqlite.Stmt) error {
		op, mask, origin := s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)
		touch := hub.Touch{HLC: change.HLC(s.ColumnInt64(3)), Merged: origin == ledger.Hub}
		if origin > ledger.Hub {
			copy(touch.Origin[:], sqlite.Column(s, 4).Str())
		}
		if op == opMaybe {
			vanished, maybe = len(out), touch
			return nil
		}
		vanished = -1
		if origin == me || op == ledger.Update && mask == ledger.MaskSeen { // an update that changed nothing
			return nil
		}
		touch.Kind = change.OpKind(op)
		if op == ledger.Update && mask != 0 {
			touch.Columns = ledger.Masked(t.names, mask)
		}
		out = append(out, touch)
		return nil
	}, args...)
	if err != nil {
		return nil, fmt.Errorf("read changes of a row of %s: %w", name, err)
	}
	if vanished >= 0 {
		row, err := v.Row(name, key)
		if err != nil {
			return nil, err
		}
		if row == nil {
			maybe.Kind = change.Delete
			out = append(out, maybe)
		}
	}
	return out, nil
}

// An image is a deleted row and the log entry of its deletion.
type image struct {
	ledger.Grave
	t      *table
	op     int64
	origin int64
	hlc    int64
}

// Tombstone implements hub.View. A row that is there has none.
func (v *view) Tombstone(name string, key change.Key) (*hub.Tombstone, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	if err := v.sync(); err != nil {
		return nil, err
	}
	if row, err := v.Row(name, key); err != nil || row != nil {
		if err == nil {
			err = fmt.Errorf("tombstone of a row of %s that is there: %w", name, hub.ErrNotFound)
		}
		return nil, err
	}
	var last *image
	err = v.images(t, "l.tbl = ? AND "+t.keyed("l.")+" AND l.op IN (3, 8) ORDER BY l.pos DESC LIMIT 1",
		append([]change.Value{change.Int(t.id)}, key...), func(i *image) { last = i })
	if err != nil {
		return nil, fmt.Errorf("tombstone of a row of %s: %w", name, err)
	}
	if last == nil {
		return nil, fmt.Errorf("tombstone of a row of %s: %w", name, hub.ErrNotFound)
	}
	children, err := v.taken(last)
	if err != nil {
		return nil, fmt.Errorf("tombstone of a row of %s: %w", name, err)
	}
	return &hub.Tombstone{Row: last.Row, Children: children}, nil
}

// images reads deleted rows of a table by a condition on the log entry l.
func (v *view) images(t *table, where string, args []change.Value, each func(*image)) error {
	var b strings.Builder
	b.WriteString("SELECT l.pos, l.op, l.origin, l.hlc")
	for i := range t.names {
		fmt.Fprintf(&b, ", d.v%d", i)
	}
	b.WriteString(" FROM _tidemark_log AS l JOIN _tidemark_tomb AS d ON d.pos = l.pos WHERE " + where)
	return sqlite.Query(v.c, b.String(), func(s *sqlite.Stmt) error {
		i := &image{t: t, op: s.ColumnInt64(1), origin: s.ColumnInt64(2), hlc: s.ColumnInt64(3)}
		i.Grave = ledger.Grave{Def: t.def, Names: t.names, Pos: s.ColumnInt64(0), Row: readRow(s, 4, len(t.names))}
		for _, k := range t.key {
			i.Key = append(i.Key, i.Row[k])
		}
		each(i)
		return nil
	}, args...)
}

// taken finds what the deletion of a row took along: rows deleted in the same
// breath that pointed at it, or at one taken along.
func (v *view) taken(dead *image) ([]change.Op, error) {
	from, to, err := v.breath(dead)
	if err != nil {
		return nil, err
	}
	var all []*ledger.Grave
	for _, t := range v.p.tables {
		err := v.images(t, "l.pos > ? AND l.pos < ? AND l.tbl = ? AND l.op = 3 ORDER BY l.pos",
			[]change.Value{change.Int(from), change.Int(to), change.Int(t.id)}, func(i *image) { all = append(all, &i.Grave) })
		if err != nil {
			return nil, err
		}
	}
	return ledger.Taken(&dead.Grave, all, v.Row)
}

// breath is the stretch of the log, both ends excluded, in which rows went
// together with dead: between the mark where its deletion began and its own
// entry; after the entry for a row that REPLACE took; or all that one
// transaction of the hub's wrote.
func (v *view) breath(dead *image) (from, to int64, err error) {
	key := append([]change.Value{change.Int(dead.t.id)}, dead.Key...)
	at := change.Int(dead.Pos)
	ask := func(otherwise int64, q string, args ...change.Value) int64 {
		if err != nil {
			return 0
		}
		var got change.Value
		var ok bool
		got, ok, err = sqlite.One(v.c, q, args...)
		if !ok {
			return otherwise
		}
		return got.Int()
	}
	const forever = 1<<63 - 1
	switch {
	case dead.origin != ledger.Other:
		hlc := change.Int(dead.hlc)
		from = ask(0, `SELECT pos FROM _tidemark_log WHERE pos < ? AND hlc <> ? ORDER BY pos DESC LIMIT 1`, at, hlc)
		to = ask(forever, `SELECT pos FROM _tidemark_log WHERE pos > ? AND hlc <> ? ORDER BY pos LIMIT 1`, at, hlc)
	case dead.op == opMaybe:
		from = dead.Pos
		to = ask(forever, `SELECT pos FROM _tidemark_log WHERE pos > ? AND tbl = ? AND op IN (1, 2) ORDER BY pos LIMIT 1`, at, change.Int(dead.t.id))
	default:
		to = dead.Pos
		from = ask(dead.Pos, `SELECT l.pos FROM _tidemark_log AS l WHERE l.tbl = ? AND `+dead.t.keyed("l.")+` AND l.pos < ? AND l.op = 7 ORDER BY l.pos DESC LIMIT 1`,
			append(key, at)...)
	}
	return from, to, err
}
