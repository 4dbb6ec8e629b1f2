package hub_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Grants × verbs × the scopes of the row before and after.
func TestRights_Table(t *testing.T) {
	grant := func(scope string, v rule.Verb) rule.Grant { return rule.Grant{Scope: rule.ScopeID(scope), Verbs: v} }
	all := []rule.Grant{grant("branch/1", rule.Every)}
	for _, tc := range []struct {
		name   string
		grants []rule.Grant
		op     change.Op
		ok     bool
	}{
		{"insert in scope", all, ins("customer", "x", "1", "X"), true},
		{"insert elsewhere", all, ins("customer", "x", "2", "X"), false},
		{"insert nowhere", all, ins("customer", "x", nil, "X"), false},
		{"insert without the verb", []rule.Grant{grant("branch/1", rule.Update|rule.Delete)}, ins("customer", "x", "1", "X"), false},
		{"insert with only the verb", []rule.Grant{grant("branch/1", rule.Insert)}, ins("customer", "x", "1", "X"), true},
		{"update in scope", all, upd("customer", "c1", "name", "Ann", "A"), true},
		{"update elsewhere", all, upd("customer", "c2", "name", "Bob", "B"), false},
		{"update without the verb", []rule.Grant{grant("branch/1", rule.Insert)}, upd("customer", "c1", "name", "Ann", "A"), false},
		{"move out", all, upd("customer", "c1", "branch", "1", "2"), false},
		{"move in", all, upd("customer", "c2", "branch", "2", "1"), false},
		{"move between both", []rule.Grant{all[0], grant("branch/2", rule.Every)}, upd("customer", "c1", "branch", "1", "2"), true},
		{"move to nowhere", all, upd("customer", "c1", "branch", "1", nil), false},
		{"delete in scope", all, del("customer", "c3", "1", "Cid"), true},
		{"delete elsewhere", all, del("customer", "c2", "2", "Bob"), false},
		{"delete without the verb", []rule.Grant{grant("branch/1", rule.Insert|rule.Update)}, del("customer", "c3", "1", "Cid"), false},
		{"child of a row in scope", all, ins("orders", "x", "c1", "new"), true},
		{"child of a row elsewhere", all, ins("orders", "x", "c2", "new"), false},
		{"grandchild elsewhere", all, ins("line", "o2", 1, "pen"), false},
		{"re-parent out", all, upd("orders", "o1", "customer", "c1", "c2"), false},
		{"orphan by NULL", all, upd("orders", "o1", "customer", "c1", nil), false},
		{"everybody's table, reading only", all, ins("product", "x"), false},
		{"everybody's table", []rule.Grant{everywhere}, ins("product", "x"), true},
		{"no grants but all", []rule.Grant{everywhere}, ins("customer", "x", "1", "X"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.sql(`INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann'),('c2','2','Bob'),('c3','1','Cid');
				INSERT INTO orders(id,customer,status) VALUES ('o1','c1','new'),('o2','c2','new')`)
			s := w.site("s", tc.grants...)
			r := s.do(tc.op)
			switch {
			case tc.ok && hub.Status(r.Status) != hub.Applied:
				t.Errorf("%v: %s", hub.Status(r.Status), r.Reason)
			case !tc.ok && (hub.Status(r.Status) != hub.Quarantined || !strings.Contains(r.Reason, "may not") && !strings.Contains(r.Reason, "no scope")):
				t.Errorf("%v: %s", hub.Status(r.Status), r.Reason)
			}
		})
	}
}

// Rights count at the moment of the push, not of the change.
func TestRights_AreJudgedNow(t *testing.T) {
	w := newWorld(t)
	s := w.site("s", branchGrant("1"))
	early := s.tx(ins("customer", "c1", "1", "Ann"))
	w.must(w.hub.SetGrants(w.ctx, s.id, []rule.Grant{{Scope: "branch/1", Verbs: rule.Read}}))
	if r := s.push(early); hub.Status(r.Results[0].Status) != hub.Quarantined {
		t.Errorf("%+v", r)
	}
	w.must(w.hub.Revoke(w.ctx, s.id, "lost"))
	if _, err := w.hub.Push(w.ctx, s.id, []*change.Transaction{s.tx(ins("customer", "c2", "1", "Bob"))}); faultCode(err) != "revoked" {
		t.Errorf("push of a revoked device: %v", err)
	}
	// What is parked is the hub's by now: an operator may still bring it in.
	w.must(w.hub.SetGrants(w.ctx, s.id, []rule.Grant{branchGrant("1")}))
	out, err := w.hub.Retry(w.ctx, early.ID)
	w.must(err)
	if statuses(out) != "applied" {
		t.Errorf("retry: %+v", out)
	}
}

// An edge receives what is in its scopes and nothing else (I6), as rows and
// parents move.
func TestScopes_WhatAnEdgeReceives(t *testing.T) {
	w := newWorld(t)
	a, b, both := w.site("a", branchGrant("1")), w.site("b", branchGrant("2")), w.site("both", branchGrant("1"), branchGrant("2"))
	none := w.site("none", everywhere)
	check := func() {
		t.Helper()
		for _, s := range []*site{a, b, both, none} {
			s.pull()
		}
		for _, x := range []struct {
			s     *site
			where string
		}{{a, "='1'"}, {b, "='2'"}, {both, "IN ('1','2')"}, {none, "='-'"}} {
			x.s.same("customer", "branch "+x.where)
			x.s.same("orders", "customer IN (SELECT id FROM customer WHERE branch "+x.where+")")
			x.s.same("line", "ord IN (SELECT o.id FROM orders o JOIN customer c ON c.id=o.customer WHERE c.branch "+x.where+")")
			x.s.same("product", "1")
		}
	}
	a.applies(ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new"), ins("line", "o1", 1, "pen"))
	b.applies(ins("customer", "c2", "2", "Bob"), ins("orders", "o2", "c2", "new"), ins("line", "o2", 1, "ink"))
	none.applies(ins("product", "p", "tea"))
	check()
	both.applies(upd("customer", "c1", "branch", "1", "2"))
	check()
	w.sql("UPDATE orders SET customer='c2' WHERE id='o1'; UPDATE customer SET branch='1' WHERE id='c1'")
	check()
	w.sql("DELETE FROM customer WHERE id='c2'")
	check()
	// A scope taken away, and one given.
	w.must(w.hub.SetGrants(w.ctx, a.id, []rule.Grant{branchGrant("2")}))
	a.connect()
	a.bootstrap()
	a.same("customer", "branch='2'")
}

// Within one push a parent may move between two transactions; what hangs on it is
// judged by where it is by then.
func TestRights_ParentMovesWithinAPush(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')")
	s := w.site("s", branchGrant("1"), rule.Grant{Scope: "branch/2", Verbs: rule.Update})
	r := s.push(s.tx(ins("orders", "o1", "c1", "new", 1)), s.tx(upd("customer", "c1", "branch", "1", "2")), s.tx(ins("orders", "o2", "c1", "new", 1)),
		s.tx(upd("orders", "o1", "status", "new", "paid")), s.tx(del("orders", "o1", "c1", "paid", 1)))
	var got []hub.Status
	for _, x := range r.Results {
		got = append(got, hub.Status(x.Status))
	}
	if want := []hub.Status{hub.Applied, hub.Applied, hub.Quarantined, hub.Applied, hub.Quarantined}; !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}
