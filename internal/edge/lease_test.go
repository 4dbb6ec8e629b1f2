package edge

import (
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

var stockDDL = []string{
	`CREATE TABLE invoice (id TEXT PRIMARY KEY, no INTEGER UNIQUE, total INTEGER)`,
	`CREATE TABLE ticket (id INTEGER PRIMARY KEY, what TEXT)`,
	`CREATE TABLE stock (code TEXT, place INTEGER, qty INTEGER, note TEXT, PRIMARY KEY (code, place))`,
}

// stockRules lease invoice.no and ticket's key, ten numbers at a time, and bound
// stock.qty at 0.
func stockRules() rule.Rules {
	all, zero := rule.Scope{All: true}, int64(0)
	return rule.Rules{Tables: []rule.Table{
		{Name: "invoice", Scope: all, Columns: map[string]rule.Column{"no": {Lease: &rule.Lease{Size: 10, Low: 4, Start: 1000}}}},
		{Name: "ticket", Scope: all, Keys: rule.KeysLeased, Columns: map[string]rule.Column{"id": {Lease: &rule.Lease{Size: 10, Low: 4}}}},
		{Name: "stock", Scope: all, Columns: map[string]rule.Column{"qty": {Policy: rule.Counter, Floor: &zero}}},
	}}
}

// A grantor gives numbers and shares for a fakeHub.
type grantor struct {
	asks  []*wire.LeaseAsk
	next  map[string]int64
	add   int64 // to each share
	empty bool  // gives nothing
}

func (g *grantor) answer(m *wire.LeaseAsk) *wire.LeaseGrant {
	g.asks = append(g.asks, m)
	out := &wire.LeaseGrant{ID: m.ID}
	if g.empty {
		return out
	}
	for _, n := range m.Numbers {
		if n.Left < 4 {
			g.next[n.Name] += 10
			out.Numbers = append(out.Numbers, wire.NumberRange{Name: n.Name, First: g.next[n.Name] - 9, Last: g.next[n.Name]})
		}
	}
	for _, s := range m.Shares {
		out.Shares = append(out.Shares, wire.ShareGrant{Table: s.Table, Key: s.Key, Column: s.Column, Add: g.add})
	}
	return out
}

// stocked is an enrolled file with its first numbers, 1001 to 1010 and 1 to 10, and a
// share of 5 of each stock.
func stocked(t *testing.T) (*clinic, *grantor) {
	t.Helper()
	c := newClinic(t, stockDDL...)
	c.h.setup.Rules = stockRules()
	g := &grantor{next: map[string]int64{"invoice.no": 1000}, add: 5}
	c.h.grant = g.answer
	c.h.put("stock", text("tea"), num(1), num(12), text("x"))
	c.h.put("stock", text("salt"), num(1), num(9), change.Null)
	c.dial().sync()
	c.want("SELECT * FROM tidemark_number ORDER BY name", `'invoice.no'|1001|10`+"\n"+`'ticket.id'|1|10`)
	c.want("SELECT * FROM tidemark_share ORDER BY key", "'stock'|'salt/1'|'qty'|5\n'stock'|'tea/1'|'qty'|5")
	return c, g
}

func (c *clinic) refused(sql, want string) {
	c.t.Helper()
	err := c.try(sql)
	if err == nil || !strings.Contains(err.Error(), want) {
		c.t.Fatalf("%s\n got %v\nwant %s", sql, err, want)
	}
	if c.app.AutocommitEnabled() {
		return
	}
	c.exec("ROLLBACK")
}

func TestLease_NumbersFromPlainSQL(t *testing.T) {
	c, _ := stocked(t)
	c.exec("INSERT INTO invoice (id, no) SELECT 'a', next FROM tidemark_number WHERE name = 'invoice.no'")
	c.want("SELECT no FROM invoice WHERE id = 'a'", "1001")
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "1002|9")
	// NULL is filled, each row of a multi-row INSERT with a number of its own.
	c.exec("INSERT INTO invoice (id, total) VALUES ('b', 5), ('c', 6)")
	c.want("SELECT id, no, total FROM invoice WHERE id > 'a' ORDER BY id", "'b'|1002|5\n'c'|1003|6")
	// The application may skip numbers of the range; those skipped are not used.
	c.exec("INSERT INTO invoice (id, no) VALUES ('d', 1006)")
	c.exec("UPDATE invoice SET no = 1007 WHERE id = 'a'")
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "1008|3")
	// A number of nobody's range, or of another's, is the application's own business.
	c.exec("INSERT INTO invoice (id, no) VALUES ('e', 77)")
	c.want("SELECT next FROM tidemark_number WHERE name = 'invoice.no'", "1008")
}

