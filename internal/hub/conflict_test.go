package hub_test

import (
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Both sites edit one row from the same base; who wins depends on the policy of
// each column. b hands in first but wrote last, so that time and arrival differ.
func TestPolicy_EachEndToEnd(t *testing.T) {
	for _, tc := range []struct {
		col        string
		base, a, b any
		want       string
		receipts   int // decisions that lost something
	}{
		{"la", "0", "A", "B", "B", 1},
		{"ar", "0", "A", "B", "A", 1},
		{"hu", "0", "A", "B", "B", 1},
		{"ed", "0", "A", "B", "A", 1},
		{"co", 10, 7, 8, "5", 0},
		{"mi", 10, 7, 8, "7", 0},
		{"ma", 10, 11, 12, "12", 0},
		{"se", `["x"]`, `["x","a"]`, `["x","b"]`, `["a","b","x"]`, 0},
		{"te", "one\ntwo\nthree\n", "ONE\ntwo\nthree\n", "one\ntwo\nTHREE\n", "ONE\ntwo\nTHREE\n", 0},
		{"la", "0", "same", "same", "same", 0},
	} {
		t.Run(tc.col, func(t *testing.T) {
			w := newWorld(t)
			a, b := w.site("a", everywhere), w.site("b", everywhere)
			first := ins("mix", "m")
			for i, c := range columnsOf["mix"] {
				if c == tc.col {
					first.New[i] = val(tc.base)
				}
			}
			a.applies(first)
			a.pull()
			b.pull()
			ta := a.tx(upd("mix", "m", tc.col, tc.base, tc.a))
			w.clock.Advance(time.Second)
			b.applies(upd("mix", "m", tc.col, tc.base, tc.b))
			res := a.push(ta).Results[0]
			w.want("SELECT "+tc.col+" FROM mix", tc.want)
			list := w.receipts()
			losses := 0
			for _, r := range list {
				if r.Kind != "column" || r.Table != "mix" || r.Column != tc.col || r.Base != val(tc.base) || r.Hub != val(tc.b) || r.Edge != val(tc.a) {
					t.Errorf("receipt %+v", r)
				}
				losses++
			}
			if tc.receipts > losses || tc.receipts == 0 && losses > 1 || res.Receipts != len(list) {
				t.Errorf("%d receipts, want %d; the answer says %d", losses, tc.receipts, res.Receipts)
			}
			a.pull()
			b.pull()
			a.same("mix", "1")
			b.same("mix", "1")
		})
	}
}

func TestPolicy_StatesAndManual(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	row := ins("mix", "m")
	row.New[10], row.New[11] = val("new"), val("x")
	a.applies(row)
	a.pull()
	b.pull()
	a.parks("may not go", upd("mix", "m", "st", "new", "done"))
	b.applies(upd("mix", "m", "st", "new", "open"))
	b.applies(upd("mix", "m", "st", "open", "done"))
	b.applies(upd("mix", "m", "man", "x", "b"))
	a.parks("manual", upd("mix", "m", "man", "x", "a"))
	w.want("SELECT st, man FROM mix", "done|b")
}

// Edits of different columns do not meet; with whole-row masks they would.
func TestTrapD9_ColumnMasks(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann", "ann@x", 30, 60.5))
	a.pull()
	b.pull()
	early := a.tx(upd("customer", "c1", "name", "Ann", "Anna"))
	w.clock.Advance(time.Second)
	b.applies(upd("customer", "c1", "age", 30, 31))
	a.push(early)
	w.want("SELECT name, age FROM customer", "Anna|31")
	if n := len(w.receipts()); n != 0 {
		t.Errorf("%d receipts for edits that do not meet", n)
	}
	// Another program's write is somebody else's too.
	w.sql("UPDATE customer SET age=40")
	w.clock.Advance(-time.Hour)
	a.merges(upd("customer", "c1", "age", 31, 32))
	w.want("SELECT age FROM customer", "40")
	a.pull()
	b.pull()
	a.same("customer", "branch='1'")
	b.same("customer", "branch='1'")
}

// By row: the loser's other columns do not mix with the winner's.
func TestPolicy_ByRow(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("pair", "p", 1, 1))
	a.pull()
	b.pull()
	ta := a.tx(upd("pair", "p", "x", 1, 5, "y", 1, 1))
	w.clock.Advance(time.Second)
	b.applies(upd("pair", "p", "y", 1, 9, "x", 1, 1))
	a.push(ta)
	w.want("SELECT x, y FROM pair", "1|9")
	a.pull()
	a.same("pair", "1")
	w.clock.Advance(time.Second)
	b.applies(upd("pair", "p", "x", 1, 2, "y", 9, 9)) // a did not see this
	w.clock.Advance(time.Second)
	a.merges(upd("pair", "p", "x", 1, 1, "y", 9, 4))
	w.want("SELECT x, y FROM pair", "1|4")
	if n := len(w.receipts()); n != 2 {
		t.Errorf("%d receipts, want one for each lost value", n)
	}
	b.pull()
	b.same("pair", "1")
}

