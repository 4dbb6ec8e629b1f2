package proposal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const clinics = `
CREATE TABLE branch (id TEXT PRIMARY KEY NOT NULL, name TEXT);
CREATE TABLE patient (id TEXT PRIMARY KEY NOT NULL, branch_id TEXT NOT NULL REFERENCES branch, card TEXT, UNIQUE (card), UNIQUE (branch_id, card));
CREATE TABLE visit (id TEXT PRIMARY KEY NOT NULL, patient_id TEXT NOT NULL REFERENCES patient ON DELETE CASCADE, doctor_id TEXT REFERENCES doctor);
CREATE TABLE finding (visit_id TEXT NOT NULL REFERENCES visit, no INTEGER, text TEXT, PRIMARY KEY (visit_id, no)) WITHOUT ROWID;
CREATE TABLE doctor (id TEXT PRIMARY KEY NOT NULL, branch_id TEXT REFERENCES branch);
CREATE TABLE drug (id TEXT PRIMARY KEY NOT NULL, name TEXT COLLATE NOCASE UNIQUE);
CREATE TABLE stock (drug_id TEXT NOT NULL REFERENCES drug, branch_id TEXT NOT NULL REFERENCES branch, quantity INTEGER, PRIMARY KEY (drug_id, branch_id));
CREATE TABLE transfer (id INTEGER PRIMARY KEY AUTOINCREMENT, from_branch_id TEXT, to_branch_id TEXT, amount DECIMAL(10,2));
INSERT INTO branch VALUES ('n','North'),('s','South');
INSERT INTO patient VALUES ('p1','n','1'),('p2','s','2');
INSERT INTO doctor VALUES ('d1','n'),('d2','s'),('d3','s'),('d4','s'),('d5','s'),('d6','s'),('d7','s'),('d8','s'),('d9','s'),('d10',NULL);
INSERT INTO visit VALUES ('v1','p1','d1'),('v2','p2','d1');
`

func ruleOf(t *testing.T, p *Proposal, name string) rule.Table {
	t.Helper()
	rules := p.Rules()
	r := rules.Table(name)
	if r == nil {
		t.Fatalf("%s is not proposed; refused: %v", name, p.Refused)
	}
	return *r
}