func TestLease_FillIsPartOfTheTransaction(t *testing.T) {
	c, _ := stocked(t)
	c.exec("BEGIN; INSERT INTO invoice (id) VALUES ('a'); INSERT INTO invoice (id) VALUES ('b'); ROLLBACK")
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "1001|10")
	c.tx("INSERT INTO invoice (id, total) VALUES ('a', 3)", "UPDATE invoice SET total = 4 WHERE id = 'a'")
	c.export()
	txs, err := c.e.Outbox(0, 1<<20)
	if err != nil || len(txs) != 1 || len(txs[0].Ops) != 1 {
		t.Fatalf("one operation wanted, got %v %v", txs, err)
	}
	op := &txs[0].Ops[0]
	if op.Kind != change.Insert || op.New[op.Column("no")] != num(1001) || op.New[op.Column("total")] != num(4) {
		t.Fatalf("the insert carries %v %v", op.Columns, op.New)
	}
	c.dial().sync()
	c.agree(true)
}

func TestLease_ConflictClauses(t *testing.T) {
	c, _ := stocked(t)
	c.exec("INSERT INTO invoice (id) VALUES ('a')")
	c.exec("INSERT OR IGNORE INTO invoice (id) VALUES ('a')") // nothing happens, no number is used
	c.exec("INSERT INTO invoice (id, total) VALUES ('a', 9) ON CONFLICT (id) DO UPDATE SET total = 9")
	c.want("SELECT no, total FROM invoice", "1001|9")
	c.want("SELECT left FROM tidemark_number WHERE name = 'invoice.no'", "9")
	c.exec("INSERT OR REPLACE INTO invoice (id) VALUES ('a')") // a new row: a new number
	c.want("SELECT no FROM invoice", "1002")
	c.exec("INSERT OR REPLACE INTO invoice (id, no) VALUES ('b', 1002)")
	c.want("SELECT id, no FROM invoice", "'b'|1002")
	c.dial().sync()
	c.agree(true)
}

func TestLease_EmptyRangeRefuses(t *testing.T) {
	c, g := stocked(t)
	g.empty = true
	for range 10 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "NULL|0")
	const why = "tidemark: no numbers left for invoice.no; connect to the hub"
	c.refused("INSERT INTO invoice (id) VALUES ('x')", why)
	c.refused("INSERT OR IGNORE INTO invoice (id) VALUES ('x')", why)
	c.refused("INSERT OR REPLACE INTO invoice (id) VALUES ('x')", why)
	c.refused("INSERT INTO invoice (id, no) SELECT 'x', next FROM tidemark_number WHERE name = 'invoice.no'", why)
	c.refused("BEGIN; INSERT INTO invoice (id) VALUES ('x'); COMMIT", why)
	c.want("SELECT count(*) FROM invoice", "10")
	// Asked, given nothing: the hub is left alone for a while. Then it gives.
	c.dial().sync()
	n := len(g.asks)
	c.line.sync()
	if len(g.asks) != n {
		t.Fatalf("asked %d times in a row", len(g.asks))
	}
	g.empty = false
	for range 4 {
		c.clk.Advance(leasePause / 4)
		if err := c.line.s.Tick(t.Context(), c.line.send); err != nil {
			t.Fatal(err)
		}
		c.line.sync()
	}
	c.exec("INSERT INTO invoice (id) VALUES ('x')")
	c.want("SELECT no FROM invoice WHERE id = 'x'", "1011")
}

