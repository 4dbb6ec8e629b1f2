package hub_test

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// answered is the last part of a pull's answer.
func (s *site) answered(m *wire.Pull) *wire.Delta {
	s.t.Helper()
	out := s.ask(m)
	if len(out) == 0 {
		s.t.Fatalf("%+v was not answered", m)
	}
	d, ok := out[len(out)-1].(*wire.Delta)
	if !ok {
		s.t.Fatalf("%+v was answered with %+v", m, out)
	}
	return d
}

// Only who asked for it, and named the state in its Hello, is not told again where it stands.
func TestPull_StillIsForWhoAskedForIt(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	p := a.here()
	if !a.greets(p).Brief {
		t.Fatal("the hub does not say that it takes a brief pull")
	}
	for name, tc := range map[string]struct {
		m     wire.Pull
		still bool
	}{
		"brief":          {wire.Pull{Known: true, Brief: true, Outcome: a.mark}, true},
		"of an old edge": {wire.Pull{Known: true, Scopes: a.scopes, Outcome: a.mark}, false},
		"not known":      {wire.Pull{Cursor: p.at, Brief: true, Outcome: a.mark}, false},
	} {
		d := a.answered(&tc.m)
		if d.Still != tc.still || d.Next != p.at || len(d.Seal) == 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')")
	if d := a.answered(&wire.Pull{Known: true, Brief: true, Outcome: a.mark}); d.Still || d.Next == p.at || len(d.Body) == 0 {
		t.Errorf("after news: %+v", d)
	}
}

// A brief pull that waits is answered with the state that it reached, and a decision
// alone leaves it where it stood.
func TestPull_BriefThatWaits(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("2"))
	wake := func() *wire.Delta {
		t.Helper()
		var out []wire.Message
		w.must(a.session.Wake(w.ctx, func(m wire.Message) error { out = append(out, m); return nil }))
		if len(out) == 0 {
			return nil
		}
		return out[len(out)-1].(*wire.Delta)
	}
	wait := func(p placed) {
		t.Helper()
		a.greets(p)
		if out := a.ask(&wire.Pull{Known: true, Brief: true, Outcome: a.mark, Wait: true}); len(out) != 0 {
			t.Fatalf("answered %v", out)
		}
	}
	id := a.parks("not at the hub", ins("orders", "o1", "nobody"))
	p := a.here()
	wait(p)
	_, err := w.hub.Discard(w.ctx, id, "no")
	w.must(err)
	d := wake()
	if d == nil || len(d.Outcomes) != 1 || d.Still != (d.Next == p.at) {
		t.Fatalf("a decision: %+v", d)
	}
	a.pulled([]wire.Message{d})
	p = placed{d.Next, d.Seal}
	wait(p)
	b.applies(ins("customer", "c2", "2", "Bob")) // moves the held pull on
	if d := wake(); d != nil {
		t.Fatalf("another's rows: %+v", d)
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')")
	if d := wake(); d == nil || d.Still || d.Next == p.at || len(d.Body) == 0 {
		t.Errorf("its own rows: %+v", d)
	}
}

// Scopes that change between Welcome and a brief pull are noticed as ever (I6).
func TestPull_BriefAfterTheGrantsChanged(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	p := a.here()
	a.greets(p)
	w.must(w.hub.SetGrants(w.ctx, a.id, []rule.Grant{branchGrant("2")}))
	re, ok := a.ask(&wire.Pull{Known: true, Brief: true, Outcome: a.mark})[0].(*wire.Rebase)
	if !ok || re.Full || re.Scopes == a.scopes || re.Scopes == (change.Hash{}) {
		t.Fatalf("answered %+v", re)
	}
	if s := w.hub.NewSession(a.id); s.Receive(w.ctx, &wire.Pull{Brief: true}, nil) == nil {
		t.Error("a brief pull before Hello was taken")
	}
}

// A hub that meets a cursor of its own seal in a text that it cannot read stops: it takes
// it for a state that its database lost. That is why no version may write a cursor in a
// form that the versions before it do not read, and why what is saved is saved elsewhere.
func TestTrapD5_SealedTextOfAnotherFormStopsTheHub(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", branchGrant("1"))
	c := a.here().at
	c.Token = "~" + c.Token
	if _, err := a.greet(placed{c, hub.Seal(w.hub, a.id, c)}); faultCode(err) != "hub-behind" || w.hub.Behind() == nil {
		t.Errorf("it was taken: %v", err)
	}
}
