package hub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func statuses(out []hub.Settled) string {
	var b []string
	for _, s := range out {
		b = append(b, s.Status.String())
	}
	return strings.Join(b, " ")
}

// Two invoices no. 17.
func TestTrapD10_UniqueBetweenDevices(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("2"))
	a.applies(ins("invoice", "i1", "1", nil, 17))
	id := b.parks("already has this value", ins("invoice", "i2", "2", nil, 17))
	b.applies(ins("invoice", "i3", "2", nil, 18)) // the rest flows
	q := w.queue()
	if len(q) != 1 || q[0].Code != "unique" || q[0].ID != id || q[0].Device != b.id {
		t.Fatalf("quarantine %+v", q)
	}
	b.pull()
	if b.done[1] != hub.Quarantined || b.done[2] != hub.Applied {
		t.Errorf("outcomes %v", b.done)
	}
	// A person gives it another number.
	out, err := w.hub.Edit(w.ctx, id, []hub.Edit{{Op: 0, Column: "number", Value: val(19)}})
	w.must(err)
	if statuses(out) != "merged" {
		t.Fatalf("after the edit: %+v", out)
	}
	w.want("SELECT id, number FROM invoice ORDER BY 1", "i1|17\ni2|19\ni3|18")
	if n := b.pull(); n != 1 {
		t.Errorf("the device got %d rows, want the edited one", n)
	}
	b.same("invoice", "branch='2'")
}

func TestIdentityCollision(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "1", "tea", 1))
	b.parks("two devices chose one key", ins("product", "1", "milk", 1))
	c := w.site("c", everywhere)
	c.applies(ins("product", "1", "tea", 1)) // identical: no conflict
	w.want("SELECT name FROM product", "tea")
}

// A parked parent keeps its children, and theirs, waiting; the rest flows.
func TestTrapD11_ClosureOverParents(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	b.applies(ins("customer", "c0", "1", "Zoe", "same@x"))
	root := a.parks("already has this value", ins("customer", "c1", "1", "Ann", "same@x"))
	a.parks("depends on transaction "+root.String(), ins("orders", "o1", "c1", "new", 1))
	a.parks("depends", ins("line", "o1", 1, "pen"))
	a.applies(ins("customer", "c2", "1", "Bob"))
	a.parks("depends", ins("invoice", "i1", "1", "c1", 1))
	a.applies(ins("invoice", "i2", "1", "c2", 2))
	q := w.queue()
	if len(q) != 4 || !slices.Equal(q[1].DependsOn, []change.TxID{root}) {
		t.Fatalf("quarantine %+v", q)
	}
	if _, err := w.hub.Retry(w.ctx, q[1].ID); !errors.Is(err, hub.ErrDepends) {
		t.Errorf("retry of a dependent: %v", err)
	}
	out, err := w.hub.Retry(w.ctx, root)
	w.must(err)
	if statuses(out) != "quarantined" || w.queue()[0].Tries != 1 {
		t.Errorf("retry without a change: %+v", out)
	}
	w.sql("UPDATE customer SET email='other@x' WHERE id='c0'")
	out, err = w.hub.Retry(w.ctx, root)
	w.must(err)
	if statuses(out) != "applied applied applied applied" {
		t.Fatalf("retry: %+v", out)
	}
	w.want("SELECT c.id, o.id, l.item, i.id FROM customer c JOIN orders o ON o.customer=c.id JOIN line l ON l.ord=o.id JOIN invoice i ON i.customer=c.id", "c1|o1|pen|i1")
	if q := w.queue(); len(q) != 0 {
		t.Errorf("still in quarantine: %+v", q)
	}
	a.pull()
	for seq, st := range a.done {
		if st != hub.Applied {
			t.Errorf("transaction %d is %v at the device", seq, st)
		}
	}
	a.same("customer", "1")
	a.same("line", "1")
}

