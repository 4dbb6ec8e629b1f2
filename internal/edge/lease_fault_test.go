package edge

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Records of the hub's that are damaged are named, not passed over.
func TestLease_DamagedRecordsAreNamed(t *testing.T) {
	for kind, what := range map[string]string{"lease": "lease record", "holder": "holder record", "share": "share record", "grant": "", "device": "device"} {
		f := started(t, 1)
		_, inc := f.edges[0].e.Identity()
		f.atHub("UPDATE _tidemark_record SET body = x'7b' WHERE kind = '" + kind + "'")
		_, err := f.hub.Lease(t.Context(), f.devs[0], inc, &wire.LeaseAsk{ID: 70, Numbers: []wire.NumberLeft{{Name: "invoice.no"}},
			Shares: []wire.ShareLeft{{Table: "stock", Key: change.Key{text("tea"), num(1)}, Column: "qty"}}})
		if what != "" && (err == nil || !strings.Contains(err.Error(), what)) {
			t.Errorf("%s: lease says %v", kind, err)
		}
		if _, err := f.hub.Leases(t.Context()); (err == nil) != (kind == "device") && kind != "device" {
			t.Errorf("%s: report says %v", kind, err)
		}
		f.atHub("UPDATE _tidemark_record SET body = '{\"held\":{\"nobody\":{}}}' WHERE kind = '" + kind + "'")
		f.atHub("UPDATE _tidemark_record SET id = 'nobody' WHERE kind = '" + kind + "' AND kind = 'holder'")
		if _, err := f.hub.Leases(t.Context()); kind == "share" && err == nil || kind == "holder" && err == nil {
			t.Errorf("%s: a device called nobody is reported", kind)
		}
	}
}

func TestLease_DamagedFileIsNamed(t *testing.T) {
	for _, damage := range []string{
		"UPDATE _tidemark_meta SET value = 'x' WHERE key = 'lease_question'",
		"DROP VIEW tidemark_number",
		"DROP VIEW tidemark_number; DROP TABLE _tidemark_number; CREATE VIEW tidemark_number (name, next, left) AS SELECT 'n', 1, 2",
		"DROP TABLE _tidemark_lease",
	} {
		c, g := stocked(t)
		c.exec("UPDATE _tidemark_share SET ask = 1")
		c.exec(damage)
		n := len(g.asks)
		l := c.dial()
		err := l.run()
		if len(g.asks) > n || err == nil || !strings.Contains(err.Error(), "ask for leases") {
			t.Errorf("%s: %v", damage, err)
		}
	}
	c, _ := stocked(t)
	c.exec("DROP VIEW tidemark_number; DROP VIEW tidemark_share")
	if _, _, err := c.e.Leases(); err == nil {
		t.Error("no numbers, no word")
	}
	if err := c.e.Detach(false); err != nil {
		t.Error(err)
	}
}

// The application holds the file's lock when the answer comes: it is asked for
// again, under the same ID.
func TestLease_LockedFileAsksAgain(t *testing.T) {
	c, g := stocked(t)
	for range 8 {
		c.exec("INSERT INTO invoice (id) VALUES (hex(randomblob(8)))")
	}
	c.dial()
	n := len(g.asks)
	for len(g.asks) == n {
		c.line.limit, c.line.n = 1, 0
		if err := c.line.run(); err != nil {
			t.Fatal(err)
		}
	}
	c.e.conn.SetBusyTimeout(0)
	c.exec("BEGIN IMMEDIATE")
	c.line.limit = 0
	if err := c.line.run(); err != nil {
		t.Fatal(err)
	}
	c.exec("ROLLBACK")
	c.dial().sync()
	if len(g.asks) != n+2 || g.asks[n].ID != g.asks[n+1].ID {
		t.Fatalf("asked %+v", g.asks[n:])
	}
	if n := c.one(leftNo); n != 12 {
		t.Fatalf("%d left", n)
	}
}

// Grants for what the file does not have change nothing.
func TestLease_GrantsForNothing(t *testing.T) {
	c, _ := stocked(t)
	c.exec("UPDATE _tidemark_meta SET value = '{\"id\":9,\"open\":true}' WHERE key = 'lease_question'")
	before := c.rows("SELECT * FROM _tidemark_share")
	err := c.e.locked(func() error {
		return c.e.grant(&wire.LeaseGrant{ID: 9, Shares: []wire.ShareGrant{
			{Table: "nothing", Key: change.Key{text("x")}, Column: "qty", Add: 5}, {Table: "stock", Key: change.Key{text("x"), num(1)}, Column: "colour", Add: 5},
			{Table: "stock", Key: change.Key{text("x"), num(1)}, Column: "qty", Add: 5}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	c.want("SELECT * FROM _tidemark_share", before)
	// Answers to a question that is not open are let go.
	err = c.e.locked(func() error {
		return c.e.grant(&wire.LeaseGrant{ID: 9, Numbers: []wire.NumberRange{{Name: "invoice.no", First: 1, Last: 2}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	c.want("SELECT count(*) FROM _tidemark_lease WHERE first = 1 AND name = 'invoice.no'", "0")
	for _, op := range []*change.Op{{Table: "nothing", Kind: change.Insert}, {Table: "stock", Kind: change.Delete}, {Table: "invoice", Kind: change.Insert, Columns: []string{"no"}, New: []change.Value{num(1)}}} {
		if err := c.e.locked(func() error { return c.e.unshare(op) }); err != nil {
			t.Fatal(err)
		}
	}
	// A file whose hub leases nothing has no tables for it.
	plain := enrolled(t)
	if n, s, err := plain.e.Leases(); n != nil || s != nil || err != nil {
		t.Fatal(n, s, err)
	}
	plain.want("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%lease%' OR name LIKE '%share%'", "0")
}

// Tables of ours that are gone are named by whoever needs them.
func TestLease_LostTablesAreNamed(t *testing.T) {
	c, _ := stocked(t)
	c.exec("DROP TABLE _tidemark_lease")
	for name, fn := range map[string]func() error{
		"drop": c.e.dropLeases,
		"take": func() error {
			if err := c.e.setQuestion(question{ID: 5, Open: true}); err != nil {
				return err
			}
			return c.e.grant(&wire.LeaseGrant{ID: 5, Numbers: []wire.NumberRange{{Name: "invoice.no", First: 1, Last: 2}}})
		},
	} {
		if err := c.e.locked(fn); err == nil {
			t.Errorf("%s finds nothing missing", name)
		}
	}
}
