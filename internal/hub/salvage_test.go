package hub_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// offer hands rows in under an incarnation of their own.
func (s *site) offer(ops ...change.Op) (wire.TxResult, change.TxID) {
	s.t.Helper()
	t := s.tx(ops...)
	return s.reoffer(&wire.Push{Salvage: true}, t).Results[0], t.ID
}

func (s *site) salvager() *site {
	s.t.Helper()
	c := *s
	c.live()
	return &c
}

// outlived is a device from before the hub was put back, and what it can hand in of that
// time.
func (w *world) outlived(name string) (a, salvager *site) {
	w.t.Helper()
	a = w.site(name, everywhere)
	w.begin(change.Restored)
	a.connect()
	return a, a.salvager()
}

// forgets lets so much time go by, twice, that the log tells only of a row that is new.
func (w *world) forgets(span time.Duration) {
	w.t.Helper()
	w.clock.Advance(span)
	w.sql("INSERT INTO product (id) VALUES ('new')")
	_, err := w.hub.Retain(w.ctx, 0)
	w.must(err)
	w.clock.Advance(span)
	_, err = w.hub.Retain(w.ctx, 0)
	w.must(err)
}

func TestSalvageWaitsForAPerson(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, name) VALUES ('same', 'x'), ('changed', 'now')")
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	w.begin(change.Restored)
	a.connect()
	b.connect()
	sa, sb := a.salvager(), b.salvager()

	res, id := sa.offer(ins("product", "gone", "y"), ins("product", "same", "x"), upd("product", "changed", "name", "now", "before"), ins("country", "se", "Sweden"))
	if hub.Status(res.Status) != hub.Quarantined || !strings.Contains(res.Reason, "2 that the hub no longer has, 1 that it has with other values") {
		t.Fatalf("%+v", res)
	}
	// Another device held the same rows, and one more.
	res, more := sb.offer(ins("product", "gone", "y"), upd("product", "changed", "name", "now", "before"), ins("product", "more", "z"))
	if hub.Status(res.Status) != hub.Quarantined || !strings.Contains(res.Reason, ": 1 that the hub no longer has. Retry") {
		t.Fatalf("%+v", res)
	}
	for _, op := range []change.Op{ins("product", "gone", "y"), ins("product", "same", "x")} {
		if res, _ := sb.offer(op); hub.Status(res.Status) != hub.Discarded || res.Reason != "nothing was lost" {
			t.Errorf("%+v", res)
		}
	}
	parkedAs(t, w.queue(), "salvage salvage")
	w.want("SELECT id, name FROM product ORDER BY id", "changed|now\nsame|x")

	// Nobody's work waits for it.
	a.applies(upd("product", "changed", "name", "now", "later"))
	a.applies(ins("product", "gone", "mine"))
	// A device that comes only now holds what stood here before.
	res, late := sb.offer(upd("product", "changed", "name", "later", "long before"))
	if hub.Status(res.Status) != hub.Quarantined {
		t.Errorf("%+v", res)
	}
	if out, err := w.hub.Retry(w.ctx, late); err != nil || statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "offered: 1") {
		t.Errorf("retry: %+v, %v", out, err)
	}
	_, err := w.hub.Discard(w.ctx, late, "the hub's is newer")
	w.must(err)
	w.must(w.hub.SetGrants(w.ctx, a.id, nil))
	// What was written since is not written over but on a second word.
	out, err := w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "since they were offered: 2") {
		t.Errorf("retry: %+v", out)
	}
	w.want("SELECT id, name FROM product ORDER BY id", "changed|later\ngone|mine\nsame|x")
	w.want("SELECT id, name FROM country", "se|Sweden")
	d, err := w.hub.Show(w.ctx, id)
	w.must(err)
	if len(d.Tx.Ops) != 2 || d.Parked.Code != "salvage" || len(d.Parked.Places) != 2 || d.Parked.Places[0] != 0 || d.Parked.Places[1] != 2 {
		t.Errorf("what is left: %+v", d)
	}
	out, err = w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "merged" || len(w.receipts()) != 0 {
		t.Errorf("retry: %s, receipts %+v", statuses(out), w.receipts())
	}
	w.want("SELECT id, name FROM product ORDER BY id", "changed|before\ngone|y\nsame|x")
	w.want("SELECT id, name FROM country", "se|Sweden")
	out, err = w.hub.Discard(w.ctx, more, "not wanted")
	w.must(err)
	if statuses(out) != "discarded" {
		t.Errorf("discard: %s", statuses(out))
	}
	// Everybody gets what was taken over, the devices that offered it included.
	b.pull()
	b.same("product", "1")
	b.same("country", "1")
}

