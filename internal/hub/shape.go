package hub

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/check"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A shape is the tables and rules in force, prepared for lookup. It is never
// modified: Reload swaps in another one.
type shape struct {
	tables []*table // parents before children
	byName map[string]*table
	setup  *wire.Setup
	schema change.Schema           // as the store has it, with tables that cannot be served
	rules  *rule.Rules             // as the configuration has them; setup has what fits the tables
	lost   []rule.Misfit           // tables of the rules that cannot be served
	series map[string]*rule.Series // by name
}

// A table is one synced table with everything decided about it.
type table struct {
	schema   *change.Table
	rule     *rule.Table
	names    []string       // stored columns
	at       map[string]int // lower-case name → index into names
	key      []int          // indices into names, in key order
	cols     []column       // parallel to names
	scopeCol int            // index into names of the scope or via column; -1
	parents  []*link        // its foreign keys to synced tables
	children []*link        // the foreign keys of synced tables to it
	unique   [][]int        // indices into names, of UNIQUE sets without predicate or expression
	checks   *check.Set
	bounded  []int  // indices into names, of counters with a floor
	closed   string // why no device may write it; "" when they may
	rank     int    // parents have lower ranks
}

// A column is one stored column with everything decided about it.
type column struct {
	policy   rule.Policy
	rule     rule.Column
	affinity change.Affinity
	inKey    bool
}

// A link is one foreign key between two synced tables.
type link struct {
	fk            *change.ForeignKey
	child, parent *table
	from          []int              // indices into child.names
	to            []int              // indices into parent.names
	byKey         bool               // to is the parent's key, in key order
	reverse       *change.ForeignKey // finds parent rows by the referenced columns when not byKey
}

func newShape(schema change.Schema, rules *rule.Rules, ddl []string) (*shape, error) {
	fit, lost := rule.Fit(rules, &schema)
	s := &shape{byName: map[string]*table{}, schema: schema, rules: rules, lost: lost}
	schema = s.served(&fit)
	for i := range schema.Tables {
		st := &schema.Tables[i]
		r := fit.Table(st.Name)
		if r == nil {
			continue
		}
		t, err := newTable(st, r)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", st.Name, err)
		}
		s.tables = append(s.tables, t)
		s.byName[strings.ToLower(st.Name)] = t
		s.byName[st.Name] = t
	}
	s.alias()
	for _, t := range s.tables {
		s.connect(t)
	}
	s.order()
	s.setup = &wire.Setup{Schema: schema, DDL: ddl, Rules: fit}
	s.series = map[string]*rule.Series{}
	for _, x := range fit.Series(&schema) {
		s.series[x.Name] = &x
	}
	var err error
	s.setup.Hash, err = hashSetup(s.setup)
	return s, err
}

func newTable(st *change.Table, r *rule.Table) (*table, error) {
	t := &table{schema: st, rule: r, names: st.StoredNames(), at: map[string]int{}, scopeCol: -1}
	for i, n := range t.names {
		t.at[strings.ToLower(n)] = i
		t.cols = append(t.cols, column{
			policy:   r.PolicyOf(n),
			rule:     r.Columns[strings.ToLower(n)],
			affinity: st.Affinity(st.Column(n)),
			inKey:    st.InKey(st.Column(n)),
		})
	}
	for i := range t.cols {
		if t.cols[i].rule.Floor != nil {
			t.bounded = append(t.bounded, i)
		}
	}
	t.alias()
	for _, n := range st.KeyNames() {
		t.key = append(t.key, t.at[strings.ToLower(n)])
	}
	if name := r.Scope.Column + r.Scope.Via; name != "" {
		i, ok := t.at[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("scope column %s does not exist", name)
		}
		t.scopeCol = i
	}
	for _, u := range st.Unique {
		if u.Where != "" || slices.Contains(u.Columns, -1) {
			continue
		}
		cols, ok := t.storedOf(u.Columns)
		if ok {
			t.unique = append(t.unique, cols)
		}
	}
	var err error
	if t.checks, err = check.Compile(r.Checks, st); err != nil {
		t.closed = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return t, nil
}

// storedOf maps indices into schema.Columns to indices into names; ok is false
// when one of them is generated.
func (t *table) storedOf(cols []int) (out []int, ok bool) {
	for _, c := range cols {
		if c < 0 {
			return nil, false
		}
		i, ok := t.at[strings.ToLower(t.schema.Columns[c].Name)]
		if !ok || t.schema.Columns[c].Generated {
			return nil, false
		}
		out = append(out, i)
	}
	return out, true
}

// connect links t's foreign keys to the synced tables they point at. A key that
// points elsewhere, or through a generated column, is the database's own matter.
func (s *shape) connect(t *table) {
	for i := range t.schema.ForeignKeys {
		fk := &t.schema.ForeignKeys[i]
		p := s.table(fk.Parent)
		if p == nil {
			continue
		}
		from, ok := t.storedOf(fk.Columns)
		if !ok {
			continue
		}
		l := &link{fk: fk, child: t, parent: p, from: from}
		rev := &change.ForeignKey{Parent: t.schema.Name, To: nil}
		for _, n := range fk.To {
			c, ok := p.at[strings.ToLower(n)]
			if !ok {
				break
			}
			l.to = append(l.to, c)
			rev.Columns = append(rev.Columns, p.schema.Column(n))
			rev.To = append(rev.To, n)
		}
		if len(l.to) != len(l.from) {
			continue
		}
		l.reverse = rev
		l.byKey = slices.Equal(l.to, p.key)
		t.parents = append(t.parents, l)
		p.children = append(p.children, l)
	}
}

// order ranks the tables so that parents come first; inside a cycle the order is
// that of the names.
func (s *shape) order() {
	done := map[*table]bool{}
	var out []*table
	var visit func(t *table)
	visit = func(t *table) {
		if done[t] {
			return
		}
		done[t] = true
		for _, l := range t.parents {
			visit(l.parent)
		}
		t.rank = len(out)
		out = append(out, t)
	}
	for _, t := range s.tables {
		visit(t)
	}
	s.tables = out
}

// table finds a table by its name or one of its others, ASCII case folded, or nil.
func (s *shape) table(name string) *table {
	if t := s.byName[name]; t != nil {
		return t
	}
	return s.byName[strings.ToLower(name)]
}

// column finds a stored column by its name or one of its others, ASCII case
// folded, or -1.
func (t *table) column(name string) int {
	if i, ok := t.at[strings.ToLower(name)]; ok {
		return i
	}
	return -1
}

// keyOf cuts the key out of a row's stored columns.
func (t *table) keyOf(row []change.Value) change.Key {
	k := make(change.Key, len(t.key))
	for i, c := range t.key {
		k[i] = row[c]
	}
	return k
}

// pick cuts columns out of a row; null reports whether one of them is NULL.
func pick(row []change.Value, cols []int) (out []change.Value, null bool) {
	out = make([]change.Value, len(cols))
	for i, c := range cols {
		out[i] = row[c]
		null = null || row[c].IsNull()
	}
	return out, null
}
