package postgresstore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
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
	q := "SELECT l.op, l.mask, l.origin, l.hlc, o.inc FROM tidemark.log AS l LEFT JOIN tidemark.origin AS o ON o.id = l.origin WHERE l.tbl = " + a.add(t.id) +
		"::int4 AND l.key = " + a.add(texts) + "::text[] AND l.op IN (1, 2, 3) AND " + m.beyond("l.", &a) + " ORDER BY l.pos"
	err = v.query(q, func(r *row) error {
		op, mask, origin := r.int(0), r.int(1), r.int(2)
		if origin == me || op == opUpdate && mask == maskSeen { // an update that changed nothing
			return nil
		}
		touch := hub.Touch{Kind: change.OpKind(op), HLC: change.HLC(r.int(3)), Merged: origin == originHub}
		if origin > originHub {
			copy(touch.Origin[:], r.blob(4))
		}
		if op == opUpdate && mask != 0 {
			touch.Columns = t.masked(mask)
		}
		out = append(out, touch)
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("read changes of a row of %s: %w", name, err)
	}
	return out, nil
}

// masked is the columns that a mask names.
func (t *table) masked(mask int64) []string {
	var out []string
	for i, n := range t.names {
		if i < maskBits && mask&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// An image is a deleted row and the log entry of its deletion.
type image struct {
	t      *table
	pos    int64
	origin int64
	hlc    int64
	xid    string
	key    change.Key
	row    []change.Value
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
	var last *image
	if texts := t.keyTexts(key); texts != nil {
		var a args
		where := "l.key = " + a.add(texts) + "::text[] AND " + floor.beyond("l.", &a) + " ORDER BY l.pos DESC LIMIT 1"
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
	return &hub.Tombstone{Row: last.row, Children: children}, nil
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
		i := &image{t: t, pos: r.int(0), origin: r.int(1), hlc: r.int(2), xid: r.text(3), row: make([]change.Value, len(t.cols))}
		for c := range t.cols {
			if r.null(4 + c) {
				continue
			}
			var err error
			if i.row[c], err = t.cols[c].parse(r.text(4 + c)); err != nil {
				return err
			}
		}
		for _, k := range t.key {
			i.key = append(i.key, i.row[k])
		}
		each(i)
		return nil
	}, a.list...)
}

// taken finds what the deletion of a row took along: rows deleted in the same
// transaction, an edge's when the hub wrote, that pointed at it, or at one taken
// along.
func (v *view) taken(dead *image) ([]change.Op, error) {
	var all []*image
	for _, t := range v.p.tables {
		var a args
		where := "l.xid = " + a.add(dead.xid) + "::text::xid8"
		if dead.origin != originOther {
			where += " AND l.hlc = " + a.add(dead.hlc) + "::int8"
		}
		if err := v.images(t, where+" ORDER BY l.pos", &a, func(i *image) { all = append(all, i) }); err != nil {
			return nil, err
		}
	}
	gone := []*image{dead}
	in := map[*image]bool{}
	for i := 0; i < len(gone); i++ {
		for _, c := range all {
			if !in[c] && c.pos != dead.pos && c.pointsAt(gone[i]) {
				in[c] = true
				gone = append(gone, c)
			}
		}
	}
	var out []change.Op
	for _, c := range all { // parents first, as v.p.tables is
		if !in[c] {
			continue
		}
		row, err := v.Row(c.t.def.Name, c.key)
		if err != nil {
			return nil, err
		}
		if row == nil {
			out = append(out, change.Op{Table: c.t.def.Name, Kind: change.Insert, Key: c.key, Columns: c.t.names, New: c.row})
		}
	}
	return out, nil
}

// pointsAt reports whether a foreign key of c held the parent's values.
func (c *image) pointsAt(parent *image) bool {
	for i := range c.t.def.ForeignKeys {
		fk := &c.t.def.ForeignKeys[i]
		if !strings.EqualFold(fk.Parent, parent.t.def.Name) {
			continue
		}
		same := true
		for j, n := range fk.Columns {
			k := indexFold(parent.t.names, fk.To[j])
			m := indexFold(c.t.names, c.t.def.Columns[n].Name)
			same = same && k >= 0 && m >= 0 && !c.row[m].IsNull() && c.row[m] == parent.row[k]
		}
		if same {
			return true
		}
	}
	return false
}
