package hub_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// outcomes pulls, and returns what the pull told of the transactions.
func (s *site) outcomes() []wire.TxResult {
	s.t.Helper()
	answers := s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark})
	s.pulled(answers)
	return answers[len(answers)-1].(*wire.Delta).Outcomes
}

// hears wants one outcome in the next pull: parked, with these operations waiting.
func (s *site) hears(waits ...uint32) {
	s.t.Helper()
	got := s.outcomes()
	if len(got) != 1 || hub.Status(got[0].Status) != hub.Quarantined || !slices.Equal(got[0].Waits, waits) || (got[0].Waits == nil) != (waits == nil) {
		s.t.Fatalf("outcomes %+v, want one that waits for %v", got, waits)
	}
}

func (s *site) unaware(ops ...change.Op) *change.Transaction {
	s.t.Helper()
	tx := s.tx(ops...)
	tx.Unaware = true
	s.prev = tx.Sum()
	return tx
}

// badGroup is a group of which operations 2, 5 and 6 cannot be applied.
func badGroup() []change.Op {
	return []change.Op{
		ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 1),
		ins("product", "p1", "tea", 1, "A"),
		ins("product", "p2", "milk", 1, "B"), ins("stock", "B", "here", 4),
		ins("orders", "o9", "nobody", "new", 1), ins("line", "o9", 1, "x"),
	}
}

// A split group's outcome tells what waits, anew after each change of that, and
// under each id the same work was handed in.
func TestSplitOutcome_TellsWhatWaits(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"), everywhere)
	w.sql("INSERT INTO product VALUES ('p0','x',1,'A')")
	tx := a.unaware(badGroup()...)
	a.push(tx)
	a.hears(2, 5, 6)
	b := *a // a clone hands the same in
	b.live()
	b.connect()
	again := b.unaware(badGroup()...)
	for i := range again.Ops {
		again.Ops[i].Rows = tx.Ops[i].Rows
	}
	again.ID, again.Bases, again.HLC = tx.ID, tx.Bases, tx.HLC
	b.prev = again.Sum()
	b.mark = 0
	if r := b.push(again).Results[0]; hub.Status(r.Status) != hub.Quarantined {
		t.Fatalf("the clone's: %+v", r)
	}
	if len(w.queue()) != 1 {
		t.Fatal("the clone's work is parked twice")
	}
	b.hears(2, 5, 6)

	// Of what waits, one more can be applied now.
	w.sql("UPDATE product SET code='Z' WHERE id='p0'")
	out, err := w.hub.Retry(w.ctx, tx.ID)
	w.must(err)
	if statuses(out) != "quarantined" {
		t.Fatalf("retry: %+v", out)
	}
	a.hears(5, 6)
	b.hears(5, 6)

	// A person leaves the order's line out, in vain: both still wait for the outcome.
	if out, err = w.hub.Edit(w.ctx, tx.ID, []hub.Edit{{Op: 1, Drop: true}}); err != nil || statuses(out) != "quarantined" {
		t.Fatalf("edit: %+v, %v", out, err)
	}
	if q := w.queue()[0]; !slices.Equal(q.Places, []uint32{5}) || !slices.Equal(q.Left, []uint32{6}) {
		t.Fatalf("parked %+v", q)
	}
	for _, r := range a.outcomes() {
		if !slices.Equal(r.Waits, []uint32{5, 6}) {
			t.Errorf("after the edit: %+v", r)
		}
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('nobody','1','N')")
	out, err = w.hub.Retry(w.ctx, tx.ID)
	w.must(err)
	if statuses(out) != "discarded" || !strings.Contains(out[0].Reason, "without 1 of its rows") {
		t.Fatalf("retry: %+v", out)
	}
	if got := a.outcomes(); len(got) != 1 || got[0].Waits != nil {
		t.Errorf("at the end: %+v", got)
	}
	w.want("SELECT count(*) FROM _tidemark_record WHERE kind='waits'", "0")
	w.want("SELECT (SELECT group_concat(id) FROM orders), (SELECT count(*) FROM line)", "o1,o9|0")
}

// What a person left out before a group was split is not forgotten by the places.
func TestSplitOutcome_AfterAnEdit(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p0','x',1,'A'), ('p9','y',1,'B')")
	tx := a.unaware(ins("product", "p1", "tea", 1, "A"), ins("product", "p2", "milk", 1, "A"), ins("product", "p3", "oat", 1, "B"))
	a.push(tx)
	a.hears()
	out, err := w.hub.Edit(w.ctx, tx.ID, []hub.Edit{{Op: 0, Drop: true}, {Op: 1, Column: "code", Value: val("C")}})
	w.must(err)
	if statuses(out) != "quarantined" {
		t.Fatalf("edit: %+v", out)
	}
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "p0,p2,p9")
	a.hears(2, 0)
}

// Of a copied file's group, only what the copy added is decided; its places are
// those in what the copy handed in.
func TestSplitOutcome_OfACopy(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p0','x',1,'A')")
	first := ins("product", "p1", "tea", 1, "T")
	first.Rows = []uint64{1000}
	t1 := a.unaware(first)
	a.push(t1)
	b := *a
	b.live()
	b.connect()
	b.mark = 0
	t2 := b.unaware(first, ins("product", "p2", "bad", 1, "A"), ins("product", "p3", "good", 1, "G"))
	t2.ID = t1.ID
	b.prev = t2.Sum()
	b.push(t2)
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "p0,p1,p3")
	b.hears(1)
}
