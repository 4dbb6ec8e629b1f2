package hub_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A file with work waiting in it is copied, and both copies go on and hand it in:
// the common part counts once, on top of which each adds its own.
func TestTrapD22_CopiedFile(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'), ('q','milk',1,'Q'); INSERT INTO stock VALUES ('T','here',10)")
	a.pull()
	key := change.Key{change.Text("T"), change.Text("here")}
	rows := func(op change.Op, r ...uint64) change.Op { op.Rows = r; return op }

	t1 := a.tx(
		rows(updKey("stock", key, "qty", 10, 7), 1),
		rows(upd("product", "p", "name", "tea", "TEA"), 2),
		rows(ins("product", "n", "new", 1), 3),
		rows(del("product", "q", "milk", 1, "Q"), 4))
	a.push(t1)
	w.want("SELECT qty FROM stock", "7")

	b := *a // the copy, under an incarnation of its own
	b.live()
	b.connect()
	t2 := b.tx(
		rows(updKey("stock", key, "qty", 10, 5), 1, 11),         // sold two more
		rows(upd("product", "p", "name", "tea", "TEA"), 2),      // nothing new
		rows(ins("product", "n", "new", 2), 3, 13),              // changed the price after
		rows(upd("product", "q", "name", "milk", "oat"), 4, 14), // deleted, then inserted again
		rows(ins("product", "z", "only the copy's", 1), 15),     // wholly new
	)
	t2.ID = t1.ID
	b.prev = t2.Sum()
	res := b.push(t2)
	if got := hub.Status(res.Results[0].Status); got == hub.Quarantined {
		t.Fatalf("the copy was %v: %s", got, res.Results[0].Reason)
	}
	w.want("SELECT qty FROM stock", "5")
	w.want("SELECT id, name, price FROM product ORDER BY 1", "n|new|2\np|TEA|1\nq|oat|1\nz|only the copy's|1")

	// A third copy of the second adds nothing, one of its own adds the rest.
	c := *a
	c.live()
	c.connect()
	t3 := c.tx(t2.Ops...)
	t3.ID = t1.ID
	c.prev = t3.Sum()
	c.push(t3)
	w.want("SELECT qty FROM stock", "5")
	d := *a
	d.live()
	d.connect()
	t4 := d.tx(rows(updKey("stock", key, "qty", 10, 6), 1, 21))
	t4.ID = t1.ID
	d.push(t4)
	w.want("SELECT qty FROM stock", "4")
}

// Both copies went on with the waiting work before either handed it in: what adds up
// cannot be told apart any more, and is not guessed. The rest is decided like two
// edits that did not know of each other.
func TestTrapD22_CopiesThatBothWentOn(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',10)")
	a.pull()
	key := change.Key{change.Text("T"), change.Text("here")}
	rows := func(op change.Op, r ...uint64) change.Op { op.Rows = r; return op }
	c, d := *a, *a
	once := func(s *site, id change.TxID, ops ...change.Op) wire.TxResult {
		s.live()
		s.connect()
		tx := s.tx(ops...)
		tx.ID = id
		s.prev = tx.Sum()
		return s.push(tx).Results[0]
	}
	t1 := a.tx(rows(updKey("stock", key, "qty", 10, 7), 1, 11)) // one together, two more of its own
	a.push(t1)
	// The bare beginning brings nothing new, and lets the next one be told apart.
	once(&c, t1.ID, rows(updKey("stock", key, "qty", 10, 9), 1))
	w.want("SELECT qty FROM stock", "7")
	once(&d, t1.ID, rows(updKey("stock", key, "qty", 10, 5), 1, 41))
	w.want("SELECT qty FROM stock", "3")

	a.pull()
	b := *a
	t2 := a.tx(rows(updKey("stock", key, "qty", 3, 1), 2, 51))
	a.push(t2)
	r := once(&b, t2.ID, rows(updKey("stock", key, "qty", 3, 1), 2, 61), rows(ins("product", "z"), 62))
	if hub.Status(r.Status) == hub.Quarantined { // both sold as much: still not the same
		w.want("SELECT qty FROM stock", "1")
	} else {
		t.Errorf("the second copy was %v", hub.Status(r.Status))
	}
	if q := w.queue(); len(q) != 1 || q[0].Code != "diverged" || !strings.Contains(q[0].Reason, "both copies went on") {
		t.Errorf("quarantine %+v", q)
	}
}

