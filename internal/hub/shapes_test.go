package hub_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// schema is the hub's, changed as fn says: what some device's file has.
func (w *world) schema(fn func(*change.Schema)) change.Schema {
	out := change.Schema{}
	for _, t := range w.hub.Setup().Schema.Tables {
		t.Columns = append([]change.Column{}, t.Columns...)
		out.Tables = append(out.Tables, t)
	}
	if fn != nil {
		fn(&out)
	}
	return out
}

// runs greets with a schema, and tells it when the hub asks.
func (s *site) runs(sc change.Schema) (asked bool) {
	s.t.Helper()
	s.session = s.hub.NewSession(s.id)
	h := s.hello()
	h.Schema = sc.Hash()
	if asked = s.ask(h)[0].(*wire.Welcome).AskShape; asked {
		if out := s.ask(&wire.Shape{Schema: sc}); len(out) != 0 {
			s.t.Errorf("answered %v", out)
		}
	}
	return asked
}

func (w *world) shapes() *hub.Shapes {
	w.t.Helper()
	all, err := w.hub.Shapes(w.ctx)
	w.must(err)
	return all
}

// told renders who runs what.
func told(all *hub.Shapes) string {
	var out []string
	for _, u := range all.Uses {
		var names []string
		for _, d := range u.Devices {
			names = append(names, d.Name)
		}
		known := "?"
		if u.Known {
			known = strings.Join(u.Differs, "; ")
		}
		out = append(out, strings.Join(names, ",")+": "+known)
	}
	return strings.Join(out, "\n")
}

func TestShapes_WhoRunsWhat(t *testing.T) {
	w := newWorld(t)
	w.rule("product", func(r *rule.Table) { r.Columns, r.Dropped = was("name", "title"), []string{"colour"} })
	w.rule("hard", func(r *rule.Table) { r.Was = []string{"firm"} })
	a, b, c := w.site("a", everywhere), w.site("b", everywhere), w.site("c", everywhere)
	w.site("d", everywhere)
	same, old := w.schema(nil), w.schema(func(s *change.Schema) {
		p, h := s.Table("product"), s.Table("hard")
		p.Columns[1].Name, p.Columns[2].Type = "title", "TEXT"
		p.Columns = append(p.Columns[:3], change.Column{Name: "fax"}, change.Column{Name: "colour"}, change.Column{Name: "name"})
		h.Name = "firm"
		s.Tables = append(s.Tables[1:], change.Table{Name: "zoo", Columns: []change.Column{{Name: "id"}}, Key: []int{0}})
	})
	if a.runs(same) || b.runs(same) {
		t.Error("the hub asks for its own schema")
	}
	if !c.runs(old) || c.runs(old) {
		t.Error("the hub asks for another one once")
	}
	want := `a,b: 
c: calls product.name title; calls table hard firm; declares product.price TEXT, the hub INTEGER; has product.colour, which was given up (dropped); has product.fax, which the hub has not; has product.name twice, as title and as name; has table zoo, which the hub has not; lacks product.code; lacks table country
d: ?`
	if got := told(w.shapes()); got != want {
		t.Errorf("schemas:\n%s\nwant:\n%s", got, want)
	}
	w.clock.Advance(time.Hour)
	since := w.shapes().Uses[1].Devices[0].Since
	if c.runs(old); !w.shapes().Uses[1].Devices[0].Since.Equal(since) {
		t.Error("it counts from the last greeting")
	}
	if c.runs(same); strings.Contains(told(w.shapes()), "zoo") {
		t.Error("a device that migrated counts twice")
	}
	if n := w.get(`SELECT count(*) FROM _tidemark_record WHERE kind='shape'`); n != "1" {
		t.Errorf("%s schemas are kept, one is in use", n)
	}
	w.must(w.hub.Revoke(w.ctx, c.id, "gone"))
	if got := told(w.shapes()); got != "a,b: \nd: ?" {
		t.Errorf("a revoked device counts: %s", got)
	}
}

