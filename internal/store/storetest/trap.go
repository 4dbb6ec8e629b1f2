package storetest

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func trapS1(t *testing.T, open Open) {
	b := begin(t, open, clinic(), append(append([]string{}, clinicDDL...),
		`CREATE UNIQUE INDEX folded ON patient (lower(name)) WHERE branch > 0`))
	b.other(`INSERT INTO patient VALUES ('p1', 7, 'Ann', 'n1'), ('p2', 7, 'Bob', 'n2'), ('p3', 8, 'Cid', 'n3')`)
	c := b.now()
	b.other(`INSERT OR REPLACE INTO patient VALUES ('p9', 8, 'Ira', 'n1')`)
	b.expect("by a UNIQUE column", b.changes(c, edgeB, branch(7)), "patient -'p1'")
	b.expect("is a deletion", b.history("patient", text("p1"), c, edgeB), "delete()other")
	c = b.now()
	b.other(`REPLACE INTO patient VALUES ('p8', 8, 'BOB', 'n8')`)
	b.expect("by an expression", b.changes(c, edgeB, branch(7)), "patient -'p2'")
	c = b.now()
	b.other(`UPDATE OR REPLACE patient SET note='n3' WHERE id='p8'`)
	b.expect("by an update", b.changes(c, edgeB, branch(8)), "patient 'p8'; patient -'p3'")
	c = b.now()
	// With foreign keys on, the engine itself refuses this one beside an index on an expression.
	b.other(`PRAGMA foreign_keys=OFF; UPDATE OR REPLACE patient SET id='p8' WHERE id='p9'`)
	b.expect("by a key", b.changes(c, edgeB, branch(8)), "patient 'p8'; patient -'p9'")
	c = b.now()
	b.other(`INSERT OR REPLACE INTO patient VALUES ('p8', 7, 'Kim', NULL)`)
	b.expect("moved by its own key", b.changes(c, edgeB, branch(8)), "patient -'p8'")
	c = b.now()
	b.other(`INSERT OR IGNORE INTO patient VALUES ('p8', 8, 'Lea', NULL)`)
	b.expect("ignored: sent once more at worst", b.changes(c, edgeB, branch(7)), "patient 'p8'")
	b.expect("and no deletion", b.history("patient", text("p8"), c, edgeB), "")
}

func trapS7(t *testing.T, open Open) {
	b := start(t, open)
	family(b)
	c := b.now()
	b.other(`DELETE FROM item`)
	b.expect("every row", b.changes(c, edgeB, branch(7, 8)), "item -1; item -2; item -3")
}

func trapS8(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, insert("product", "sku price", text("a"), change.Float(1)))
	c := b.now()
	b.other(`UPDATE product SET sku='b', price=2 WHERE sku='a'`)
	b.expect("both keys", b.changes(c, edgeB, all), "product 'b'; product -'a'")
	b.expect("the old one is deleted", b.history("product", text("a"), c, edgeB), "delete()other")
	b.expect("the new one inserted", b.history("product", text("b"), c, edgeB), "insert()other")
	b.view(func(v hub.View) error {
		ts, err := v.Tombstone("product", change.Key{text("a")})
		if err != nil || change.Key(ts.Row).String() != "'a',1.0" {
			t.Errorf("tombstone of the old key: %v, %v", ts, err)
		}
		return nil
	})
}

