package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// tab is a table from "name: key, column, column>parent, column+column>parent"; a
// column that stands there twice is one.
func tab(text string) change.Table {
	name, cols, _ := strings.Cut(text, ": ")
	t := change.Table{Name: name, Key: []int{0}}
	for c := range strings.SplitSeq(cols, ", ") {
		c, parent, fk := strings.Cut(c, ">")
		key := change.ForeignKey{Parent: parent}
		for n := range strings.SplitSeq(c, "+") {
			at := t.Column(n)
			if at < 0 {
				at, t.Columns = len(t.Columns), append(t.Columns, change.Column{Name: n})
			}
			key.Columns, key.To = append(key.Columns, at), append(key.To, "id")
		}
		if fk {
			t.ForeignKeys = append(t.ForeignKeys, key)
		}
	}
	return t
}

func schema(tables ...string) *change.Schema {
	s := &change.Schema{}
	for _, t := range tables {
		s.Tables = append(s.Tables, tab(t))
	}
	return s
}

var (
	all      = rule.Scope{All: true}
	byBranch = rule.Scope{Kind: "branch", Column: "Branch"}
)

func via(column string) rule.Scope { return rule.Scope{Via: column} }

func rules(list ...rule.Table) *rule.Rules { return &rule.Rules{Tables: list} }

func TestLay(t *testing.T) {
	for name, c := range map[string]struct {
		schema *change.Schema
		rules  *rule.Rules
		want   string // the tables and where their scope is; or the error
	}{
		"parents first":            {schema("a: id, b>b", "b: id, c>C", "c: id"), rules(rule.Table{Name: "a", Scope: via("b")}, rule.Table{Name: "b", Scope: via("c")}, rule.Table{Name: "c", Scope: all}), "c all; b via c; a via b"},
		"a cycle is cut by name":   {schema("b: id, a>a", "a: id, b>b"), rules(rule.Table{Name: "b", Scope: all}, rule.Table{Name: "a", Scope: all}), "b all; a all"},
		"a column":                 {schema("a: id, branch"), rules(rule.Table{Name: "a", Scope: byBranch}), "a branch/branch"},
		"a reference":              {schema("a: id"), rules(rule.Table{Name: "a", Reference: true}), "a all"},
		"the narrowest key":        {schema("a: id, x+y>c, x>b", "b: id", "c: id"), rules(rule.Table{Name: "a", Scope: via("x")}, rule.Table{Name: "b", Scope: all}, rule.Table{Name: "c", Scope: all}), "c all; b all; a via b"},
		"whose parent syncs":       {schema("a: id, x+y>c, x>b", "b: id", "c: id"), rules(rule.Table{Name: "a", Scope: via("x")}, rule.Table{Name: "c", Scope: all}), "c all; a via c"},
		"before its scope's table": {schema("a: id, b>b", "b: id, a>a, branch"), rules(rule.Table{Name: "a", Scope: via("b")}, rule.Table{Name: "b", Scope: byBranch}), "b branch/branch; a via b"},
		"no table":                 {schema("a: id"), rules(rule.Table{Name: "b", Scope: all}), "table b: the database has no such table"},
		"no scope":                 {schema("a: id"), rules(rule.Table{Name: "a"}), "table a: no scope is given"},
		"no column":                {schema("a: id"), rules(rule.Table{Name: "a", Scope: byBranch}), "table a: scope column Branch does not exist"},
		"no such key":              {schema("a: id, b"), rules(rule.Table{Name: "a", Scope: via("b")}), "table a: scope via b needs a foreign key on that column to a synced table"},
		"its parent has none":      {schema("a: id, b>b", "b: id"), rules(rule.Table{Name: "a", Scope: via("b")}, rule.Table{Name: "b"}), "table b: no scope is given"},
		"in a circle":              {schema("a: id, b>b", "b: id, a>a"), rules(rule.Table{Name: "a", Scope: via("b")}, rule.Table{Name: "b", Scope: via("a")}), "table b: its scope leads back to itself via column a"},
	} {
		list, err := Lay(c.schema, c.rules)
		var got []string
		for i, l := range list {
			where := "all"
			switch s := l.Scope; {
			case s.Parent != nil:
				where = "via " + s.Parent.Def.Name
			case !s.All:
				where = s.Kind + "/" + s.Column
			}
			got = append(got, l.Def.Name+" "+where)
			if l.Rank != i || l.Rule.Name != l.Def.Name {
				t.Errorf("%s: %s has rank %d and the rule of %s", name, l.Def.Name, l.Rank, l.Rule.Name)
			}
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %s\nwant %s", name, s, c.want)
		}
	}
	s := schema("a: id")
	s.Tables[0].Key = nil
	if _, err := Lay(s, rules(rule.Table{Name: "a", Scope: all})); err == nil || err.Error() != "table a: a table without a primary key cannot sync" {
		t.Errorf("without a key: %v", err)
	}
}

func TestFind(t *testing.T) {
	list := Tables{{Def: &change.Table{Name: "a"}}, {Def: &change.Table{Name: "A"}}, {Def: &change.Table{Name: "Big"}}}
	for name, want := range map[string]int{"a": 0, "A": 1, "Big": 2, "BIG": 2} {
		if got, err := list.Find(name); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	if _, err := list.Find("none"); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a name that is none: %v", err)
	}
}

func TestRelevant(t *testing.T) {
	list, err := Lay(schema("a: id, b>b", "b: id, branch", "c: id", "d: id, c>c"),
		rules(rule.Table{Name: "a", Scope: via("b")}, rule.Table{Name: "b", Scope: byBranch}, rule.Table{Name: "c", Scope: all}, rule.Table{Name: "d", Scope: via("c")}))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		want := []rule.ScopeID{"branch/1", "branch/2"}
		if l.Def.Name >= "c" {
			want = []rule.ScopeID{rule.ScopeAll}
		}
		if got := l.Scope.Relevant([]rule.ScopeID{"branch/1", "branches/1", rule.ScopeAll, "branch/2"}); !slices.Equal(got, want) {
			t.Errorf("%s: %v", l.Def.Name, got)
		}
		if got := l.Scope.Relevant([]rule.ScopeID{"other/1"}); len(got) != 0 {
			t.Errorf("%s: %v", l.Def.Name, got)
		}
	}
}

func TestDescents(t *testing.T) {
	parent := map[string]string{"b": "a", "c": "b", "d": "b", "e": "a", "f": "x"}
	var got []string
	for _, d := range Descents("a", []string{"a", "b", "c", "d", "e", "f"}, func(s string) string { return parent[s] }) {
		got = append(got, strings.Join(d, ""))
	}
	if s := strings.Join(got, " "); s != "b bc bd e" {
		t.Error(s)
	}
}

func TestMasked(t *testing.T) {
	names := make([]string, MaskBits+2)
	for i := range names {
		names[i] = string(rune('A' + i))
	}
	if got := Masked(names, MaskSeen|1|4|1<<(MaskBits-1)); strings.Join(got, "") != "AC"+names[MaskBits-1] {
		t.Errorf("%v", got)
	}
	if got := Masked(names, MaskSeen); got != nil {
		t.Errorf("of no column: %v", got)
	}
}
