package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Chinook's tables are altered with the plain shell, behind the agents' backs, and
// written to in between: nothing is lost, a file on the old schema goes on, and in the
// end everybody agrees.
func TestTrapS18_ChinookAltered(t *testing.T) {
	need(t, "sqlite3")
	tn := newTown(t, chinook(t), "", "")
	modern, old := tn.join(t, "new", "all"), tn.join(t, "old", "all")
	for i := range tn.files {
		tn.startAgent(t, i)
	}
	reaches := func(file, sql, want string) {
		t.Helper()
		got := ""
		eventually(t, 40*time.Second, sql+" gives "+want, func() bool {
			got, _ = tryShell(file, sql)
			return got == want
		})
	}
	both := func(sql, want string) {
		t.Helper()
		reaches(tn.db(), sql, want)
		reaches(old, sql, want)
	}

	// ADD COLUMN: at the file first, then at the hub. Its values come up then.
	shell(t, modern, `ALTER TABLE Customer ADD COLUMN Loyalty TEXT; UPDATE Customer SET Loyalty='gold', City='Ulm' WHERE CustomerId=2`)
	both(`SELECT City FROM Customer WHERE CustomerId=2`, "Ulm")
	shell(t, tn.db(), `ALTER TABLE Customer ADD COLUMN Loyalty TEXT; UPDATE Customer SET Loyalty='hub' WHERE CustomerId=3`)
	reaches(tn.db(), `SELECT Loyalty FROM Customer WHERE CustomerId=2`, "gold")
	reaches(modern, `SELECT Loyalty FROM Customer WHERE CustomerId=3`, "hub")

	// RENAME COLUMN, and of a table: capture goes along.
	shell(t, modern, `ALTER TABLE Customer RENAME COLUMN Fax TO Telefax; UPDATE Customer SET Telefax='f1' WHERE CustomerId=2;
		ALTER TABLE MediaType RENAME TO Medium; INSERT INTO Medium VALUES (88, 'Wax')`)
	both(`SELECT Fax FROM Customer WHERE CustomerId=2`, "f1")
	both(`SELECT Name FROM MediaType WHERE MediaTypeId=88`, "Wax")
	shell(t, old, `UPDATE Customer SET Fax='f2' WHERE CustomerId=4; UPDATE MediaType SET Name='WAX' WHERE MediaTypeId=88`)
	reaches(modern, `SELECT Telefax FROM Customer WHERE CustomerId=4`, "f2")
	reaches(modern, `SELECT Name FROM Medium WHERE MediaTypeId=88`, "WAX")

	// DROP COLUMN: the shell refuses, for our triggers name it; migrate does it.
	if out, err := tryShell(modern, `ALTER TABLE Customer DROP COLUMN State`); err == nil || !strings.Contains(out, "_tidemark_") {
		t.Errorf("the shell dropped a captured column: %s", out)
	}
	script := filepath.Join(tn.dir, "up.sql")
	if err := os.WriteFile(script, []byte("ALTER TABLE Customer DROP COLUMN State;\nUPDATE Customer SET City=upper(City) WHERE CustomerId=2;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "migrate", modern, script, "--dry-run"); !strings.Contains(out, "dropped State, 1 row changed") {
		t.Errorf("dry run: %s", out)
	}
	must(t, "migrate", modern, script)
	both(`SELECT City FROM Customer WHERE CustomerId=2`, "ULM")
	shell(t, old, `UPDATE Customer SET State='BW', Phone='1' WHERE CustomerId=2`)
	reaches(modern, `SELECT Phone FROM Customer WHERE CustomerId=2`, "1")
	// With this pragma the shell can, and the agent puts capture right.
	shell(t, modern, `PRAGMA legacy_alter_table=ON; ALTER TABLE Customer DROP COLUMN Company`)
	eventually(t, 20*time.Second, "capture without the column", func() bool {
		_, err := tryShell(modern, `UPDATE Customer SET Phone='2' WHERE CustomerId=2`)
		return err == nil
	})
	both(`SELECT Phone FROM Customer WHERE CustomerId=2`, "2")

	// A rebuild, as SQLite's manual says, and writes that no trigger saw.
	shell(t, modern, `PRAGMA foreign_keys=OFF; BEGIN;
		CREATE TABLE NewGenre (GenreId INTEGER NOT NULL PRIMARY KEY, Name TEXT, Colour TEXT DEFAULT 'none');
		INSERT INTO NewGenre (GenreId, Name) SELECT GenreId, Name FROM Genre; DROP TABLE Genre; ALTER TABLE NewGenre RENAME TO Genre; COMMIT;
		UPDATE Genre SET Name='unseen' WHERE GenreId=1; INSERT INTO Genre VALUES (900, 'born unseen', 'red')`)
	both(`SELECT Name FROM Genre WHERE GenreId=1`, "unseen")
	both(`SELECT Name FROM Genre WHERE GenreId=900`, "born unseen")
	shell(t, old, `UPDATE Genre SET Name='Rock again' WHERE GenreId=1`)
	reaches(modern, `SELECT Name FROM Genre WHERE GenreId=1`, "Rock again")

	for _, p := range tn.agents {
		p.stop(t)
	}
	tn.settle(t)
	for _, f := range tn.files {
		must(t, "verify", f)
		if s := edgeStatus(t, f); s.OutboxDepth+s.Quarantined != 0 {
			t.Errorf("%s: %+v", f, s)
		}
	}
	if s := must(t, "schema", "status", "--data", tn.data); !strings.Contains(s, "lacks Customer.State") {
		t.Errorf("the hub does not see who runs what:\n%s", s)
	}
}
