package edge

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const shop = `CREATE TABLE stock (id TEXT PRIMARY KEY NOT NULL, n INTEGER);
CREATE TABLE "sale line" (id TEXT PRIMARY KEY NOT NULL, item TEXT, n INTEGER);
CREATE TABLE audit (what TEXT);
CREATE VIRTUAL TABLE search USING fts5(item, content='sale line');
CREATE VIEW v AS SELECT * FROM stock;
CREATE TRIGGER sells AFTER INSERT ON "sale line" BEGIN
  UPDATE OR FAIL stock SET n = n - NEW.n WHERE id = NEW.item; -- the stock movement
END;
CREATE TRIGGER [odd "name] AFTER UPDATE OF n ON "sale line" FOR EACH ROW WHEN NEW.n > 0 OR CASE WHEN OLD.n THEN 1 ELSE 0 END BEGIN
  INSERT INTO  [stock] /* BEGIN */ VALUES (NEW.id, 'INTO audit') ON CONFLICT DO UPDATE SET n=1;
END;
CREATE TRIGGER refuses BEFORE DELETE ON "sale line" WHEN (OLD.n > 100) BEGIN SELECT RAISE(ABORT, 'too big'); END;
CREATE TRIGGER logs AFTER INSERT ON "sale line" BEGIN INSERT INTO audit VALUES ('sale ' || NEW.id || ' UPDATE stock'); END;
CREATE TRIGGER finds AFTER INSERT ON "sale line" BEGIN INSERT INTO search(rowid, item) VALUES (NEW.rowid, NEW.item); END;
CREATE TRIGGER local AFTER INSERT ON audit BEGIN DELETE FROM audit WHERE what IS NULL; END;
CREATE TRIGGER chain AFTER DELETE ON audit BEGIN DELETE FROM "stock" WHERE n<0; END;
CREATE TRIGGER onview INSTEAD OF INSERT ON v BEGIN REPLACE INTO stock VALUES (NEW.id, NEW.n); END;
INSERT INTO stock VALUES ('tea', 100);`

