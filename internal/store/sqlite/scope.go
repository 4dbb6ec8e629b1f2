package sqlitestore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A scoping is how a table's rows get their scope.
type scoping struct {
	ledger.Scope
	parent *table // Scope.Parent
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
	case t.scope.All:
		return "'" + string(rule.ScopeAll) + "'"
	case t.scope.Column != "":
		return "coalesce(" + sqlite.Literal(t.scope.Kind+"/") + "||" + alias + sqlite.Quote(t.scope.Column) + ", '')"
	}
	up := fmt.Sprintf("_p%d.", depth)
	from := prefixed(alias, fkNames(t, t.scope.FK))
	nulls := make([]string, len(from))
	for i, f := range from {
		nulls[i] = f + " IS NULL"
	}
	return "coalesce((SELECT " + t.scope.parent.exprAt(up, depth+1) + " FROM " + t.scope.parent.name + " AS " + strings.TrimSuffix(up, ".") +
		" WHERE " + equals(up, t.scope.FK.To, from) + "), CASE WHEN " + strings.Join(nulls, " OR ") + " THEN '' ELSE '" + ledger.Orphan + "' END)"
}

// sources are the columns of t that its rows' scopes are computed from.
func (t *table) sources() []string {
	switch {
	case t.scope.Column != "":
		return []string{t.scope.Column}
	case t.scope.parent != nil:
		return fkNames(t, t.scope.FK)
	}
	return nil
}

// targets are the columns of t that tables below point at.
func (t *table) targets() []string {
	var out []string
	for _, d := range t.below {
		for _, n := range d[0].scope.FK.To {
			if !ledger.ContainsFold(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// signature names the rule and the way to the scope, so that a change is noticed.
func (t *table) signature() string { return t.expr("t.") }

// inScopes is an SQL condition that the row alias names is in one of n scopes,
// given as parameters; "1" when every row of the table is.
func (t *table) inScopes(alias string, n int) string {
	if t.scope.All {
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
