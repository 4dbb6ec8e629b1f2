package sqlitestore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// orphan is the scope of a row whose parent is not there (yet).
const orphan = "?"

// A scoping is how a table's rows get their scope.
type scoping struct {
	resolved bool
	all      bool
	kind     string // of the column the chain ends at
	column   string // set: the scope is in this column
	parent   *table // set: the scope is the parent row's
	fk       *change.ForeignKey
}

// A descent is the way from a table's row down to the rows that get their scope
// through it: steps[0] is a child of the table, the last step the descendant.
type descent struct {
	steps []*table
}

// end is the table whose rows the descent reaches.
func (d *descent) end() *table { return d.steps[len(d.steps)-1] }

// resolveScope turns the table's rule into a scoping. path holds the tables
// already being resolved, to tell a cycle.
func (t *table) resolveScope(p *plan, path []*table) error {
	if t.scope.resolved {
		return nil
	}
	if slices.Contains(path, t) {
		return fmt.Errorf("table %s: its scope leads back to itself via column %s", t.def.Name, t.rule.Scope.Via)
	}
	switch s := t.rule.Scope; {
	case s.All || t.rule.Reference:
		t.scope = scoping{resolved: true, all: true}
	case s.Column != "":
		i := t.def.Column(s.Column)
		if i < 0 {
			return fmt.Errorf("table %s: scope column %s does not exist", t.def.Name, s.Column)
		}
		t.scope = scoping{resolved: true, kind: s.Kind, column: t.def.Columns[i].Name}
	case s.Via != "":
		fk, parent := p.viaKey(t, s.Via)
		if parent == nil {
			return fmt.Errorf("table %s: scope via %s needs a foreign key on that column to a synced table", t.def.Name, s.Via)
		}
		if err := parent.resolveScope(p, append(path, t)); err != nil {
			return err
		}
		t.scope = scoping{resolved: true, all: false, kind: parent.scope.kind, parent: parent, fk: fk}
	default:
		return fmt.Errorf("table %s: no scope is given", t.def.Name)
	}
	return nil
}

// viaKey finds the foreign key on a column: the narrowest whose parent syncs.
func (p *plan) viaKey(t *table, column string) (best *change.ForeignKey, parent *table) {
	at := t.def.Column(column)
	for i := range t.def.ForeignKeys {
		fk := &t.def.ForeignKeys[i]
		to := p.byName[strings.ToLower(fk.Parent)]
		if to == nil || !slices.Contains(fk.Columns, at) {
			continue
		}
		if best == nil || len(fk.Columns) < len(best.Columns) {
			best, parent = fk, to
		}
	}
	return best, parent
}

// findBelow collects the ways down to every table that follows t's scope.
func (t *table) findBelow(p *plan) {
	var walk func(from *table, steps []*table)
	walk = func(from *table, steps []*table) {
		for _, c := range p.tables {
			if c.scope.parent == from {
				next := append(slices.Clone(steps), c)
				t.below = append(t.below, &descent{steps: next})
				walk(c, next)
			}
		}
	}
	walk(t, nil)
}

// fkNames are the columns of a foreign key in its own table.
func fkNames(t *table, fk *change.ForeignKey) []string {
	out := make([]string, len(fk.Columns))
	for i, c := range fk.Columns {
		out[i] = t.def.Columns[c].Name
	}
	return out
}

// expr is an SQL expression for the scope of the row that alias names: never
// NULL, ” for a row in no scope, '?' when a parent is missing.
func (t *table) expr(alias string) string { return t.exprAt(alias, 0) }

func (t *table) exprAt(alias string, depth int) string {
	switch {
	case t.scope.all:
		return "'" + string(rule.ScopeAll) + "'"
	case t.scope.column != "":
		return "coalesce(" + sqlite.Literal(t.scope.kind+"/") + "||" + alias + sqlite.Quote(t.scope.column) + ", '')"
	}
	up := fmt.Sprintf("_p%d.", depth)
	from := prefixed(alias, fkNames(t, t.scope.fk))
	nulls := make([]string, len(from))
	for i, f := range from {
		nulls[i] = f + " IS NULL"
	}
	return "coalesce((SELECT " + t.scope.parent.exprAt(up, depth+1) + " FROM " + t.scope.parent.name + " AS " + strings.TrimSuffix(up, ".") +
		" WHERE " + equals(up, t.scope.fk.To, from) + "), CASE WHEN " + strings.Join(nulls, " OR ") + " THEN '' ELSE '" + orphan + "' END)"
}

// sources are the columns of t that its rows' scopes are computed from.
func (t *table) sources() []string {
	switch {
	case t.scope.column != "":
		return []string{t.scope.column}
	case t.scope.parent != nil:
		return fkNames(t, t.scope.fk)
	}
	return nil
}

// targets are the columns of t that tables below point at.
func (t *table) targets() []string {
	var out []string
	for _, d := range t.below {
		for _, n := range d.steps[0].scope.fk.To {
			if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, n) }) {
				out = append(out, n)
			}
		}
	}
	return out
}

// signature names the rule and the way to the scope, so that a change is noticed.
func (t *table) signature() string { return t.expr("t.") }

// relevant keeps the scopes that rows of t can be in. many is whether any is left.
func (t *table) relevant(scopes []rule.ScopeID) []rule.ScopeID {
	root := t
	for root.scope.parent != nil {
		root = root.scope.parent
	}
	out := make([]rule.ScopeID, 0, len(scopes))
	for _, s := range scopes {
		if root.scope.all {
			if s == rule.ScopeAll {
				return []rule.ScopeID{s}
			}
			continue
		}
		if strings.HasPrefix(string(s), root.scope.kind+"/") {
			out = append(out, s)
		}
	}
	return out
}

// inScopes is an SQL condition that the row alias names is in one of n scopes,
// given as parameters; "1" when every row of the table is.
func (t *table) inScopes(alias string, n int) string {
	if t.scope.all {
		return "1"
	}
	return t.expr(alias) + " IN (" + strings.Join(params(n), ", ") + ")"
}

// pad repeats scopes up to the next power of two, so that few statements serve
// all sizes of scope sets.
func pad(scopes []rule.ScopeID) []change.Value {
	n := 1
	for n < len(scopes) {
		n *= 2
	}
	out := make([]change.Value, n)
	for i := range out {
		out[i] = change.Text(string(scopes[min(i, len(scopes)-1)]))
	}
	return out
}
