package hub_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Every automatic decision tells who lost which value to whom, and can be undone.
func TestReceipt_UndoAndUndoOfUndo(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p", "tea", 1))
	a.pull()
	b.pull()
	early := a.tx(upd("product", "p", "name", "tea", "A"))
	w.clock.Advance(time.Second)
	b.applies(upd("product", "p", "name", "tea", "B"))
	a.push(early)
	list := w.receipts()
	if len(list) != 1 {
		t.Fatalf("receipts %+v", list)
	}
	r := list[0]
	want := hub.Receipt{ID: r.ID, At: r.At, Table: "product", Key: change.Key{val("p")}, Kind: "column", Column: "name",
		Base: val("tea"), Hub: val("B"), Edge: val("A"), Result: val("B"), Rule: "latest",
		Winner: hub.Party{Side: "hub", Origin: b.inc, HLC: r.Winner.HLC}, Loser: hub.Party{Side: "edge", Origin: a.inc, HLC: early.HLC}, Tx: early.ID, Device: a.id}
	if !same(r, want) || r.Winner.HLC <= r.Loser.HLC {
		t.Errorf("receipt %+v\nwant    %+v", r, want)
	}
	back, err := w.hub.Undo(w.ctx, r.ID, "Olga")
	w.must(err)
	w.want("SELECT name FROM product", "A")
	if back.Kind != "undo" || back.By != "Olga" || back.Loser.Origin != b.inc {
		t.Errorf("receipt of the undo %+v", back)
	}
	if _, err := w.hub.Undo(w.ctx, r.ID, "Olga"); !errors.Is(err, hub.ErrUndone) {
		t.Errorf("second undo: %v", err)
	}
	if _, err := w.hub.Undo(w.ctx, back.ID, "Olga"); err != nil {
		t.Fatal(err)
	}
	w.want("SELECT name FROM product", "B")
	if _, err := w.hub.Undo(w.ctx, "nothing", "Olga"); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("undo of nothing: %v", err)
	}
	a.pull()
	b.pull()
	a.same("product", "1")
	b.same("product", "1")
	only, err := w.hub.Receipts(w.ctx, hub.ReceiptFilter{Table: "product", Device: a.id, After: r.ID, Limit: 1})
	w.must(err)
	if len(only) != 1 || only[0].ID != back.ID {
		t.Errorf("filtered %+v", only)
	}
	if none, _ := w.hub.Receipts(w.ctx, hub.ReceiptFilter{Table: "pair"}); len(none) != 0 {
		t.Errorf("filtered %+v", none)
	}
}

func same(a, b hub.Receipt) bool {
	return a.Table == b.Table && a.Key.Equal(b.Key) && a.Kind == b.Kind && a.Column == b.Column && a.Base == b.Base && a.Hub == b.Hub &&
		a.Edge == b.Edge && a.Result == b.Result && a.Rule == b.Rule && a.Winner == b.Winner && a.Loser == b.Loser && a.Tx == b.Tx && a.Device == b.Device
}

// An undo is a change like any other: rules and constraints hold.
func TestReceipt_UndoIsValidated(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1"), everywhere), w.site("b", branchGrant("1"), everywhere)
	a.applies(ins("product", "p", "tea", 1, "A"), ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 1))
	a.pull()
	b.pull()
	early := a.tx(upd("product", "p", "code", "A", "X"), upd("orders", "o1", "customer", "c1", "c1"))
	w.clock.Advance(time.Second)
	b.applies(upd("product", "p", "code", "A", "B"))
	a.push(early)
	w.sql("INSERT INTO product VALUES ('q','milk',1,'X')")
	r := w.receipts()[0]
	if _, err := w.hub.Undo(w.ctx, r.ID, "me"); err == nil {
		t.Error("an undo broke a unique constraint")
	}
	w.want("SELECT code FROM product WHERE id='p'", "B")
	w.sql("DELETE FROM product WHERE id='p'")
	if _, err := w.hub.Undo(w.ctx, r.ID, "me"); err == nil {
		t.Error("an undo of a row that is gone")
	}
	if got := w.receipts()[0].Undone; got != "" {
		t.Errorf("the failed undo was noted: %q", got)
	}
}

// Children that others wrote meanwhile go, or are unlinked, as their foreign key
// says, and that is written down.
func TestForeignKeys_ActionsAtTheHub(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"), ins("customer", "walk-in", "1", "-"))
	a.pull()
	b.pull()
	b.applies(ins("orders", "o1", "c1", "new", 1), ins("line", "o1", 1, "pen"), ins("ticket", "t1", "1", "c1", "hi"), ins("visit", "v1", "1", "c1"))
	a.merges(del("customer", "c1", "1", "Ann"))
	w.want("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM line), (SELECT customer FROM ticket), (SELECT customer FROM visit)", "0|0|NULL|walk-in")
	w.want("SELECT count(*) FROM pragma_foreign_key_check", "0")
	a.pull()
	b.pull()
	for _, tab := range []string{"customer", "orders", "line", "ticket", "visit"} {
		a.same(tab, "1")
		b.same(tab, "1")
	}
	list := w.receipts()
	if len(list) != 2 || list[0].Kind != "cascade" {
		t.Fatalf("receipts %+v, want one for each row that went along", list)
	}
	// A cascaded order comes back once its customer is there.
	if _, err := w.hub.Undo(w.ctx, list[0].ID, "me"); err == nil {
		t.Error("an order came back without its customer")
	}
	b.applies(ins("customer", "c1", "1", "Ann again"))
	_, err := w.hub.Undo(w.ctx, list[0].ID, "me")
	w.must(err)
	w.want("SELECT id, customer FROM orders", "o1|c1")
	// Needed by an invoice: refused.
	b.applies(ins("invoice", "i1", "1", "c1", 1))
	a.pull()
	a.parks("still needed", del("customer", "c1", "1", "Ann again"))
	// A foreign key to a UNIQUE column.
	p := w.site("p", everywhere)
	p.applies(ins("product", "x", "tea", 1, "T"), ins("stock", "T", "here", 1))
	p.parks("refers to row 'Z'", ins("stock", "Z", "here", 1))
	p.parks("still needed", upd("product", "x", "code", "T", "U"))
	p.applies(ins("product", "y", "tea", 1, "V"), ins("stock", "V", "here", 1))
}
