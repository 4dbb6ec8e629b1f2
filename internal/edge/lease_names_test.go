package edge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// renamed gives the counter of stock, or stock itself, another name at the hub.
func (f *chain) renamed(table, column, sql string) {
	f.t.Helper()
	f.must(f.store.Close())
	for _, s := range strings.Split(sql, ";") {
		f.atHub(s)
	}
	zero := int64(0)
	t := rule.Table{Name: table, Scope: rule.Scope{All: true}, Columns: map[string]rule.Column{
		column: {Policy: rule.Counter, Floor: &zero, Was: []string{"qty"}}}}
	if table != "stock" {
		t.Was = []string{"stock"}
	}
	f.rules = stockRules()
	f.rules.Tables[2] = t
	f.serve()
}

// What devices hold of a counter they hold under its next name, too, whoever hears
// of the new name first: nothing is sold twice.
func TestShare_RenamedCounterIsSoldOnce(t *testing.T) {
	for name, to := range map[string][3]string{
		"column": {"stock", "amount", "ALTER TABLE stock RENAME COLUMN qty TO amount"},
		"table":  {"goods", "qty", "ALTER TABLE stock RENAME TO goods"},
		"both":   {"goods", "amount", "ALTER TABLE stock RENAME COLUMN qty TO amount;ALTER TABLE stock RENAME TO goods"},
	} {
		t.Run(name, func(t *testing.T) {
			f := started(t, 2)
			f.syncAll()
			a, b := f.edges[0], f.edges[1]
			a.want(myTea, "10")
			b.exec("UPDATE stock SET qty = qty - 10") // its own, offline
			f.renamed(to[0], to[1], to[2])
			if r := f.report(); len(r.Shares) != 2 || r.Shares[0].Table != to[0] || r.Shares[0].Column != to[1] || r.Shares[0].Held+r.Shares[1].Held != 20 {
				t.Fatalf("%+v", r.Shares)
			}
			f.sync(0)
			a.want("SELECT tbl, col, left FROM tidemark_share", fmt.Sprintf("'%s'|'%s'|10", to[0], to[1]))
			for range 3 { // all that it gets
				for a.try("UPDATE stock SET qty = qty - 1") == nil {
					a.one(myTea)
				}
				f.sync(0)
			}
			f.syncAll()
			if list := f.parked(); len(list) > 0 {
				t.Fatalf("parked: %+v", list[0])
			}
			f.syncAll()
			if n := f.atHub("SELECT count(*) FROM _tidemark_record WHERE kind = 'share'"); n != "1" {
				t.Fatalf("%s share records", n)
			}
			left := f.atHub("SELECT " + to[1] + " FROM " + to[0])
			r := f.report()
			if held := a.one(myTea) + b.one(myTea); len(r.Shares) != 2 || held != r.Shares[0].Held+r.Shares[1].Held || fmt.Sprint(held) > left {
				t.Fatalf("devices hold %d of %s: %+v", held, left, r.Shares)
			}
			a.exec("DELETE FROM stock")
			f.syncAll()
			if n := f.atHub("SELECT count(*) FROM _tidemark_record WHERE kind = 'share'"); n != "0" {
				t.Fatalf("%s share records of no row", n)
			}
		})
	}
}

// A row that is deleted before anybody asked under the new name leaves no share
// under the old one to its successor.
func TestShare_RenamedCounterOfADeletedRow(t *testing.T) {
	f := started(t, 2)
	f.syncAll()
	f.edges[0].exec("DELETE FROM stock")
	f.renamed("stock", "amount", "ALTER TABLE stock RENAME COLUMN qty TO amount")
	f.sync(0)
	if n := f.atHub("SELECT count(*) FROM _tidemark_record WHERE kind = 'share'"); n != "0" {
		t.Fatalf("%s share records", n)
	}
}

// A name that was given to another counter speaks of that one.
func TestShare_NameGivenAgain(t *testing.T) {
	f := started(t, 2)
	f.syncAll()
	f.renamed("stock", "amount", "ALTER TABLE stock RENAME COLUMN qty TO amount")
	f.syncAll()
	for _, c := range f.edges {
		c.exec("ALTER TABLE stock RENAME COLUMN qty TO amount")
	}
	f.syncAll()
	zero := int64(0)
	f.must(f.store.Close())
	f.atHub("ALTER TABLE stock ADD COLUMN qty INTEGER DEFAULT 6")
	f.rules.Tables[2].Columns["qty"] = rule.Column{Policy: rule.Counter, Floor: &zero}
	f.serve()
	c := f.add()
	f.syncAll()
	c.want("SELECT col, left > 0 FROM tidemark_share ORDER BY col", "'amount'|1\n'qty'|1")
	c.exec("UPDATE stock SET amount = amount - 1; UPDATE stock SET qty = qty - 1")
	f.syncAll()
	if n := f.atHub("SELECT group_concat(id) FROM (SELECT substr(id, 1, 9) AS id FROM _tidemark_record WHERE kind = 'share' ORDER BY id)"); n != "'stock/amo,stock/qty'" {
		t.Fatalf("share records %s", n)
	}
}

