package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// chinookIn reads the sample database in one of its forms: the file that a variable
// names, or name beside the checkout.
func chinookIn(t *testing.T, variable, name string) []byte {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "..", "shared", "data", name)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the Chinook sample database is absent: set %s to it (%v)", variable, err)
		}
		t.Skipf("the Chinook sample database is absent: set %s to it (%v)", variable, err)
	}
	return b
}

// chinook is the sample database as a file.
func chinook(t *testing.T) string {
	t.Helper()
	b := chinookIn(t, "TIDEMARK_CHINOOK", "Chinook_Sqlite.sqlite")
	file := filepath.Join(t.TempDir(), "chinook.db")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A database nobody here wrote, as it is: proposed, imported, at three sites, edited on
// all sides with plain SQL while offline.
func TestChinook(t *testing.T) {
	need(t, "sqlite3", "python3")
	tn := newTown(t, chinook(t), "", "")
	for _, name := range []string{"berlin", "oslo", "lima"} {
		tn.join(t, name, "all")
	}
	all := tables(t, tn.db())
	if len(all) != 11 {
		t.Fatalf("tables %v", all)
	}
	tn.sameRows(t, all...)

	berlin, oslo, lima := tn.files[0], tn.files[1], tn.files[2]
	shell(t, berlin, `
		UPDATE Customer SET Phone='+49 30 1', Fax='b' WHERE CustomerId=2;
		INSERT INTO Artist VALUES (9001, 'Die Ärzte''s "Band"');
		INSERT INTO Album VALUES (9001, 'Debil', 9001);
		UPDATE Track SET UnitPrice=UnitPrice+0.1 WHERE GenreId=1;
		DELETE FROM PlaylistTrack WHERE PlaylistId=1 AND TrackId < 50;`)
	python(t, `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1]); db.execute("PRAGMA foreign_keys=ON")
db.execute("UPDATE Customer SET Phone=?, City=? WHERE CustomerId=2", ("+47 1", "Oslo"))
db.execute("INSERT INTO Invoice VALUES (9002, 2, '2026-03-01 00:00:00', NULL, NULL, NULL, NULL, NULL, 1.99)")
db.executemany("INSERT INTO InvoiceLine VALUES (?, 9002, ?, 0.99, 1)", [(9100+i, i+1) for i in range(20)])
db.execute("INSERT OR REPLACE INTO Genre VALUES (25, 'Opera!')")
db.commit()
`, oslo)
	shell(t, lima, `DELETE FROM PlaylistTrack WHERE PlaylistId=1 AND TrackId BETWEEN 40 AND 90; UPDATE Employee SET Title='CEO' WHERE EmployeeId=1;`)
	shell(t, tn.db(), `UPDATE Customer SET Email='hub@example.org' WHERE CustomerId=2; INSERT INTO MediaType VALUES (77, 'Vinyl');`)
	tn.settle(t)
	tn.sameRows(t, all...)

	row := shell(t, tn.db(), `SELECT City, Fax, Email FROM Customer WHERE CustomerId=2`)
	if row != "Oslo|b|hub@example.org" {
		t.Errorf("edits of different columns of one row did not all survive: %s", row)
	}
	phone := shell(t, tn.db(), `SELECT Phone FROM Customer WHERE CustomerId=2`)
	if phone != "+49 30 1" && phone != "+47 1" {
		t.Errorf("phone is %q", phone)
	}
	receipts := must(t, "conflicts", "list", "--data", tn.data)
	if !strings.Contains(receipts, "Phone") {
		t.Errorf("no receipt for the lost phone number:\n%s", receipts)
	}
	for _, sql := range []string{
		`SELECT count(*)=20 FROM InvoiceLine WHERE InvoiceId=9002`,
		`SELECT Name='Opera!' FROM Genre WHERE GenreId=25`,
		`SELECT count(*)=0 FROM PlaylistTrack WHERE PlaylistId=1 AND TrackId<=90`,
		`SELECT count(*)=1 FROM Album WHERE AlbumId=9001`,
	} {
		if shell(t, tn.db(), sql) != "1" {
			t.Errorf("at the hub: not so: %s", sql)
		}
	}
	for _, f := range tn.files {
		must(t, "verify", f)
		must(t, "detach", f)
		if left := shell(t, f, `SELECT name FROM sqlite_schema WHERE name LIKE '%tidemark%' OR sql LIKE '%tidemark%'`); left != "" {
			t.Errorf("detach left %s", left)
		}
	}
}

// oddDDL is what real schemas look like when nobody tidies them.
const oddDDL = `PRAGMA journal_mode=WAL;
CREATE TABLE "Order Details" ("Order ID" TEXT NOT NULL, "Line No" INTEGER NOT NULL, "select" TEXT, "From" REAL, qty INTEGER,
	total REAL GENERATED ALWAYS AS (qty * "From") STORED, PRIMARY KEY ("Order ID", "Line No"));
CREATE TABLE [Group] ([Key] TEXT PRIMARY KEY, [Value] BLOB) WITHOUT ROWID;
CREATE TABLE "MixedCase" (Id TEXT PRIMARY KEY COLLATE NOCASE, Email TEXT UNIQUE COLLATE NOCASE, "tëxt 'q' ""dq""" TEXT);
CREATE TABLE strict_one (id TEXT PRIMARY KEY, n INTEGER, r REAL, b BLOB, a ANY) STRICT;
CREATE TABLE doc (id TEXT PRIMARY KEY, body TEXT);
CREATE VIRTUAL TABLE doc_fts USING fts5(body);
CREATE TRIGGER doc_ai AFTER INSERT ON doc BEGIN INSERT INTO doc_fts(rowid, body) VALUES (new.rowid, new.body); END;
CREATE TRIGGER doc_ad AFTER DELETE ON doc BEGIN DELETE FROM doc_fts WHERE rowid=old.rowid; END;
CREATE TABLE stock (id TEXT PRIMARY KEY, qty INTEGER NOT NULL);
CREATE TABLE sold (id TEXT PRIMARY KEY, stock_id TEXT NOT NULL REFERENCES stock(id), qty INTEGER NOT NULL);
CREATE TRIGGER sold_ai AFTER INSERT ON sold BEGIN UPDATE stock SET qty = qty - new.qty WHERE id = new.stock_id; END;
CREATE VIEW low AS SELECT id FROM stock WHERE qty < 5;
CREATE TABLE nokey (x TEXT);
INSERT INTO stock VALUES ('s', 100);
INSERT INTO "Order Details" ("Order ID","Line No","select","From",qty) VALUES ('o1', 1, 'x', 1.5, 2);
INSERT INTO doc VALUES ('d0', 'hello world');`

const oddRules = `
tables:
  "Order Details": {scope: all}
  Group: {scope: all}
  MixedCase: {scope: all}
  strict_one: {scope: all}
  doc: {scope: all}
  stock:
    scope: all
    columns:
      qty: {policy: counter}
  sold: {scope: all}
`

func TestOddSchemas(t *testing.T) {
	need(t, "sqlite3")
	source := filepath.Join(t.TempDir(), "odd.db")
	shell(t, source, oddDDL)
	report := must(t, "init", source, "-o", filepath.Join(t.TempDir(), "proposed.yaml"))
	for _, want := range []string{"nokey", "doc_fts", "low", "sold_ai"} {
		if !strings.Contains(report, want) {
			t.Errorf("init does not mention %s:\n%s", want, report)
		}
	}
	tn := newTown(t, source, oddRules, "")
	a, b := tn.join(t, "a", "all"), tn.join(t, "b", "all")
	synced := []string{"Order Details", "Group", "MixedCase", "strict_one", "doc", "stock", "sold"}
	tn.sameRows(t, synced...)

	shell(t, a, `
		UPDATE "Order Details" SET "select"='it''s', "From"=0.1+0.2 WHERE "Order ID"='o1';
		INSERT INTO "Order Details" ("Order ID","Line No","select","From",qty) VALUES ('o 2', -9223372036854775808, NULL, -0.0, 3);
		INSERT INTO [Group] VALUES ('k', x'00ff00'), ('', x''), ('nul', CAST('a' || char(0) || 'b' AS TEXT));
		INSERT INTO MixedCase VALUES ('Id-1', 'A@x', 'q');
		INSERT INTO strict_one VALUES ('1', 9007199254740993, 1e308, x'01', 'any'), ('2', NULL, NULL, NULL, 2.5);
		INSERT INTO doc VALUES ('d1', 'from a'); DELETE FROM doc WHERE id='d0';
		INSERT INTO sold VALUES ('x1', 's', 3);`)
	shell(t, b, `
		UPDATE MixedCase SET Email='b@x';
		INSERT INTO MixedCase VALUES ('id-2', 'B@y', NULL);
		INSERT INTO sold VALUES ('x2', 's', 4);
		INSERT INTO doc VALUES ('d2', 'from b');`)
	tn.settle(t)
	shell(t, b, `UPDATE MixedCase SET Email='a@X' WHERE Id='ID-1'; UPDATE MixedCase SET Id='ID-1' WHERE Id='Id-1';`) // only the case changes (trap S17)
	tn.settle(t)
	tn.sameRows(t, synced...)
	if got := shell(t, tn.db(), `SELECT Id, Email FROM MixedCase WHERE Id='id-1'`); got != "ID-1|a@X" {
		t.Errorf("the change of case did not arrive: %s", got)
	}
	// Trap S23: the application's trigger ran where the sale was made, and nowhere else.
	if got := shell(t, tn.db(), `SELECT qty FROM stock`); got != "93" {
		t.Errorf("stock is %s after selling 3 and 4 of 100", got)
	}
	// … while the one that keeps the local full-text index runs everywhere.
	for _, f := range []string{a, b} {
		if got := shell(t, f, `SELECT count(*) FROM doc_fts WHERE doc_fts MATCH 'from'`); got != "2" {
			t.Errorf("%s: full-text index finds %s of 2", filepath.Base(f), got)
		}
	}
}
