package sqlite_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func TestTableNamesSortsOutWhatIsNotATable(t *testing.T) {
	c := open(t, `
		CREATE TABLE b (x INTEGER PRIMARY KEY AUTOINCREMENT);
		CREATE TABLE "A b" (x);
		CREATE TABLE _tidemark_meta (x);
		CREATE VIEW v AS SELECT 1;
		CREATE VIRTUAL TABLE f USING fts5(body);`)
	tables, special, err := sqlite.TableNames(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A b", "b"}; !slices.Equal(tables, want) {
		t.Errorf("tables %q, want %q", tables, want)
	}
	if special["v"] != "view" || special["f"] != "virtual" || special["f_data"] != "shadow" {
		t.Errorf("special %v", special)
	}
}

func TestDescribe(t *testing.T) {
	c := open(t, `
		CREATE TABLE parent (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID;
		CREATE TABLE child (
			id TEXT PRIMARY KEY COLLATE NOCASE, "select" REAL NOT NULL DEFAULT (1 + 1),
			pb INTEGER, pa TEXT, g INTEGER GENERATED ALWAYS AS (pb * 2) STORED, h TEXT AS (pa) VIRTUAL,
			email TEXT UNIQUE COLLATE NOCASE,
			FOREIGN KEY (pb, pa) REFERENCES parent ON DELETE CASCADE,
			FOREIGN KEY (pa) REFERENCES other (name)
		) STRICT;
		CREATE UNIQUE INDEX part ON child (pa) WHERE pb > 0 AND pa <> ' where ';
		CREATE UNIQUE INDEX expr ON child (lower(email));
		CREATE TABLE keyless (x);`)
	s, err := sqlite.Describe(c, []string{"parent", "CHILD", "keyless", "absent"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Tables) != 3 {
		t.Fatalf("%d tables", len(s.Tables))
	}
	p, ch, k := s.Table("parent"), s.Table("Child"), s.Table("keyless")
	if !p.WithoutRowid || !slices.Equal(p.KeyNames(), []string{"b", "a"}) {
		t.Errorf("parent %+v", p)
	}
	if len(k.Key) != 0 {
		t.Errorf("keyless has key %v", k.Key)
	}
	if !ch.Strict || ch.Name != "child" || !slices.Equal(ch.StoredNames(), []string{"id", "select", "pb", "pa", "email"}) {
		t.Errorf("child %+v", ch)
	}
	if col := ch.Columns[0]; col.Collation != "NOCASE" {
		t.Errorf("key collation %q", col.Collation)
	}
	if col := ch.Columns[ch.Column("select")]; !col.NotNull || col.Default != "1 + 1" || col.Type != "REAL" {
		t.Errorf("select %+v", col)
	}
	fk := map[string]any{}
	for _, f := range ch.ForeignKeys {
		fk[f.Parent] = []any{f.Columns, f.To, f.OnDelete}
	}
	if want := []any{[]int{2, 3}, []string{"b", "a"}, "CASCADE"}; !reflect.DeepEqual(fk["parent"], want) {
		t.Errorf("fk to parent %v, want %v", fk["parent"], want)
	}
	if want := []any{[]int{3}, []string{"name"}, "NO ACTION"}; !reflect.DeepEqual(fk["other"], want) {
		t.Errorf("fk to other %v, want %v", fk["other"], want)
	}
	uq := map[string]any{}
	for _, u := range ch.Unique {
		uq[u.Name] = []any{u.Columns, u.Where}
	}
	if want := []any{[]int{3}, "pb > 0 AND pa <> ' where '"}; !reflect.DeepEqual(uq["part"], want) {
		t.Errorf("partial index %v, want %v", uq["part"], want)
	}
	if want := []any{[]int{-1}, ""}; !reflect.DeepEqual(uq["expr"], want) {
		t.Errorf("expression index %v, want %v", uq["expr"], want)
	}
	if len(uq) != 3 {
		t.Errorf("unique %v", uq)
	}
}

func TestSchemaHashSeesShapesOnly(t *testing.T) {
	hash := func(ddl string) string {
		s, err := sqlite.Describe(open(t, ddl), []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		return s.Hash().String()
	}
	base := hash(`CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER)`)
	if base != hash(`CREATE TABLE a ("id" text PRIMARY KEY, n integer DEFAULT 3); CREATE INDEX i ON a (n)`) {
		t.Error("an index, a default or the case of a type changed the hash")
	}
	for _, other := range []string{
		`CREATE TABLE a (id TEXT, n INTEGER PRIMARY KEY)`,
		`CREATE TABLE a (id TEXT PRIMARY KEY, n TEXT)`,
		`CREATE TABLE a (id TEXT PRIMARY KEY, m INTEGER)`,
		`CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER, o)`,
	} {
		if base == hash(other) {
			t.Errorf("same hash for %s", other)
		}
	}
}

func TestOurs(t *testing.T) {
	for name, want := range map[string]bool{"_tidemark_meta": true, "_TIDEMARK_x": true, "_tidemark": false, "tidemark_": false, "": false} {
		if sqlite.Ours(name) != want {
			t.Errorf("Ours(%q) = %v", name, !want)
		}
	}
}