// Ten devices hand in the same rows under the same id.
func TestSalvageOfSeveralDevicesUnderOneID(t *testing.T) {
	w := newWorld(t, sealed)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	w.begin(change.Restored)
	a.connect()
	b.connect()
	sa, sb := a.salvager(), b.salvager()
	mine, theirs := sa.tx(ins("product", "p")), sb.tx(ins("product", "p"))
	theirs.ID = mine.ID
	theirs.Ops[0].Rows = mine.Ops[0].Rows
	for range 2 {
		for _, s := range []struct {
			*site
			tx *change.Transaction
		}{{sa, mine}, {sb, theirs}} {
			if r := s.reoffer(&wire.Push{Salvage: true}, s.tx); r.Fork || hub.Status(r.Results[0].Status) != hub.Quarantined {
				t.Errorf("%+v", r)
			}
		}
	}
	parkedAs(t, w.queue(), "salvage")
	_, err := w.hub.Retry(w.ctx, mine.ID)
	w.must(err)
	parkedAs(t, w.queue(), "")
	if r := sb.reoffer(&wire.Push{Salvage: true}, theirs); hub.Status(r.Results[0].Status) != hub.Merged {
		t.Errorf("after the retry: %+v", r)
	}
	w.want("SELECT count(*) FROM product", "1")
}

// What a device may not read now it may have been given since the backup. Whatever it
// offers of that waits for a person, and the answer tells nothing of the hub's rows.
func TestSalvageAsksForReading(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('c2', '2', 'Bob'), ('c1', '1', 'Ann'), ('d1', '1', 'Dan'), ('d2', '2', 'Dan')")
	a := w.site("a", rule.Grant{Scope: "branch/1", Verbs: rule.Read})
	w.begin(change.Restored)
	a.connect()
	s := a.salvager()
	w.sql("DELETE FROM customer WHERE id IN ('d1', 'd2')")
	const out = "1 outside what the device may read now"
	for _, c := range []struct {
		op   change.Op
		want string
	}{
		{ins("customer", "x", "1", "Eve"), "1 that the hub no longer has"},
		{ins("customer", "y", "2", "Eve"), out},
		{ins("customer", "c2", "2", "Bob"), out}, // the very row
		{upd("customer", "c2", "name", "Bob", "Rob"), out},
		{upd("customer", "c2", "name", "Rob", "Bob"), out}, // as it is
		{upd("customer", "c2", "branch", "2", "1"), out},
		{upd("customer", "d2", "name", "Dan", "Don"), out}, // deleted since
		{upd("customer", "d1", "name", "Dan", "Don"), "nothing was lost"},
		{ins("customer", "c1", "1", "Ann"), "nothing was lost"},
		{upd("customer", "c1", "name", "Ann", "Anna"), "1 that it has with other values"},
		{upd("customer", "c1", "branch", "1", "2"), out},
		{ins("orders", "o1", "c1", "new", 1), "1 that the hub no longer has"},
		{ins("orders", "o2", "c2", "new", 1), out},
		{ins("orders", "o3", "lost", "new", 1), "1 that the hub no longer has"}, // its parent was lost, too
		{ins("line", "o3", 1, "nail"), "1 that the hub no longer has"},
	} {
		res, _ := s.offer(c.op)
		want := hub.Quarantined
		if c.want == "nothing was lost" {
			want = hub.Discarded
		}
		if hub.Status(res.Status) != want || !strings.Contains(res.Reason, c.want) {
			t.Errorf("%v: %s %s, want %s", c.op, hub.Status(res.Status), res.Reason, c.want)
		}
	}
	// Nor does the outcome tell, when the hub comes to have it.
	n := len(w.queue())
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('y', '2', 'Eve'), ('x', '1', 'Eve')")
	w.must(w.hub.Sift(w.ctx))
	if got := len(w.queue()); got != n-1 {
		t.Errorf("%d wait after sifting %d", got, n)
	}
}