func TestLease_KeysAreRefusedOutsideTheRanges(t *testing.T) {
	c, _ := stocked(t)
	const why = "take the next from tidemark_number, name ticket.id"
	c.exec("INSERT INTO ticket SELECT next, 'one' FROM tidemark_number WHERE name = 'ticket.id'")
	c.exec("INSERT INTO ticket VALUES (5, 'five')")
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'ticket.id'", "6|5")
	c.refused("INSERT INTO ticket (what) VALUES ('chosen by SQLite')", why)
	c.refused("INSERT INTO ticket VALUES (11, 'foreign')", why)
	c.refused("INSERT OR IGNORE INTO ticket VALUES (11, 'foreign')", why)
	c.refused("UPDATE ticket SET id = 12 WHERE id = 5", why)
	c.refused("UPDATE ticket SET rowid = 12 WHERE id = 5", why)
	c.exec("UPDATE ticket SET id = 7 WHERE id = 5")
	c.exec("DELETE FROM ticket WHERE id = 7; INSERT INTO ticket VALUES (7, 'again')") // an own number stays one's own
	// A row that came from elsewhere is changed by upsert, whatever its key.
	c.h.put("ticket", num(500), text("theirs"))
	c.dial().sync()
	c.exec("INSERT INTO ticket VALUES (500, 'changed') ON CONFLICT (id) DO UPDATE SET what = excluded.what")
	c.exec("INSERT OR IGNORE INTO ticket VALUES (500, 'ignored')")
	c.exec("INSERT OR REPLACE INTO ticket VALUES (500, 'replaced')")
	c.dial().sync()
	c.agree(true)
	c.want("SELECT * FROM ticket ORDER BY id", "1|'one'\n7|'again'\n500|'replaced'")
}

func TestLease_NumbersThatComeInAreNotUsedAgain(t *testing.T) {
	c, _ := stocked(t)
	// A copy of this file used 1001 and 1003 before it became a device of its own.
	c.h.put("invoice", text("x"), num(1001), num(1))
	c.h.put("invoice", text("y"), num(1003), num(1))
	c.dial().sync()
	c.exec("INSERT INTO invoice (id) VALUES ('mine')")
	c.want("SELECT no FROM invoice WHERE id = 'mine'", "1004")
}

func TestLease_ToppedUpAndAskedOnce(t *testing.T) {
	c, g := stocked(t)
	n := len(g.asks)
	for range 6 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	c.dial().sync() // four are left: enough
	if len(g.asks) != n {
		t.Fatalf("asked with enough left: %v", g.asks[n])
	}
	c.exec("INSERT INTO invoice (id) VALUES ('seven')")
	c.dial().sync()
	if len(g.asks) != n+1 || g.asks[n].Numbers[0] != (wire.NumberLeft{Name: "invoice.no", Left: 3, Highest: 1010}) {
		t.Fatalf("asked %d times: %+v", len(g.asks)-n, g.asks[len(g.asks)-1])
	}
	c.want("SELECT next, left FROM tidemark_number WHERE name = 'invoice.no'", "1008|13")
	num, _, err := c.e.Leases()
	if err != nil || num[0] != (NumberStatus{"invoice.no", 1008, 13, 4}) {
		t.Fatalf("status %v %v", num, err)
	}
}