// schemaText is everything that defines the file, sorted by name.
func schemaText(t *testing.T, c *sqlite.Conn) string {
	t.Helper()
	var out []string
	err := sqlite.Query(c, `SELECT type||' '||name||' '||coalesce(sql,'') FROM sqlite_schema ORDER BY type, name`, func(s *sqlite.Stmt) error {
		out = append(out, s.ColumnText(0))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func TestTrapS23_AppTriggersAreClassified(t *testing.T) {
	c := capture(t, shop, "sale line", "stock")
	var guarded []string
	for _, g := range c.rep.Guarded {
		guarded = append(guarded, g.Trigger+" on "+g.Table+": "+g.Why)
	}
	want := strings.Join([]string{
		`sells on sale line: it writes stock`,
		`odd "name on sale line: it writes stock`,
		`refuses on sale line: it can refuse a write that the hub has already accepted`,
		`chain on audit: it writes stock`,
		`onview on v: it writes stock`,
	}, "\n")
	if got := strings.Join(guarded, "\n"); got != want {
		t.Errorf("guarded\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(c.rep.Left, " "); got != "logs finds" {
		t.Errorf("left %s, want logs finds", got)
	}
	apply := func(sql string) {
		t.Helper()
		err := sqlite.Immediate(c.conn, func() error {
			return sqlite.Script(c.conn, `INSERT INTO _tidemark_applying VALUES (1);`+sql+`;DELETE FROM _tidemark_applying`)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func(sql string, want int64) {
		t.Helper()
		if v, _, err := sqlite.One(c.app, sql); err != nil || v.Int() != want {
			t.Errorf("%s: %v, want %d (%v)", sql, v, want, err)
		}
	}
	apply(`INSERT INTO "sale line" VALUES ('s1','tea',5); UPDATE "sale line" SET n=200; DELETE FROM "sale line" WHERE id='s1'; INSERT INTO "sale line" VALUES ('s2','tea',5)`)
	count(`SELECT n FROM stock WHERE id='tea'`, 100) // a pulled sale must not sell again
	count(`SELECT count(*) FROM audit`, 2)           // local-only tables follow
	count(`SELECT count(*) FROM search WHERE search MATCH 'tea'`, 1)
	c.start = c.content()
	// The application's own writes run everything.
	c.exec(`INSERT INTO "sale line" VALUES ('s3','tea',7); UPDATE "sale line" SET n=8 WHERE id='s3'`)
	count(`SELECT n FROM stock WHERE id='tea'`, 93)
	count(`SELECT count(*) FROM stock WHERE id='s3'`, 1)
	if err := sqlite.Exec(c.app, `DELETE FROM "sale line" WHERE n>=0 AND (SELECT 1 FROM stock)`); err != nil {
		t.Error(err)
	}
	c.sync()
	c.replays()
}

func TestDetachLeavesNoTrace(t *testing.T) {
	c := &captured{t: t, path: t.TempDir() + "/app.db"}
	c.app = open(t, c.path)
	c.exec(shop)
	before := schemaText(t, c.app)
	c.setup = setupOf(t, c.app, "sale line", "stock")
	e, err := Open(config(c.path))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c.Engine = e
	for round := range 2 {
		if _, err := e.Install(c.setup, deviceNo(1), InstallOptions{}); err != nil {
			t.Fatal(err)
		}
		if schemaText(t, c.app) == before {
			t.Fatal("Install changed nothing")
		}
		if _, err := e.Install(c.setup, deviceNo(1), InstallOptions{}); err != nil {
			t.Fatal("second Install:", err)
		}
		if round == 1 {
			c.exec("ANALYZE")
		}
		if err := e.Detach(false); err != nil {
			t.Fatal(err)
		}
		if after := schemaText(t, c.app); round == 0 && after != before {
			t.Errorf("after Detach\n%s\nbefore Install\n%s", after, before)
		}
		if e.Installed() {
			t.Error("still installed")
		}
	}
	n, _, err := sqlite.One(c.app, `SELECT count(*) FROM sqlite_stat1 WHERE tbl LIKE '\_tidemark%' ESCAPE '\'`)
	if err != nil || n.Int() != 0 {
		t.Errorf("%v statistics left: %v", n, err)
	}
	if err := e.Detach(false); err != nil {
		t.Error("detaching twice:", err)
	}
}

func TestTrapD20_DetachRefusesUnsafeWork(t *testing.T) {
	c := capture(t, plain, "t")
	refuses := func(why string) {
		t.Helper()
		err := c.Detach(false)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("Detach: %v, want %q", err, why)
		}
	}
	c.exec(`UPDATE t SET a=7`)
	refuses("2 captured")
	c.sync()
	refuses("1 waiting")
	if err := sqlite.Exec(c.conn, `UPDATE _tidemark_outbox SET state=?`, change.Int(int64(quarantined))); err != nil {
		t.Fatal(err)
	}
	refuses("1 in quarantine")
	if err := c.Detach(true); err != nil {
		t.Error(err)
	}
	if n, err := c.Export(); n != 0 || err != nil {
		t.Error("a detached file exports:", n, err)
	}
}

// A trigger that the application changed while it was guarded stays changed, and
// one that SQLite rewrote for a renamed column loses only the guard.
func TestDetachKeepsLaterChanges(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a, b);
CREATE TABLE l (x, y);
CREATE TRIGGER one AFTER INSERT ON t BEGIN UPDATE t SET a=1 WHERE id=NEW.id; END;
CREATE TRIGGER two AFTER INSERT ON l WHEN (NEW.x > (1)) BEGIN UPDATE t SET a=1 WHERE id=NEW.x; END;
CREATE TRIGGER three AFTER INSERT ON l BEGIN UPDATE t SET a=1 WHERE id=NEW.x; END;`, "t")
	if len(c.rep.Guarded) != 3 {
		t.Fatal(c.rep.Guarded)
	}
	c.exec(`DROP TRIGGER one; CREATE TRIGGER one AFTER DELETE ON l BEGIN SELECT 1; END; DROP TRIGGER three; ALTER TABLE l RENAME COLUMN x TO z`)
	if err := c.Detach(true); err != nil {
		t.Fatal(err)
	}
	got := schemaText(t, c.app)
	for _, want := range []string{
		`CREATE TRIGGER one AFTER DELETE ON l BEGIN SELECT 1; END`,
		`CREATE TRIGGER two AFTER INSERT ON l WHEN (NEW.z > (1)) BEGIN UPDATE t SET a=1 WHERE id=NEW.z; END`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(strings.ToLower(got), "tidemark") || strings.Contains(got, "three") {
		t.Errorf("left behind:\n%s", got)
	}
}

func TestGuardSQL(t *testing.T) {
	const mark = `WHEN NOT EXISTS (SELECT 1 FROM _tidemark_applying) /* tidemark */`
	for _, x := range []struct{ in, want string }{
		{`CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1; END`, `CREATE TRIGGER a AFTER INSERT ON b ` + mark + ` BEGIN SELECT 1; END`},
		{`CREATE TRIGGER "begin" AFTER INSERT ON [when] WHEN x('BEGIN') OR "WHEN" BEGIN SELECT 1; END`, `CREATE TRIGGER "begin" AFTER INSERT ON [when] ` + mark + ` AND (x('BEGIN') OR "WHEN") BEGIN SELECT 1; END`},
		{"CREATE TRIGGER a AFTER INSERT ON b\n--BEGIN\nFOR EACH ROW WHEN CASE WHEN 1 THEN 2 END\nBEGIN SELECT 1; END", "CREATE TRIGGER a AFTER INSERT ON b\n--BEGIN\nFOR EACH ROW " + mark + " AND (CASE WHEN 1 THEN 2 END) BEGIN SELECT 1; END"},
	} {
		got, err := guardSQL(x.in)
		if err != nil || got != x.want {
			t.Errorf("guard %s\n gives %s (%v)\n want  %s", x.in, got, err, x.want)
		}
		if !isGuarded(got) || strings.Contains(unguard(got), "tidemark") {
			t.Errorf("unguard gives %s", unguard(got))
		}
	}
	if _, err := guardSQL("CREATE TRIGGER a"); err == nil {
		t.Error("half a trigger was guarded")
	}
}
