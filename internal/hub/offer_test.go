package hub_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// offers checks how many operations are known as offered, by how many salvages each.
func (w *world) offers(want string) {
	w.t.Helper()
	w.want("SELECT coalesce(group_concat(n, ' '), '') FROM (SELECT json_array_length(body, '$.by') AS n FROM _tidemark_record WHERE kind = 'offer' ORDER BY n)", want)
}

// Each row is offered to a person once, however it comes and goes.
func TestSalvageOffersEachRowOnce(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, code) VALUES ('p', 'A'); INSERT INTO stock VALUES ('A','x',0), ('A','y',0)")
	_, s := w.outlived("a")
	at := func(place string, now int) change.Op {
		return updKey("stock", change.Key{val("A"), val(place)}, "qty", 0, now)
	}
	_, one := s.offer(ins("product", "a"), ins("product", "b"), at("x", -5), at("y", 5))
	w.offers("1 1 1 1")
	_, two := s.offer(ins("product", "b"), ins("product", "c"), at("x", -5), at("y", 6))
	w.offers("1 1 1 1 1 2") // of amounts one that is offered already stays with the others
	out, err := w.hub.Edit(w.ctx, two, []hub.Edit{{Op: 0, Column: "name", Value: val("sea")}, {Op: 2, Drop: true}})
	w.must(err)
	if !strings.HasPrefix(statuses(out), "discarded") {
		t.Errorf("edit: %+v", out)
	}
	w.offers("1 1 1 1")
	if res, _ := s.offer(ins("product", "b")); hub.Status(res.Status) != hub.Discarded {
		t.Errorf("what is offered already: %+v", res)
	}
	_, err = w.hub.Discard(w.ctx, one, "not wanted")
	w.must(err)
	w.offers("")
	if res, _ := s.offer(ins("product", "b")); hub.Status(res.Status) != hub.Quarantined {
		t.Errorf("what nobody offers any more: %+v", res)
	}
	w.offers("1")
	// A record that points nowhere hides nothing.
	w.sql("UPDATE _tidemark_record SET body = replace(body, '/', '-') WHERE kind = 'offer'")
	if res, _ := s.offer(ins("product", "b")); hub.Status(res.Status) != hub.Quarantined {
		t.Errorf("offered by something that is not there: %+v", res)
	}
}

// A row with another key than the hub's has no place there: a person looks at it.
func TestSalvageWithAnotherKey(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	w.begin(change.Restored)
	a.connect()
	op := ins("product", "p", "x")
	op.Key = change.Key{val("p"), val("q")}
	res, id := a.salvager().offer(op)
	if hub.Status(res.Status) != hub.Quarantined {
		t.Fatalf("%+v", res)
	}
	w.must(w.hub.Sift(w.ctx))
	a.applies(ins("product", "z"))
	w.must(w.hub.Sift(w.ctx))
	if _, err := w.hub.Discard(w.ctx, id, "no"); err != nil {
		t.Error(err)
	}
	w.offers("")
}

// Sifting reads the salvages whose rows were written since, and no other.
func TestSalvageIsSiftedByWhatWasWritten(t *testing.T) {
	w := newWorld(t, sealed)
	a, s := w.outlived("a")
	for i := range 6 {
		s.offer(ins("product", fmt.Sprint("p", i)), ins("product", fmt.Sprint("q", i)))
	}
	last := w.queue()[5].ID.String()
	damage := func(with string) {
		w.sql("UPDATE _tidemark_record SET body = CAST(" + with + " AS BLOB) WHERE kind = 'salvage' AND id LIKE '%" + last + "'")
	}
	w.must(w.hub.Sift(w.ctx))
	damage("'no JSON ' || body")
	for i := range 5 {
		a.applies(ins("product", fmt.Sprint("p", i)))
		w.must(w.hub.Sift(w.ctx))
	}
	a.applies(ins("product", "p5"))
	if err := w.hub.Sift(w.ctx); err == nil {
		t.Error("the damaged one was not read")
	}
	damage("substr(CAST(body AS TEXT), 9)")
	w.must(w.hub.Sift(w.ctx))
	for _, p := range w.queue() {
		if tx, err := p.Transaction(); err != nil || len(tx.Ops) != 1 {
			t.Errorf("left of %s: %+v, %v", p.ID, tx, err)
		}
	}
	// When nobody can tell what was written, all are looked at.
	a.applies(ins("product", "q0"))
	w.forgets(2 * hub.DefaultKeep)
	w.must(w.hub.Sift(w.ctx))
	if n := len(w.queue()); n != 5 {
		t.Errorf("%d wait", n)
	}
	w.offers("1 1 1 1 1")
}

