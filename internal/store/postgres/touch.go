package postgresstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Touched implements hub.View. It refuses a cursor as Check does, but for the
// zero cursor, which asks for all that the log still holds. Two entries for one row
// are in the order of their positions: whoever wrote second waited for the first.
func (v *view) Touched(name string, key change.Key, since change.Cursor, self change.Incarnation) ([]hub.Touch, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	m, err := v.floor()
	if err == nil && !since.IsZero() {
		m, err = v.check(since)
	}
	if err != nil {
		return nil, err
	}
	m = v.near(m)
	texts := t.keyTexts(key)
	if texts == nil {
		return nil, nil
	}
	me, err := v.origin(self)
	if err != nil {
		return nil, err
	}
	var out []hub.Touch
	var a args
	q := "SELECT l.op, l.mask, l.origin, l.hlc, o.inc FROM tidemark.log AS l LEFT JOIN tidemark.origin AS o ON o.id = l.origin WHERE " +
		ofRow("l.", a.add(t.id)+"::int4", a.add(texts)+"::text[]") + " AND l.op IN (1, 2, 3) AND " + m.beyond("l.", &a) + " ORDER BY l.pos"
	err = v.query(q, func(r *row) error {
		e := touch{op: r.int(0), mask: r.int(1), origin: r.int(2), hlc: r.int(3)}
		if e.by(me) {
			return nil
		}
		copy(e.inc[:], r.blob(4))
		out = append(out, t.touch(&e))
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("read changes of a row of %s: %w", name, err)
	}
	return out, nil
}

// ofRow is the condition that an entry is about a row: by its hash, which is what the log
// has an index on. Texts are slow to compare, and the log grows with every write.
func ofRow(prefix, table, key string) string {
	return prefix + "tbl = " + table + " AND " + prefix + "key = (" + key + " COLLATE \"C\") AND hash_array_extended(" + prefix + "key, " + prefix + "tbl) = hash_array_extended(" +
		key + " COLLATE \"C\", " + table + ")"
}

// A touch is one entry of the change log about a row.
type touch struct {
	op, mask, origin, hlc int64
	inc                   change.Incarnation
}

// by reports whether an entry tells somebody nothing: it is the reader's own, or of an
// update that changed nothing.
func (e *touch) by(me int64) bool {
	return e.origin == me || e.op == ledger.Update && e.mask == ledger.MaskSeen
}

func (t *table) touch(e *touch) hub.Touch {
	out := hub.Touch{Kind: change.OpKind(e.op), HLC: change.HLC(e.hlc), Merged: e.origin == ledger.Hub}
	if e.origin > ledger.Hub {
		out.Origin = e.inc
	}
	if e.op == ledger.Update && e.mask != 0 {
		out.Columns = ledger.Masked(t.names, e.mask)
	}
	return out
}

// An image is a deleted row and the log entry of its deletion.
type image struct {
	ledger.Grave
	origin int64
	hlc    int64
	xid    string
}

// Tombstone implements hub.View. A row that is there has none.
func (v *view) Tombstone(name string, key change.Key) (*hub.Tombstone, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	if row, err := v.Row(name, key); err != nil || row != nil {
		if err == nil {
			err = fmt.Errorf("tombstone of a row of %s that is there: %w", name, hub.ErrNotFound)
		}
		return nil, err
	}
	floor, err := v.floor()
	if err != nil {
		return nil, err
	}
	floor = v.near(floor)
	var last *image
	if texts := t.keyTexts(key); texts != nil {
		var a args
		where := ofRow("l.", t.number(), a.add(texts)+"::text[]") + " AND " + floor.beyond("l.", &a) + " ORDER BY l.pos DESC LIMIT 1"
		err = v.images(t, where, &a, func(i *image) { last = i })
	}
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
func (v *view) images(t *table, where string, a *args, each func(*image)) error {
	parts := make([]string, len(t.cols))
	for i := range parts {
		parts[i] = "l.image[" + strconv.Itoa(i+1) + "]"
	}
	q := "SELECT l.pos, l.origin, l.hlc, l.xid::text, " + strings.Join(parts, ", ") + " FROM tidemark.log AS l WHERE l.tbl = " + t.number() +
		" AND l.op = 3 AND l.image IS NOT NULL AND " + where
	return v.query(q, func(r *row) error {
		i := &image{origin: r.int(1), hlc: r.int(2), xid: r.text(3)}
		i.Grave = ledger.Grave{Def: t.def, Names: t.names, Pos: r.int(0), Row: make([]change.Value, len(t.cols))}
		for c := range t.cols {
			if r.null(4 + c) {
				continue
			}
			var err error
			if i.Row[c], err = t.cols[c].parse(r.text(4 + c)); err != nil {
				return err
			}
		}
		for _, k := range t.key {
			i.Key = append(i.Key, i.Row[k])
		}
		each(i)
		return nil
	}, a.list...)
}

// taken finds what the deletion of a row took along: rows deleted in the same
// transaction, an edge's when the hub wrote, that pointed at it, or at one taken
// along.
func (v *view) taken(dead *image) ([]change.Op, error) {
	var all []*ledger.Grave
	xid, err := strconv.ParseUint(dead.xid, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read transaction %q: %w", dead.xid, err)
	}
	at := v.near(moment{max: xid})
	for _, t := range v.p.tables {
		var a args
		where := at.since("l.", &a) + "l.xid = " + a.add(dead.xid) + "::text::xid8"
		if dead.origin != ledger.Other {
			where += " AND l.hlc = " + a.add(dead.hlc) + "::int8"
		}
		if err := v.images(t, where+" ORDER BY l.pos", &a, func(i *image) { all = append(all, &i.Grave) }); err != nil {
			return nil, err
		}
	}
	return ledger.Taken(&dead.Grave, all, v.Row)
}
