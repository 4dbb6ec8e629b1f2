package ledger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Tables are those that sync, parents first.
type Tables []*Table

// A Table is one synced table, as the schema and the rules have it.
type Table struct {
	Rank  int // its place among Tables
	Def   *change.Table
	Rule  *rule.Table
	Scope Scope
}

// A Scope is how a table's rows get theirs: one of All, Column and Parent is set.
type Scope struct {
	All    bool               // every row is in rule.ScopeAll
	Kind   string             // of the column that the chain of parents ends at; "" where it ends at All
	Column string             // the scope is in this column, spelled as the schema does
	Parent *Table             // the scope is that of the parent row
	FK     *change.ForeignKey // that leads there
}

// Lay finds the tables that the rules name, and the way to their scopes. The result
// points into both arguments.
func Lay(schema *change.Schema, rules *rule.Rules) (Tables, error) {
	var list Tables
	for i := range rules.Tables {
		r := &rules.Tables[i]
		def := schema.Table(r.Name)
		if def == nil {
			return nil, fmt.Errorf("table %s: the database has no such table", r.Name)
		}
		if len(def.Key) == 0 {
			return nil, fmt.Errorf("table %s: a table without a primary key cannot sync", r.Name)
		}
		list = append(list, &Table{Def: def, Rule: r})
	}
	list = list.parentsFirst()
	for i, t := range list {
		t.Rank = i
		if err := list.resolve(t, nil); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Find is a table's rank; hub.ErrNotFound when there is none of that name. As the
// name is spelled comes before ASCII case folded.
func (l Tables) Find(name string) (int, error) {
	for i, t := range l { // most names are exact
		if t.Def.Name == name {
			return i, nil
		}
	}
	if i := l.Index(name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("table %s: %w", name, hub.ErrNotFound)
}

// Index is a table's rank by its name, ASCII case folded, or -1.
func (l Tables) Index(name string) int {
	return slices.IndexFunc(l, func(t *Table) bool { return strings.EqualFold(t.Def.Name, name) })
}

// parentsFirst orders tables so that a foreign key's parent comes before its
// child; a cycle is cut where the names' order meets it.
func (l Tables) parentsFirst() Tables {
	slices.SortFunc(l, func(a, b *Table) int { return strings.Compare(a.Def.Name, b.Def.Name) })
	out := make(Tables, 0, len(l))
	seen := map[*Table]bool{}
	var visit func(t *Table)
	visit = func(t *Table) {
		if seen[t] {
			return
		}
		seen[t] = true
		for _, fk := range t.Def.ForeignKeys {
			if i := l.Index(fk.Parent); i >= 0 {
				visit(l[i])
			}
		}
		out = append(out, t)
	}
	for _, t := range l {
		visit(t)
	}
	return out
}

// resolve turns the table's rule into a Scope. path holds the tables already being
// resolved, to tell a cycle.
func (l Tables) resolve(t *Table, path []*Table) error {
	if t.Scope != (Scope{}) {
		return nil
	}
	if slices.Contains(path, t) {
		return fmt.Errorf("table %s: its scope leads back to itself via column %s", t.Def.Name, t.Rule.Scope.Via)
	}
	switch s := t.Rule.Scope; {
	case s.All || t.Rule.Reference:
		t.Scope = Scope{All: true}
	case s.Column != "":
		i := t.Def.Column(s.Column)
		if i < 0 {
			return fmt.Errorf("table %s: scope column %s does not exist", t.Def.Name, s.Column)
		}
		t.Scope = Scope{Kind: s.Kind, Column: t.Def.Columns[i].Name}
	case s.Via != "":
		fk, parent := l.via(t, s.Via)
		if parent == nil {
			return fmt.Errorf("table %s: scope via %s needs a foreign key on that column to a synced table", t.Def.Name, s.Via)
		}
		if err := l.resolve(parent, append(path, t)); err != nil {
			return err
		}
		t.Scope = Scope{Kind: parent.Scope.Kind, Parent: parent, FK: fk}
	default:
		return fmt.Errorf("table %s: no scope is given", t.Def.Name)
	}
	return nil
}

// via finds the foreign key on a column: the narrowest whose parent syncs.
func (l Tables) via(t *Table, column string) (best *change.ForeignKey, parent *Table) {
	at := t.Def.Column(column)
	for i := range t.Def.ForeignKeys {
		fk := &t.Def.ForeignKeys[i]
		to := l.Index(fk.Parent)
		if to < 0 || !slices.Contains(fk.Columns, at) {
			continue
		}
		if best == nil || len(fk.Columns) < len(best.Columns) {
			best, parent = fk, l[to]
		}
	}
	return best, parent
}

// Relevant keeps the scopes that rows can be in: whichever has the kind of the root,
// the table at the end of the chain of parents, or only rule.ScopeAll.
func (s *Scope) Relevant(scopes []rule.ScopeID) []rule.ScopeID {
	root := s
	for root.Parent != nil {
		root = &root.Parent.Scope
	}
	out := make([]rule.ScopeID, 0, len(scopes))
	for _, id := range scopes {
		if root.All {
			if id == rule.ScopeAll {
				return []rule.ScopeID{id}
			}
			continue
		}
		if strings.HasPrefix(string(id), root.Kind+"/") {
			out = append(out, id)
		}
	}
	return out
}

// Descents are the ways from a table down to every one that gets its scope through it:
// the first step is its child, the last one the descendant. all is in the order that
// the ways are wanted in.
func Descents[T comparable](from T, all []T, parent func(T) T) [][]T {
	var out [][]T
	var walk func(from T, steps []T)
	walk = func(from T, steps []T) {
		for _, c := range all {
			if parent(c) == from {
				next := append(slices.Clone(steps), c)
				out = append(out, next)
				walk(c, next)
			}
		}
	}
	walk(from, nil)
	return out
}

// IndexFold is the place of a name in a list, ASCII case folded, or -1.
func IndexFold(list []string, name string) int {
	return slices.IndexFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// ContainsFold reports whether a list holds a name, ASCII case folded.
func ContainsFold(list []string, name string) bool { return IndexFold(list, name) >= 0 }
