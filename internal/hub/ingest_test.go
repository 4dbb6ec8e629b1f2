package hub_test

import (
	"reflect"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func TestIngest_WholeTransaction(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	b := w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 3), ins("line", "o1", 1, "pen"), ins("line", "o1", 2, "ink"))
	w.want("SELECT o.id, l.n, l.item FROM orders o JOIN line l ON l.ord=o.id ORDER BY 2", "o1|1|pen\no1|2|ink")
	if n := b.pull(); n != 4 {
		t.Errorf("the other site got %d rows, want 4", n)
	}
	if n := a.pull(); n != 0 {
		t.Errorf("the author got %d of its own rows back", n)
	}
	if a.done[1] != hub.Applied {
		t.Errorf("outcome %v, want applied", a.done[1])
	}
	a.same("line", "1")
	b.same("line", "1")
}

// The children may come before their parents in the operations, and updates may
// pass unique values round.
func TestIngest_OrderOfOperations(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"), everywhere)
	a.applies(ins("line", "o1", 1, "pen"), ins("orders", "o1", "c1"), ins("customer", "c1", "1", "Ann"))
	a.applies(ins("product", "p1", "x", 1, "A"), ins("product", "p2", "y", 1, "B"), ins("product", "p3", "z", 1, "C"))
	// A chain needs the right order, a ring needs more.
	a.applies(upd("product", "p1", "code", "A", "B"), upd("product", "p2", "code", "B", "D"))
	a.applies(upd("product", "p1", "code", "B", "C"), upd("product", "p3", "code", "C", "D"), upd("product", "p2", "code", "D", "B"))
	w.want("SELECT id, code FROM product ORDER BY 1", "p1|C\np2|B\np3|D")
	b := w.site("b", everywhere)
	b.same("product", "1")
	a.applies(del("line", "o1", 1, "pen"), del("customer", "c1", "1", "Ann"), del("orders", "o1", "c1"))
	w.want("SELECT (SELECT count(*) FROM customer)+(SELECT count(*) FROM orders)+(SELECT count(*) FROM line)", "0")
}

func TestTrapD2_AnswerLost(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',10)")
	a.pull()
	key := change.Key{change.Text("T"), change.Text("here")}
	t1 := a.tx(updKey("stock", key, "qty", 10, 7))
	t2 := a.tx(updKey("stock", key, "qty", 7, 5))
	first := a.push(t1, t2)
	again := a.push(t1, t2) // the answer got lost: everything is sent again
	w.want("SELECT qty FROM stock", "5")
	if len(again.Results) != 2 || !reflect.DeepEqual(again.Results[0], first.Results[0]) || again.Durable != 2 || again.Fork {
		t.Errorf("second answer %+v, first %+v", again, first)
	}
	t3 := a.tx(updKey("stock", key, "qty", 5, 4))
	if r := a.push(t1, t2, t3); len(r.Results) != 3 || r.Durable != 3 {
		t.Errorf("old and new in one push: %+v", r)
	}
	w.want("SELECT qty FROM stock", "4")
}

func TestChain_ForkIsNoticed(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1"))
	clone := *a // the file is copied here
	a.applies(ins("product", "p2"))
	mine := clone.tx(ins("product", "p3"))
	res := clone.push(mine)
	if !res.Fork || len(res.Results) != 0 || res.Durable != 0 {
		t.Fatalf("a forked chain was answered %+v", res)
	}
	// The clone goes on under a new incarnation, with what it has not handed in.
	clone.live()
	clone.connect()
	again := clone.tx(mine.Ops...)
	again.ID = mine.ID
	if r := clone.push(again); r.Fork || hub.Status(r.Results[0].Status) != hub.Applied {
		t.Fatalf("the new incarnation was answered %+v", r)
	}
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "p1,p2,p3")

	// One that skips ahead of the fork does not fit either, nor does a record that
	// was altered after it was handed in.
	ahead := *a
	ahead.seq--
	ahead.prev = a.sent[0].Sum()
	ahead.tx(ins("product", "p5"))
	if r := a.push(ahead.tx(ins("product", "p6"))); !r.Fork {
		t.Errorf("a transaction with another past was answered %+v", r)
	}
	altered := *a.sent[0]
	altered.Ops = []change.Op{ins("product", "p1", "altered")}
	if r := a.push(&altered); !r.Fork {
		t.Errorf("an altered transaction was answered %+v", r)
	}

	gap := clone.tx(ins("product", "p9"))
	gap.Seq += 5
	if r := clone.push(gap); !r.Fork {
		t.Errorf("a gap in the chain was answered %+v", r)
	}
	// Another device with this incarnation is a copied file too.
	b := w.site("b", everywhere)
	b.inc = clone.inc
	if r := b.push(b.tx(ins("product", "p8"))); !r.Fork || r.Durable != 0 {
		t.Errorf("another device's incarnation was answered %+v", r)
	}
}

// A restored file hands in what the hub has under another incarnation: once is enough.
func TestTrapD4_RestoredFileHandsInAgain(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',10)")
	a.pull()
	op := updKey("stock", change.Key{change.Text("T"), change.Text("here")}, "qty", 10, 7)
	op.Rows = []uint64{77}
	t1 := a.tx(op)
	a.push(t1)
	parked := a.tx(ins("invoice", "i1", nil, "nobody", 1))
	a.push(parked)
	a.live()
	a.connect()
	again := a.tx(op)
	again.ID = t1.ID
	again2 := a.tx(parked.Ops...)
	again2.ID = parked.ID
	a.prev = again.Sum()
	again2.Prev = a.prev
	a.prev = again2.Sum()
	r := a.push(again, again2)
	if hub.Status(r.Results[0].Status) != hub.Applied || hub.Status(r.Results[1].Status) != hub.Quarantined {
		t.Fatalf("answered %+v", r)
	}
	if r := a.push(again, again2); len(r.Results) != 2 || r.Fork {
		t.Fatalf("answered again %+v", r)
	}
	w.want("SELECT qty FROM stock", "7")
	if q := w.queue(); len(q) != 1 {
		t.Fatalf("%d in quarantine, want 1", len(q))
	}
	// Both records of the parked one hear of its end.
	_, err := w.hub.Discard(w.ctx, parked.ID, "a test")
	w.must(err)
	a.pull()
	if a.done[2] != hub.Discarded {
		t.Errorf("the restored file heard %v, want discarded", a.done[2])
	}
}
