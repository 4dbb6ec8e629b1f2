package edge

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// enrol installs a setup made from hub's SQL into a file made from app's SQL.
func enrol(t *testing.T, hub, app string, tables ...string) (*Engine, *InstallReport, error) {
	t.Helper()
	setup := setupFrom(t, hub, tables...)
	path := filepath.Join(t.TempDir(), "app.db")
	if app != "" {
		if err := sqlite.Script(open(t, path), app); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Open(config(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	rep, err := e.Install(setup, deviceNo(1), InstallOptions{})
	return e, rep, err
}

func setupFrom(t *testing.T, sql string, tables ...string) *wire.Setup {
	t.Helper()
	h := open(t, filepath.Join(t.TempDir(), "hub.db"))
	if err := sqlite.Script(h, sql); err != nil {
		t.Fatal(err)
	}
	return setupOf(t, h, tables...)
}

func TestInstallIntoEmptyFile(t *testing.T) {
	e, rep, err := enrol(t, `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a, g AS (a+1)); CREATE INDEX i ON t(a);
CREATE TABLE u (id TEXT PRIMARY KEY NOT NULL, t TEXT REFERENCES t, x TEXT UNIQUE)`, "", "t", "u")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(rep.Created, " "); got != "t u" || len(rep.Warnings) != 0 {
		t.Errorf("created %s, warnings %q", got, rep.Warnings)
	}
	if _, ok, err := sqlite.One(e.conn, `SELECT 1 FROM sqlite_schema WHERE name='i'`); !ok || err != nil {
		t.Error("the index is missing", err)
	}
	if tab := e.tableNamed("U"); tab == nil || tab.id != 2 || len(tab.schema.ForeignKeys) != 1 || len(tab.schema.Unique) != 1 {
		t.Errorf("%+v", tab)
	}
	if tab := e.tableNamed("t"); strings.Join(tab.names, " ") != "id a" || e.tableNamed("nosuch") != nil {
		t.Errorf("%+v", tab)
	}
}

// Everything wrong is told at once, and the file stays as it was.
func TestInstallRefusesEveryDifference(t *testing.T) {
	const hub = `CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, n INTEGER, s TEXT, g TEXT, m TEXT);
CREATE TABLE b (p TEXT, q TEXT, PRIMARY KEY (p, q));
CREATE TABLE c (id TEXT PRIMARY KEY, x);
CREATE TABLE d (id TEXT PRIMARY KEY NOT NULL, x)`
	const app = `CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, n TEXT, s TEXT NOT NULL, g TEXT AS (s), own TEXT NOT NULL, u INT UNIQUE, free INT DEFAULT 1);
CREATE UNIQUE INDEX ax ON a(s, lower(g));
CREATE TABLE b (p TEXT, q TEXT, PRIMARY KEY (q, p));
CREATE TABLE c (id TEXT PRIMARY KEY, x); INSERT INTO c VALUES (NULL, 1), (NULL, 2), ('ok', 3);
CREATE TABLE d (id TEXT, x)`
	e, _, err := enrol(t, hub, app, "a", "b", "c", "d")
	if err == nil {
		t.Fatal("installed")
	}
	for _, want := range []string{
		"table a: column n is TEXT here and INTEGER at the hub",
		"table a: column s is NOT NULL here only",
		"table a: column g is generated on one side only",
		"table a: column own is NOT NULL without a default",
		"table a: UNIQUE (u) exists here only",
		"table a: UNIQUE (s, an expression) exists here only",
		"table b: its key is (q, p), the hub's is (p, q)",
		"table c: 2 rows have a NULL key (id)",
		"table d: its key is (), the hub's is (id)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if e.Installed() {
		t.Error("installed")
	}
	n, _, err := sqlite.One(e.conn, `SELECT count(*) FROM sqlite_schema WHERE name LIKE '\_tidemark%' ESCAPE '\'`)
	if err != nil || n.Int() != 0 {
		t.Errorf("%v objects left behind: %v", n, err)
	}
}

func TestInstallLivesWithSmallDifferences(t *testing.T) {
	_, rep, err := enrol(t, `CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, n INTEGER NOT NULL, later TEXT, word TEXT UNIQUE, UNIQUE (n, id))`,
		`CREATE TABLE A (extra DEFAULT 1, ID VARCHAR(36) PRIMARY KEY NOT NULL, n INT, word TEXT COLLATE NOCASE UNIQUE, UNIQUE (N, ID))`, "a")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(rep.Warnings, "\n")
	for _, want := range []string{"column later is missing here", "column extra is unknown to the hub", "column n is NOT NULL at the hub only",
		"column word is compared without regard to case here only"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestInstallMeetsOtherObjects(t *testing.T) {
	_, _, err := enrol(t, `CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL)`, `CREATE VIEW a AS SELECT 1`, "a")
	if err == nil || !strings.Contains(err.Error(), "the file has a view of that name") {
		t.Error(err)
	}
	setup := setupFrom(t, `CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL)`, "a")
	setup.DDL = nil
	e, err := Open(config(filepath.Join(t.TempDir(), "x.db")))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Install(setup, deviceNo(1), InstallOptions{}); err == nil || !strings.Contains(err.Error(), "no DDL for it") {
		t.Error(err)
	}
}

func TestTrapS11_IntegerKeys(t *testing.T) {
	setup := setupFrom(t, `CREATE TABLE a (id INTEGER PRIMARY KEY, x)`, "a")
	install := func(r rule.Table) error {
		setup.Rules = rule.Rules{Tables: []rule.Table{r}}
		e, err := Open(config(filepath.Join(t.TempDir(), "x.db")))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		_, err = e.Install(setup, deviceNo(1), InstallOptions{})
		return err
	}
	if err := install(rule.Table{Name: "a"}); err == nil || !strings.Contains(err.Error(), "app-assigned") {
		t.Error(err)
	}
	if err := install(rule.Table{Name: "a", Keys: rule.KeysAppAssigned}); err != nil {
		t.Error(err)
	}
	if err := install(rule.Table{Name: "a", Reference: true}); err != nil {
		t.Error("nobody inserts into reference tables here:", err)
	}
}

// Schemas that the Go engine refuses unless it is told to be lenient.
func TestTrapS15_DoubleQuotedStringsAndFTS5(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, kind TEXT DEFAULT "none" CHECK (kind <> "bad"));
CREATE VIRTUAL TABLE f USING fts5(kind);
CREATE INDEX i ON t(kind) WHERE kind <> "none";
CREATE TRIGGER tf AFTER INSERT ON t BEGIN INSERT INTO f VALUES (NEW.kind || "x"); END`, "t")
	c.shell(`INSERT INTO t(id) VALUES ("k"); UPDATE t SET kind="good"`)
	c.want(`insert t 'k': id='k' kind='good'`)
}

// A new setup takes over; what was captured under the old one is kept.
func TestInstallAgain(t *testing.T) {
	const app = plain + `CREATE TABLE more (id TEXT PRIMARY KEY NOT NULL, x)`
	c := capture(t, app, "t")
	c.exec(`UPDATE t SET a=9 WHERE id='k'; INSERT INTO more VALUES ('early', 1)`)
	_, inc := c.Identity()
	c.setup = setupOf(t, c.app, "more", "t") // t is table 2 now
	if _, err := c.Install(c.setup, deviceNo(1), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	txs, err := c.Outbox(0, 1<<20)
	if err != nil || len(txs) != 1 || opLine(&txs[0].Ops[0]) != `update t 'k': a=9 (1)` {
		t.Fatal(txs, err)
	}
	c.exec(`UPDATE t SET a=10 WHERE id='k'; UPDATE more SET x=2`)
	if n := len(c.sync()[0].Ops); n != 2 {
		t.Errorf("%d operations, want 2", n)
	}
	if _, again := c.Identity(); again != inc {
		t.Error("a new setup must not make a new incarnation")
	}
	if _, err := c.Install(c.setup, deviceNo(2), InstallOptions{}); err == nil || !strings.Contains(err.Error(), "belongs to device") {
		t.Error("another device took the file over:", err)
	}
	bad := setupFrom(t, `CREATE TABLE t (other TEXT PRIMARY KEY NOT NULL)`, "t")
	if _, err := c.Install(bad, deviceNo(1), InstallOptions{}); err == nil {
		t.Error("a setup that does not fit was installed")
	}
	if len(c.Setup().Schema.Tables) != 2 {
		t.Error("a refused setup left its mark")
	}
	c.exec(`UPDATE t SET a=11 WHERE id='k'`)
	if got := opLine(&c.ops()[0]); got != `update t 'k': a=11 (10)` {
		t.Error(got)
	}
}

func TestTokenize(t *testing.T) {
	var got []string
	for _, k := range tokenize("CREATE/* x */TABLE [a b]--c\n(\"q\"\"q\" 'it''s' 1.5e3,`z` ünï $p) /* open") {
		got = append(got, k.text)
	}
	if s := strings.Join(got, "|"); s != `CREATE|TABLE|a b|(|q"q|it's|1.5e3|,|z|ünï|$p|)` {
		t.Error(s)
	}
	for _, odd := range []string{"'open", "[open", `"`, "", "--", "/*", "\x00\xff"} {
		tokenize(odd)
		indexParts(odd)
		ddlTarget(odd)
	}
	if kind, name, on := ddlTarget(`CREATE UNIQUE INDEX IF NOT EXISTS main."i x" ON "t""y"(a)`); kind != "index" || name != "i x" || on != `t"y` {
		t.Error(kind, name, on)
	}
	exprs, where := indexParts(`CREATE INDEX i ON t(lower(a, 'x,)') COLLATE NOCASE DESC, "b c" ASC, d+1) WHERE (e IS NULL);`)
	if s := strings.Join(exprs, "|"); s != `lower(a, 'x,)')|"b c"|d+1` || where != "(e IS NULL)" {
		t.Error(s, where)
	}
}