// The rows of a device that lost its grant with the restore reach a person, and so do
// those of one that offers the same under the same id and may read them.
func TestSalvageOfADeviceWhoseGrantWasLost(t *testing.T) {
	w := newWorld(t, sealed)
	a, b := w.site("a", rule.Grant{Scope: "branch/1", Verbs: rule.Read}), w.site("b", branchGrant("2"))
	w.begin(change.Restored)
	a.connect()
	b.connect()
	sa, sb := a.salvager(), b.salvager()
	mine, theirs := sa.tx(ins("customer", "y", "2", "Eve")), sb.tx(ins("customer", "y", "2", "Eve"))
	theirs.ID, theirs.Ops[0].Rows = mine.ID, mine.Ops[0].Rows
	sa.reoffer(&wire.Push{Salvage: true}, mine)
	sb.reoffer(&wire.Push{Salvage: true}, theirs)
	parkedAs(t, w.queue(), "salvage")
	out, err := w.hub.Retry(w.ctx, mine.ID)
	w.must(err)
	if statuses(out) != "applied" && statuses(out) != "merged" {
		t.Errorf("retry: %+v", out)
	}
	w.want("SELECT name FROM customer", "Eve")
}

// A row that was deleted after the restore was not lost (I3).
func TestSalvageOfWhatWasDeletedSince(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id) VALUES ('early'), ('late')")
	a := w.site("a", everywhere)
	w.sql("DELETE FROM product WHERE id = 'early'")
	w.begin(change.Restored)
	w.sql("DELETE FROM product WHERE id = 'late'")
	a.connect()
	s := a.salvager()
	res, _ := s.offer(ins("product", "late"))
	if hub.Status(res.Status) != hub.Discarded {
		t.Errorf("deleted in the present life: %+v", res)
	}
	res, _ = s.offer(ins("product", "early")) // it may have come back in the part that was lost
	if hub.Status(res.Status) != hub.Quarantined {
		t.Errorf("deleted before the restore: %+v", res)
	}
	// When the log no longer reaches back to the restore, nobody knows: a person decides.
	w.forgets(1000 * hub.DefaultKeep)
	res, _ = s.offer(ins("product", "late", "other"))
	if hub.Status(res.Status) != hub.Quarantined {
		t.Errorf("out of the log: %+v", res)
	}
}

// What cannot be taken over waits on as it was offered; the rows that can are taken.
func TestSalvageThatCannotBeTakenOver(t *testing.T) {
	w := newWorld(t, sealed)
	_, s := w.outlived("a")
	_, whole := s.offer(ins("orders", "o1", "lost", "new", 1))
	_, parts := s.offer(ins("product", "p"), ins("orders", "o2", "lost", "new", 1))
	strange := ins("product", "q", "x")
	strange.Table = "nowhere"
	_, table := s.offer(strange)
	strange = ins("product", "q", "x")
	strange.Columns = []string{"id", "nowhere", "price", "code"}
	_, column := s.offer(strange)
	for _, id := range []change.TxID{whole, parts, table, column} {
		out, err := w.hub.Retry(w.ctx, id)
		w.must(err)
		if statuses(out) != "quarantined" {
			t.Errorf("%s", statuses(out))
		}
	}
	w.want("SELECT group_concat(id) FROM product", "p")
	parkedAs(t, w.queue(), "salvage salvage salvage salvage")
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('lost', '1', 'Ann')")
	for _, id := range []change.TxID{whole, parts} {
		out, err := w.hub.Retry(w.ctx, id)
		w.must(err)
		if !strings.HasPrefix(statuses(out), "applied") && !strings.HasPrefix(statuses(out), "merged") {
			t.Errorf("%s", statuses(out))
		}
	}
	w.want("SELECT group_concat(id) FROM (SELECT id FROM orders ORDER BY id)", "o1,o2")
	// The hub has it all by now.
	_, id := s.offer(ins("product", "r"))
	w.sql("INSERT INTO product (id) VALUES ('r'), ('q')")
	out, err := w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "applied" {
		t.Errorf("%s", statuses(out))
	}
	if out, err = w.hub.Retry(w.ctx, column); err != nil || statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "nowhere") {
		t.Errorf("a column that is not there: %+v, %v", out, err)
	}
}

// Whoever wrote a row comes by later than who only held it: then there is nothing to
// look at any more.
func TestSalvageIsSifted(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, name) VALUES ('u', 'old')")
	a, s := w.outlived("a")
	_, some := s.offer(ins("product", "p", "x"), ins("product", "q", "y"), upd("product", "u", "name", "old", "new"))
	_, all := s.offer(ins("product", "r", "z"))
	sift := func(want string) {
		t.Helper()
		w.must(w.hub.Sift(w.ctx))
		got := ""
		for _, p := range w.queue() {
			tx, err := p.Transaction()
			w.must(err)
			for i := range tx.Ops {
				got += tx.Ops[i].Key.String()
			}
		}
		if got != want {
			t.Errorf("left: %s, want %s", got, want)
		}
	}
	sift("'p''q''u''r'")
	sift("'p''q''u''r'")
	a.applies(ins("product", "q", "y"))
	a.applies(upd("product", "u", "name", "old", "new"))
	a.applies(ins("product", "r", "z"))
	sift("'p'")
	if p := w.queue()[0]; p.ID != some || len(p.Places) != 1 || p.Places[0] != 0 {
		t.Errorf("parked %+v", p)
	}
	if _, err := w.hub.Retry(w.ctx, all); err == nil {
		t.Error("what was sifted out can be retried")
	}
	w.parkedElse(a)
	sift("'p''e'")
}

