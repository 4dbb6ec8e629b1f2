package postgresstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// orphan is the scope of a row whose parent is not there (yet).
const orphan = "?"

// A scoping is how a table's rows get their scope.
type scoping struct {
	resolved bool
	all      bool
	kind     string // of the column the chain ends at
	column   int    // set, with no parent: the scope is in this one of the stored columns
	parent   *table // set: the scope is the parent row's
	fk       *change.ForeignKey
	from     []int // the stored columns of the foreign key
	to       []int // and the parent's
	byKey    bool  // to is the parent's key
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
		return t.scopeByColumn(s)
	case s.Via != "":
		fk, parent := p.viaKey(t, s.Via)
		if parent == nil {
			return fmt.Errorf("table %s: scope via %s needs a foreign key on that column to a synced table", t.def.Name, s.Via)
		}
		if err := parent.resolveScope(p, append(path, t)); err != nil {
			return err
		}
		t.scope = scoping{resolved: true, kind: parent.scope.kind, parent: parent, fk: fk}
		for i, c := range fk.Columns {
			t.scope.from = append(t.scope.from, indexFold(t.names, t.def.Columns[c].Name))
			t.scope.to = append(t.scope.to, indexFold(parent.names, fk.To[i]))
		}
		if slices.Contains(t.scope.from, -1) || slices.Contains(t.scope.to, -1) {
			return fmt.Errorf("table %s: scope via %s leads through a generated column", t.def.Name, s.Via)
		}
		t.scope.byKey = slices.Equal(t.scope.to, parent.key)
	default:
		return fmt.Errorf("table %s: no scope is given", t.def.Name)
	}
	return nil
}

func (t *table) scopeByColumn(s rule.Scope) error {
	i := indexFold(t.names, s.Column)
	if i < 0 {
		return fmt.Errorf("table %s: scope column %s does not exist", t.def.Name, s.Column)
	}
	switch t.cols[i].form {
	case formReal, formDouble, formBytes, formNone:
		return fmt.Errorf("table %s: scope column %s of type %s cannot name a scope: use a text or an integer", t.def.Name, s.Column, t.cols[i].typ)
	}
	t.scope = scoping{resolved: true, kind: s.Kind, column: i}
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
				t.loose = t.loose || p.loose(c)
				walk(c, next)
			}
		}
	}
	walk(t, nil)
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
	case sc.all:
		return literal(string(rule.ScopeAll))
	case sc.parent == nil:
		return "coalesce(" + literal(sc.kind+"/") + " || " + t.cols[sc.column].text(prefix) + ", '')"
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
		s += "(SELECT _l.scope FROM tidemark.log AS _l WHERE _l.tbl = " + sc.parent.number() + " AND _l.op = " + strconv.Itoa(opDelete) +
			" AND " + t.pointed(prefix) + " ORDER BY _l.pos DESC LIMIT 1), "
	}
	return s + "CASE WHEN " + strings.Join(nulls, " OR ") + " THEN '' ELSE '" + orphan + "' END)"
}

// pointed is the condition that the log entry _l is about the parent of the row that
// prefix names.
func (t *table) pointed(prefix string) string {
	sc := &t.scope
	parts := make([]string, len(sc.from))
	for i, c := range sc.from {
		parts[i] = t.cols[c].text(prefix)
	}
	if sc.byKey {
		return "_l.key = ARRAY[" + strings.Join(parts, ", ") + "]"
	}
	for i, c := range sc.to { // a unique key: only the image tells, and only of this transaction
		parts[i] += fmt.Sprintf(" = _l.image[%d]", c+1)
	}
	return "_l.xid = pg_current_xact_id() AND " + strings.Join(parts, " AND ")
}

// sources are the stored columns of t that its rows' scopes are computed from.
func (t *table) sources() []int {
	switch {
	case t.scope.all:
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
		for _, c := range d.steps[0].scope.to {
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
	case sc.all:
		return "all"
	case sc.parent == nil:
		return sc.kind + "/" + quote(t.names[sc.column])
	}
	return strings.Join(t.pick("", sc.from), ",") + "->" + sc.parent.name + "(" + strings.Join(sc.parent.pick("", sc.to), ",") + ") " + sc.parent.signature()
}

// relevant keeps the scopes that rows of t can be in.
func (t *table) relevant(scopes []rule.ScopeID) []rule.ScopeID {
	root := t.root()
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
	if root.scope.all && t.scope.all {
		return "true"
	}
	leaf := "true"
	return t.withinAt(prefix, 0, func(up string) string {
		if !root.scope.all {
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
	cut := len(t.scope.kind) + 1
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
