package sqlite_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func open(t *testing.T, ddl string) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.Open(filepath.Join(t.TempDir(), "a file.db"), sqlite.Options{WAL: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := sqlite.Script(c, ddl); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestValuesComeBackBitForBit(t *testing.T) {
	c := open(t, `CREATE TABLE v (x)`)
	values := []change.Value{
		change.Null, change.Int(0), change.Int(math.MinInt64), change.Int(math.MaxInt64), change.Int(1<<53 + 1),
		change.Float(0.1), change.Float(math.Copysign(0, -1)), change.Float(math.MaxFloat64), change.Float(math.Inf(-1)),
		change.Text(""), change.Text("a\x00b"), change.Text("\xff\xfe"), change.Text("naïve 👩‍⚕️"),
		change.BlobString(""), change.Blob([]byte{0, 1, 255}),
	}
	for _, v := range values {
		if err := sqlite.Exec(c, `DELETE FROM v`); err != nil {
			t.Fatal(err)
		}
		if err := sqlite.Exec(c, `INSERT INTO v VALUES (?)`, v); err != nil {
			t.Fatal(err)
		}
		got, ok, err := sqlite.One(c, `SELECT x FROM v`)
		if err != nil || !ok || got != v {
			t.Errorf("wrote %v (%v), read %v (%v), ok %v, err %v", v, v.Kind(), got, got.Kind(), ok, err)
		}
	}
}

// A script as people write it, or the shell prints it.
func TestScriptTakesCommentsAndEmptyStatements(t *testing.T) {
	c := open(t, `CREATE TABLE v (x)`)
	for _, text := range []string{"", ";", " ;; -- nothing", "/* nothing", "--", "\n/* a */ ; -- b\n"} {
		if err := sqlite.Script(c, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	err := sqlite.Script(c, "-- one;\nINSERT INTO v VALUES ('--;'), ('/*') ;; /* ; */\nINSERT INTO v VALUES (2); SELECT * FROM v; -- end")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"INSERT INTO v VALUES (9); nonsense", "INSERT INTO v VALUES (9); INSERT INTO v SELECT abs(-9223372036854775808)"} {
		if err := sqlite.Script(c, bad); err == nil {
			t.Errorf("%q ran", bad)
		}
	}
	if v, _, err := sqlite.One(c, "SELECT group_concat(x) FROM v"); err != nil || v.Str() != "--;,/*,2" {
		t.Fatalf("%v, %v", v, err)
	}
}

func TestOneTellsAbsenceFromNull(t *testing.T) {
	c := open(t, `CREATE TABLE v (x)`)
	if _, ok, err := sqlite.One(c, `SELECT x FROM v`); ok || err != nil {
		t.Fatalf("empty table: ok %v, err %v", ok, err)
	}
	if err := sqlite.Exec(c, `INSERT INTO v VALUES (NULL)`); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := sqlite.One(c, `SELECT x FROM v`); !ok || err != nil || !v.IsNull() {
		t.Fatalf("NULL: %v, ok %v, err %v", v, ok, err)
	}
}

func TestImmediateUndoesOnError(t *testing.T) {
	c := open(t, `CREATE TABLE v (x)`)
	boom := errors.New("boom")
	err := sqlite.Immediate(c, func() error {
		if err := sqlite.Exec(c, `INSERT INTO v VALUES (1)`); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("err = %v", err)
	}
	if n, _, _ := sqlite.One(c, `SELECT count(*) FROM v`); n.Int() != 0 {
		t.Fatalf("%d rows survived", n.Int())
	}
	if err := sqlite.Immediate(c, func() error { return sqlite.Exec(c, `INSERT INTO v VALUES (1)`) }); err != nil {
		t.Fatal(err)
	}
	if !c.AutocommitEnabled() {
		t.Fatal("a transaction is still open")
	}
}

func TestImmediateUndoesOnPanic(t *testing.T) {
	c := open(t, `CREATE TABLE v (x)`)
	func() {
		defer func() { _ = recover() }()
		_ = sqlite.Immediate(c, func() error {
			_ = sqlite.Exec(c, `INSERT INTO v VALUES (1)`)
			panic("boom")
		})
	}()
	if n, _, err := sqlite.One(c, `SELECT count(*) FROM v`); err != nil || n.Int() != 0 || !c.AutocommitEnabled() {
		t.Fatalf("rows %v, err %v, autocommit %v", n, err, c.AutocommitEnabled())
	}
}

func TestQueryStopsOnTheCallbacksError(t *testing.T) {
	c := open(t, `CREATE TABLE v (x); INSERT INTO v VALUES (1),(2),(3)`)
	boom, seen := errors.New("boom"), 0
	err := sqlite.Query(c, `SELECT x FROM v`, func(*sqlite.Stmt) error { seen++; return boom })
	if !errors.Is(err, boom) || seen != 1 {
		t.Fatalf("err %v after %d rows", err, seen)
	}
	if n, _, err := sqlite.One(c, `SELECT count(*) FROM v`); err != nil || n.Int() != 3 {
		t.Fatalf("the statement was not reset: %v %v", n, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := sqlite.Open(filepath.Join(dir, "absent.db"), sqlite.Options{MustExist: true}); err == nil {
		t.Error("opened a file that must exist and does not")
	}
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte("this is not a database, however long it may be ..............."), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := sqlite.Open(junk, sqlite.Options{WAL: true}); err == nil {
		_ = c.Close()
		t.Error("opened a file that is not a database")
	}
}

func TestTrapS15_DoubleQuotedStringsAndFTS5(t *testing.T) {
	c := open(t, `CREATE TABLE a (x TEXT DEFAULT "hello" CHECK (x <> "never")); CREATE VIRTUAL TABLE f USING fts5(body)`)
	if err := sqlite.Exec(c, `INSERT INTO a DEFAULT VALUES`); err != nil {
		t.Fatal(err)
	}
	v, _, err := sqlite.One(c, `SELECT x FROM a WHERE x = "hello"`)
	if err != nil || v.Str() != "hello" {
		t.Fatalf("%v %v", v, err)
	}
}

func TestQuote(t *testing.T) {
	for _, name := range []string{"plain", "with space", `qu"ote`, "select", "Ünï", "a;b--c", "[x]", "`y`", "'z'"} {
		c := open(t, `CREATE TABLE `+sqlite.Quote(name)+` (`+sqlite.Quote(name)+` INTEGER)`)
		if err := sqlite.Exec(c, `INSERT INTO `+sqlite.Quote(name)+` (`+sqlite.QuoteAll("", []string{name})+`) VALUES (1)`); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got, _, _ := sqlite.One(c, `SELECT name FROM sqlite_schema WHERE type='table' AND name=`+sqlite.Literal(name)); got.Str() != name {
			t.Errorf("%q came back as %q", name, got.Str())
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"a", `"`, `""`, "a b", "\\", "'", "x\ny"} {
		f.Add(s)
	}
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.Close() })
	f.Fuzz(func(t *testing.T, name string) {
		for i := range len(name) {
			if name[i] == 0 {
				t.Skip("NUL cannot stand in SQL text")
			}
		}
		if name == "" {
			t.Skip("SQLite has no empty names")
		}
		s, _, err := c.PrepareTransient(`SELECT 1 AS ` + sqlite.Quote(name) + `, ` + sqlite.Literal(name))
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		defer func() { _ = s.Finalize() }()
		if got := s.ColumnName(0); got != name {
			t.Fatalf("identifier %q came back as %q", name, got)
		}
		if _, err := s.Step(); err != nil {
			t.Fatal(err)
		}
		if got := s.ColumnText(1); got != name {
			t.Fatalf("literal %q came back as %q", name, got)
		}
	})
}
