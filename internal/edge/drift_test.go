package edge

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func (c *captured) drift() *Drift {
	c.t.Helper()
	d, err := c.CheckDrift()
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

func TestDriftNone(t *testing.T) {
	c := capture(t, plain, "t")
	if d := c.drift(); len(d.Repaired)+len(d.Gap)+len(d.Missing)+len(d.Notes)+len(d.Guarded) != 0 {
		t.Errorf("%+v", d)
	}
	c.exec(`CREATE TABLE other (x); CREATE VIEW w AS SELECT * FROM t`) // somebody else's business
	if d := c.drift(); len(d.Repaired)+len(d.Gap)+len(d.Missing)+len(d.Notes) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestTrapS5_AddedAndRenamedColumns(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=5 WHERE id='k'; ALTER TABLE t ADD COLUMN extra TEXT DEFAULT 'd'; UPDATE t SET extra='e', b='n' WHERE id='k'`)
	c.want(`update t 'k': a=5 (1) b='n' ('x')`) // the extra column is unknown to the hub
	d := c.drift()
	if len(d.Notes) != 0 || len(d.Gap) != 0 {
		t.Errorf("export has dealt with it already: %+v", d)
	}
	if err := sqlite.Exec(c.app, `ALTER TABLE t DROP COLUMN b`); err == nil {
		t.Error("SQLite now drops columns that triggers name: the trap is gone, simplify")
	}
	c.exec(`ALTER TABLE t RENAME COLUMN b TO bb; UPDATE t SET bb='after', a=6 WHERE id='k'`)
	if d = c.drift(); len(d.Repaired) != 0 || len(d.Gap) != 0 {
		t.Errorf("our triggers went along with the name: %+v", d)
	}
	c.exec(`UPDATE t SET a=a+1, bb='more'; INSERT INTO t(id,a,bb) VALUES ('n',1,'')`)
	var got []string
	for _, op := range c.ops() { // under the name that the hub knows
		got = append(got, opLine(&op))
	}
	if s := sorted(got); s != "insert t 'n': id='n' a=1 b='' u=NULL\nupdate t 'k': a=7 (6) b='more' ('after')\nupdate t 'l': a=3 (2) b='more' ('y')" {
		t.Error(s)
	}
}

// The usual SQLite migration makes the table anew and loses every trigger.
func TestTrapS18_RebuiltTable(t *testing.T) {
	c := capture(t, plain, "t")
	c.shell(`UPDATE t SET a=5 WHERE id='k';
BEGIN; CREATE TABLE new_t (id TEXT PRIMARY KEY NOT NULL, added INT DEFAULT 3, b TEXT, a INTEGER, u TEXT UNIQUE);
INSERT INTO new_t (id,a,b,u) SELECT id,a,b,u FROM t; DROP TABLE t; ALTER TABLE new_t RENAME TO t; COMMIT;
UPDATE t SET a=77 WHERE id='l'`) // nobody captured this one
	d := c.drift()
	if !slices.Equal(d.Gap, []string{"t"}) || len(d.Repaired) != 4 {
		t.Errorf("%+v", d)
	}
	c.exec(`UPDATE t SET b='again' WHERE id='k'`)
	txs := c.sync()
	if len(txs) != 1 || opLine(&txs[0].Ops[0]) != `update t 'k': b='again' ('x')` {
		t.Error("capture does not go on after a rebuild")
	}
	all, err := c.Outbox(0, 1<<20)
	if err != nil || opLine(&all[0].Ops[0]) != `update t 'k': a=5 (1)` {
		t.Error("what was captured before the rebuild is lost")
	}
	if d := c.drift(); !slices.Equal(d.Gap, []string{"t"}) || len(d.Repaired) != 0 {
		t.Errorf("the gap stays until the rows are compared: %+v", d)
	}
	if err := c.closeGap(&VerifyReport{Tables: []VerifyTable{{Table: "t", closed: true}}}); err != nil {
		t.Fatal(err)
	}
	if d := c.drift(); len(d.Gap) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestTrapS12_TriggersDropped(t *testing.T) {
	c := capture(t, shop, "sale line", "stock")
	names := 0
	err := sqlite.Query(c.app, `SELECT 'DROP TRIGGER '||name FROM sqlite_schema WHERE type='trigger' AND name LIKE '\_tidemark\_1\_%' ESCAPE '\'`, func(s *sqlite.Stmt) error {
		names++
		c.shell(s.ColumnText(0))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil { // while no agent runs
		t.Fatal(err)
	}
	c.exec(`CREATE TRIGGER fresh AFTER UPDATE ON stock BEGIN DELETE FROM "sale line" WHERE item=NEW.n; END`)
	if c.Engine, err = Open(config(c.path)); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := c.drift()
	if !slices.Equal(d.Gap, []string{"sale line"}) || len(d.Repaired) != names {
		t.Errorf("%d dropped: %+v", names, d)
	}
	found := false
	for _, g := range d.Guarded {
		found = found || g.Trigger == "fresh"
	}
	if !found {
		t.Errorf("a new trigger that writes synced tables runs at apply: %+v", d.Guarded)
	}
	// FTS5 with external content fails the first write that finds its schema stale
	// ("no such table"), in the Go engine; a read loads it.
	c.exec(`SELECT count(*) FROM "sale line"; INSERT INTO "sale line" VALUES ('s1','tea',1)`)
	if n := len(c.ops()); n != 2 {
		t.Errorf("%d operations, want the sale and its stock", n)
	}
}

// A table that is renamed is followed, as our triggers tell, and one that is gone
// keeps no other from syncing.
func TestDriftRenamedTable(t *testing.T) {
	c := capture(t, plain+`CREATE TABLE u (id TEXT PRIMARY KEY NOT NULL, a)`, "t", "u")
	c.exec(`UPDATE t SET a=8 WHERE id='k'; INSERT INTO u VALUES ('x',1); ALTER TABLE t RENAME TO away; UPDATE away SET a=9 WHERE id='l'`)
	if d := c.drift(); len(d.Missing)+len(d.Gap) != 0 {
		t.Errorf("%+v", d)
	}
	all, err := c.Outbox(0, 1<<20) // the look at the schema exported it
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	var got []string
	for _, op := range all[0].Ops {
		got = append(got, opLine(&op))
	}
	if s := sorted(got); s != "insert u 'x': id='x' a=1\nupdate t 'k': a=8 (1)\nupdate t 'l': a=9 (2)" {
		t.Error(s)
	}
	if err := c.Close(); err != nil { // the name is kept in the file
		t.Fatal(err)
	}
	c.exec(`UPDATE away SET a=10 WHERE id='l'`)
	cfg := config(c.path)
	cfg.Rand = rand.NewChaCha8([32]byte{9})
	if c.Engine, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if txs := c.sync(); len(txs) != 1 || opLine(&txs[0].Ops[0]) != `update t 'l': a=10 (9)` {
		t.Error(txs)
	}
	c.exec(`UPDATE away SET a=11 WHERE id='l'; DROP TABLE away`)
	if d := c.drift(); !slices.Equal(d.Missing, []string{"t"}) {
		t.Errorf("%+v", d)
	}
	if n, _, err := c.unexported(); n != 1 || err != nil {
		t.Errorf("%d records wait for their table, want 1: %v", n, err)
	}
	c.exec(`INSERT INTO u VALUES ('y',1)`)
	if n, err := c.Export(); n != 1 || err != nil {
		t.Error("the other table's work must go on:", n, err)
	}
	c.exec(`CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER, b TEXT, u TEXT UNIQUE); INSERT INTO t VALUES ('l',12,'y',NULL)`)
	if d := c.drift(); len(d.Missing) != 0 || !slices.Equal(d.Gap, []string{"t"}) {
		t.Errorf("%+v", d)
	}
}

// Before the bootstrap's end there are no triggers that could be missed.
func TestDriftDuringBootstrap(t *testing.T) {
	c := capture(t, plain, "t")
	if err := c.Detach(true); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Install(c.setup, deviceNo(1), InstallOptions{DeferTriggers: true}); err != nil {
		t.Fatal(err)
	}
	c.exec(`CREATE TABLE noise (x)`)
	if d := c.drift(); len(d.Repaired)+len(d.Gap) != 0 {
		t.Errorf("%+v", d)
	}
	if err := sqlite.Immediate(c.conn, c.createTriggers); err != nil {
		t.Fatal(err)
	}
	c.exec(`UPDATE t SET a=8 WHERE id='k'; CREATE TABLE noise2 (x)`)
	c.want(`update t 'k': a=8 (1)`)
	if v, err := c.meta(metaCapture); err != nil || v != change.Int(1) {
		t.Error(v, err)
	}
}