func TestScopesFollowTheSite(t *testing.T) {
	p := propose(t, clinics)
	for name, want := range map[string]rule.Table{
		"branch":   {Scope: rule.Scope{All: true}, Reference: true},
		"patient":  {Scope: rule.Scope{Kind: "branch", Column: "branch_id"}},
		"visit":    {Scope: rule.Scope{Via: "patient_id"}},
		"finding":  {Scope: rule.Scope{Via: "visit_id"}},
		"doctor":   {Scope: rule.Scope{All: true}, Reference: true}, // v2 in the south was d1's, of the north
		"drug":     {Scope: rule.Scope{All: true}},
		"stock":    {Scope: rule.Scope{Kind: "branch", Column: "branch_id"}},
		"transfer": {Scope: rule.Scope{Kind: "branch", Column: "from_branch_id"}, Keys: rule.KeysAppAssigned},
	} {
		got := ruleOf(t, p, name)
		if got.Scope != want.Scope || got.Reference != want.Reference || got.Keys != want.Keys {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	golden(t, "testdata/clinics.yaml", p.YAML())
	golden(t, "testdata/clinics.txt", p.Report())
}

func TestParentsComeFirst(t *testing.T) {
	p := propose(t, clinics)
	seen := map[string]bool{}
	for _, tb := range p.Tables {
		for _, parent := range tb.Parents {
			if !seen[parent] && parent != tb.Rule.Name {
				t.Errorf("%s stands before its parent %s", tb.Rule.Name, parent)
			}
		}
		seen[tb.Rule.Name] = true
	}
}

func TestRefusals(t *testing.T) {
	p := propose(t, `
CREATE TABLE nokey (a, b);
CREATE TABLE unique_only (code TEXT UNIQUE, b);
CREATE TABLE expr_only (code TEXT); CREATE UNIQUE INDEX e ON expr_only (lower(code));
CREATE TABLE nulls (id TEXT PRIMARY KEY, b); INSERT INTO nulls VALUES (NULL, 1), (NULL, 2), ('x', 3);
CREATE TABLE one_null (a BLOB, b INT, PRIMARY KEY (a, b)); INSERT INTO one_null VALUES (x'00', NULL);
CREATE TABLE child (id TEXT PRIMARY KEY NOT NULL, p TEXT REFERENCES nulls);
CREATE TABLE grandchild (id TEXT PRIMARY KEY NOT NULL, c TEXT REFERENCES child);
CREATE TABLE dangling (id TEXT PRIMARY KEY NOT NULL, c TEXT REFERENCES nowhere);
CREATE VIEW v AS SELECT * FROM nokey;
CREATE VIRTUAL TABLE search USING fts5(body);
CREATE TABLE good (id TEXT PRIMARY KEY);
`)
	if len(p.Tables) != 1 || p.Tables[0].Rule.Name != "good" {
		t.Errorf("can sync: %+v", p.Tables)
	}
	got := map[string]Refusal{}
	for _, r := range p.Refused {
		got[r.Name] = r
		if r.Fix == "" {
			t.Errorf("%s: no fix", r.Name)
		}
	}
	for name, want := range map[string][2]string{
		"nokey":       {"no primary key", "id TEXT PRIMARY KEY NOT NULL DEFAULT"},
		"unique_only": {"no primary key", `PRIMARY KEY ("code")`},
		"expr_only":   {"no primary key", "id TEXT PRIMARY KEY NOT NULL DEFAULT"},
		"nulls":       {"2 of its rows have NULL in the primary key", `UPDATE "nulls" SET "id" = lower(hex(randomblob(16))) WHERE "id" IS NULL;`},
		"one_null":    {"one of its rows", "give those rows a key"},
		"child":       {"its rows point at nulls, which cannot sync", "fix nulls first"},
		"grandchild":  {"its rows point at child, which cannot sync", "fix child first"},
		"dangling":    {"nowhere, which is no table of this file", "create nowhere"},
		"v":           {"no rows of its own", "nothing to do"},
		"search":      {"virtual table", "triggers keep it up to date"},
		"search_data": {"belongs to a virtual table", "nothing to do"},
	} {
		r := got[name]
		if !strings.Contains(r.Reason, want[0]) || !strings.Contains(r.Fix, want[1]) {
			t.Errorf("%s: got %+v, want %q", name, r, want)
		}
	}
	if s := p.Report(); !strings.Contains(s, "Cannot sync as they are:\n") || !strings.Contains(s, "1 table can sync") {
		t.Errorf("report:\n%s", s)
	}
}

func TestTrapS23_TriggersAreClassified(t *testing.T) {
	p := propose(t, `
CREATE TABLE sale (id TEXT PRIMARY KEY NOT NULL, item TEXT, qty INT);
CREATE TABLE "odd ""item" (id TEXT PRIMARY KEY NOT NULL, stock INT);
CREATE VIRTUAL TABLE search USING fts5(body);
CREATE TABLE log (at TEXT UNIQUE, what TEXT);
CREATE TABLE "set" (id TEXT PRIMARY KEY NOT NULL);
CREATE TRIGGER upsert AFTER INSERT ON sale BEGIN INSERT INTO log VALUES (1, 2) ON CONFLICT DO UPDATE SET what = 3; END;
CREATE TRIGGER sell AFTER INSERT ON sale BEGIN UPDATE "odd ""item" SET stock = stock - new.qty WHERE id = new.item; END;
CREATE TRIGGER sell_or AFTER INSERT ON sale BEGIN SELECT 1; UPDATE OR IGNORE sale SET qty = 1; END;
CREATE TRIGGER find AFTER INSERT ON sale BEGIN INSERT INTO search VALUES (new.item); /* UPDATE sale */ END;
CREATE TRIGGER note AFTER UPDATE ON sale BEGIN INSERT INTO log VALUES ('DELETE FROM sale', 'x') -- UPDATE sale
  ; END;
CREATE TRIGGER ups AFTER UPDATE ON sale BEGIN REPLACE INTO [sale] SELECT * FROM log; END;
CREATE TRIGGER del AFTER DELETE ON sale BEGIN DELETE FROM `+"`sale`"+` WHERE 0; END;
CREATE TRIGGER deny BEFORE UPDATE OF qty ON sale WHEN new.qty < 0 BEGIN SELECT RAISE(ABORT, 'no'); END;
CREATE TRIGGER _tidemark_x AFTER INSERT ON sale BEGIN DELETE FROM sale; END;
`)
	want := map[string]string{
		"sell": `it writes odd "item`, "sell_or": "it writes sale", "find": "", "note": "", "upsert": "",
		"ups": "it writes sale", "del": "it writes sale", "deny": "it can refuse",
	}
	for _, tr := range p.Triggers {
		why, ok := want[tr.Name]
		if !ok || tr.Guarded != (why != "") || !strings.Contains(tr.Why, why) || tr.Table != "sale" {
			t.Errorf("%+v, want %q", tr, why)
		}
		delete(want, tr.Name)
	}
	if len(want) != 0 {
		t.Errorf("not listed: %v", want)
	}
	if s := p.Report(); !strings.Contains(s, "sell on sale: it writes odd \"item, so it will not run while") || !strings.Contains(s, "find on sale: it writes no synced table, so it goes on") {
		t.Errorf("report:\n%s", s)
	}
}

func TestOddNamesReadBack(t *testing.T) {
	p := propose(t, `
CREATE TABLE "order" ("select" TEXT PRIMARY KEY NOT NULL, "unit price" REAL, "Branch ID" TEXT);
CREATE TABLE "a.b: c # d" (id TEXT PRIMARY KEY NOT NULL, "branch_id" TEXT);
CREATE TABLE "null" (id TEXT PRIMARY KEY NOT NULL, p TEXT NOT NULL REFERENCES "a.b: c # d") STRICT;
CREATE TABLE "12" (id TEXT PRIMARY KEY NOT NULL, "site_{x}_id" TEXT);
CREATE TABLE "größe
zwei" (id TEXT PRIMARY KEY NOT NULL, "" TEXT);
CREATE TABLE gen (id TEXT PRIMARY KEY NOT NULL, a INT, b INT AS (a + 1), c INT AS (a) STORED, branch_id TEXT AS (id));
CREATE TABLE self (id TEXT PRIMARY KEY NOT NULL, up TEXT REFERENCES self, branch_id TEXT);
CREATE TABLE x (id TEXT PRIMARY KEY NOT NULL, y TEXT REFERENCES y);
CREATE TABLE y (id TEXT PRIMARY KEY NOT NULL, x TEXT REFERENCES x);
`)
	if len(p.Tables) != 9 {
		t.Errorf("%d tables; refused %v", len(p.Tables), p.Refused)
	}
	if r := ruleOf(t, p, "null"); r.Scope.Via != "p" {
		t.Errorf("null: %+v", r)
	}
	if r := ruleOf(t, p, "gen"); !r.Scope.All {
		t.Errorf("a generated column is no scope: %+v", r)
	}
}

func TestNoteForSuspectRows(t *testing.T) {
	p := propose(t, `
CREATE TABLE p (a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE c (id TEXT PRIMARY KEY NOT NULL, a TEXT, b TEXT, FOREIGN KEY (a, b) REFERENCES p);
INSERT INTO c VALUES ('1', 'x', 'y'), ('2', 'x', 'z');
CREATE TABLE q (id TEXT PRIMARY KEY NOT NULL, n TEXT);
CREATE TABLE d (id TEXT PRIMARY KEY NOT NULL, n TEXT REFERENCES q(n));
`)
	text := p.Report()
	for _, want := range []string{
		"c: 2 rows point at no row", `PRAGMA foreign_key_check("c") lists them`,
		"d: its foreign keys cannot be checked",
		"every row goes to every device",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
}

func TestCrossingThroughParents(t *testing.T) {
	ddl := `
CREATE TABLE customer (id TEXT PRIMARY KEY NOT NULL, shop_id INT);
CREATE TABLE invoice (id TEXT PRIMARY KEY NOT NULL, customer_id TEXT NOT NULL REFERENCES customer);
CREATE TABLE line (id TEXT PRIMARY KEY NOT NULL, invoice_id TEXT NOT NULL REFERENCES invoice ON DELETE CASCADE, returned_on TEXT REFERENCES invoice);
INSERT INTO customer VALUES ('a', 1), ('b', 2);
INSERT INTO invoice VALUES ('ia', 'a'), ('ib', 'b');
`
	p := propose(t, ddl+`INSERT INTO line VALUES ('1', 'ia', 'ia'), ('2', 'ib', NULL);`)
	if r := ruleOf(t, p, "line"); r.Scope.Via != "invoice_id" || ruleOf(t, p, "invoice").Reference {
		t.Errorf("nothing crosses: %+v", r)
	}
	p = propose(t, ddl+`INSERT INTO line VALUES ('1', 'ia', 'ib');`)
	if r := ruleOf(t, p, "invoice"); !r.Reference {
		t.Errorf("line 1 was returned on another shop's invoice: %+v", r)
	}
}

func TestEmptyFile(t *testing.T) {
	p := propose(t, "")
	if len(p.Tables) != 0 || !strings.Contains(p.YAML(), "tables: {}") || !strings.Contains(p.Report(), "0 tables can sync") {
		t.Errorf("%s", p.YAML())
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(propose(t, clinics))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Tables []struct {
			Rule rule.Table
			Rows int
		}
		Candidates []struct{ Kind string }
	}
	if err := json.Unmarshal(b, &back); err != nil || len(back.Tables) != 8 || back.Tables[0].Rule.Name == "" || len(back.Candidates) == 0 {
		t.Errorf("%s, %v", b, err)
	}
}

func TestFileThatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database ", 300)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return // noticed even earlier
	}
	defer func() { _ = c.Close() }()
	if _, err := Read(c); err == nil || !strings.Contains(err.Error(), "read the file for a proposal") {
		t.Errorf("got %v", err)
	}
}

// Reading changes nothing: not a byte of the file.
func TestReadOnlyLooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := sqlite.Script(c, clinics); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(c)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file changed, %v", err)
	}
	if len(p.Notes) == 0 || !strings.Contains(p.Notes[0].Fix, "journal_mode=WAL") {
		t.Errorf("want WAL recommended (trap S22): %v", p.Notes)
	}
}