// Rows that were offered wait as they were offered, whatever stood at the hub when
// part of them was taken over.
func TestSalvageWaitsOnAsItWasOffered(t *testing.T) {
	w := newWorld(t, sealed)
	_, s := w.outlived("a")
	tx := s.tx(ins("product", "p", "new"), ins("product", "q", "new"), ins("orders", "o", "lost", "new", 1))
	tx.Bases = append(tx.Bases, tx.Bases[0])
	tx.Ops[2].BaseAt = 1
	s.prev = tx.Sum()
	s.reoffer(&wire.Push{Salvage: true}, tx)
	w.sql(`INSERT INTO customer (id, branch, name) VALUES ('c1', '1', 'Ann'); INSERT INTO orders VALUES ('o', 'c1', 'now', 5); INSERT INTO product (id, name) VALUES ('q', 'now')`)
	for _, want := range []string{"p|new\nq|now", "p|new\nq|new"} {
		out, err := w.hub.Retry(w.ctx, tx.ID)
		w.must(err)
		if statuses(out) != "quarantined" {
			t.Fatalf("%+v", out)
		}
		w.want("SELECT id, name FROM product ORDER BY id", want)
	}
	d, err := w.hub.Show(w.ctx, tx.ID)
	w.must(err)
	if got := d.Tx.Ops; len(got) != 1 || got[0].Kind != change.Insert || len(got[0].New) != 4 || got[0].BaseAt != 1 || len(d.Parked.Places) != 1 || d.Parked.Places[0] != 2 {
		t.Errorf("left: %+v, places %v", got, d.Parked.Places)
	}
	w.offers("1")
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('lost', '1', 'Eve'); DELETE FROM orders")
	for range 2 { // it was written since
		_, err = w.hub.Retry(w.ctx, tx.ID)
	}
	w.must(err)
	w.want("SELECT * FROM orders", "o|lost|new|1")
}

// The journal keeps that a salvage came, and not its rows a second time: discarding
// it sends none of them to anybody.
func TestSalvageIsJournalledWithoutItsRows(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, name) VALUES ('p', 'now')")
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	w.begin(change.Restored)
	a.connect()
	b.connect()
	s := a.salvager()
	res, id := s.offer(upd("product", "p", "name", "now", "then"))
	if r := s.reoffer(&wire.Push{Salvage: true}, s.sent[0]); r.Fork || r.Results[0].Status != res.Status {
		t.Errorf("handed in twice: %+v", r)
	}
	w.must(w.store.View(w.ctx, func(v hub.View) error {
		tx, err := v.Payload(id)
		if err == nil && len(tx.Ops) != 0 {
			t.Errorf("the journal holds %+v", tx.Ops)
		}
		return err
	}))
	b.pull()
	_, err := w.hub.Discard(w.ctx, id, "not wanted")
	w.must(err)
	if n := b.pull(); n != 0 {
		t.Errorf("%d rows came", n)
	}
	// The same id with other rows is another offer, and waits like any.
	tx := s.tx(ins("product", "q"))
	tx.ID = id
	s.prev = tx.Sum()
	if r := s.reoffer(&wire.Push{Salvage: true}, tx); hub.Status(r.Results[0].Status) != hub.Quarantined {
		t.Errorf("%+v", r)
	}
	parkedAs(t, w.queue(), "salvage")
}

// What an earlier build left in quarantine is settled like all else.
func TestSalvageAmongParkedWork(t *testing.T) {
	w := newWorld(t, sealed)
	a, s := w.outlived("a")
	_, one := s.offer(ins("product", "a"), ins("product", "x"))
	_, two := s.offer(ins("product", "b"))
	s.offer(ins("product", "c"))
	w.sql("UPDATE _tidemark_record SET kind = 'parked' WHERE kind = 'salvage'; DELETE FROM _tidemark_record WHERE kind = 'offer'")
	a.applies(ins("product", "x"))
	a.parks("column", change.Op{Table: "product", Kind: change.Insert, Key: change.Key{val("e")}, Columns: []string{"id", "none"}, New: []change.Value{val("e"), val(1)}})
	a.applies(ins("product", "c"))
	w.must(w.hub.Sift(w.ctx))
	w.must(w.hub.Await(w.ctx))
	parkedAs(t, w.queue(), "salvage salvage unknown-column")
	_, err := w.hub.Retry(w.ctx, one)
	w.must(err)
	_, err = w.hub.Discard(w.ctx, two, "no")
	w.must(err)
	parkedAs(t, w.queue(), "unknown-column")
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "a,c,x")
}

// To find one parked transaction nothing else that waits is read.
func TestQueueFindsOneByItself(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	var ids []change.TxID
	for i := range 2 {
		ids = append(ids, a.parks("customer", ins("orders", fmt.Sprint("o", i), "none", "new", 1)))
		w.clock.Advance(1)
	}
	w.sql("UPDATE _tidemark_record SET body = CAST('no JSON' AS BLOB) WHERE kind = 'parked' AND id LIKE '%" + ids[1].String() + "'")
	if d, err := w.hub.Show(w.ctx, ids[0]); err != nil || d.Parked.ID != ids[0] {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := w.hub.Show(w.ctx, ids[1]); err == nil {
		t.Error("the other one is whole")
	}
}
