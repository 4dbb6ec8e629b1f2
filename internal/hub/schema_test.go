package hub_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// rule changes the rule of one table and puts the rules in force.
func (w *world) rule(table string, edit func(*rule.Table)) {
	w.t.Helper()
	next := rule.Rules{}
	for _, t := range w.rules.Tables {
		if t.Name == table {
			edit(&t)
		}
		next.Tables = append(next.Tables, t)
	}
	w.rules = &next
	w.must(w.hub.Reload(w.ctx, w.rules))
}

// drop drops a column as a person does in the shell, past the triggers that name it.
func (w *world) drop(table, column string) {
	w.t.Helper()
	w.sql("PRAGMA legacy_alter_table=ON; ALTER TABLE " + table + " DROP COLUMN " + column)
}

func was(names ...string) map[string]rule.Column {
	return map[string]rule.Column{names[0]: {Was: names[1:]}}
}

func TestRenamedColumn_WorkUnderTheOldNameIsTaken(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1", "Tea", 3, "t"))
	a.pull()
	w.rule("product", func(r *rule.Table) { r.Columns = was("title", "name") }) // first the words,
	w.sql(`ALTER TABLE product RENAME COLUMN name TO title`)                    // then the deed
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	a.applies(upd("product", "p1", "name", "Tea", "Green tea"), ins("product", "p2", "Milk", 1, "m"))
	w.want(`SELECT id, title FROM product ORDER BY id`, "p1|Green tea\np2|Milk")
	a.applies(del("product", "p2", "Milk", 1, "m"))

	// An edit that the log knows under the old name still meets one under the new.
	b := w.site("b", everywhere)
	a.applies(upd("product", "p1", "name", "Green tea", "White tea"))
	w.clock.Advance(1e9)
	b.merges(upd("product", "p1", "title", "Green tea", "Black tea"))
	if list := w.receipts(); len(list) != 1 || list[0].Column != "title" || list[0].Hub.Str() != "White tea" {
		t.Errorf("receipts %+v", list)
	}
	w.want(`SELECT title FROM product`, "Black tea")
	if r := w.hub.Setup().Rules.Table("product"); r.Columns["title"].Was[0] != "name" {
		t.Errorf("the edge is told %+v", r)
	}
}

