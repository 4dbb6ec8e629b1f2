package sqlitestore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// scopeOf is the scope of a row just written, from the values of some of its
// columns, as table.expr gives it. key finds the row when they do not suffice;
// nil for a row that is gone.
func (t *tx) scopeOf(tb *table, names []string, values []change.Value, key change.Key) (string, error) {
	switch {
	case tb.scope.All:
		return string(rule.ScopeAll), nil
	case tb.scope.Column != "":
		i := ledger.IndexFold(names, tb.scope.Column)
		if i < 0 {
			return t.scopeAt(tb, key)
		}
		if !tb.plain(values[i]) {
			if key != nil {
				return t.scopeAt(tb, key)
			}
			text, _, err := sqlite.One(t.c, "SELECT ?1 || '/' || ?2", change.Text(tb.scope.Kind), values[i])
			return text.Str(), err
		}
		return string(rule.Of(tb.scope.Kind, values[i])), nil
	}
	up := make([]change.Value, len(tb.src))
	for j, n := range tb.src {
		i := ledger.IndexFold(names, n)
		if i < 0 {
			return t.scopeAt(tb, key)
		}
		if values[i].IsNull() {
			return "", nil
		}
		up[j] = values[i]
	}
	return t.scopeVia(tb, up)
}

// plain reports whether the engine writes a value of the scope column into a
// text just as rule.Of does.
func (t *table) plain(v change.Value) bool {
	switch v.Kind() {
	case change.KindFloat:
		return false
	case change.KindInt, change.KindText:
		return t.scopeText || v.Kind() == change.KindInt && t.scopeInt
	}
	return true
}

// scopeVia is the scope of rows that point at a parent with these values.
func (t *tx) scopeVia(tb *table, up []change.Value) (string, error) {
	id := tb.viaID + change.Key(up).ID()
	if s, ok := t.scopes[id]; ok {
		return s, nil
	}
	got, ok, err := sqlite.One(t.c, tb.viaSQL, up...)
	if err != nil {
		return "", fmt.Errorf("scope of a row of %s: %w", tb.def.Name, err)
	}
	scope := got.Str()
	if !ok || scope == ledger.Orphan { // not remembered: the parent may come, spelled differently
		return ledger.Orphan, nil
	}
	if len(t.scopes) >= scopesKept {
		clear(t.scopes)
	}
	t.scopes[id] = scope
	return scope, nil
}

// scopeAt is the scope of a row as it stands; "" when it is not there.
func (t *tx) scopeAt(tb *table, key change.Key) (string, error) {
	got, _, err := sqlite.One(t.c, tb.scopeSQL, key...)
	if err != nil {
		return "", fmt.Errorf("scope of a row of %s: %w", tb.def.Name, err)
	}
	return got.Str(), nil
}

// prepare builds the statements with which a tx keeps the log, once the table
// has its number.
func (t *table) prepare() {
	t.src, t.to = t.sources(), t.targets()
	t.scopeSQL = "SELECT " + t.expr("t.") + " FROM " + t.name + " AS t WHERE " + t.where
	t.bury = "INSERT INTO _tidemark_tomb (pos"
	for i := range t.names {
		t.bury += fmt.Sprintf(", v%d", i)
	}
	t.bury += ") VALUES (" + marks(1+len(t.names)) + ")"
	if p := t.scope.parent; p != nil {
		t.viaSQL = "SELECT " + p.exprAt("_p0.", 1) + " FROM " + p.name + " AS _p0 WHERE " + equals("_p0.", t.scope.FK.To, params(len(t.src)))
		t.viaID = p.childID(t.scope.FK)
	}
	if i := t.def.Column(t.scope.Column); t.scope.Column != "" && i >= 0 {
		switch t.def.Affinity(i) {
		case change.AffinityText:
			t.scopeText = true
		case change.AffinityBlob:
			t.scopeText, t.scopeInt = true, true
		case change.AffinityInteger, change.AffinityNumeric:
			t.scopeInt = true
		}
	}
	t.follows, t.adoptions, t.links = nil, nil, nil
	for _, d := range t.below {
		if c := d[0]; len(d) == 1 {
			t.links = append(t.links, link{t.childID(c.scope.FK), c.scope.FK.To})
		}
		t.follows = append(t.follows, t.follow(d, "t.", bound, "?", t.name+" AS t CROSS JOIN ", " AND "+t.where))
		t.adoptions = append(t.adoptions, t.adopt(d, "t.", bound, "?", t.name+" AS t CROSS JOIN ", " AND "+t.where))
	}
}

// childID names, for tx.scopes, the rows of t by the columns a foreign key points at.
func (t *table) childID(fk *change.ForeignKey) string {
	return t.number() + ":" + strings.ToLower(strings.Join(fk.To, ",")) + ":"
}

// remember keeps the scope of a row just inserted for the rows that point at it.
func (t *tx) remember(tb *table, e *hub.Effect, scope string) {
	for _, l := range tb.links {
		up := make(change.Key, len(l.to))
		for j, n := range l.to {
			if i := ledger.IndexFold(e.Columns, n); i >= 0 {
				up[j] = e.Values[i]
			}
		}
		if len(t.scopes) >= scopesKept {
			clear(t.scopes)
		}
		t.scopes[l.viaID+up.ID()] = scope
	}
}