// What does not depend on a parked transaction passes it, and nothing is dropped.
func TestTrapD12_OneBadTransactionParksItself(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"), everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',10)")
	a.pull()
	stock := change.Key{change.Text("T"), change.Text("here")}
	a.applies(ins("customer", "c1", "1", "Ann", nil, 30))
	for _, tc := range []struct {
		name string
		want hub.Status
		ops  []change.Op
	}{
		{"the bad one", hub.Quarantined, []change.Op{upd("customer", "c1", "name", "Ann", "Eve"), updKey("stock", stock, "qty", 10, 9), ins("orders", "o1", "nobody", "new", 1)}},
		{"another column", hub.Applied, []change.Op{upd("customer", "c1", "age", 30, 31)}},
		{"the same column", hub.Quarantined, []change.Op{upd("customer", "c1", "name", "Eve", "Eva")}},
		{"a counter", hub.Merged, []change.Op{updKey("stock", stock, "qty", 9, 7)}},
		{"another row", hub.Applied, []change.Op{ins("customer", "c2", "1", "Bob")}},
		{"a delete of the row", hub.Quarantined, []change.Op{del("customer", "c1", "1", "Eva", nil, 31)}},
	} {
		if got := hub.Status(a.do(tc.ops...).Status); got != tc.want {
			t.Fatalf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	w.want("SELECT name, age, (SELECT qty FROM stock) FROM customer WHERE id='c1'", "Ann|31|8")
	q := w.queue()
	out, err := w.hub.Discard(w.ctx, q[0].ID, "a mistake")
	w.must(err)
	if statuses(out) != "discarded applied applied" {
		t.Fatalf("after discarding the first: %+v", out)
	}
	w.want("SELECT count(*), (SELECT qty FROM stock) FROM customer", "1|8")
	a.pull()
	if a.done[2] != hub.Discarded || a.done[4] != hub.Applied {
		t.Errorf("outcomes %v", a.done)
	}
	a.same("customer", "1")
	a.same("stock", "1")
	if _, err := w.hub.Discard(w.ctx, q[0].ID, ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("second discard: %v", err)
	}
}

// A device goes on from an edit that a person discards meanwhile. What its next edit
// takes the place of is its own earlier value, which it saw: no loss. What somebody
// else wrote in between is.
func TestDiscard_TheNextEditBuiltOnIt(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"), ins("customer", "c2", "1", "Bob"))
	a.pull()
	b.pull()
	a.applies(upd("customer", "c1", "name", "Ann", "Anna"), upd("customer", "c2", "name", "Bob", "Bobby"))
	bad := a.parks("not at the hub", upd("customer", "c1", "name", "Anna", "Eve"), upd("customer", "c2", "name", "Bobby", "Eve"), ins("orders", "o1", "nobody", "new", 1))
	b.pull()
	b.applies(upd("customer", "c2", "name", "Bobby", "Bea"))
	_, err := w.hub.Discard(w.ctx, bad, "a mistake")
	w.must(err)
	w.clock.Advance(time.Second)
	a.applies(upd("customer", "c1", "name", "Eve", "Eva"))
	if n := len(w.receipts()); n != 0 {
		t.Errorf("%d receipts for a value that its own author replaced", n)
	}
	a.ends(hub.Merged, upd("customer", "c2", "name", "Eve", "Eva"))
	w.want("SELECT name FROM customer ORDER BY id", "Eva\nEva")
	if list := w.receipts(); len(list) != 1 || list[0].Hub != val("Bea") {
		t.Errorf("receipts %+v, want one of what b wrote", list)
	}
	a.pull()
	b.pull()
	a.same("customer", "1")
	b.same("customer", "1")
}

func TestClosure_UniqueAndUnlinking(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann", "a@x"), ins("customer", "c2", "1", "Bob", "b@x"), ins("invoice", "i1", "1", "c1", 1))
	// Parked: c1 gives its address up, and its invoice goes to c2; i9's customer is missing.
	a.parks("not at the hub", upd("customer", "c1", "email", "a@x", "c@x"), upd("invoice", "i1", "customer", "c1", "c2"), ins("invoice", "i9", "1", "none", 9))
	a.parks("depends", upd("customer", "c2", "email", "b@x", "a@x")) // takes what would be free
	a.parks("depends", del("customer", "c1", "1", "Ann", "c@x"))     // would be free of its invoice
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('none','1','Nob')")
	out, err := w.hub.Retry(w.ctx, w.queue()[0].ID)
	w.must(err)
	if statuses(out) != "applied applied applied" {
		t.Fatalf("retry: %+v", out)
	}
	w.want("SELECT id, email FROM customer ORDER BY 1", "c2|a@x\nnone|NULL")
}

// An older or newer edge names columns and tables the hub lacks.
func TestTrapD16_UnknownNamesAreQuarantined(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p0"))
	op := ins("product", "p1", "tea", 1, nil)
	op.Columns = append(slices.Clone(op.Columns), "colour")
	op.New = append(op.New, val("green"))
	id := a.parks("no column colour", op)
	a.parks("no synced table gadget", change.Op{Table: "gadget", Kind: change.Insert, Key: change.Key{val(1)}, Columns: []string{"id"}, New: []change.Value{val(1)}})
	a.parks("no column colour", upd("product", "p0", "colour", nil, "red"))
	w.sql("ALTER TABLE product ADD COLUMN colour TEXT")
	out, err := w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "applied" {
		t.Fatalf("retry with the column there: %+v", out)
	}
	w.want("SELECT id, colour FROM product ORDER BY 1", "p0|NULL\np1|green")
	// An edge that lacks a column leaves it to its default, and does not overwrite it.
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')")
	b := w.site("b", branchGrant("1"))
	short := ins("orders", "o1", "c1", "new")
	short.Columns, short.New = short.Columns[:3], short.New[:3]
	b.applies(short)
	w.want("SELECT total FROM orders", "7")
	// Columns may come in any order and case.
	b.applies(change.Op{Table: "ORDERS", Kind: change.Insert, Key: change.Key{val("o2")}, Columns: []string{"Total", "STATUS", "customer", "id"},
		New: []change.Value{val(3), val("new"), val("c1"), val("o2")}})
	w.want("SELECT * FROM orders WHERE id='o2'", "o2|c1|new|3")
}

func TestValidation_EachRefusalSaysWhat(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits = hub.Limits{Row: 1000, Tx: 3000, Ops: 5} })
	a := w.site("a", branchGrant("1"), everywhere)
	a.applies(ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 3))
	big := strings.Repeat("x", 900)
	wrongKey := ins("product", "px")
	wrongKey.Key = change.Key{val("py")}
	for _, tc := range []struct {
		name, code, why string
		ops             []change.Op
	}{
		{"text in an integer column", "type", "column age is declared INTEGER and cannot hold the text 'abc'", []change.Op{upd("customer", "c1", "age", nil, "abc")}},
		{"blob in a real column", "type", "cannot hold the blob", []change.Op{upd("customer", "c1", "weight", nil, change.Blob([]byte{1}))}},
		{"a declared rule", "rule", "a total is never negative", []change.Op{upd("orders", "o1", "total", 3, -1)}},
		{"a declared rule on insert", "rule", "never negative", []change.Op{ins("orders", "o2", "c1", "new", -5)}},
		{"NOT NULL", "constraint", "not null", []change.Op{ins("customer", "c2", "1", nil)}},
		{"missing parent", "missing-parent", "refers to row 'none' of customer", []change.Op{ins("orders", "o3", "none")}},
		{"needed by another row", "restrict", "still needed", []change.Op{ins("invoice", "i1", "1", "c1", 1), del("customer", "c1", "1", "Ann")}},
		{"oversized row", "oversized", "at most 1000", []change.Op{ins("product", "p1", big+big)}},
		{"oversized transaction", "oversized", "at most 3000", []change.Op{ins("product", "p1", big), ins("product", "p2", big), ins("product", "p3", big), ins("product", "p4", big)}},
		{"too many rows", "oversized", "at most 5", slices.Repeat([]change.Op{ins("product", "p1")}, 6)},
		{"reference table", "read-only", "for reference", []change.Op{ins("country", "x", "X")}},
		{"two keys", "malformed", "another key", []change.Op{wrongKey}},
		{"NULL key", "malformed", "NULL in its primary key", []change.Op{ins("product", nil)}},
		{"short key", "malformed", "key has 2 columns", []change.Op{{Table: "line", Kind: change.Delete, Key: change.Key{val("o1")}}}},
		{"update of a key", "malformed", "may not change key column", []change.Op{upd("product", "p0", "id", "p0", "p1")}},
		{"update of nothing", "missing", "not at the hub", []change.Op{upd("product", "nowhere", "name", "a", "b")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Built by hand: some of these the codec itself would refuse.
			tx := a.tx(tc.ops...)
			res, err := w.hub.Push(w.ctx, a.id, []*change.Transaction{tx})
			w.must(err)
			if hub.Status(res.Results[0].Status) != hub.Quarantined || !strings.Contains(res.Results[0].Reason, tc.why) {
				t.Fatalf("%v: %q, want it to say %q", hub.Status(res.Results[0].Status), res.Results[0].Reason, tc.why)
			}
			q := w.queue()
			if last := q[len(q)-1]; last.ID != tx.ID || last.Code != tc.code {
				t.Errorf("quarantined with code %q, want %q", last.Code, tc.code)
			}
			_, err = w.hub.Discard(w.ctx, tx.ID, "test")
			w.must(err)
		})
	}
	w.want("SELECT count(*) FROM customer", "1")

	// No codec would have let these through.
	noBase := ins("product", "px")
	noBase.BaseAt = 3
	for _, op := range []change.Op{noBase, {Table: "product", Kind: 4, Key: change.Key{val("p")}},
		{Table: "product", Kind: change.Update, Key: change.Key{val("p")}, Columns: []string{"name"}, New: []change.Value{val("x")}}} {
		if _, err := w.hub.Push(w.ctx, a.id, []*change.Transaction{a.tx(op)}); faultCode(err) != "malformed" {
			t.Errorf("%+v: %v", op, err)
		}
		a.seq-- // it was not taken
		a.prev = a.sent[a.seq-1].Sum()
		a.sent = a.sent[:a.seq]
	}
}