// A bound that is taken out of the rules ends its shares; one that comes back
// begins with what the hub grants then.
func TestShare_BoundTakenOut(t *testing.T) {
	c, g := stocked(t)
	without, with := *c.h.setup, *c.h.setup
	without.Rules, without.Hash = stockRules(), change.Hash{2}
	without.Rules.Tables[2].Columns = nil
	c.h.setup = &without
	c.dial().sync()
	c.want("SELECT count(*) FROM _tidemark_share", "0")
	c.exec("UPDATE stock SET qty = 3")
	c.dial().sync()
	n := len(g.asks)
	c.h.setup = &with
	c.dial().sync()
	if len(g.asks) != n+1 || len(g.asks[n].Shares) != 2 || g.asks[n].Shares[0].Left != 0 {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	c.want("SELECT left FROM tidemark_share", "5\n5")
}

const rebuilt = `CREATE TABLE other (code TEXT, place INTEGER, note TEXT, PRIMARY KEY (code, place));
	INSERT INTO other SELECT code, place, note FROM stock; DROP TABLE stock; ALTER TABLE other RENAME TO stock`

// A file that has no such column any more asks nothing about it, again and again.
func TestShare_ColumnDroppedFromTheFile(t *testing.T) {
	c, g := stocked(t)
	c.exec("UPDATE _tidemark_share SET ask = 1")
	c.exec("BEGIN; " + rebuilt + "; COMMIT")
	n := len(g.asks)
	l := c.dialAs(SessionConfig{Once: true})
	l.limit = 100
	l.sync()
	if ok, err := l.s.Synced(); err != nil || !ok {
		t.Errorf("synced %v %v", ok, err)
	}
	if len(g.asks) != n {
		t.Fatalf("asked %d times, last %+v", len(g.asks)-n, g.asks[len(g.asks)-1])
	}
	// It comes back: each row has a share again.
	c.exec("ALTER TABLE stock ADD COLUMN qty INTEGER")
	c.dial().sync()
	c.line.sync()
	c.want("SELECT key, left FROM tidemark_share ORDER BY key", "'salt/1'|5\n'tea/1'|5")
	c.exec("UPDATE stock SET qty = qty - 5")
}

// A table that is rebuilt in two commits is gone in between, and so are its shares,
// until it is back.
func TestShare_TableRebuiltInTwoCommits(t *testing.T) {
	c, _ := stocked(t)
	c.exec("UPDATE _tidemark_share SET ask = 1")
	c.exec("ALTER TABLE stock RENAME TO aside")
	c.exec("CREATE TABLE kept AS SELECT * FROM aside; DROP TABLE aside")
	c.dial().sync()
	c.want("SELECT count(*) FROM tidemark_share", "0")
	c.exec("CREATE TABLE stock (code TEXT, place INTEGER, qty INTEGER, note TEXT, PRIMARY KEY (code, place)); INSERT INTO stock SELECT * FROM kept; DROP TABLE kept")
	c.dial().sync()
	c.line.sync()
	c.want("SELECT key, left FROM tidemark_share ORDER BY key", "'salt/1'|5\n'tea/1'|5")
	c.exec("UPDATE stock SET qty = qty - 5")
}

// One parked transaction over many rows holds back the questions about those rows
// only, and they are asked once it is settled.
func TestShare_ParkedRowsHoldBackNoOthers(t *testing.T) {
	c, g := stocked(t)
	var big *change.Transaction
	c.h.decide = func(tx *change.Transaction) (uint8, string) { big = tx; return parked(tx) }
	c.tx(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
		INSERT INTO stock SELECT 'a' || i, 1, 5, NULL FROM n`, maxShares+100))
	c.dial().sync()
	c.h.decide = nil
	n := len(g.asks)
	c.exec("UPDATE stock SET qty = qty - 4 WHERE code = 'tea'")
	c.clk.Advance(2 * leaseRetry)
	c.line.sync()
	if len(g.asks) != n+1 || len(g.asks[n].Shares) != 1 || g.asks[n].Shares[0].Key[0] != text("tea") {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	// Nothing else can be asked: the file is left alone for a while.
	looked := 0
	look := func() {
		t.Helper()
		c.clk.Advance(2 * leaseRetry)
		if err := c.line.s.Tick(t.Context(), c.line.send); err != nil {
			t.Fatal(err)
		}
		if err := c.line.run(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		until := c.line.s.leases.blocked
		if look(); c.line.s.leases.blocked != until {
			looked++
		}
	}
	if looked > 1 {
		t.Fatalf("looked at the file %d times for nothing", looked)
	}
	c.h.conclude(big, outcomeApplied, "") // somebody decides at the hub
	n = len(g.asks)
	c.clk.Advance(2 * leaseRetry)
	c.line.sync()
	asked := 0
	for _, a := range g.asks[n:] {
		asked += len(a.Shares)
	}
	if asked < maxShares+100 {
		t.Fatalf("asked about %d rows", asked)
	}
}