func TestLease_LostAnswerRepeatsTheQuestion(t *testing.T) {
	c, g := stocked(t)
	for range 8 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	asked := len(g.asks)
	l := c.dial()
	g.empty = true
	for len(g.asks) == asked { // up to the question; its answer is lost
		l.limit, l.n = 1, 0
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
	}
	id := g.asks[asked].ID
	g.empty = false
	c.reopen()
	c.dial().sync()
	if last := g.asks[len(g.asks)-1]; last.ID != id {
		t.Fatalf("question %d was repeated as %d", id, last.ID)
	}
	c.want("SELECT left FROM tidemark_number WHERE name = 'invoice.no'", "12")
}

func TestShare_SalesComeOffTheShare(t *testing.T) {
	c, _ := stocked(t)
	const why = "tidemark: stock.qty: this device's share does not reach for that"
	c.exec("UPDATE stock SET qty = qty - 3 WHERE code = 'tea'")
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "2")
	c.refused("UPDATE stock SET qty = qty - 3 WHERE code = 'tea'", why)
	c.refused("UPDATE OR IGNORE stock SET qty = qty - 3 WHERE code = 'tea'", why)
	c.refused("UPDATE OR REPLACE stock SET qty = qty - 3 WHERE code = 'tea'", why)
	c.refused("BEGIN; UPDATE stock SET qty = qty - 1; UPDATE stock SET qty = qty - 2 WHERE code = 'tea'; COMMIT", why)
	c.want("SELECT sum(left) FROM tidemark_share", "7")
	c.exec("BEGIN; UPDATE stock SET qty = qty - 1; ROLLBACK")
	c.want("SELECT sum(left) FROM tidemark_share", "7")
	c.exec("UPDATE stock SET note = 'y'") // other columns are nobody's business
	// What is put back on the shelf here may be sold here.
	c.exec("UPDATE stock SET qty = qty + 4 WHERE code = 'tea'; UPDATE stock SET qty = qty - 6 WHERE code = 'tea'")
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "0")
	c.refused("UPDATE stock SET qty = NULL WHERE code = 'tea'", why)
	c.refused("UPDATE stock SET qty = 2.5 WHERE code = 'tea'", "counts whole things")
	c.refused("UPDATE stock SET qty = 'many' WHERE code = 'tea'", "counts whole things")
}

func TestShare_InsertAndReplace(t *testing.T) {
	c, g := stocked(t)
	const why = "this device's share does not reach for that"
	c.refused("INSERT INTO stock VALUES ('oil', 1, -1, NULL)", "cannot go below 0")
	c.refused("INSERT INTO stock VALUES ('oil', 1, 1.5, NULL)", "counts whole things")
	c.exec("INSERT INTO stock VALUES ('oil', 1, 8, NULL), ('nil', 1, NULL, NULL)")
	c.want("SELECT left FROM tidemark_share WHERE key = 'oil/1'", "8")
	c.refused("INSERT OR REPLACE INTO stock VALUES ('tea', 1, 3, 'sold 9')", why)
	c.exec("INSERT OR REPLACE INTO stock VALUES ('tea', 1, 8, 'sold 4')")
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "1")
	c.exec("INSERT OR IGNORE INTO stock VALUES ('tea', 1, 0, 'ignored')")
	c.refused("INSERT INTO stock VALUES ('tea', 1, 5, '') ON CONFLICT DO UPDATE SET qty = 5", why)
	c.exec("INSERT INTO stock VALUES ('tea', 1, 7, '') ON CONFLICT DO UPDATE SET qty = 7")
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "0")
	// Deleting a row and writing it anew creates nothing.
	c.exec("DELETE FROM stock WHERE code = 'tea'; INSERT INTO stock VALUES ('tea', 1, 100, NULL)")
	c.refused("UPDATE stock SET qty = 99 WHERE code = 'tea'", why)
	c.exec("PRAGMA recursive_triggers=ON")
	c.refused("INSERT OR REPLACE INTO stock VALUES ('tea', 1, 99, NULL)", why)
	c.exec("UPDATE stock SET code = 'green tea' WHERE code = 'tea'")
	c.refused("UPDATE stock SET qty = 99 WHERE code = 'green tea'", why)
	g.add = 2
	c.dial().sync()
	c.dial().sync()
	c.exec("UPDATE stock SET qty = 98 WHERE code = 'green tea'")
	c.want("SELECT count(*) FROM tidemark_share WHERE key = 'tea/1'", "0")
}