func trapS9(t *testing.T, open Open) {
	ddl := []string{
		`CREATE TABLE "my ""odd"" table" ("the key" TEXT, "select" INTEGER, "Wert" BLOB, PRIMARY KEY ("select", "the key")) WITHOUT ROWID`,
		`CREATE TABLE gen (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED, c TEXT AS (a || 'x') VIRTUAL, d TEXT)`,
		`CREATE TABLE nocase (id TEXT PRIMARY KEY COLLATE NOCASE, v TEXT) STRICT`,
		`CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE CASCADE, region TEXT)`,
		`CREATE TABLE three (a, b, c, d, e, PRIMARY KEY (a, b, c, d, e))`,
	}
	rules := &rule.Rules{}
	for _, n := range []string{`my "odd" table`, "gen", "nocase", "three"} {
		rules.Tables = append(rules.Tables, rulesAll(n))
	}
	rules.Tables = append(rules.Tables, rule.Table{Name: "tree", Scope: rule.Scope{Kind: "region", Column: "region"}})
	b := begin(t, open, rules, ddl)
	c := b.now()
	odd := hub.Effect{Table: `my "odd" table`, Kind: change.Insert, Key: change.Key{change.Int(1), text("k")},
		Columns: []string{"the key", "select", "Wert"}, Values: []change.Value{text("k"), change.Int(1), change.Blob([]byte("x"))}}
	five := change.Key{change.Int(1), change.Float(1.5), text("x"), change.Blob([]byte{0}), text("")}
	spelled, part := "aB", "1.5" // of the other spelling of a key that folds case, and of a key's decimals
	if b.dialect == PostgreSQL { // where keys must not fold, and decimals travel as text
		five[1], spelled, part = text("1.5"), "Ab", "'1.5'"
	}
	b.as(edgeA, odd, insert("gen", "id a d", change.Int(1), change.Int(4), text("d")), insert("nocase", "id v", text("Ab"), text("v")),
		insert("tree", "id up region", change.Int(1), change.Null, text("x")), insert("tree", "id up region", change.Int(2), change.Int(1), text("x")),
		hub.Effect{Table: "three", Kind: change.Insert, Key: five, Columns: []string{"a", "b", "c", "d", "e"}, Values: five})
	b.other(`INSERT INTO "my ""odd"" table" VALUES ('l', 2, NULL); UPDATE gen SET a=5; UPDATE nocase SET v='w' WHERE id='AB'`)
	b.expect("all shapes", b.changes(c, edgeB, []rule.ScopeID{"all", "region/x"}),
		`gen 1; my "odd" table 1,'k'; my "odd" table 2,'l'; nocase 'Ab'; three 1,`+part+`,'x',x'00',''; tree 1; tree 2`)
	b.expect("generated columns are left out", b.row("gen", change.Int(1)), "1,5,'d'")
	b.expect("the other spelling", b.history("nocase", text(spelled), c, edgeA), "update(v)other")
	b.as(edgeB, hub.Effect{Table: `my "odd" table`, Kind: change.Update, Key: odd.Key, Columns: []string{"Wert"}, Values: []change.Value{change.Null}})
	b.as(edgeB, hub.Effect{Table: `my "odd" table`, Kind: change.Delete, Key: odd.Key}, hub.Effect{Table: "three", Kind: change.Delete, Key: five})
	b.other(`DELETE FROM tree WHERE id=1`)
	b.expect("and gone", b.changes(c, edgeA, []rule.ScopeID{"all", "region/x"}),
		`gen 1; my "odd" table -1,'k'; my "odd" table 2,'l'; nocase 'Ab'; three -1,`+part+`,'x',x'00',''; tree -1; tree -2`)
	b.view(func(v hub.View) error {
		rows, next, err := v.Scan(`my "odd" table`, change.Key{change.Int(1), text("zz")}, all, 1000)
		if err != nil || rows.Len() != 1 || next != nil {
			t.Errorf("scan after a compound key: %v, %v, %v", rows, next, err)
		}
		ts, err := v.Tombstone("tree", change.Key{change.Int(1)})
		if err != nil || len(ts.Children) != 1 {
			t.Errorf("tombstone of a tree: %v, %v", ts, err)
		}
		return nil
	})
}

// trapS16: the outer statement's conflict policy reaches into triggers; the log
// must not collide with anything.
func trapS16(t *testing.T, open Open) {
	b := start(t, open)
	c := b.now()
	b.other(`INSERT OR IGNORE INTO patient VALUES ('p1', 7, 'a', 'n'); INSERT OR REPLACE INTO patient VALUES ('p2', 7, 'b', 'm');
		UPDATE OR IGNORE patient SET name='z'; UPDATE OR REPLACE patient SET name='y'; INSERT INTO patient VALUES ('p1', 7, 'x', 'n') ON CONFLICT (id) DO UPDATE SET name='up'`)
	b.expect("all of it", b.changes(c, edgeB, branch(7)), "patient 'p1'; patient 'p2'")
	b.expect("every change", b.history("patient", text("p1"), c, edgeB), "insert()other update(name)other update(name)other update(name)other")
}