// A transaction over the limit waits with a clear reason; it does not stop the queue.
func TestTrapD14_HugeTransaction(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits = hub.Limits{Tx: 100_000, Frame: 1 << 20} })
	a := w.site("a", everywhere)
	var ops []change.Op
	for i := range 3000 {
		ops = append(ops, ins("product", fmt.Sprintf("p%05d", i), strings.Repeat("x", 50)))
	}
	a.parks("at most 100000", ops...)
	for i := range 100 {
		ops[i] = ins("product", fmt.Sprintf("q%05d", i), "x")
	}
	a.applies(ops[:100]...)
	w.want("SELECT count(*) FROM product", "100")
}

// The row left the device's scopes while it was away: judged now, kept, not dropped.
func TestTrapD15_RowLeftScope(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann", nil, 30), ins("orders", "o1", "c1", "new", 1))
	a.pull()
	w.sql("UPDATE customer SET branch='2' WHERE id='c1'")
	a.parks("may not update rows of customer in scope branch/2", upd("customer", "c1", "age", 30, 31))
	a.parks("may not update rows of orders in scope branch/2", upd("orders", "o1", "status", "new", "paid"))
	a.pull()
	if len(a.rows["customer"])+len(a.rows["orders"]) != 0 {
		t.Errorf("the site still has %v", a.rows)
	}
	// With the right, the retry goes through.
	w.must(w.hub.SetGrants(w.ctx, a.id, []rule.Grant{branchGrant("1"), branchGrant("2")}))
	for _, p := range w.queue() {
		out, err := w.hub.Retry(w.ctx, p.ID)
		w.must(err)
		if statuses(out) == "quarantined" {
			t.Errorf("retry: %+v", out)
		}
	}
	w.want("SELECT age, (SELECT status FROM orders) FROM customer", "31|paid")
}