// A device far ahead in time must not win for ever.
func TestTrapD6_ClockInTheFuture(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p", "tea", 1))
	a.pull()
	b.pull()
	liar := a.tx(upd("product", "p", "name", "tea", "future"))
	liar.HLC, liar.Offset = change.NewHLC(w.clock.Now().AddDate(4, 0, 0).UnixMilli(), 0), 0
	a.prev = liar.Sum()
	a.push(liar)
	w.clock.Advance(2 * time.Minute)
	b.merges(upd("product", "p", "name", "tea", "present"))
	w.want("SELECT name FROM product", "present")
	d, err := w.hub.Device(w.ctx, a.id)
	w.must(err)
	if d.Future.IsZero() {
		t.Error("the device is not flagged")
	}
	st, err := w.hub.Status(w.ctx)
	w.must(err)
	for _, d := range st.Devices {
		if d.ClockAhead != (d.ID == a.id) {
			t.Errorf("device %s: clock ahead %v", d.Name, d.ClockAhead)
		}
	}
	// A device that is merely wrong, and says by how much, is corrected.
	b.pull()
	a.connect()
	a.pull()
	b.skew = 24 * 365 * time.Hour
	tb := b.tx(upd("product", "p", "name", "present", "skewed"))
	w.clock.Advance(time.Second)
	a.applies(upd("product", "p", "name", "present", "later"))
	b.push(tb)
	w.want("SELECT name FROM product", "later")
}

// Below the floor the log says nothing: that is not "no conflict".
func TestTrapD21_BaseOlderThanTheLog(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("mix", "m", "0", "0", "0", "0", 10))
	a.pull()
	b.pull()
	b.applies(upd("mix", "m", "hu", "0", "B", "co", 10, 15))
	w.clock.Advance(40 * 24 * time.Hour)
	b.applies(upd("mix", "m", "la", "0", "later"))
	w.clock.Advance(time.Hour)
	_, err := w.hub.Retain(w.ctx, time.Minute)
	w.must(err)
	a.merges(upd("mix", "m", "hu", "0", "A", "co", 10, 9, "ar", "0", "A"))
	w.want("SELECT hu, co, ar FROM mix", "B|14|A")
	if list := w.receipts(); len(list) != 1 || list[0].Column != "hu" || list[0].Loser.Side != "edge" {
		t.Errorf("receipts %+v, want one for hu", list)
	}
}

// D7: what was deleted before the floor does not come back through an old edit.
func TestTrapD7_NoResurrectionBelowTheFloor(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p", "tea", 1))
	a.pull()
	b.pull()
	b.applies(del("product", "p", "tea", 1))
	w.clock.Advance(31 * 24 * time.Hour)
	b.applies(ins("product", "q", "coffee", 1))
	w.clock.Advance(time.Hour)
	_, err := w.hub.Retain(w.ctx, time.Minute)
	w.must(err)
	a.parks("last image", upd("product", "p", "name", "tea", "green tea"))
	w.want("SELECT id FROM product", "q")
	r, ok := a.ask(&wire.Pull{Cursor: a.base, Scopes: a.scopes})[0].(*wire.Rebase)
	if !ok || !r.Full {
		t.Fatalf("a cursor below the floor was answered %#v", r)
	}
	a.bootstrap()
	a.same("product", "1")
}

