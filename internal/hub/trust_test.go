package hub_test

import (
	"math"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// What a device says of the numbers it holds must not use them up for all others.
func TestLease_HighestIsOnlyBelievedAfterARestore(t *testing.T) {
	w := newWorld(t)
	w.rule("invoice", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"number": {Lease: &rule.Lease{Size: 10, Low: 2, Start: 1}}}
	})
	a, reader := w.site("a", branchGrant("7")), w.site("reader", rule.Grant{Scope: "branch/7", Verbs: rule.Read})
	id := uint64(0)
	ask := func(s *site, highest int64) []wire.NumberRange {
		t.Helper()
		id++
		g, err := w.hub.Lease(w.ctx, s.id, s.inc, &wire.LeaseAsk{ID: id, Numbers: []wire.NumberLeft{{Name: "invoice.number", Highest: highest}}})
		w.must(err)
		return g.Numbers
	}
	for _, s := range []*site{a, reader} {
		ask(s, rule.MaxNumber-3)
	}
	if got := ask(a, 0); len(got) != 1 || got[0].First > 20 {
		t.Fatalf("after a forged claim: %+v", got)
	}
	w.begin(change.Restored)
	ask(reader, rule.MaxNumber-3)
	if got := ask(a, 4000); len(got) != 1 || got[0].First != 4001 {
		t.Fatalf("a device that got numbers in a lost life: %+v", got)
	}
}

// Nor may what it says of its share keep the others from theirs.
func TestShare_LeftIsOnlyBelievedAfterARestore(t *testing.T) {
	w := newWorld(t)
	floor := int64(0)
	w.rule("stock", func(r *rule.Table) {
		r.Columns = map[string]rule.Column{"qty": {Policy: rule.Counter, Floor: &floor}}
	})
	w.sql("INSERT INTO product (id, code) VALUES ('p', 'c'); INSERT INTO stock VALUES ('c', 'x', 10)")
	a, b, c := w.site("a", everywhere), w.site("b", everywhere), w.site("c", everywhere)
	ask := func(s *site, id uint64, left int64) int64 {
		t.Helper()
		g, err := w.hub.Lease(w.ctx, s.id, s.inc, &wire.LeaseAsk{ID: id, Shares: []wire.ShareLeft{
			{Table: "stock", Key: change.Key{change.Text("c"), change.Text("x")}, Column: "qty", Left: left}}})
		w.must(err)
		return g.Shares[0].Add
	}
	ask(a, 7, math.MaxInt64)
	if got := ask(b, 1, 0); got <= 0 {
		t.Fatalf("after a forged claim another device gets %d", got)
	}
	w.begin(change.Restored)
	for _, s := range []*site{a, b} {
		ask(s, 9, math.MaxInt64)
	}
	if got := ask(c, 1, 0); got != 0 {
		t.Fatalf("of a counter that is out to others many times over: %d", got)
	}
}

// A life that a restore replaced is settled, whatever the clocks said meanwhile.
func TestTrapD5_ReplacedLifeIsSettledForGood(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	old := w.backup()
	w.clock.Advance(48 * time.Hour) // the hub's clock is wrong for a while
	w.begin(change.Restored)
	a.connect()
	a.bootstrap()
	seen := a.here()
	w.putBack(old)
	w.clock.Advance(-40 * time.Hour)
	if _, err := a.greet(seen); faultCode(err) != "hub-behind" {
		t.Fatalf("a device that saw a lost life: %v", err)
	}
	w.begin(change.Restored)
	if _, err := a.greet(seen); err != nil {
		t.Fatalf("after the operator's word: %v", err)
	}
	if re := a.rebase(); !re.Full {
		t.Errorf("rebase %+v", re)
	}
	if n, err := w.hub.Lineage(w.ctx); err != nil || len(n) != 2 {
		t.Errorf("lineage %+v, %v", n, err)
	}
}

// parts lets a file and its copy speak in turns, until they are two devices.
func (t *twin) parts(b *twin) {
	t.t.Helper()
	t.applies(ins("product", "a1"))
	b.greets()
	b.applies(ins("product", "b1"))
	for range 3 {
		for _, f := range []*twin{t, b} {
			f.greets()
			f.pull()
		}
	}
	if t.id == b.id {
		t.t.Fatal("both copies are one device")
	}
}

// A copy became a device after the hub's backup: the hub that is put back does not
// know that name. It is not forged, and the copy finds its place again.
func TestCopies_HubPutBackToBeforeTheSplit(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.twin("till")
	old := w.backup()
	a.greets()
	b := a.copy()
	a.parts(b)
	seen := b.here()
	greet := func() (*wire.Welcome, error) {
		b.session = w.hub.NewSession(b.key)
		h := b.hello()
		h.Last, h.At, h.Seal = b.seq, seen.at, seen.seal
		out, err := b.tryAsk(h)
		if err != nil {
			return nil, err
		}
		return out[0].(*wire.Welcome), nil
	}
	w.putBack(old)
	if _, err := greet(); faultCode(err) != "hub-behind" {
		t.Fatalf("a copy that saw more: %v", err)
	}
	w.begin(change.Restored)
	got, err := greet()
	if err != nil || got.Device != a.id {
		t.Fatalf("the copy is welcomed with %+v, %v", got, err)
	}
	seen.seal = nil
	if _, err := greet(); faultCode(err) != "forged" {
		t.Fatalf("a name without proof: %v", err)
	}
}

// Rows that are offered have a chain of their own: how long it is says nothing of the
// file's.
func TestTrapD4_SalvageDoesNotHideACopy(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p"))
	a.pull()
	w.begin(change.Restored)
	a.greets()
	a.pull()
	b := a.copy()
	b.greets()
	b.pull()
	chain := b.salvager()
	for _, id := range []string{"x", "y", "z"} {
		if res, _ := chain.offer(ins("product", id)); hub.Status(res.Status) != hub.Quarantined {
			t.Fatalf("%+v", res)
		}
	}
	a.greets()
	a.applies(ins("product", "q"))
	if _, err := b.tryAsk(&wire.Pull{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark}); faultCode(err) != "copied" {
		t.Fatalf("the copy was answered %v", err)
	}
}

// What waits of salvaged rows is none of the pushes' business: they do not read it,
// nor do those of a copy of the file.
func TestSalvage_CostsPushesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p"))
	w.begin(change.Restored)
	a.greets()
	_, id := a.salvager().offer(ins("product", "x"))
	b := a.copy()
	a.parts(b)
	p := w.queue()[0]
	w.sql("UPDATE _tidemark_record SET body = CAST(body || 'no JSON' AS BLOB) WHERE kind = 'salvage'")
	a.applies(ins("product", "y"))
	b.applies(ins("product", "z"))
	if _, err := w.hub.Show(w.ctx, id); err == nil || !p.Salvage {
		t.Error("the record is whole")
	}
}

// A hub that was never put back has lost nothing.
func TestSalvage_NothingIsLostWithoutARestore(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere).salvager()
	if res, _ := a.offer(ins("product", "x")); hub.Status(res.Status) != hub.Discarded {
		t.Errorf("%+v", res)
	}
	if n := len(w.queue()); n != 0 {
		t.Errorf("%d wait", n)
	}
}