// One device's violation is its own affair in a shared commit.
func TestTrapD23_ForeignKeyInAGroup(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	results := pushTogether(t, w, map[*site][]*change.Transaction{
		a: {a.tx(ins("orders", "o1", "nobody")), a.tx(ins("customer", "c1", "1", "Ann"))},
		b: {b.tx(ins("customer", "c2", "1", "Bob")), b.tx(ins("orders", "o2", "c2"))},
	})
	if got := hub.Status(results[a].Results[0].Status); got != hub.Quarantined {
		t.Errorf("the violation was %v", got)
	}
	w.want("SELECT id FROM customer ORDER BY 1", "c1\nc2")
	w.want("SELECT id FROM orders", "o2")
	w.want("SELECT count(*) FROM pragma_foreign_key_check", "0")
}

// A group of an app that names no transactions is split when it does not fit whole.
func TestUnawareGroup_IsSplit(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"), everywhere)
	w.sql("INSERT INTO product VALUES ('p0','x',1,'A')")
	tx := a.tx(
		ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 1), // fits
		ins("product", "p1", "tea", 1, "A"),                                // does not
		ins("product", "p2", "milk", 1, "B"), ins("stock", "B", "here", 4), // fits
		ins("orders", "o9", "nobody", "new", 1), ins("line", "o9", 1, "x")) // does not
	tx.Unaware = true
	a.prev = tx.Sum()
	r := a.push(tx).Results[0]
	if hub.Status(r.Status) != hub.Quarantined || !strings.Contains(r.Reason, "the other 4 rows of the group were applied") {
		t.Fatalf("%v: %s", hub.Status(r.Status), r.Reason)
	}
	w.want("SELECT (SELECT group_concat(id) FROM orders), (SELECT qty FROM stock)", "o1|4")
	q := w.queue()[0]
	if !q.Split || !q.Unaware {
		t.Errorf("parked %+v, want it labelled", q)
	}
	if n := a.pull(); n != 5 {
		t.Errorf("the device got %d rows, want those that were applied and p0", n)
	}
	w.sql("UPDATE product SET code='Z' WHERE id='p0'; INSERT INTO customer(id,branch,name) VALUES ('nobody','1','N')")
	out, err := w.hub.Retry(w.ctx, tx.ID)
	w.must(err)
	if statuses(out) != "merged" {
		t.Fatalf("retry: %+v", out)
	}
	a.pull()
	for _, tab := range []string{"customer", "orders", "line", "product", "stock"} {
		a.same(tab, "1")
	}
	// An app that does name its transactions has them whole or not at all.
	a.parks("already has", ins("product", "p8", "x", 1, "B"), ins("product", "p9", "x", 1, "C"))
	w.want("SELECT count(*) FROM product", "3")
}

