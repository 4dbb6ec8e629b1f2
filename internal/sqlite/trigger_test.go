package sqlite

import (
	"path/filepath"
	"testing"
)

func TestMutedConnectionRunsOnlyItsOwnTriggers(t *testing.T) {
	c, err := Open(filepath.Join(t.TempDir(), "a.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := Script(c, `CREATE TABLE a (x); CREATE TABLE log (what);
		CREATE TRIGGER filed AFTER INSERT ON a BEGIN INSERT INTO log VALUES ('filed'); END;`); err != nil {
		t.Fatal(err)
	}
	if err := MuteTriggers(c); err != nil {
		t.Fatal(err)
	}
	if err := Script(c, `CREATE TEMP TRIGGER own AFTER INSERT ON a BEGIN INSERT INTO log VALUES ('own ' || NEW.x); END;`); err != nil {
		t.Fatal(err)
	}
	got := ""
	err = Query(c, `INSERT INTO a VALUES (7) RETURNING x + 1`, func(s *Stmt) error { got = s.ColumnText(0); return nil })
	if err != nil || got != "8" {
		t.Fatalf("returning gave %q, %v", got, err)
	}
	var log []string
	if err := Query(c, `SELECT what FROM log`, func(s *Stmt) error { log = append(log, s.ColumnText(0)); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(log) != 1 || log[0] != "own 7" {
		t.Fatalf("triggers that ran: %v", log)
	}
}
