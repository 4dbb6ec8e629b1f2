package rule

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// Defaults of a Lease. Low is a part of the size.
const (
	DefaultLeaseSize  = 1000
	DefaultLeaseStart = 1
	lowPart           = 5
)

// MaxNumber is the largest number that is handed out: larger ones are not exact
// in JSON and in JavaScript.
const MaxNumber = 1 << 53

// WithDefaults fills in what is zero: ranges of 1000, asked for when a fifth is
// left, from 1 on.
func (l Lease) WithDefaults() Lease {
	if l.Size == 0 {
		l.Size = DefaultLeaseSize
	}
	if l.Low == 0 {
		l.Low = max(l.Size/lowPart, 1)
	}
	if l.Start == 0 {
		l.Start = DefaultLeaseStart
	}
	return l
}

// A Series is a column whose numbers devices get in ranges.
type Series struct {
	Name   string // "table.column" in lower case
	Table  string
	Column string
	Key    bool // the column is the table's key
	Lease
}

// Series lists the leased columns of the tables, by name. A column that the
// tables lack is left out.
func (r *Rules) Series(s *change.Schema) []Series {
	var out []Series
	r.eachColumn(s, func(t *Table, st *change.Table, name string, c Column) {
		if c.Lease != nil {
			out = append(out, series(st, name, *c.Lease, false))
		}
	})
	for i := range r.Tables {
		t := &r.Tables[i]
		st := s.Table(t.Name)
		if st == nil || t.Keys != KeysLeased || len(st.Key) != 1 {
			continue
		}
		name := st.KeyNames()[0]
		out = slices.DeleteFunc(out, func(x Series) bool { return x.Name == seriesName(st.Name, name) })
		l := Lease{}
		if c := t.Columns[strings.ToLower(name)]; c.Lease != nil {
			l = *c.Lease
		}
		out = append(out, series(st, name, l, true))
	}
	slices.SortFunc(out, func(a, b Series) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func series(t *change.Table, column string, l Lease, key bool) Series {
	return Series{Name: seriesName(t.Name, column), Table: t.Name, Column: column, Key: key, Lease: l.WithDefaults()}
}

func seriesName(table, column string) string {
	return strings.ToLower(table) + "." + strings.ToLower(column)
}

// A Bound is a counter that never goes below its floor: devices take from it only
// what their share holds.
type Bound struct {
	Table  string
	Column string
	Floor  int64
}

// Bounds lists the bounded counters of the tables, by table and column. A column
// that the tables lack is left out.
func (r *Rules) Bounds(s *change.Schema) []Bound {
	var out []Bound
	r.eachColumn(s, func(t *Table, st *change.Table, name string, c Column) {
		if c.Floor != nil && !t.Reference {
			out = append(out, Bound{Table: st.Name, Column: name, Floor: *c.Floor})
		}
	})
	slices.SortFunc(out, func(a, b Bound) int { return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column)) })
	return out
}

// eachColumn calls fn for each column with decisions that the tables have.
func (r *Rules) eachColumn(s *change.Schema, fn func(t *Table, st *change.Table, name string, c Column)) {
	for i := range r.Tables {
		t := &r.Tables[i]
		st := s.Table(t.Name)
		if st == nil {
			continue
		}
		for low, c := range t.Columns {
			if j := st.Column(low); j >= 0 {
				fn(t, st, st.Columns[j].Name, c)
			}
		}
	}
}
