package postgresstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A scoping is how a table's rows get their scope.
type scoping struct {
	ledger.Scope
	parent *table // Scope.Parent
	column int    // Scope.Column, among the stored columns
	from   []int  // the stored columns of Scope.FK
	to     []int  // and the parent's
	byKey  bool   // to is the parent's key
}

// placeScope finds the columns that a scope depends on among the stored ones.
func (t *table) placeScope(p *plan, s ledger.Scope) error {
	t.scope = scoping{Scope: s}
	sc := &t.scope
	switch {
	case s.Column != "":
		return t.scopeByColumn()
	case s.Parent != nil:
		sc.parent = p.tables[s.Parent.Rank]
		for i, c := range s.FK.Columns {
			sc.from = append(sc.from, ledger.IndexFold(t.names, t.def.Columns[c].Name))
			sc.to = append(sc.to, ledger.IndexFold(sc.parent.names, s.FK.To[i]))
		}
		if slices.Contains(sc.from, -1) || slices.Contains(sc.to, -1) {
			return fmt.Errorf("table %s: scope via %s leads through a generated column", t.def.Name, t.rule.Scope.Via)
		}
		sc.byKey = slices.Equal(sc.to, sc.parent.key)
	}
	return nil
}

func (t *table) scopeByColumn() error {
	column := t.rule.Scope.Column
	i := ledger.IndexFold(t.names, column)
	if i < 0 {
		return fmt.Errorf("table %s: scope column %s does not exist", t.def.Name, column)
	}
	switch t.cols[i].form {
	case formReal, formDouble, formBytes, formNone:
		return fmt.Errorf("table %s: scope column %s of type %s cannot name a scope: use a text or an integer", t.def.Name, column, t.cols[i].typ)
	}
	t.scope.column = i
	return nil
}

// loose reports whether rows of a table may hang in the air by the foreign key that
// leads to their scope.
func (p *plan) loose(t *table) bool {
	return p.hanging[looseKey{t.rel.OID, t.scope.parent.rel.OID}]
}

// A looseKey names the foreign keys from one table to another.
type looseKey struct{ from, to uint32 }

// readLoose finds the foreign keys that are checked late, or were not checked for
// all rows.
func (p *plan) readLoose(ctx context.Context, c *pgx.Conn) error {
	p.hanging = map[looseKey]bool{}
	err := query(ctx, c, `SELECT conrelid::int8, confrelid::int8, condeferrable FROM pg_constraint
		WHERE contype = 'f' AND (condeferrable OR NOT convalidated) AND conrelid = ANY($1::int8[]::oid[])`, func(r *row) error {
		p.hanging[looseKey{uint32(r.int(0)), uint32(r.int(1))}] = true
		p.deferred = p.deferred || r.bool(2)
		return nil
	}, p.oidArg())
	if err != nil {
		return fmt.Errorf("read foreign keys: %w", err)
	}
	return nil
}

// pick is some of the stored columns behind a prefix.
func (t *table) pick(prefix string, list []int) []string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = prefix + t.cols[c].quoted
	}
	return out
}

// expr is an SQL expression for the scope of the row that prefix names: never
// NULL, ” for a row in no scope, '?' when a parent is missing.
func (t *table) expr(prefix string) string { return t.exprAt(prefix, 0, false) }

// past is expr for a row as it was: a parent that is gone counts as it stood when it
// went.
func (t *table) past(prefix string) string { return t.exprAt(prefix, 0, true) }

func (t *table) exprAt(prefix string, depth int, past bool) string {
	sc := &t.scope
	switch {
	case sc.All:
		return literal(string(rule.ScopeAll))
	case sc.parent == nil:
		return "coalesce(" + literal(sc.Kind+"/") + " || " + t.cols[sc.column].text(prefix) + ", '')"
	}
	up := "_p" + strconv.Itoa(depth) + "."
	from := t.pick(prefix, sc.from)
	nulls := make([]string, len(from))
	for i, f := range from {
		nulls[i] = f + " IS NULL"
	}
	s := "coalesce((SELECT " + sc.parent.exprAt(up, depth+1, past) + " FROM " + sc.parent.name + " AS " + strings.TrimSuffix(up, ".") +
		" WHERE " + equals(sc.parent.pick(up, sc.to), from) + "), "
	if past {
		s += t.gone(prefix) + ", "
	}
	return s + "CASE WHEN " + strings.Join(nulls, " OR ") + " THEN '' ELSE '" + ledger.Orphan + "' END)"
}