func TestRenamedColumn_TheRulesMayComeFirst(t *testing.T) {
	w := newWorld(t)
	w.rule("customer", func(r *rule.Table) {
		r.Scope.Column = "shop"
		r.Columns = map[string]rule.Column{"shop": {Was: []string{"branch"}}, "years": {Policy: rule.Max, Was: []string{"age"}}}
		r.Checks = []rule.Check{{Name: "old", Expr: "row.years == null || row.years >= 0"}}
	})
	a := w.site("a", branchGrant("7"))
	a.applies(ins("customer", "c1", "7", "Ann", "a@x", 40, 1.5))
	a.parks("old", ins("customer", "c2", "7", "Bob", "b@x", -1, 1.5))
	if r := w.hub.Setup().Rules.Table("customer"); r.Scope.Column != "branch" || r.PolicyOf("age") != rule.Max || r.Columns["age"].Was[0] != "years" {
		t.Errorf("the edge is told %+v", r)
	}
	a.pull()
	before := a.base
	w.sql(`ALTER TABLE customer RENAME COLUMN branch TO shop; ALTER TABLE customer RENAME COLUMN age TO years`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	if a.pull() != 0 || a.base.Epoch != before.Epoch {
		t.Error("a new name of the scope column made rows travel")
	}
	a.applies(upd("customer", "c1", "age", 40, 41))
	w.want(`SELECT shop, years FROM customer`, "7|41")
	b := w.site("b", branchGrant("7"))
	if len(b.rows["customer"]) != 1 {
		t.Errorf("another device of the branch got %v", b.rows)
	}
}

func TestRenamedTable(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("hard", "h1", 1), ins("hard", "h2", 2))
	a.pull()
	lost := a.parks("no column b", updKey("hard", change.Key{change.Text("h2")}, "b", nil, "x"))
	w.rule("hard", func(r *rule.Table) { r.Name, r.Was = "firm", []string{"hard"} })
	w.sql(`ALTER TABLE hard RENAME TO firm; ALTER TABLE firm ADD COLUMN b TEXT`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	if n := a.pull(); n != 0 {
		t.Errorf("%d rows came for a new name", n)
	}
	a.applies(upd("hard", "h1", "a", 1, 5))
	w.want(`SELECT id, a FROM firm ORDER BY id`, "h1|5\nh2|2")
	if _, err := w.hub.Retry(w.ctx, lost); err != nil {
		t.Fatal(err)
	}
	w.want(`SELECT b FROM firm WHERE id='h2'`, "x")
	a.applies(del("hard", "h1", 5))
	w.want(`SELECT count(*) FROM firm`, "1")
}

func TestUnknownColumn_WaitsUntilTheHubHasIt(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1", "Tea", 3, "t"))
	id := a.parks("has no column weight: add it there, or say in tidemark.yaml", upd("product", "p1", "weight", nil, 5, "price", 3, 4))
	w.sql(`ALTER TABLE product ADD COLUMN weight INTEGER`)
	done, err := w.hub.Retry(w.ctx, id)
	if err != nil || done[0].Status != hub.Applied {
		t.Fatalf("%+v, %v", done, err)
	}
	w.want(`SELECT price, weight FROM product`, "4|5")
}

func TestDroppedColumn(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1", "Tea", 3, "t"), ins("product", "p2", "Milk", 1, "m"), ins("product", "p3", "Oil", 1, "o"))
	a.pull()
	w.drop("product", "price")
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	id := a.parks("has no column price", upd("product", "p1", "price", 3, 4, "name", "Tea", "Green tea"))
	w.rule("product", func(r *rule.Table) { r.Dropped = []string{"Price"} })
	if _, err := w.hub.Retry(w.ctx, id); err != nil {
		t.Fatal(err)
	}
	a.connect()
	w.want(`SELECT name FROM product WHERE id='p1'`, "Green tea")
	a.applies(ins("product", "p4", "Salt", 2, "s"), ins("product", "p5", "Pepper", nil, "p"))
	w.want(`SELECT name, code FROM product WHERE id='p4'`, "Salt|s")
	a.applies(upd("product", "p2", "price", 1, 1)) // not a change
	var told []string
	for _, r := range w.receipts() {
		if r.Kind != "dropped" || r.Rule != hub.RuleDropped || r.Column != "price" || r.Loser.Side != "edge" {
			t.Errorf("receipt %+v", r)
		}
		told = append(told, r.Key.String()+r.Edge.String())
	}
	if got := strings.Join(told, " "); got != "'p1'4 'p4'2" {
		t.Errorf("receipts for %s", got)
	}
	if _, err := w.hub.Undo(w.ctx, w.receipts()[0].ID, "me"); err == nil || !strings.Contains(err.Error(), "column price, is no longer there") {
		t.Errorf("undo: %v", err)
	}
	// What concerns nothing but the dropped column brings no row back to life (I3).
	w.sql(`DELETE FROM product WHERE id='p3'`)
	a.applies(upd("product", "p3", "price", 1, 9))
	w.want(`SELECT count(*) FROM product WHERE id='p3'`, "0")
	a.applies(del("product", "p2", "Milk", 1, "m"))
}

// What waits of a group that was split keeps the values that nobody has a column for.
func TestDroppedColumn_InAGroupThatIsSplit(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1", "Tea", 3, "t"), ins("product", "p2", "Milk", 1, "m"))
	a.pull()
	w.drop("product", "price")
	w.rule("product", func(r *rule.Table) { r.Dropped = []string{"price"} })
	a.connect()
	group := a.tx(upd("product", "p1", "name", "Tea", "Green tea"), ins("product", "p9", "Malt", 7, "m"))
	group.Unaware = true
	a.prev = group.Sum()
	if r := a.push(group).Results[0]; hub.Status(r.Status) != hub.Quarantined || len(w.receipts()) != 0 {
		t.Fatalf("%+v, receipts %+v", r, w.receipts())
	}
	w.want(`SELECT name FROM product WHERE id='p1'`, "Green tea")
	w.sql(`UPDATE product SET code='milk' WHERE id='p2'`)
	if _, err := w.hub.Retry(w.ctx, group.ID); err != nil {
		t.Fatal(err)
	}
	w.want(`SELECT name, code FROM product WHERE id='p9'`, "Malt|m")
	if list := w.receipts(); len(list) != 1 || list[0].Edge != change.Int(7) {
		t.Errorf("receipts %+v", list)
	}
}

func TestTwoNamesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.rule("product", func(r *rule.Table) { r.Columns = was("name", "title") })
	a := w.site("a", everywhere)
	op := ins("product", "p1", "Tea", 3, "t")
	op.Columns = []string{"id", "name", "title", "code"}
	a.parks("under two names at once", op)
}

