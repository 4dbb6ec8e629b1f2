package sqlitestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func noteRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{{Name: "note", Scope: rule.Scope{All: true}}}}
}

const noteDDL = `CREATE TABLE note (id INTEGER PRIMARY KEY, v TEXT)`

func newFile(t *testing.T, ddl ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub.db")
	if err := Create(path, ddl); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string, rules *rule.Rules) *Store {
	t.Helper()
	s, err := Open(Config{Path: path, Rules: rules, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func now(t *testing.T, s *Store) (c change.Cursor) {
	t.Helper()
	if err := s.View(context.Background(), func(v hub.View) (err error) { c, err = v.Cursor(); return err }); err != nil {
		t.Fatal(err)
	}
	return c
}

func check(s *Store, c change.Cursor) (out error) {
	if err := s.View(context.Background(), func(v hub.View) error { out = v.Check(c); return nil }); err != nil {
		return err
	}
	return out
}

func note(t *testing.T, s *Store, id int64) {
	t.Helper()
	err := s.Update(context.Background(), func(tx hub.Tx) error {
		return tx.Write(hub.Effect{Table: "note", Kind: change.Insert, Key: change.Key{change.Int(id)},
			Columns: []string{"id", "v"}, Values: []change.Value{change.Int(id), change.Text("x")}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A hub's file is put back from a copy, and grows again past where it was.
func TestFilePutBackAndGrownAgainIsAnotherHistory(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	note(t, s, 1)
	early := now(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, path, noteRules())
	note(t, s, 2)
	late := now(t, s)
	s.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, noteRules())
	if err := check(s, late); !errors.Is(err, hub.ErrOtherHistory) {
		t.Errorf("cursor beyond the end: %v", err)
	}
	note(t, s, 3)
	if err := check(s, late); !errors.Is(err, hub.ErrOtherHistory) {
		t.Errorf("cursor of the lost time: %v", err)
	}
	if err := check(s, early); err != nil {
		t.Errorf("cursor of the common past: %v", err)
	}
	shell(t, path, `UPDATE note SET v='y'`)
	if err := check(s, late); !errors.Is(err, hub.ErrOtherHistory) {
		t.Errorf("cursor of the lost time, later: %v", err)
	}
}

func TestReopenedStoreGoesOn(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	note(t, s, 1)
	c, epoch := now(t, s), s.Epoch()
	s.Close()
	shell(t, path, `INSERT INTO note VALUES (5, 'while it was closed')`)
	s = open(t, path, noteRules())
	if s.Epoch() != epoch {
		t.Error("another epoch")
	}
	n := 0
	err := s.View(context.Background(), func(v hub.View) error {
		return v.Delta(c, change.Incarnation{1}, []rule.ScopeID{"all"}, 1000, func(r *change.Rows) error { n += r.Len(); return nil })
	})
	if err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// A lost trigger means changes nobody saw (trap S18): everyone must start anew.
func TestTrapS18_RebuiltTableLosesItsTriggers(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	note(t, s, 1)
	c := now(t, s)
	shell(t, path, `BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, v TEXT, w TEXT); INSERT INTO new SELECT id, v, 'w' FROM note;
		DROP TABLE note; ALTER TABLE new RENAME TO note; UPDATE note SET w='unseen'; COMMIT`)
	if err := check(s, c); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("cursor from before the gap: %v", err)
	}
	c = now(t, s)
	shell(t, path, `UPDATE note SET w='seen'`)
	if now(t, s) == c {
		t.Error("the rebuilt table is not captured")
	}
}

// Dropping a column shifts the others; what the log knows by place must follow (trap S5).
func TestTrapS5_DroppedColumn(t *testing.T) {
	path := newFile(t, `CREATE TABLE note (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT)`)
	s := open(t, path, noteRules())
	shell(t, path, `INSERT INTO note VALUES (1, 'a', 'b', 'c'), (2, 'a', 'b', 'c')`)
	c := now(t, s)
	shell(t, path, `UPDATE note SET c='d' WHERE id=2; DELETE FROM note WHERE id=1`)
	err := s.Update(context.Background(), func(hub.Tx) error {
		// A trigger that names the column blocks ALTER TABLE, so who drops one drops the capture first.
		for _, tr := range s.plan.Load().tables[0].capture() {
			if err := sqlite.Exec(s.writer, "DROP TRIGGER "+tr.name); err != nil {
				return err
			}
		}
		return sqlite.Exec(s.writer, `ALTER TABLE note DROP COLUMN b`)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.View(context.Background(), func(v hub.View) error {
		ts, err := v.Tombstone("note", change.Key{change.Int(1)})
		if err != nil || change.Key(ts.Row).String() != "1,'a','c'" {
			t.Errorf("tombstone %v, %v", ts, err)
		}
		list, err := v.Touched("note", change.Key{change.Int(2)}, change.Cursor{}, change.Incarnation{1})
		if err != nil || len(list) != 2 || list[1].Columns != nil {
			t.Errorf("touched %v, %v", list, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = c
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "app.db"), filepath.Join(dir, "hub.db")
	shell(t, src, `PRAGMA journal_mode=WAL; `+noteDDL+`; INSERT INTO note SELECT value, hex(randomblob(500)) FROM generate_series(1, 5000)`)
	live, err := sqlite.Open(src, sqlite.Options{}) // the app has it open, with work in its WAL
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := sqlite.Exec(live, `UPDATE note SET v='in the WAL' WHERE id=1`); err != nil {
		t.Fatal(err)
	}
	var steps []int64
	if err := Import(src, dst, func(done, total int64) { steps = append(steps, done*100/total) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) < 2 || steps[len(steps)-1] != 100 {
		t.Errorf("progress %v", steps)
	}
	s := open(t, dst, noteRules())
	if err := check(s, change.Cursor{}); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("rows older than the capture, and yet the zero cursor says %v", err)
	}
	if err := s.View(context.Background(), func(v hub.View) error {
		row, err := v.Row("note", change.Key{change.Int(1)})
		if err == nil && row[1] != change.Text("in the WAL") {
			t.Errorf("row %v", row)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ src, dst, word string }{
		"over an existing file": {src, dst, "exists"},
		"from a hub":            {dst, filepath.Join(dir, "x1.db"), "detach"},
		"from nothing":          {filepath.Join(dir, "none.db"), filepath.Join(dir, "x2.db"), "open"},
		"from no database":      {junk(t), filepath.Join(dir, "x3.db"), "not a database"},
	} {
		err := Import(c.src, c.dst, nil)
		if err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("import %s: %v", what, err)
		}
		if c.dst != dst {
			if _, err := os.Stat(c.dst); err == nil {
				t.Errorf("import %s left a file", what)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.partial*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func junk(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "junk.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database at all ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefusals(t *testing.T) {
	for what, c := range map[string]struct{ ddl, word string }{
		"no key":       {`CREATE TABLE note (v TEXT)`, "primary key"},
		"NULL key":     {`CREATE TABLE note (id TEXT PRIMARY KEY); INSERT INTO note VALUES (NULL)`, "NULL"},
		"an edge":      {noteDDL + `; CREATE TABLE _tidemark_undo (x)`, "edge"},
		"a later one":  {noteDDL + `; CREATE TABLE _tidemark_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID; INSERT INTO _tidemark_meta VALUES ('format', 99)`, "newer"},
		"own parent":   {`CREATE TABLE note (id INTEGER PRIMARY KEY, up REFERENCES note)`, "itself"},
		"no such file": {"", "open"},
	} {
		path := filepath.Join(t.TempDir(), "none.db")
		if c.ddl != "" {
			path = newFile(t, c.ddl)
		}
		rules := noteRules()
		if what == "own parent" {
			rules.Tables[0].Scope = rule.Scope{Via: "up"}
		}
		s, err := Open(Config{Path: path, Rules: rules, NoSync: true})
		if err == nil {
			s.Close()
			t.Errorf("%s was opened", what)
		} else if !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCreateRefusals(t *testing.T) {
	path := newFile(t, noteDDL)
	if err := Create(path, nil); err == nil {
		t.Error("created over an existing file")
	}
	bad := filepath.Join(t.TempDir(), "bad.db")
	if err := Create(bad, []string{"CREATE TABEL oops, and then a good many words to make it long enough"}); err == nil || !strings.Contains(err.Error(), "TABEL") {
		t.Errorf("bad DDL: %v", err)
	}
	if _, err := os.Stat(bad); err == nil {
		t.Error("bad DDL left a file")
	}
}

func TestClosedStore(t *testing.T) {
	s := open(t, newFile(t, noteDDL), noteRules())
	c := now(t, s)
	waiting := make(chan error)
	go func() { waiting <- s.Wait(context.Background(), c) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, errClosed) {
		t.Errorf("a waiter at close: %v", err)
	}
	ctx := context.Background()
	_, pruneErr := s.Prune(ctx, s.cfg.Clock.Now())
	_, refreshErr := s.Refresh(ctx, noteRules())
	for i, err := range []error{
		s.View(ctx, func(hub.View) error { return nil }), s.Update(ctx, func(hub.Tx) error { return nil }),
		s.Wait(ctx, c), pruneErr, refreshErr,
	} {
		if !errors.Is(err, errClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

func TestDDLRecreatesWhatAnEdgeNeeds(t *testing.T) {
	path := newFile(t,
		`CREATE TABLE child (id INTEGER PRIMARY KEY, note_id INTEGER REFERENCES note(id), t TEXT)`, noteDDL,
		`CREATE TABLE local (x)`, `CREATE INDEX child_note ON child (note_id)`, `CREATE INDEX local_x ON local (x)`,
		`CREATE VIRTUAL TABLE search USING fts5(t)`,
		`CREATE TRIGGER find AFTER INSERT ON child BEGIN INSERT INTO search (rowid, t) VALUES (NEW.id, NEW.t); END`,
		`CREATE TRIGGER broken AFTER INSERT ON child BEGIN INSERT INTO nowhere VALUES (1); END`,
		`CREATE VIEW good AS SELECT * FROM note JOIN child ON note_id = note.id`, `CREATE VIEW bad AS SELECT * FROM local`)
	rules := noteRules()
	rules.Tables = append(rules.Tables, rule.Table{Name: "child", Scope: rule.Scope{All: true}})
	s := open(t, path, rules)
	ddl, err := s.DDL(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, q := range ddl {
		got += strings.Join(strings.Fields(q)[:3], " ") + "; "
	}
	want := "CREATE TABLE note; CREATE TABLE child; CREATE INDEX child_note; CREATE VIRTUAL TABLE; CREATE TRIGGER find; CREATE VIEW good; "
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	edge := filepath.Join(t.TempDir(), "edge.db")
	if err := Create(edge, ddl); err != nil {
		t.Fatal(err)
	}
	shell(t, edge, `INSERT INTO note VALUES (1, 'a'); INSERT INTO child VALUES (1, 1, 'word')`)
	run, mute := s.Triggers()
	if strings.Join(run, " ") != "find" || strings.Join(mute, " ") != "broken" {
		t.Errorf("triggers that run: %v, that do not: %v", run, mute)
	}
}

// Writing through the second row of one's own table, and everything that can go
// wrong while scopes move, must leave the transaction usable.
func TestMoveThatFails(t *testing.T) {
	path := newFile(t, `CREATE TABLE note (id INTEGER PRIMARY KEY, b INTEGER NOT NULL, u TEXT UNIQUE)`)
	rules := noteRules()
	rules.Tables[0].Scope = rule.Scope{Kind: "k", Column: "b"}
	s := open(t, path, rules)
	shell(t, path, `INSERT INTO note VALUES (1, 1, 'a'), (2, 2, 'b')`)
	set := func(id int64, cols []string, vals ...change.Value) error {
		return s.Update(context.Background(), func(tx hub.Tx) error {
			return tx.Savepoint(func() error {
				return tx.Write(hub.Effect{Table: "note", Kind: change.Update, Key: change.Key{change.Int(id)}, Columns: cols, Values: vals})
			})
		})
	}
	var ce *hub.ConstraintError
	if err := set(1, []string{"b", "u"}, change.Int(2), change.Text("b")); !errors.As(err, &ce) || ce.Kind != "unique" {
		t.Errorf("move onto a taken value: %v", err)
	}
	if err := set(1, []string{"b"}, change.Null); !errors.As(err, &ce) || ce.Kind != "not null" {
		t.Errorf("move to NULL: %v", err)
	}
	if err := set(9, []string{"b"}, change.Int(1)); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("move of nothing: %v", err)
	}
	if err := set(1, []string{"nope"}, change.Int(1)); err == nil || errors.As(err, &ce) && ce.Kind != "not null" {
		t.Errorf("unknown column: %v", err)
	}
	if err := set(1, []string{"u", "b"}, change.Text("c"), change.Int(1)); err != nil {
		t.Errorf("same scope: %v", err)
	}
}

// Thousands of entries in one transaction, with a savepoint that fails late.
func TestLongTransaction(t *testing.T) {
	s := open(t, newFile(t, noteDDL), noteRules())
	c := now(t, s)
	err := s.Update(context.Background(), func(tx hub.Tx) error {
		for i := range int64(3000) {
			fault := tx.Savepoint(func() error {
				err := tx.Write(hub.Effect{Table: "note", Kind: change.Insert, Key: change.Key{change.Int(i)}, Columns: []string{"id"}, Values: []change.Value{change.Int(i)}})
				if err == nil && i%1000 == 999 {
					return errors.Join(os.ErrInvalid, tx.Touch("note", change.Key{change.Int(i)}))
				}
				return err
			})
			if fault != nil && !errors.Is(fault, os.ErrInvalid) {
				return fault
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = s.View(context.Background(), func(v hub.View) error {
		return v.Delta(c, change.Incarnation{1}, []rule.ScopeID{"all"}, 1000, func(r *change.Rows) error { n += r.Len() + r.GoneLen(); return nil })
	})
	if err != nil || n != 2997 {
		t.Errorf("%d rows, %v", n, err)
	}
	if got := shell(t, s.cfg.Path, `SELECT count(*), count(DISTINCT nonce), max(pos) - min(pos) + 1 FROM _tidemark_log`); got != "2997|2997|2997" {
		t.Errorf("the log holds %s", got)
	}
}