// A file that comes back with the schema that it had costs no look at the records; one
// that changed does, and so does one whose schema was forgotten meanwhile.
func TestShapes_AreLookedUpOnce(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	one := w.schema(func(s *change.Schema) { s.Tables = s.Tables[:1] })
	two := w.schema(func(s *change.Schema) { s.Tables = s.Tables[:2] })
	damage := func(from, to string) {
		w.sql("UPDATE _tidemark_record SET kind='" + to + "' WHERE kind='" + from + "'")
	}
	greet := func(sc change.Schema, asked bool) {
		t.Helper()
		if got := a.runs(sc); got != asked {
			t.Errorf("asked for the schema: %v, want %v", got, asked)
		}
	}
	greet(one, true)
	greet(one, false)
	damage("shape", "hidden")
	greet(one, false)
	damage("hidden", "shape")
	greet(two, true)
	greet(one, true) // nobody had it any more
	greet(one, false)
	w.sql("UPDATE _tidemark_record SET body=CAST('no JSON' AS BLOB) WHERE kind='devshape'")
	greet(one, false)
	a.session = w.hub.NewSession(a.id)
	h := a.hello()
	h.Schema = two.Hash()
	if _, err := a.tryAsk(h); err == nil || !strings.Contains(err.Error(), "devshape") {
		t.Errorf("another schema over a damaged record: %v", err)
	}
}

func TestShapes_WhatADeviceTellsMustBeWhatItNamed(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.session = w.hub.NewSession(a.id)
	h := a.hello()
	h.Schema = change.SchemaHash{1}
	a.ask(h)
	a.ask(&wire.Shape{Schema: w.schema(nil)})
	if u := w.shapes().Uses; len(u) != 1 || u[0].Known || u[0].Hash != h.Schema {
		t.Errorf("%+v", u)
	}
}

func TestGate(t *testing.T) {
	w := newWorld(t)
	w.rule("product", func(r *rule.Table) { r.Columns = was("name", "title") })
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	without := w.schema(func(s *change.Schema) { p := s.Table("product"); p.Columns = append(p.Columns[:2], p.Columns[3]) })
	gate := func(table, column string) *hub.Gate {
		t.Helper()
		g, err := w.hub.Droppable(w.ctx, table, column)
		w.must(err)
		return g
	}
	if g := gate("product", "price"); g.Open() || len(g.Unknown) != 2 || !g.Hub {
		t.Errorf("nobody said anything: %+v", g)
	}
	a.runs(without)
	old := w.schema(nil)
	old.Table("product").Columns[1].Name = "title"
	b.runs(old)
	if g := gate("Product", "PRICE"); g.Open() || len(g.Users) != 1 || g.Users[0].Name != "b" || g.Name() != "product.price" {
		t.Errorf("b has it: %+v", g)
	}
	if g := gate("product", "name"); g.Open() || len(g.Users) != 2 {
		t.Errorf("b calls it title: %+v", g)
	}
	if g := gate("hard", ""); g.Open() || len(g.Users) != 2 || g.Name() != "hard" {
		t.Errorf("both have the table: %+v", g)
	}
	b.runs(without)
	if g := gate("product", "price"); !g.Open() || len(g.Unsent) != 0 {
		t.Errorf("all have migrated: %+v", g)
	}
	a.session = w.hub.NewSession(a.id)
	h := a.hello()
	h.Schema, h.Status.OutboxDepth = without.Hash(), 2
	a.ask(h)
	if g := gate("product", "price"); !g.Open() || len(g.Unsent) != 1 {
		t.Errorf("a has unsent work: %+v", g)
	}
	id := a.parks("refers to row", ins("product", "p1", "Tea", 3, "t"), ins("invoice", "i1", "7", "nobody", 1))
	if g := gate("product", "price"); g.Open() || len(g.Parked) != 1 || g.Parked[0] != id {
		t.Errorf("quarantine names it: %+v", g)
	}
	if _, err := w.hub.Discard(w.ctx, id, "no"); err != nil {
		t.Fatal(err)
	}
	w.drop("product", "price")
	w.must(w.hub.Reload(w.ctx, w.rules))
	w.rule("product", func(r *rule.Table) { r.Dropped = []string{"price"} })
	if g := gate("product", "price"); !g.Open() || g.Hub {
		t.Errorf("dropped already: %+v", g)
	}
	if _, err := w.hub.Droppable(w.ctx, "product", "pryce"); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a name that nobody has: %v", err)
	}
	if _, err := w.hub.Droppable(w.ctx, "nothing", ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a table that nobody has: %v", err)
	}
}
