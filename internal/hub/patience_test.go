package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A lossy is a hub that was put back to before three devices handed in what builds on
// each other's work.
type lossy struct {
	*world
	a, b, c *site
	first   change.Epoch
	seen    map[*site]placed
}

var mine = []rule.Grant{everywhere, branchGrant("1"), branchGrant("2")}

func newLossy(t *testing.T) *lossy {
	t.Helper()
	w := newWorld(t, sealed)
	l := &lossy{world: w, a: w.site("a", mine...), b: w.site("b", mine...), c: w.site("c", mine...), seen: map[*site]placed{}}
	w.sql("INSERT INTO product (id, name) VALUES ('old', 'x')")
	old := w.backup()
	for _, s := range []*site{l.a, l.b, l.c} {
		s.connect()
		s.pull()
	}
	l.first = l.a.base.Epoch
	l.a.applies(ins("customer", "c1", "1", "Ann"))
	l.b.pull()
	l.b.applies(ins("orders", "o1", "c1", "new", 1))
	l.b.applies(ins("line", "o1", 1, "nail"))
	l.c.pull()
	l.c.applies(upd("orders", "o1", "status", "new", "sent"))
	for _, s := range []*site{l.a, l.b, l.c} {
		l.seen[s] = s.here()
	}
	w.putBack(old)
	w.begin(change.Restored)
	return l
}

// back greets, and hands in again all that the hub had confirmed.
func (l *lossy) back(s *site) string {
	l.t.Helper()
	s.greets(l.seen[s])
	res := s.reoffer(&wire.Push{Confirmed: l.first}, s.sent...)
	if int(res.Durable) != len(s.sent) {
		l.t.Fatalf("durable up to %d of %d", res.Durable, len(s.sent))
	}
	var out []string
	for _, r := range res.Results {
		out = append(out, hub.Status(r.Status).String())
	}
	return strings.Join(out, " ")
}

func (l *lossy) codes(want string) {
	l.t.Helper()
	list := l.queue()
	slices.SortFunc(list, func(a, b hub.Parked) int { return strings.Compare(a.Code, b.Code) })
	parkedAs(l.t.(*testing.T), list, want)
}

const wholeOrder = "SELECT o.status, l.item, c.name FROM orders o JOIN line l ON l.ord = o.id JOIN customer c ON c.id = o.customer"

// Devices come back to a hub that was put back in the wrong order: what builds on
// work that has not come back yet waits for it, and for nobody.
func TestTrapD5_LostWorkComesBackInAnyOrder(t *testing.T) {
	l := newLossy(t)
	if got := l.back(l.c); got != "quarantined" {
		t.Fatalf("c: %s", got)
	}
	if got := l.back(l.b); got != "quarantined quarantined" {
		t.Fatalf("b: %s", got)
	}
	l.codes("depends missing missing-parent")
	for _, p := range l.queue() {
		if !p.Reoffered || p.Tries != 0 {
			t.Errorf("parked %+v", p)
		}
	}
	if got := l.back(l.a); got != "applied" {
		t.Fatalf("a: %s", got)
	}
	l.codes("")
	l.want(wholeOrder, "sent|nail|Ann")
	// Their devices hear of it, and nothing is done twice.
	for s, want := range map[*site]int{l.a: 1, l.b: 2, l.c: 1} {
		settled := 0
		s.bootstrap()
		s.mark = 0
		for _, r := range s.outcomes() {
			if hub.Status(r.Status) == hub.Applied || hub.Status(r.Status) == hub.Merged {
				settled++
			}
		}
		if settled != want {
			t.Errorf("%d outcomes, want %d", settled, want)
		}
		s.reoffer(&wire.Push{Confirmed: l.first}, s.sent...)
	}
	l.codes("")
	l.want("SELECT count(*) FROM line", "1")
}

// The last missing piece comes with work that no hub ever confirmed, or by plain SQL:
// the hub sees that by itself too.
func TestLostWorkComesBackOtherwise(t *testing.T) {
	l := newLossy(t)
	l.back(l.c)
	l.back(l.b)
	// What b did since builds on it, and was never handed in before.
	l.b.parks("depends", updKey("line", change.Key{val("o1"), val(1)}, "item", "nail", "screw"))
	l.must(l.hub.Await(l.ctx))
	l.codes("depends depends missing missing-parent")
	l.sql("INSERT INTO customer (id, branch, name) VALUES ('c1', '1', 'Ann')")
	l.must(l.hub.Await(l.ctx))
	l.codes("")
	l.want(wholeOrder, "sent|screw|Ann")
	l.must(l.hub.Await(l.ctx)) // nothing is left to try
}

// A hub that was started anew in between knows no less.
func TestLostWorkComesBackAfterARestart(t *testing.T) {
	l := newLossy(t)
	l.back(l.b)
	l.must(l.store.Close())
	l.restart()
	l.back(l.a)
	l.codes("")
	l.want(wholeOrder, "new|nail|Ann")
}