// gone is the scope that the parent of the row that prefix names had when it went. It is
// a function's business, so that nothing of the log is opened where all parents are there.
func (t *table) gone(prefix string) string {
	sc := &t.scope
	parts := make([]string, len(sc.from))
	for i, c := range sc.from {
		parts[i] = t.cols[c].text(prefix)
	}
	if sc.byKey {
		return "tidemark.gone(" + sc.parent.number() + ", ARRAY[" + strings.Join(parts, ", ") + "])"
	}
	for i, c := range sc.to { // a unique key: only the image tells, and only of this transaction
		parts[i] += fmt.Sprintf(" = _l.image[%d]", c+1)
	}
	return "(SELECT _l.scope FROM tidemark.log AS _l WHERE _l.at >= now() - interval '1 day' AND _l.xid = pg_current_xact_id() AND _l.tbl = " + sc.parent.number() +
		" AND _l.op = " + strconv.Itoa(ledger.Delete) + " AND " + strings.Join(parts, " AND ") + " ORDER BY _l.pos DESC LIMIT 1)"
}

// sources are the stored columns of t that its rows' scopes are computed from.
func (t *table) sources() []int {
	switch {
	case t.scope.All:
		return nil
	case t.scope.parent == nil:
		return []int{t.scope.column}
	}
	return t.scope.from
}

// targets are the stored columns of t that tables below point at.
func (t *table) targets() []int {
	var out []int
	for _, d := range t.below {
		for _, c := range d[0].scope.to {
			if !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// signature names the rule and the way to the scope, so that a change is noticed.
func (t *table) signature() string {
	sc := &t.scope
	switch {
	case sc.All:
		return "all"
	case sc.parent == nil:
		return sc.Kind + "/" + quote(t.names[sc.column])
	}
	return strings.Join(t.pick("", sc.from), ",") + "->" + sc.parent.name + "(" + strings.Join(sc.parent.pick("", sc.to), ",") + ") " + sc.parent.signature()
}

// root is the table in which the scope of t's rows is written.
func (t *table) root() *table {
	for t.scope.parent != nil {
		t = t.scope.parent
	}
	return t
}

// within is the condition that the row prefix names is in one of the scopes, which
// are relevant and not none. It names the scope column itself, so that an index
// on it serves.
func (t *table) within(prefix string, scopes []rule.ScopeID, a *args) string {
	root := t.root()
	if root.scope.All && t.scope.All {
		return "true"
	}
	leaf := "true"
	return t.withinAt(prefix, 0, func(up string) string {
		if !root.scope.All {
			leaf = root.scopeIs(up, scopes, a)
		}
		return leaf
	})
}

func (t *table) withinAt(prefix string, depth int, leaf func(prefix string) string) string {
	sc := &t.scope
	if sc.parent == nil {
		return leaf(prefix)
	}
	up := "_w" + strconv.Itoa(depth) + "."
	return "(" + strings.Join(t.pick(prefix, sc.from), ", ") + ") IN (SELECT " + strings.Join(sc.parent.pick(up, sc.to), ", ") + " FROM " + sc.parent.name + " AS " +
		strings.TrimSuffix(up, ".") + " WHERE " + sc.parent.withinAt(up, depth+1, leaf) + ")"
}

// scopeIs is the condition that the scope column names one of the scopes.
func (t *table) scopeIs(prefix string, scopes []rule.ScopeID, a *args) string {
	c := &t.cols[t.scope.column]
	cut := len(t.scope.Kind) + 1
	texts, ints := make([]string, 0, len(scopes)), make([]int64, 0, len(scopes))
	for _, s := range scopes {
		texts = append(texts, string(s)[cut:])
		if n, err := strconv.ParseInt(string(s)[cut:], 10, 64); err == nil && strconv.FormatInt(n, 10) == string(s)[cut:] {
			ints = append(ints, n)
		}
	}
	switch c.form {
	case formInt2, formInt4, formInt8:
		return prefix + c.quoted + " = ANY(" + a.add(ints) + "::int8[])"
	case formText:
		if !c.folds && (c.cast == "text" || c.cast == "character varying" || c.cast == "varchar") {
			return prefix + c.quoted + " = ANY(" + a.add(texts) + "::text[])"
		}
	}
	return c.text(prefix) + " = ANY(" + a.add(texts) + "::text[])"
}

// number is the table's number, as SQL.
func (t *table) number() string { return strconv.FormatInt(t.id, 10) }

func scopeTexts(scopes []rule.ScopeID) []string {
	out := make([]string, len(scopes))
	for i, s := range scopes {
		out[i] = string(s)
	}
	return out
}