func TestShowEditExport(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann", nil, 30))
	id := a.parks("nobody", upd("customer", "c1", "age", 30, 31), ins("orders", "o1", "nobody", "new", 1))
	d, err := w.hub.Show(w.ctx, id)
	w.must(err)
	if len(d.Rows) != 2 || !d.Rows[0].Exists || d.Rows[1].Exists || d.Rows[0].Columns[0].Hub != val(30) {
		t.Errorf("shown %+v", d.Rows)
	}
	b, err := w.hub.Export(w.ctx, id)
	w.must(err)
	var back hub.Detail
	w.must(json.Unmarshal(b, &back))
	if back.Parked.ID != id || len(back.Rows) != 2 {
		t.Errorf("export %s", b)
	}
	for _, e := range []hub.Edit{{Op: 7}, {Op: 0, Column: "name"}, {Op: -1, Drop: true}, {Op: 0, Column: "age", Value: val("old")}} {
		if _, err := w.hub.Edit(w.ctx, id, []hub.Edit{e}); err == nil {
			t.Errorf("edit %+v was taken", e)
		}
	}
	out, err := w.hub.Edit(w.ctx, id, []hub.Edit{{Op: 1, Drop: true}, {Op: 0, Column: "age", Value: val(32)}})
	w.must(err)
	if statuses(out) != "discarded" || !strings.Contains(out[0].Reason, "without 1 of its rows") {
		t.Fatalf("edit: %+v", out)
	}
	a.pull()
	a.same("customer", "1")
	a.same("orders", "1")
	w.want("SELECT age FROM customer", "32")
	if _, err := w.hub.Show(w.ctx, id); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("shown after its end: %v", err)
	}
}

// What a policy leaves to a person a person settles: with the edge's value, the hub's or
// another one. It holds as long as the hub's value is the one they saw.
func TestEdit_SettlesAManualConflict(t *testing.T) {
	for _, choice := range []string{"a", "b", "x", "c"} {
		t.Run(choice, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.site("a", everywhere), w.site("b", everywhere)
			row := ins("mix", "m")
			row.New[10], row.New[11] = val("new"), val("x")
			a.applies(row)
			b.pull()
			b.applies(upd("mix", "m", "man", "x", "b"))
			id := a.parks("manual", upd("mix", "m", "man", "x", "a"))
			out, err := w.hub.Edit(w.ctx, id, []hub.Edit{{Op: 0, Column: "man", Value: val(choice)}})
			w.must(err)
			if statuses(out) != "merged" {
				t.Fatalf("edit: %+v", out)
			}
			w.want("SELECT man FROM mix", choice)
			a.pull()
			b.pull()
			a.same("mix", "1")
			b.same("mix", "1")
		})
	}
}

func TestEdit_AChoiceIsOfWhatWasSeen(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	row := ins("mix", "m")
	row.New[10], row.New[11] = val("new"), val("x")
	a.applies(row)
	b.pull()
	b.applies(upd("mix", "m", "man", "x", "b"))
	// A second row keeps the transaction waiting after the choice.
	id := a.parks("manual", upd("mix", "m", "man", "x", "a"), ins("orders", "o1", "nobody", "new", 1))
	if out, err := w.hub.Edit(w.ctx, id, []hub.Edit{{Op: 0, Column: "man", Value: val("a")}}); err != nil || statuses(out) != "quarantined" {
		t.Fatalf("edit: %+v, %v", out, err)
	}
	b.applies(upd("mix", "m", "man", "b", "later"))
	w.sql("INSERT INTO customer (id, branch, name) VALUES ('nobody', '1', 'Ann')")
	out, err := w.hub.Retry(w.ctx, id)
	w.must(err)
	if statuses(out) != "quarantined" || !strings.Contains(out[0].Reason, "manual") {
		t.Fatalf("retry: %+v", out)
	}
	w.want("SELECT man FROM mix", "later")
}