func trapS17(t *testing.T, open Open) {
	rules := &rule.Rules{Tables: []rule.Table{rulesAll("word")}}
	b := begin(t, open, rules, []string{`CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT COLLATE NOCASE)`})
	b.other(`INSERT INTO word VALUES (1, 'a')`)
	c := b.now()
	b.other(`UPDATE word SET w='A'`)
	b.expect("a change of case is a change", b.history("word", change.Int(1), c, edgeA), "update(w)other")
}

// trapS18: another program adds a column while the hub runs.
func trapS18(t *testing.T, open Open) {
	b := start(t, open)
	family(b)
	c := b.now()
	b.other(`ALTER TABLE patient ADD COLUMN phone TEXT; UPDATE patient SET phone='1' WHERE id='p1'`)
	b.expect("seen at once", b.changes(c, edgeB, branch(7)), "patient 'p1'")
	b.expect("as a change of any column", b.history("patient", text("p1"), c, edgeA), "update()other")
	schema := b.s.Schema()
	if schema.Table("patient").Column("phone") < 0 {
		t.Error("the schema lacks the new column")
	}
	changed, err := b.s.Refresh(context.Background(), clinic())
	if err != nil || !changed {
		t.Errorf("refresh says %v, %v", changed, err)
	}
	if changed, err := b.s.Refresh(context.Background(), clinic()); err != nil || changed {
		t.Errorf("a second refresh says %v, %v", changed, err)
	}
	c = b.now()
	b.other(`UPDATE patient SET phone='2' WHERE id='p1'`)
	b.expect("from then on by name", b.history("patient", text("p1"), c, edgeA), "update(phone)other")
	b.as(edgeA, update("patient", text("p1"), "phone", text("3")))
	b.expect("and written", b.row("patient", text("p1")), "'p1',7,'Ann',NULL,'3'")
}

// refresh: rules change while the hub runs.
func refresh(t *testing.T, open Open) {
	b := start(t, open)
	b.other(`CREATE TABLE extra (id INTEGER PRIMARY KEY, v); INSERT INTO extra VALUES (1, 'old')`)
	family(b)
	c := b.now()
	rules := clinic()
	rules.Tables = append(rules.Tables, rulesAll("extra"))
	if changed, err := b.s.Refresh(context.Background(), rules); err != nil || !changed {
		t.Fatalf("refresh says %v, %v", changed, err)
	}
	b.other(`INSERT INTO extra VALUES (2, 'new')`)
	b.expect("a table joins with its rows", b.changes(c, edgeB, all), "extra 1; extra 2")
	if changed, err := b.s.Refresh(context.Background(), clinic()); err != nil || !changed {
		t.Fatalf("refresh says %v, %v", changed, err)
	}
	b.other(`INSERT INTO extra VALUES (3, 'unseen')`)
	if err := b.check(c); err != nil {
		t.Errorf("leaving a table out: %v", err)
	}
	moved := clinic()
	moved.Tables[0].Scope = rule.Scope{All: true}
	if changed, err := b.s.Refresh(context.Background(), moved); err != nil || !changed {
		t.Fatalf("refresh says %v, %v", changed, err)
	}
	if err := b.check(c); err == nil {
		t.Error("another scope rule, and the old cursor still holds")
	}
	c = b.now()
	b.other(`UPDATE visit SET reason='x' WHERE id='v2'`)
	b.expect("the new rule", b.changes(c, edgeB, all), "visit 'v2'")
	for i, bad := range []rule.Table{
		{Name: "nowhere", Scope: rule.Scope{All: true}},
		{Name: "extra", Scope: rule.Scope{Kind: "k", Column: "nothing"}},
		{Name: "extra", Scope: rule.Scope{Via: "v"}},
		{Name: "extra"},
	} {
		rules := clinic()
		rules.Tables = append(rules.Tables, bad)
		if _, err := b.s.Refresh(context.Background(), rules); err == nil {
			t.Errorf("bad rule %d was taken", i)
		}
	}
	b.expect("a refused rule changes nothing", b.changes(c, edgeB, all), "visit 'v2'")
}
