package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func listed(id int64) Listing { return Listing{ID: id, Columns: `["id"]`, Key: `["id"]`} }

// A table that was served before may go; one that never was is the rules' fault.
func TestListingsFit(t *testing.T) {
	a, gone := rule.Table{Name: "a", Scope: all}, rule.Table{Name: "gone", Was: []string{"former"}, Scope: all}
	other := gone
	other.Reference = true
	for name, c := range map[string]struct {
		had     Listings
		inForce *rule.Rules
		refused map[string]string
		want    string
	}{
		"never served":             {Listings{}, nil, nil, "table gone: the database has no such table"},
		"never served, and there":  {Listings{}, nil, map[string]string{"gone": "odd types"}, "table gone: odd types"},
		"retired":                  {Listings{"gone": {ID: 1}}, nil, nil, "table gone: the database has no such table"},
		"served":                   {Listings{"GONE": listed(1)}, nil, nil, "fits a; lost gone"},
		"served under its old one": {Listings{"Former": listed(1)}, nil, nil, "fits a; lost former"},
		"served by this rule":      {Listings{"gone": listed(1)}, rules(gone), nil, "fits a; lost gone"},
		"served by another rule":   {Listings{"gone": listed(1)}, rules(other), nil, "table gone: the database has no such table"},
		"served by no rule":        {Listings{"gone": listed(1)}, rules(a), nil, "table gone: the database has no such table"},
	} {
		s := schema("a: id", "stranger: id")
		fit, lost, err := c.had.Fit(rules(a, gone), c.inForce, s, c.refused)
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = "fits " + fit.Tables[0].Name
			for n := range lost {
				got += "; lost " + n
			}
			if len(fit.Tables) != 1 || len(s.Tables) != 1 || s.Tables[0].Name != "a" {
				t.Errorf("%s: rules %+v, schema %+v", name, fit, s)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

func TestListingsTake(t *testing.T) {
	for name, c := range map[string]struct {
		had  Listings
		want string // id, former name, whether it is listed; what is left
	}{
		"known":               {Listings{"a": listed(1), "b": listed(2)}, "1  true [b]"},
		"renamed":             {Listings{"B": listed(2), "c": listed(3)}, "2 B true [c]"},
		"renamed over an old": {Listings{"a": {ID: 1}, "b": listed(2)}, "2 b true []"},
		"back again":          {Listings{"a": {ID: 1}, "b": {ID: 2}}, "1  true [b]"},
		"new":                 {Listings{"c": listed(3)}, "0  false [c]"},
	} {
		e, from, ok := c.had.Take("a", []string{"x", "b"})
		var left []string
		for n := range c.had {
			left = append(left, n)
		}
		if got := fmt.Sprintf("%d %s %v %v", e.ID, from, ok, left); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestListingsRetiring(t *testing.T) {
	had := Listings{"z": listed(1), "Lost": listed(2), "b": listed(3), "retired": {ID: 4}}
	if got := had.Retiring(map[string]bool{"lost": true}); !slices.Equal(got, []string{"b", "z"}) {
		t.Error(got)
	}
}

// What was written under other columns is read by names, former ones included.
func TestReshape(t *testing.T) {
	r := &rule.Table{Name: "t", Columns: map[string]rule.Column{"phone": {Was: []string{"tel", "Fon"}}, "b": {Was: []string{"a"}}}}
	for _, c := range []struct {
		now, was string
		from     []int
		same     bool
	}{
		{"id a", "id a", []int{0, 1}, true},
		{"id a new", "id a", []int{0, 1, -1}, true},
		{"id", "id a", []int{0}, false},
		{"a id", "id a", []int{1, 0}, false},
		{"id phone", "id fon", []int{0, 1}, true},
		{"id Phone x", "id x fon", []int{0, 2, 1}, false},
		{"id a b", "id a", []int{0, 1, -1}, true}, // a is still there: b is not it
		{"id b", "id a", []int{0, 1}, true},
	} {
		from, same, err := Reshape(r, strings.Fields(c.now), NameList(strings.Fields(c.was)))
		if err != nil || same != c.same || !slices.Equal(from, c.from) {
			t.Errorf("%s, then %s: %v, %v, %v", c.was, c.now, from, same, err)
		}
	}
	if _, _, err := Reshape(r, []string{"id"}, "no list"); err == nil {
		t.Error("a list that is none was read")
	}
}

func TestRenames(t *testing.T) {
	r := &rule.Table{Columns: map[string]rule.Column{"phone": {Was: []string{"tel", `f"on`}}, "b": {Was: []string{"ID"}}}}
	list := Renames(r, []string{"id", "Phone", "b"})
	if want := []Rename{{"tel", "Phone"}, {`f"on`, "Phone"}}; !slices.Equal(list, want) {
		t.Fatalf("%+v", list)
	}
	for was, want := range map[string]string{NameList([]string{"id", "tel"}): `["id","Phone"]`, NameList([]string{"telephone"}): `["telephone"]`} {
		if got := list[0].In(was); got != want {
			t.Errorf("%s: %s", was, got)
		}
	}
	if got := list[1].In(NameList([]string{`f"on`, "x"})); got != `["Phone","x"]` {
		t.Error(got)
	}
}

func TestSame(t *testing.T) {
	a, b := schema("a: id"), schema("a: id")
	if !Same(a, b) || Same(a, schema("a: id, x")) || Same(func() {}, func() {}) {
		t.Error("what is the same is told otherwise")
	}
	if !Same(&change.Schema{}, &change.Schema{}) {
		t.Error("nothing is not nothing")
	}
}