func TestTrapD22_CopiesThatBothEdited(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO mix(id,la,se) VALUES ('m','old','[\"x\"]')")
	a.pull()
	rows := func(op change.Op, r ...uint64) change.Op { op.Rows = r; return op }
	b := *a
	t1 := a.tx(rows(upd("mix", "m", "la", "old", "one", "se", `["x"]`, `["x","one"]`), 1, 11))
	a.push(t1)
	b.live()
	b.connect()
	w.clock.Advance(time.Second)
	t2 := b.tx(rows(upd("mix", "m", "la", "old", "two", "se", `["x"]`, `["x","two"]`), 1, 21))
	t2.ID = t1.ID
	b.prev = t2.Sum()
	b.push(t2)
	w.want("SELECT la, se FROM mix", `two|["one","two","x"]`)
	if len(w.receipts()) == 0 {
		t.Error("I7: no receipt says who lost")
	}
}

// The copy of a parked transaction waits for it.
func TestTrapD22_CopyOfParked(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	one := ins("orders", "o1", "c1", "new", 1)
	one.Rows = []uint64{1}
	t1 := a.tx(one)
	a.push(t1)
	b := *a
	b.live()
	b.connect()
	more := ins("orders", "o1", "c1", "paid", 1)
	more.Rows = []uint64{1, 2}
	t2 := b.tx(more)
	t2.ID = t1.ID
	b.push(t2)
	if q := w.queue(); len(q) != 2 || len(q[0].DependsOn)+len(q[1].DependsOn) != 1 {
		t.Fatalf("quarantine %+v", q)
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')")
	out, err := w.hub.Retry(w.ctx, t1.ID)
	w.must(err)
	if len(out) != 2 {
		t.Errorf("settled %+v, want both", out)
	}
	w.want("SELECT status FROM orders", "paid")
}

// What the copy's file did and took back is told from what it never did, whichever
// of the two comes first.
func TestTrapD22_TakenBack(t *testing.T) {
	key := change.Key{change.Text("T"), change.Text("here")}
	rows := func(op change.Op, r ...uint64) change.Op { op.Rows = r; return op }
	none := func(table string, key change.Key, r ...uint64) change.Op {
		return change.Op{Table: table, Kind: change.Update, Key: key, Rows: r}
	}
	part := []change.Op{
		rows(updKey("stock", key, "qty", 10, 9), 1),
		rows(ins("product", "n", "new", 1), 2),
		rows(del("product", "q", "milk", 1, "Q"), 3),
		rows(upd("product", "p", "name", "tea", "TEA"), 4),
		none("product", change.Key{change.Text("r")}, 5, 6)}
	whole := []change.Op{
		none("stock", key, 1, 11),
		none("product", change.Key{change.Text("n")}, 2, 12),
		none("product", change.Key{change.Text("q")}, 3, 13),
		none("product", change.Key{change.Text("p")}, 4, 14),
		rows(ins("product", "r", "kept", 3), 5, 6, 15),
		none("nowhere", key, 16, 17)}
	for name, order := range map[string][2][]change.Op{"part first": {part, whole}, "whole first": {whole, part}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.site("a", everywhere)
			w.sql("INSERT INTO product VALUES ('p','tea',1,'T'), ('q','milk',1,'Q'); INSERT INTO stock VALUES ('T','here',10)")
			a.pull()
			b := *a
			w.sql("UPDATE stock SET qty=qty-3")
			t1 := a.tx(order[0]...)
			a.push(t1)
			b.live()
			b.connect()
			t2 := b.tx(order[1]...)
			t2.ID = t1.ID
			b.prev = t2.Sum()
			if res := b.push(t2).Results[0]; hub.Status(res.Status) == hub.Quarantined {
				t.Fatalf("quarantined: %s", res.Reason)
			}
			w.want("SELECT qty FROM stock", "7")
			w.want("SELECT id, name, price FROM product ORDER BY 1", "p|tea|1\nq|milk|1\nr|kept|3")
			if q := w.queue(); len(q) != 0 {
				t.Errorf("quarantine %+v", q)
			}
		})
	}
}