func TestDelete_LosesToUpdate(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 3), ins("line", "o1", 1, "pen"), ins("ticket", "t1", "1", "c1", "hi"),
		ins("customer", "c2", "1", "Bob"))
	a.pull()
	b.pull()
	b.applies(upd("orders", "o1", "status", "new", "paid"))
	// The delete of the customer took its order and its lines along; all stay.
	a.merges(del("line", "o1", 1, "pen"), del("orders", "o1", "c1", "new", 3), upd("ticket", "t1", "customer", "c1", nil), del("customer", "c1", "1", "Ann"), del("customer", "c2", "1", "Bob"))
	w.want("SELECT c.id, o.status, l.item, t.id FROM customer c JOIN orders o ON o.customer=c.id JOIN line l ON l.ord=o.id JOIN ticket t ON t.customer=c.id", "c1|paid|pen|t1")
	w.want("SELECT count(*) FROM customer", "1")
	if n := a.pull(); n < 4 {
		t.Errorf("the deleting site got %d rows back, want all 4", n)
	}
	list := w.receipts()
	if len(list) != 3 || list[0].Kind != "delete" || list[0].Loser.Side != "edge" {
		t.Errorf("receipts %+v, want one for each row that stays", list)
	}
	// The decision can be undone: delete the line after all.
	for _, r := range list {
		if r.Table == "line" {
			_, err := w.hub.Undo(w.ctx, r.ID, "me")
			w.must(err)
		}
	}
	w.want("SELECT count(*) FROM line", "0")
}

func TestUpdate_WinsOverDelete_BringsTheFamilyBack(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"), ins("orders", "o1", "c1", "new", 3), ins("line", "o1", 1, "pen"), ins("line", "o1", 2, "ink"))
	a.pull()
	b.pull()
	b.applies(del("line", "o1", 1, "pen"), del("line", "o1", 2, "ink"), del("orders", "o1", "c1", "new", 3), del("customer", "c1", "1", "Ann"))
	w.want("SELECT count(*) FROM line", "0")
	a.merges(updKey("line", change.Key{change.Text("o1"), change.Int(1)}, "item", "pen", "red pen"))
	w.want("SELECT c.name, o.id, l.item FROM customer c JOIN orders o ON o.customer=c.id JOIN line l ON l.ord=o.id ORDER BY l.n", "Ann|o1|red pen\nAnn|o1|ink")
	b.pull()
	a.pull()
	for _, tab := range []string{"customer", "orders", "line"} {
		a.same(tab, "1")
		b.same(tab, "1")
	}
	if list := w.receipts(); len(list) != 1 || list[0].Loser.Side != "hub" || list[0].Loser.Origin != b.inc {
		t.Errorf("receipts %+v, want the one of b's delete", list)
	}
}

func TestDelete_WinsByRule(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("hard", "h1", 1), ins("hard", "h2", 1))
	a.pull()
	b.pull()
	b.applies(upd("hard", "h1", "a", 1, 2), del("hard", "h2", 1))
	a.merges(del("hard", "h1", 1))
	a.merges(upd("hard", "h2", "a", 1, 3))
	w.want("SELECT count(*) FROM hard", "0")
	list := w.receipts()
	if len(list) != 2 || list[0].Winner.Side != "edge" || list[1].Winner.Side != "hub" || list[1].Edge != val(3) {
		t.Fatalf("receipts %+v", list)
	}
	a.pull()
	b.pull()
	a.same("hard", "0")
	b.same("hard", "0")
	_, err := w.hub.Undo(w.ctx, list[0].ID, "me")
	w.must(err)
	w.want("SELECT id, a FROM hard", "h1|2")
}

// A key change is a delete and an insert that belong together: others' edits of
// the old row move along.
func TestMove_CarriesOthersEdits(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann", "a@x", 30), ins("orders", "o1", "c1", "new", 3))
	a.pull()
	b.pull()
	b.applies(upd("customer", "c1", "age", 30, 31), ins("orders", "o2", "c1", "new", 4))
	d, i := del("customer", "c1", "1", "Ann", "a@x", 30), ins("customer", "c9", "1", "Anna", "a@x", 30)
	d.Move, i.Move = 1, 1
	a.merges(d, i, upd("orders", "o1", "customer", "c1", "c9"))
	w.want("SELECT id, name, age FROM customer", "c9|Anna|31")
	w.want("SELECT id, customer FROM orders ORDER BY 1", "o1|c9\no2|c9") // o2 by ON UPDATE CASCADE
	a.pull()
	b.pull()
	for _, tab := range []string{"customer", "orders"} {
		a.same(tab, "1")
		b.same(tab, "1")
	}
}

func TestBothDeleted(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p", "tea", 1))
	a.pull()
	b.pull()
	a.applies(del("product", "p", "tea", 1))
	b.applies(del("product", "p", "tea", 1))
	b.pull()
	b.same("product", "0")
	if b.done[1] != hub.Applied {
		t.Errorf("outcome %v", b.done[1])
	}
}