// Each side keeps values as its own column's type has them, and neither takes the
// other's way of writing for a change.
func TestChangedType(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p1", "Tea", 3, "t"), ins("product", "p2", "Milk", 1, "m"))
	a.pull()
	w.sql(`CREATE TABLE new (id TEXT PRIMARY KEY, name TEXT, price TEXT, code INTEGER UNIQUE);
		INSERT INTO new SELECT id, name, price, NULL FROM product; DROP TABLE product; ALTER TABLE new RENAME TO product`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	for _, m := range a.ask(&wire.Pull{Cursor: a.base, Scopes: a.scopes}) {
		if r, ok := m.(*wire.Rebase); !ok || !r.Full {
			t.Fatalf("rows may have changed while the table was rebuilt, and a pull brings %#v", m)
		}
	}
	a.bootstrapEcho()
	if v := a.rows["product"][change.Key{change.Text("p1")}.ID()].vals["price"]; v != change.Text("3") {
		t.Errorf("price is %s", v)
	}
	a.applies(upd("product", "p1", "price", 3, 4)) // its file still has INTEGER: no conflict
	w.want(`SELECT price, typeof(price) FROM product WHERE id='p1'`, "4|text")
	a.applies(upd("product", "p1", "code", nil, "17")) // and TEXT
	w.want(`SELECT code, typeof(code) FROM product WHERE id='p1'`, "17|integer")
	a.parks("is declared INTEGER and cannot hold the text", upd("product", "p2", "code", nil, "m"))
	if len(w.receipts()) != 0 {
		t.Errorf("receipts %+v", w.receipts())
	}
}

func TestChangedTypeOfAKey(t *testing.T) {
	w := newWorld(t)
	w.sql(`CREATE TABLE new (id INTEGER PRIMARY KEY, a INTEGER); INSERT INTO new VALUES (7, 1); DROP TABLE hard; ALTER TABLE new RENAME TO hard`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	a := w.site("a", everywhere)
	a.applies(upd("hard", "7", "a", 1, 2), ins("hard", "8", 3)) // its keys are texts
	w.want(`SELECT id, typeof(id), a FROM hard ORDER BY id`, "7|integer|2\n8|integer|3")
	a.parks("another row already stands", ins("hard", "8", 4))
	a.parks("it depends on transaction", upd("hard", "8", "a", 3, 9))
}

func TestSetupChanged_AnOpenSessionComesBackForIt(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	hold := &wire.Pull{Cursor: a.base, Scopes: a.scopes, Wait: true}
	if out := a.ask(hold); len(out) != 0 || !a.session.Held() {
		t.Fatalf("answered %v", out)
	}
	w.sql(`ALTER TABLE product ADD COLUMN weight INTEGER`)
	emit := func(m wire.Message) error { t.Errorf("sent %#v", m); return nil }
	if err := a.session.Wake(w.ctx, emit); faultCode(err) != "setup-changed" {
		t.Fatalf("woken: %v", err)
	}
	for what, m := range map[string]wire.Message{"pull": &wire.Pull{Cursor: a.base, Scopes: a.scopes}, "push": &wire.Push{}, "fetch": &wire.Fetch{}, "verify": &wire.Verify{Cursor: a.base, Scopes: a.scopes}} {
		if _, err := a.tryAsk(m); faultCode(err) != "setup-changed" {
			t.Errorf("%s: %v", what, err)
		}
		if f, _ := errors.AsType[*wire.Fault](a.session.Wake(w.ctx, emit)); f != nil && (f.Fatal || f.RetryAfter <= 0) {
			t.Errorf("%+v", f)
		}
	}
	a.session = w.hub.NewSession(a.id)
	h := a.hello()
	h.Rules = change.Hash{1}
	welcome := a.ask(h)[0].(*wire.Welcome)
	if welcome.Setup == nil || welcome.Setup.Schema.Table("product").Column("weight") < 0 {
		t.Fatalf("welcomed with %+v", welcome.Setup)
	}
	a.applies(ins("product", "p1", "Tea", 3, "t"))
}

// Whoever drops a table at the hub does not mean to stop the others.
func TestDroppedTable_TheOthersAreServed(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere, branchGrant("7"))
	a.applies(ins("customer", "c1", "7", "Ann", "a@x", 40, 1.5), ins("orders", "o1", "c1", "new", 5), ins("line", "o1", 1, "tea"))
	a.pull()
	w.sql(`DROP TABLE orders`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	if w.hub.Setup().Schema.Table("orders") != nil || w.hub.Setup().Rules.Table("line") != nil || w.hub.Setup().Schema.Table("line") != nil {
		t.Error("devices are told of tables that are not served")
	}
	lost := w.hub.Lost()
	if len(lost) != 2 || lost[0].Table != "orders" || !strings.Contains(lost[0].Reason, "no such table") || lost[1].Table != "line" {
		t.Errorf("lost %+v", lost)
	}
	a.applies(upd("customer", "c1", "age", 40, 41))
	id := a.parks("cannot serve table orders now", upd("orders", "o1", "status", "new", "open"))
	a.parks("cannot serve table line now", ins("line", "o1", 2, "milk"))
	a.pull()

	w.reopen() // and so after a restart
	a.connect()
	a.applies(upd("customer", "c1", "age", 41, 42))
	if len(w.hub.Lost()) != 2 {
		t.Errorf("lost %+v", w.hub.Lost())
	}
	// Back again, the table is served; what happened to it meanwhile nobody knows.
	w.sql(shopDDL[1] + `; INSERT INTO orders VALUES ('o1', 'c1', 'new', 5)`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	if len(w.hub.Lost()) != 0 {
		t.Errorf("lost %+v", w.hub.Lost())
	}
	a.connect()
	a.bootstrapEcho()
	if _, err := w.hub.Retry(w.ctx, id); err != nil {
		t.Fatal(err)
	}
	w.want(`SELECT status FROM orders`, "open")
	if len(w.queue()) != 1 {
		t.Errorf("queue %+v", w.queue())
	}
}

// reopen is the hub's process starting anew.
func (w *world) reopen() {
	w.t.Helper()
	w.must(w.store.Close())
	w.open()
}

func TestTrapS5_AColumnThatARuleNeedsIsDropped(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere, branchGrant("7"))
	a.applies(ins("customer", "c1", "7", "Ann", "a@x", 40, 1.5), ins("orders", "o1", "c1", "new", 5))
	w.drop("orders", "total") // a check names it
	w.must(w.hub.Reload(w.ctx, w.rules))
	a.connect()
	id := a.parks("a rule of table orders does not fit the table any more", upd("orders", "o1", "status", "new", "open"))
	a.applies(upd("customer", "c1", "age", 40, 41))
	w.reopen()
	w.rule("orders", func(r *rule.Table) { r.Checks = nil })
	if _, err := w.hub.Retry(w.ctx, id); err != nil {
		t.Fatal(err)
	}
	w.want(`SELECT status FROM orders`, "open")
	bad := *w.rules
	bad.Tables = append([]rule.Table{}, bad.Tables...)
	bad.Tables[0].Checks = []rule.Check{{Name: "x", Expr: "row.nothing > 1"}}
	if err := w.hub.Reload(context.Background(), &bad); err == nil {
		t.Error("rules that never fitted were taken")
	}
	w.sql(`PRAGMA legacy_alter_table=ON; ALTER TABLE ticket DROP COLUMN branch`) // its scope
	a.session = w.hub.NewSession(a.id)
	a.connect()
	a.parks("cannot serve table ticket now: scope column branch does not exist", ins("ticket", "t1", "7", "c1", "x"))
}

// Numbers of a leased column go on under its new name: none is handed out twice.
func TestRenamedColumn_ItsNumbersGoOn(t *testing.T) {
	w := newWorld(t)
	lease := &rule.Lease{Size: 10, Low: 2, Start: 1}
	w.rule("invoice", func(r *rule.Table) {
		r.Name, r.Was = "bill", []string{"invoice"}
		r.Columns = map[string]rule.Column{"no": {Lease: lease, Was: []string{"number"}}}
	})
	a := w.site("a", branchGrant("7"))
	ask := func(id uint64, name string) wire.NumberRange {
		t.Helper()
		g, err := w.hub.Lease(w.ctx, a.id, a.inc, &wire.LeaseAsk{ID: id, Numbers: []wire.NumberLeft{{Name: name}}})
		w.must(err)
		if len(g.Numbers) != 1 {
			t.Fatalf("granted %+v", g)
		}
		return g.Numbers[0]
	}
	if r := ask(1, "invoice.number"); r.First != 1 || r.Last != 10 {
		t.Errorf("granted %+v", r)
	}
	w.sql(`ALTER TABLE invoice RENAME COLUMN number TO no; ALTER TABLE invoice RENAME TO bill`)
	w.must(w.hub.Reload(w.ctx, w.rules))
	if r := ask(2, "bill.no"); r.First != 11 || r.Last != 20 {
		t.Errorf("granted %+v", r)
	}
}
