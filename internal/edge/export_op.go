package edge

import (
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// ops turns a group into operations: the net effect on each row.
func (x *exporter) ops(g *group) ([]change.Op, error) {
	moves := netMoves(g)
	var out []change.Op
	for _, c := range g.touched {
		t := &x.e.tables[c.id.table]
		if sameImage(c.before, c.after) && !c.varied {
			continue
		}
		slices.Reverse(c.records)
		op := change.Op{Table: t.schema.Name, Key: c.key, Rows: c.records, Move: moves[c.id]}
		var err error
		if out, err = x.rowOps(out, t, c, op); err != nil {
			return nil, err
		}
		if err := x.shadow(t, c.id.key, c.before); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rowOps appends the operations for one row: two or more only when the columns
// of an update have different bases.
func (x *exporter) rowOps(out []change.Op, t *table, c *touch, op change.Op) ([]change.Op, error) {
	edits, err := x.pending(t, c.id.key)
	if err != nil {
		return nil, err
	}
	switch {
	case sameImage(c.before, c.after):
		// It cancels out. Somebody may have copied the file in between: the copy hands
		// in the first part under the same id, and the hub must learn that this one
		// took it back (trap D22).
		op.Kind, op.BaseAt = change.Update, x.baseAt(edits.row(x.cursor))
		return append(out, op), nil
	case c.before == nil:
		op.Kind, op.Columns, op.New = change.Insert, t.names, c.after
		op.BaseAt = x.baseAt(edits.row(x.cursor))
		return append(out, op), nil
	case c.after == nil:
		return append(out, x.removal(t, c, op, edits)), nil
	}
	op.Kind = change.Update
	now, err := x.told(t, c.id.key, edits)
	if err != nil {
		return nil, err
	}
	var cols []int
	for i := range t.names {
		if c.before[i] != c.after[i] {
			cols = append(cols, i)
		}
	}
	for len(cols) > 0 {
		base := seenOf(t, edits, cols[0], now)
		var rest []int
		part := op
		part.BaseAt = x.baseAt(base)
		part.New, part.Base = make([]change.Value, 0, len(cols)), make([]change.Value, 0, len(cols))
		var set []int
		for _, i := range cols {
			if seenOf(t, edits, i, now) != base {
				rest = append(rest, i)
				continue
			}
			set = append(set, i)
			part.New, part.Base = append(part.New, c.after[i]), append(part.Base, c.before[i])
		}
		part.Columns = x.columns(t, c.id.table, set)
		out, cols = append(out, part), rest
	}
	return out, nil
}

// removal is a delete, and what stood there as far as anybody here saw it. Of columns that
// are still to be compared with the hub's nobody saw anything: a delete takes the row
// whatever they hold there, and a move takes along what they hold there.
func (x *exporter) removal(t *table, c *touch, op change.Op, work edits) change.Op {
	op.Kind, op.Columns, op.Base = change.Delete, t.names, c.before
	base := work.row(x.cursor)
	switch {
	case len(t.gap.Columns) == 0:
	case op.Move != 0:
		base = change.Cursor{}
	default:
		var set []int
		op.Base = nil
		for i, name := range t.names {
			if !t.gap.holds(name) {
				set, op.Base = append(set, i), append(op.Base, c.before[i])
			}
		}
		op.Columns = x.columns(t, c.id.table, set)
	}
	op.BaseAt = x.baseAt(base)
	return op
}

// seenOf is the state of the hub that the author of a change to a column knew. Of a column
// that is still to be compared with the hub's nobody here has seen any state: the hub
// compares what stood there with its own value (trap D21).
func seenOf(t *table, work edits, column int, now change.Cursor) change.Cursor {
	if len(t.gap.Columns) > 0 && t.gap.holds(t.names[column]) {
		return change.Cursor{}
	}
	return work.column(t, column, now)
}

// told is up to which state the hub told this file of a row. A row that stands here only
// for the sake of unsettled work, while the hub has deleted it or it left the scopes, is
// not told of any more: what stood here may be older than any cursor says.
func (x *exporter) told(t *table, key string, work edits) (change.Cursor, error) {
	if !x.work || len(work) > 0 && work[0].op.Kind != change.Update {
		return x.cursor, nil
	}
	row, ok, err := x.e.shadow(t, key)
	if err != nil || !ok || row != nil {
		return x.cursor, err
	}
	return change.Cursor{}, nil
}

// columns returns the names of a set of columns; one slice for each set, which
// the encoding makes use of.
func (x *exporter) columns(t *table, n int, set []int) []string {
	b := make([]byte, 0, 16)
	b = append(b, byte(n), byte(n>>8))
	for _, i := range set {
		b = append(b, byte(i), byte(i>>8))
	}
	if names, ok := x.sets[string(b)]; ok {
		return names
	}
	names := make([]string, len(set))
	for j, i := range set {
		names[j] = t.names[i]
	}
	x.sets[string(b)] = names
	return names
}

// netMoves numbers the key changes of a group that lead from a row that is gone
// to one that is new; several steps count as one.
func netMoves(g *group) map[rowID]uint32 {
	if len(g.moves) == 0 {
		return nil
	}
	origin := map[rowID]rowID{} // where the row that is now at a key came from
	for _, m := range g.moves {
		from, ok := origin[m.from]
		if !ok {
			from = m.from
		}
		delete(origin, m.from)
		origin[m.to] = from
	}
	gone, made := map[rowID]bool{}, map[rowID]bool{}
	for _, c := range g.touched {
		gone[c.id] = c.before != nil && c.after == nil
		made[c.id] = c.before == nil && c.after != nil
	}
	out := map[rowID]uint32{}
	n := uint32(0)
	for _, c := range g.touched { // a fixed order
		from, ok := origin[c.id]
		if ok && made[c.id] && gone[from] && from.table == c.id.table {
			n++
			out[from], out[c.id] = n, n
		}
	}
	return out
}

// edits is the unsettled work on one row, oldest first.
type edits []edit

type edit struct {
	base change.Cursor
	op   *change.Op
}

// column is the base of a new edit of a column: what the author of its oldest
// unsettled edit had seen. The hub's newer values were hidden by the overlay, so
// the author of the new edit has not seen them either.
func (es edits) column(t *table, i int, now change.Cursor) change.Cursor {
	for _, x := range es {
		if x.op.Kind != change.Update || t.opColumn(x.op, i) >= 0 {
			return x.base
		}
	}
	return now
}

// row is the base of a new insert or delete of the row.
func (es edits) row(now change.Cursor) change.Cursor {
	if len(es) > 0 {
		return es[0].base
	}
	return now
}

// nextHLC is the reading after last for something that happened at ms.
func nextHLC(last change.HLC, ms int64) change.HLC {
	return max(last+1, change.NewHLC(ms, 0))
}

// millis is a duration kept as milliseconds.
func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