// parkedElse parks something that is no salvage.
func (w *world) parkedElse(a *site) {
	w.t.Helper()
	a.parks("column", change.Op{Table: "product", Kind: change.Insert, Key: change.Key{val("e")}, Columns: []string{"id", "none"}, New: []change.Value{val("e"), val(1)}})
}

// Of rows that cannot all be taken over, those that can are, those that were written
// since wait for a second word, and the others for what they lack.
func TestSalvageTakenOverInParts(t *testing.T) {
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, name) VALUES ('u', 'old')")
	_, s := w.outlived("a")
	_, id := s.offer(ins("product", "p"), upd("product", "u", "name", "old", "new"), ins("orders", "o", "lost", "new", 1), upd("product", "gone", "name", "a", "b"))
	w.sql("UPDATE product SET name = 'since' WHERE id = 'u'")
	out, err := w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "customer") || !strings.Contains(out[0].Reason, "offered: 2") {
		t.Errorf("%+v", out)
	}
	w.want("SELECT id, name FROM product ORDER BY id", "p|NULL\nu|since")
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('lost', '1', 'Ann')")
	_, err = w.hub.Retry(w.ctx, id)
	w.must(err)
	w.want("SELECT id, name FROM product ORDER BY id", "p|NULL\nu|new")
	w.want("SELECT id FROM orders", "o")
}

// A transfer moves an amount between rows. Rows that were lost and held are taken over
// one by one, amounts all at once or not at all: half a transfer is nothing that
// anybody ever saw.
func TestSalvageKeepsAmountsTogether(t *testing.T) {
	const amounts = "SELECT group_concat(place || '=' || qty, ' ') FROM (SELECT place, qty FROM stock ORDER BY place)"
	at := func(place string, was, now int) change.Op {
		return updKey("stock", change.Key{val("A"), val(place)}, "qty", was, now)
	}
	w := newWorld(t, sealed)
	w.sql("INSERT INTO product (id, code) VALUES ('p', 'A'); INSERT INTO stock VALUES ('A','x',0), ('A','y',0), ('A','z',0)")
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	w.begin(change.Restored)
	a.connect()
	b.connect()
	sa, sb := a.salvager(), b.salvager()
	// Lost were 5 from x to y, and 3 from x to z, which b had not seen.
	_, first := sa.offer(ins("product", "q", "tea"), at("x", 0, -8), at("y", 0, 5), at("z", 0, 3))
	_, second := sb.offer(at("x", 0, -5), at("y", 0, 5))
	if _, again := sb.offer(ins("product", "q", "tea"), at("x", 0, -8), at("z", 0, 3)); again.IsZero() {
		t.Fatal("no id")
	}
	w.want("SELECT count(*) FROM _tidemark_record WHERE kind = 'salvage'", "2") // nothing new in the third
	if p := w.queue(); len(p[0].Places)+len(p[1].Places) != 6 {
		t.Errorf("b's y is offered by a already, and belongs to its x: %+v", p)
	}
	// Whoever moved the 5 comes by.
	a.applies(at("x", 0, -5), at("y", 0, 5))
	w.must(w.hub.Sift(w.ctx))
	if q := w.queue(); len(q) != 1 || q[0].ID != first || len(q[0].Places) != 4 {
		t.Fatalf("after sifting: %+v", q)
	}
	if _, err := w.hub.Retry(w.ctx, second); err == nil {
		t.Error("what was sifted out can be retried")
	}
	out, err := w.hub.Retry(w.ctx, first)
	w.must(err)
	if statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "offered: 1, amounts that may belong to them: 2") {
		t.Errorf("%+v", out)
	}
	w.want(amounts, "x=-5 y=5 z=0")
	w.want("SELECT name FROM product WHERE id = 'q'", "tea")
	out, err = w.hub.Retry(w.ctx, first) // a second word
	w.must(err)
	if statuses(out) != "merged" {
		t.Errorf("%+v", out)
	}
	w.want(amounts, "x=-8 y=5 z=3")
}
