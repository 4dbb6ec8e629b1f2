package rule

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// tab is a table from "name: key, column, column>parent".
func tab(text string) change.Table {
	name, cols, _ := strings.Cut(text, ": ")
	t := change.Table{Name: name, Key: []int{0}}
	for i, c := range strings.Split(cols, ", ") {
		c, parent, fk := strings.Cut(c, ">")
		t.Columns = append(t.Columns, change.Column{Name: c})
		if fk {
			t.ForeignKeys = append(t.ForeignKeys, change.ForeignKey{Columns: []int{i}, Parent: parent, To: []string{"id"}})
		}
	}
	return t
}

func TestFit(t *testing.T) {
	all := Scope{All: true}
	for _, c := range []struct {
		name   string
		tables []string
		rules  []Table
		want   string // names of what fits; reasons of what does not
	}{
		{"as it is", []string{"a: id"}, []Table{{Name: "A", Scope: all}}, "a"},
		{"absent", []string{"a: id"}, []Table{{Name: "b", Scope: all}, {Name: "a", Scope: all}}, "a; b: the database has no such table"},
		{"under its other name", []string{"b: id"}, []Table{{Name: "a", Was: []string{"x", "B"}, Scope: all}}, "b was a x"},
		{"both names, one of them another rule's", []string{"b: id"}, []Table{{Name: "a", Was: []string{"b"}, Scope: all}, {Name: "b", Scope: all}}, "b; a: the database has no such table"},
		{"no scope", []string{"a: id"}, []Table{{Name: "a"}}, "; a: no scope is given"},
		{"no scope column", []string{"a: id"}, []Table{{Name: "a", Scope: Scope{Kind: "k", Column: "c"}}}, "; a: scope column c does not exist"},
		{"its parent is left out, and its parent's", []string{"a: id, b>b", "b: id, c>c", "d: id"},
			[]Table{{Name: "a", Scope: Scope{Via: "b"}}, {Name: "b", Scope: Scope{Via: "c"}}, {Name: "c", Scope: all}, {Name: "d", Scope: all}},
			"d; a: scope via b needs a foreign key on that column to a synced table; b: scope via c needs a foreign key on that column to a synced table; c: the database has no such table"},
		{"in a circle", []string{"a: id, a>a"}, []Table{{Name: "a", Scope: Scope{Via: "a"}}}, "; a: its scope leads back to itself via column a"},
		{"via a table under its other name", []string{"a: id, b>bb", "bb: id"}, []Table{{Name: "a", Scope: Scope{Via: "b"}}, {Name: "b", Was: []string{"bb"}, Scope: all}}, "a bb was b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s change.Schema
			for _, x := range c.tables {
				s.Tables = append(s.Tables, tab(x))
			}
			rules := Rules{Tables: c.rules}
			before := fmt.Sprintf("%+v", rules)
			fit, lost := Fit(&rules, &s)
			var got []string
			for _, x := range fit.Tables {
				name := x.Name
				if len(x.Was) > 0 {
					name += " was " + strings.Join(x.Was, " ")
				}
				if s.Table(x.Name) == nil {
					t.Errorf("%s is not in the schema", x.Name)
				}
				got = append(got, strings.ToLower(name))
			}
			out := strings.Join(got, " ")
			for _, m := range lost {
				out += "; " + m.Table + ": " + m.Reason
			}
			if out != c.want {
				t.Errorf("got  %s\nwant %s", out, c.want)
			}
			if before != fmt.Sprintf("%+v", rules) {
				t.Error("the rules given were changed")
			}
		})
	}
	s := change.Schema{Tables: []change.Table{{Name: "a", Columns: []change.Column{{Name: "x"}}}}}
	if fit, lost := Fit(&Rules{Tables: []Table{{Name: "a", Scope: all}}}, &s); len(fit.Tables) != 0 || len(lost) != 1 {
		t.Errorf("a table without a key: %v %v", fit, lost)
	}
}

func TestFit_ColumnsUnderTheirOtherNames(t *testing.T) {
	s := change.Schema{Tables: []change.Table{tab("a: id, Area, total, note")}}
	fit, lost := Fit(&Rules{Tables: []Table{{Name: "a", Scope: Scope{Kind: "k", Column: "region"},
		Columns: map[string]Column{"region": {Was: []string{"zone", "area"}}, "amount": {Policy: Max, Was: []string{"total"}}, "note": {Was: []string{"memo"}},
			"id": {Was: []string{"no"}}, "gone": {Was: []string{"lost"}}},
		Checks: []Check{{Expr: `row.amount >= 0 && old.memo != row.region && row.other.amount == "row.id"`}}}}}, &s)
	if len(lost) != 0 {
		t.Fatal(lost)
	}
	r := fit.Tables[0]
	if r.Scope.Column != "Area" || r.PolicyOf("total") != Max || strings.Join(r.Columns["area"].Was, " ") != "region zone" ||
		strings.Join(r.Columns["total"].Was, " ") != "amount" || strings.Join(r.Columns["note"].Was, " ") != "memo" || len(r.Columns) != 5 {
		t.Errorf("%+v", r)
	}
	if got := r.Checks[0].Expr; got != `row.total >= 0 && old.note != row.Area && row.other.amount == "row.id"` {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	r := Rules{Tables: []Table{{Name: "a", Was: []string{"b", "c"}}, {Name: "B"}}}
	if got := strings.Join(r.Names(), " "); got != "a b c" {
		t.Error(got)
	}
}
