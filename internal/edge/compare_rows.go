package edge

import (
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A rowDiff is a row that the file, without its pending work, and the hub have
// differently. Values are in table order; nil is an absent row.
type rowDiff struct {
	key      change.Key
	own, hub []change.Value
}

// compareBuckets lists the rows of some buckets that differ from the hub's. What the
// file cannot hold as the hub does, because a column's type is another here or the
// column is not there, does not differ.
func (e *Engine) compareBuckets(rep *VerifyTable, buckets []int, body []byte) ([]rowDiff, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tableNamed(rep.Table)
	if t == nil || t.missing {
		return nil, fmt.Errorf("table %s is missing from the file", rep.Table)
	}
	in := make([]bool, change.Buckets)
	for _, b := range buckets {
		in[b] = true
	}
	own := map[string][]change.Value{}
	err := e.hubView(t, func(key change.Key, row []change.Value) {
		if in[change.Bucket(key)] {
			own[key.ID()] = slices.Clone(row)
		}
	})
	if err != nil {
		return nil, err
	}
	var diffs []rowDiff
	if len(body) > 0 {
		list, err := change.OpenRows(body, change.Limits{})
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			diffs = compareHub(diffs, t, r, own, rep)
		}
	}
	at := len(diffs)
	for _, row := range own {
		diffs = append(diffs, rowDiff{key: t.keyOf(row), own: row})
	}
	slices.SortFunc(diffs[at:], func(a, b rowDiff) int { return slices.Compare([]byte(a.key.ID()), []byte(b.key.ID())) })
	for i := range diffs[at:] {
		rep.Extra = append(rep.Extra, diffs[at+i].key)
	}
	return diffs, nil
}

// compareHub takes each of the hub's rows out of own and notes how it differs.
func compareHub(diffs []rowDiff, t *table, r *change.Rows, own map[string][]change.Value, rep *VerifyTable) []rowDiff {
	for i := range r.Len() {
		key := r.KeyOf(i)
		id := key.ID()
		mine, ok := own[id]
		delete(own, id)
		want := make([]change.Value, len(t.names))
		copy(want, mine)
		assign(t, want, r.Columns, r.Row(i))
		switch {
		case !ok:
			rep.Missing = append(rep.Missing, key)
		case !t.sameRow(want, mine):
			rep.Differ = append(rep.Differ, key)
		default:
			continue
		}
		diffs = append(diffs, rowDiff{key: key, own: mine, hub: want})
	}
	return diffs
}

// sameRow reports whether the file would hold the hub's row as it holds mine.
func (t *table) sameRow(hub, mine []change.Value) bool {
	for i := range mine {
		if !t.sameValue(i, hub[i], mine[i]) {
			return false
		}
	}
	return true
}

func (t *table) sameValue(i int, hub, mine change.Value) bool {
	return hub == mine || t.schema.Affinity(t.stored[i]).Store(hub) == mine
}

// A finding is what a comparison makes of the rows of one table that differ.
type finding struct {
	table string
	fix   *change.Rows // become the hub's
	keep  string       // the reason under which what stood there is kept; "" when it is nobody's work
	found []foundRow   // written here without capture: handed in
}

// A foundRow is a change of the application's that a comparison found.
type foundRow struct {
	rowDiff
	late []bool // columns that the file and the hub have in common only now, set on both sides
	send []bool // columns to hand in; nil for a whole row
}

// judge decides about the rows of a table that differ. Outside a gap nobody knows
// who is right, and without repair nothing is done.
func (e *Engine) judge(rep *VerifyTable, diffs []rowDiff, repair bool) (*finding, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tableNamed(rep.Table)
	if t == nil {
		return nil, fmt.Errorf("table %s does not sync any more", rep.Table)
	}
	out := &finding{table: t.schema.Name, fix: &change.Rows{Table: t.schema.Name, Columns: t.names, Key: t.key}}
	if repair {
		out.keep = "differed from the hub without a captured change"
	}
	if t.gap.unsure() {
		out.keep = unsureReason
	}
	empty, err := e.emptyTable(t)
	if err != nil {
		return nil, err
	}
	start, err := e.startValues(t)
	if err != nil {
		return nil, err
	}
	rep.closed = true
	for _, d := range diffs {
		switch {
		case d.own == nil && t.gap.Lost && !t.gap.Behind && !empty:
			out.found = append(out.found, foundRow{rowDiff: d})
		case d.own == nil && (t.gap.unsure() || repair):
			// A table without a row was made anew, not emptied.
			out.fix.Values = append(out.fix.Values, d.hub...)
		case d.hub == nil && t.gap.unsure():
			out.found = append(out.found, foundRow{rowDiff: d})
		case d.hub == nil && repair:
			out.fix.Gone = append(out.fix.Gone, d.key...)
		case d.own == nil || d.hub == nil:
			rep.closed = false
		default:
			rep.closed = out.columns(t, d, start, repair) && rep.closed
		}
	}
	return out, nil
}

// columns decides about a row that both have.
func (f *finding) columns(t *table, d rowDiff, start []change.Value, repair bool) (closed bool) {
	closed = true
	row := slices.Clone(d.own)
	x := foundRow{rowDiff: d, late: make([]bool, len(row)), send: make([]bool, len(row))}
	take, some := false, false
	for i := range row {
		if t.sameValue(i, d.hub[i], d.own[i]) {
			continue
		}
		held := t.gap.holds(t.names[i])
		was, retyped := t.gap.Kinds[t.names[i]]
		switch {
		case retyped && was.Store(d.hub[i]) == was.Store(d.own[i]):
			row[i], take = d.hub[i], true
		case held && d.own[i] == start[i], t.gap.Behind, !held && !t.gap.Lost && repair:
			row[i], take = d.hub[i], true
		case held:
			hubStart := d.hub[i].IsNull() || d.hub[i] == t.hubKind[i].Store(start[i])
			x.late[i], x.send[i], some = !hubStart, true, true
		case t.gap.Lost:
			x.send[i], some = true, true
		default:
			closed = false
		}
	}
	if some {
		f.found = append(f.found, x)
	}
	if take {
		f.fix.Values = append(f.fix.Values, row...)
	}
	return closed
}

// startValues are what ADD COLUMN leaves in the rows that are there: the columns'
// defaults.
func (e *Engine) startValues(t *table) ([]change.Value, error) {
	out := make([]change.Value, len(t.names))
	if len(t.gap.Columns) == 0 {
		return out, nil
	}
	for i := range out {
		c := &t.schema.Columns[t.stored[i]]
		if c.Default == "" {
			continue
		}
		v, _, err := sqlite.One(e.conn, "SELECT "+c.Default)
		if err != nil {
			return nil, fmt.Errorf("default of column %s.%s: %w", t.schema.Name, t.names[i], err)
		}
		out[i] = t.schema.Affinity(t.stored[i]).Store(v)
	}
	return out, nil
}