func TestShare_AskedForWhenLowAndWhenTheStockMoves(t *testing.T) {
	c, g := stocked(t)
	n := len(g.asks)
	c.exec("UPDATE stock SET qty = qty - 2 WHERE code = 'tea'")
	c.dial().sync()
	if len(g.asks) != n {
		t.Fatalf("asked with more than half left: %+v", g.asks[n])
	}
	c.exec("UPDATE stock SET qty = qty - 1 WHERE code = 'tea'")
	c.dial().sync()
	c.dial().sync()
	if len(g.asks) != n+1 || len(g.asks[n].Shares) != 1 || g.asks[n].Shares[0].Left != 2 || !g.asks[n].Shares[0].Key.Equal(change.Key{text("tea"), num(1)}) {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "7")
	// Much more arrives at the hub: the share may grow.
	c.h.put("stock", text("salt"), num(1), num(90), change.Null)
	c.dial().sync()
	if last := g.asks[len(g.asks)-1]; len(g.asks) != n+2 || last.Shares[0].Left != 5 {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	// What the hub wants back is given as far as it is still there, and reported.
	g.add = -1000
	c.h.put("stock", text("salt"), num(1), num(5), change.Null)
	c.dial()
	if err := c.line.run(); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT left FROM tidemark_share WHERE key = 'salt/1'", "0")
	if last := g.asks[len(g.asks)-1]; last.Shares[0].Left != 0 || last.ID != g.asks[len(g.asks)-2].ID+1 {
		t.Fatalf("asked last %+v", last)
	}
}

func TestLease_ForkGivesThemUp(t *testing.T) {
	c, g := stocked(t)
	c.exec("INSERT INTO invoice (id) VALUES ('a'); UPDATE stock SET qty = qty - 1 WHERE code = 'tea'")
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	c.refused("INSERT INTO invoice (id) VALUES ('b')", "no numbers left")
	c.refused("UPDATE stock SET qty = qty - 1 WHERE code = 'tea'", "share does not reach")
	n := len(g.asks)
	c.dial().sync()
	c.line.sync()
	if len(g.asks) == n || g.asks[n].ID != 1 || g.asks[n].Numbers[0].Highest != 0 {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	c.exec("INSERT INTO invoice (id) VALUES ('b')")
	c.want("SELECT no FROM invoice ORDER BY id", "1001\n1011")
	c.want("SELECT left FROM tidemark_share WHERE key = 'tea/1'", "5")
}

// A new life of a file asks only once the hub has all that it continues.
func TestLease_FirstQuestionWaitsForTheOutbox(t *testing.T) {
	c, g := stocked(t)
	c.exec("UPDATE stock SET qty = qty - 1 WHERE code = 'tea'")
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	var ask *wire.LeaseAsk
	err := c.e.locked(func() (err error) { ask, _, err = c.e.ask(c.h.epoch); return err })
	if err != nil || ask != nil {
		t.Fatalf("asked %+v %v", ask, err)
	}
	n := len(g.asks)
	c.dial().sync()
	if len(g.asks) == n {
		t.Fatal("never asked")
	}
	c.agree(true)
}

func TestLease_OtherHubLifeHearsAllShares(t *testing.T) {
	c, g := stocked(t)
	n := len(g.asks)
	c.h.epoch++
	g.add = 0
	c.dial().sync()
	if len(g.asks) != n+1 || len(g.asks[n].Shares) != 2 || g.asks[n].Shares[0].Left != 5 || g.asks[n].Numbers[0].Highest != 1010 {
		t.Fatalf("asked %+v", g.asks[n:])
	}
}

func TestShare_DiscardedRestockIsTakenBack(t *testing.T) {
	c, g := stocked(t)
	c.tx("UPDATE stock SET qty = qty + 10 WHERE code = 'tea'")
	c.tx("UPDATE stock SET qty = qty - 2 WHERE code = 'salt'")
	c.tx("INSERT INTO stock VALUES ('oil', 1, 8, NULL)")
	c.export()
	g.empty = true
	txs, err := c.e.Outbox(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range txs {
		if err := c.e.locked(func() error { return c.e.unshare(&tx.Ops[0]) }); err != nil {
			t.Fatal(err)
		}
	}
	c.want("SELECT key, left FROM tidemark_share ORDER BY key", "'oil/1'|0\n'salt/1'|3\n'tea/1'|5")
	c.want("SELECT count(*) FROM _tidemark_share WHERE ask = 1", "3")
}

// The application's own name in the way stops the enrolment, with a reason.
func TestLease_OwnNameIsRefused(t *testing.T) {
	c := newClinic(t, stockDDL...)
	c.h.setup.Rules = stockRules()
	c.exec("CREATE TABLE tidemark_share (x)")
	_, err := c.e.Install(c.h.setup, testDevice, InstallOptions{})
	if err == nil || !strings.Contains(err.Error(), "the file has a table called tidemark_share") {
		t.Fatal(err)
	}
}

func TestLease_DetachLeavesNothing(t *testing.T) {
	c, _ := stocked(t)
	if err := c.e.Detach(false); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%tidemark%' OR sql LIKE '%tidemark%'", "0")
	c.exec("INSERT INTO invoice (id) VALUES ('free'); UPDATE stock SET qty = 0")
}

// The triggers are plain SQL that older shells run, too.
func TestLease_SQLiteShell(t *testing.T) {
	shell, err := osexec.LookPath("sqlite3")
	if err != nil {
		t.Fatal("these tests need the sqlite3 shell: ", err)
	}
	c, _ := stocked(t)
	run := func(sql string) string {
		out, _ := osexec.Command(shell, c.path, sql).CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	if got := run("INSERT INTO invoice (id) VALUES ('s'); SELECT no, (SELECT left FROM tidemark_number WHERE name='invoice.no') FROM invoice"); got != "1001|9" {
		t.Fatal(got)
	}
	if got := run("UPDATE stock SET qty = qty - 6 WHERE code = 'tea'"); !strings.Contains(got, "tidemark: stock.qty: this device's share") {
		t.Fatal(got)
	}
	if got := run("UPDATE stock SET qty = qty - 5 WHERE code = 'tea'; SELECT left FROM tidemark_share WHERE key = 'tea/1'"); got != "0" {
		t.Fatal(got)
	}
	if got := run("INSERT INTO ticket (what) VALUES ('x')"); !strings.Contains(got, "take the next from tidemark_number") {
		t.Fatal(got)
	}
	c.dial().sync()
	c.agree(true)
	// The views and triggers survive what the shell does to the tables.
	if got := run("ALTER TABLE invoice ADD COLUMN extra; INSERT INTO invoice (id) VALUES ('t'); SELECT no FROM invoice WHERE id = 't'"); got != "1002" {
		t.Fatal(got)
	}
}

func TestShareKey_RoundTrip(t *testing.T) {
	for _, k := range []change.Key{{num(-7)}, {text("a,b/c\x00")}, {change.Blob([]byte{0, 255}), text("")}} {
		if got := parseShareKey(textOfKey(k)); !got.Equal(k) {
			t.Errorf("%v became %v", k, got)
		}
	}
	for _, bad := range []string{"", "x41", "i41", "t4", "n"} {
		if got := parseShareKey(bad); got != nil {
			t.Errorf("%q became %v", bad, got)
		}
	}
}