// What a person has to decide waits for that, however much comes; so does what any
// hub would park that lost nothing, or lost it long ago.
func TestPatienceIsForLostWorkOnly(t *testing.T) {
	l := newLossy(t)
	l.back(l.a)
	l.must(l.hub.SetGrants(l.ctx, l.b.id, []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Read}}))
	l.back(l.b)
	l.must(l.hub.SetGrants(l.ctx, l.b.id, mine))
	l.back(l.c)
	l.a.applies(ins("product", "p1"))
	l.must(l.hub.Await(l.ctx))
	l.codes("depends missing rights")

	l.clock.Advance(hub.DefaultKeep)
	l.a.parks("customer", ins("orders", "o2", "c2", "new", 1))
	l.c.applies(ins("customer", "c2", "2", "Bob"))
	l.must(l.hub.Await(l.ctx))
	l.codes("depends missing missing-parent rights")

	w := newWorld(t)
	a := w.site("a", mine...)
	a.parks("customer", ins("orders", "o2", "c2", "new", 1))
	w.site("b", mine...).applies(ins("customer", "c2", "2", "Bob"))
	w.must(w.hub.Await(w.ctx))
	parkedAs(t, w.queue(), "missing-parent")
}

// Of many that wait not all are tried for each push that brings something back; they
// are when enough was taken in, and now and then in any case.
func TestPatienceOfMany(t *testing.T) {
	l := newLossy(t)
	l.back(l.a)
	var list []*change.Transaction
	for i := range 70 {
		list = append(list, l.b.tx(ins("orders", fmt.Sprintf("m%d", i), fmt.Sprintf("n%d", i%2), "new", 1)))
	}
	l.back(l.b)
	l.sql("INSERT INTO customer (id, branch, name) VALUES ('n0', '1', 'Ann')")
	bring := func(i int) {
		l.a.reoffer(&wire.Push{Confirmed: l.first}, l.a.tx(ins("product", fmt.Sprintf("q%d", i))))
	}
	bring(0)
	l.want("SELECT count(*) FROM orders WHERE id LIKE 'm%'", "0")
	for i := range 8 {
		bring(1 + i)
	}
	l.want("SELECT count(*) FROM orders WHERE id LIKE 'm%'", "35")
	l.sql("INSERT INTO customer (id, branch, name) VALUES ('n1', '1', 'Bob')")
	l.must(l.hub.Await(l.ctx))
	l.want("SELECT count(*) FROM orders WHERE id LIKE 'm%'", fmt.Sprint(len(list)))
	l.codes("")
}

// What a hub lost is no reason to make everybody else wait: new work pays for no tries,
// and what nobody brought back in time is a person's.
func TestPatienceIsPaidByWhoBringsBack(t *testing.T) {
	l := newLossy(t)
	l.back(l.b)
	l.site("d", mine...).applies(ins("customer", "c1", "1", "Ann")) // just what b's work lacks, but new
	l.codes("depends missing-parent")
	l.a.greets(placed{})
	l.a.live()
	l.a.reoffer(&wire.Push{Confirmed: l.first}, l.a.tx(ins("product", "q")))
	l.codes("")

	l = newLossy(t)
	l.back(l.b)
	l.clock.Advance(hub.DefaultKeep + 24*time.Hour)
	l.site("d", mine...).applies(ins("customer", "c1", "1", "Ann"))
	l.must(l.hub.Await(l.ctx))
	l.codes("depends missing-parent")
	out, err := l.hub.Retry(l.ctx, l.b.sent[0].ID)
	l.must(err)
	if statuses(out) != "applied applied" {
		t.Errorf("retry: %s", statuses(out))
	}
}

// A reason that is another by now is told to the device.
func TestPatienceTellsTheNewReason(t *testing.T) {
	l := newLossy(t)
	l.back(l.b)
	l.sql("INSERT INTO customer (id, branch, name) VALUES ('c1', '1', 'Ann')")
	l.must(l.hub.SetGrants(l.ctx, l.b.id, []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Read}}))
	l.must(l.hub.Await(l.ctx))
	l.codes("depends rights")
	l.must(l.hub.Await(l.ctx))
	for _, p := range l.queue() {
		if p.Code == "rights" && p.Tries != 1 {
			t.Errorf("tried %d times", p.Tries)
		}
	}
}

// A hub that waits for its operator touches nothing.
func TestPatienceWhileBehind(t *testing.T) {
	l := newLossy(t)
	l.back(l.b)
	old := l.backup()
	l.back(l.a)
	l.a.bootstrap()
	seen := l.a.here()
	l.putBack(old)
	if _, err := l.a.greet(seen); faultCode(err) != "hub-behind" {
		t.Fatalf("%v", err)
	}
	l.sql("INSERT INTO customer (id, branch, name) VALUES ('c1', '1', 'Ann')")
	l.must(l.hub.Await(l.ctx))
	l.codes("depends missing-parent")
}

// reader is a device that handed nothing in, and saw what the hub lost.
func (l *lossy) reader(name string) *site {
	s := l.site(name, mine...)
	s.base = l.seen[l.c].at
	return s
}

// A device deletes a row that the hub lost and nobody brought back yet: the delete
// waits for the row, so that it does not stay when it comes.
func TestTrapD5_DeleteOfALostRowWaitsForIt(t *testing.T) {
	l := newLossy(t)
	nail := del("line", "o1", 1, "nail")
	l.reader("d").parks("brings it back", nail)
	l.back(l.a)
	l.codes("missing")
	l.back(l.b)
	l.codes("")
	l.want("SELECT count(*) FROM line", "0")
	l.reader("e").applies(nail) // it was there, and is gone: nothing to wait for
}

// Nobody brings back what was lost long ago.
func TestDeleteOfALostRowDoesNotWaitForEver(t *testing.T) {
	l := newLossy(t)
	l.reader("e").parks("brings it back", del("orders", "o1", "c1", "new", 1))
	l.clock.Advance(hub.DefaultKeep)
	l.reader("d").applies(del("line", "o1", 1, "nail"))
	l.must(l.hub.Await(l.ctx))
	l.codes("")
}
