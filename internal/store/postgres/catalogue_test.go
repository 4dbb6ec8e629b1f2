package postgresstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// edgeSchema makes the tables in an empty SQLite file and reads what became of them.
func edgeSchema(t *testing.T, ddl []string, names ...string) change.Schema {
	t.Helper()
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, q := range ddl {
		if err := sqlite.Script(c, q+";"); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	s, err := sqlite.Describe(c, names)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestATableIsDescribedInSQLitesWords(t *testing.T) {
	dsn := pgtest.Database(t)
	c := connect(t, dsn)
	run(t, c, `CREATE SCHEMA other; CREATE TABLE other.patient (x int PRIMARY KEY);
		CREATE TYPE mood AS ENUM ('calm', 'wild');
		CREATE TABLE patient (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(80) NOT NULL DEFAULT 'it''s', active boolean NOT NULL DEFAULT true,
			born date, seen timestamptz NOT NULL DEFAULT now(), weight double precision CHECK (weight <> 'NaN') NOT NULL, height real NOT NULL,
			fee numeric(8,2) DEFAULT 0.50, photo bytea DEFAULT '\x0aff', mood mood DEFAULT 'calm', big text GENERATED ALWAYS AS (upper(name)) STORED,
			odd int DEFAULT length('abc') + 1, UNIQUE (name, born));
		CREATE UNIQUE INDEX one_active ON patient (name) WHERE active;
		CREATE UNIQUE INDEX loud ON patient (upper(name));
		CREATE TABLE "Visit" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient uuid NOT NULL REFERENCES patient ON DELETE CASCADE,
			before bigint REFERENCES "Visit" (id) ON DELETE SET NULL ON UPDATE CASCADE);`)
	list, err := relations(t.Context(), c, []string{"visit", "PATIENT", "none"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "Visit" || list[1].Name != "patient" || list[1].Schema != "public" {
		t.Fatalf("found %+v", list)
	}
	p, v := list[1].describe(), list[0].describe()
	var got []string
	for _, d := range p.Columns {
		s := d.Name + " " + d.Type
		if d.NotNull {
			s += " NOT NULL"
		}
		if d.Default != "" {
			s += " DEFAULT " + d.Default
		}
		if d.Generated {
			s += " GENERATED"
		}
		got = append(got, s)
	}
	want := []string{"id TEXT NOT NULL DEFAULT " + uuidV4, "name TEXT NOT NULL DEFAULT 'it''s'", "active BOOLEAN NOT NULL DEFAULT 1", "born TEXT",
		"seen TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP", "weight REAL NOT NULL", "height REAL", "fee TEXT DEFAULT '0.50'", "photo BLOB DEFAULT x'0aff'",
		"mood TEXT DEFAULT 'calm'", "big TEXT GENERATED", "odd INTEGER"}
	if !slices.Equal(got, want) {
		t.Errorf("columns:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(p.Key, []int{0}) || len(p.Unique) != 3 || p.Unique[0].Columns[0] != -1 || p.Unique[1].Where == "" || !slices.Equal(p.Unique[2].Columns, []int{1, 3}) {
		t.Errorf("key %v, unique %+v", p.Key, p.Unique)
	}
	if fk := v.ForeignKeys; len(fk) != 2 || fk[0].Parent != "Visit" || fk[0].OnDelete != "SET NULL" || fk[0].OnUpdate != "CASCADE" ||
		fk[1].Parent != "patient" || fk[1].OnDelete != "CASCADE" || fk[1].To[0] != "id" {
		t.Errorf("foreign keys %+v", fk)
	}
	notes := strings.Join(append(list[1].notes, list[0].notes...), "\n")
	for _, w := range []string{"default of column odd", "height may hold NaN", "key column id is numbered by a sequence"} {
		if !strings.Contains(notes, w) {
			t.Errorf("no note says %q:\n%s", w, notes)
		}
	}
	edge := edgeSchema(t, []string{list[1].edgeTable(), list[0].edgeTable()}, "Visit", "patient")
	for i, r := range list {
		e := edge.Tables[i]
		if !slices.Equal(e.KeyNames(), r.def.KeyNames()) || !slices.Equal(e.StoredNames(), r.def.StoredNames()) || len(e.ForeignKeys) != len(r.def.ForeignKeys) {
			t.Errorf("the edge's table %+v", e)
		}
		for _, d := range e.Columns {
			if h := r.def.Columns[r.def.Column(d.Name)]; d.Type != h.Type || d.NotNull != h.NotNull || d.Default != h.Default && "("+d.Default+")" != h.Default {
				t.Errorf("the edge's column %+v, the hub's %+v", d, h)
			}
		}
	}
}

func TestWhatCannotSyncSaysWhy(t *testing.T) {
	dsn := pgtest.Database(t)
	c := connect(t, dsn)
	run(t, c, `CREATE TABLE keyless (a int); CREATE VIEW view AS SELECT 1 AS a; CREATE UNLOGGED TABLE loose (a int PRIMARY KEY);
		CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF parts DEFAULT;
		CREATE TABLE shape (a int PRIMARY KEY, b point); CREATE TABLE floats (a float8 PRIMARY KEY);
		CREATE TABLE late (a int, PRIMARY KEY (a) DEFERRABLE); CREATE TABLE made (b int, a int GENERATED ALWAYS AS (b) STORED PRIMARY KEY);
		CREATE EXTENSION citext; CREATE TABLE fold (a citext PRIMARY KEY); CREATE TABLE good (a int PRIMARY KEY, b citext UNIQUE);
		CREATE TABLE child (a int PRIMARY KEY, up int REFERENCES shape); CREATE TABLE grandchild (a int PRIMARY KEY, up int REFERENCES child);
		CREATE ROLE reader NOLOGIN; CREATE TABLE rows (a int PRIMARY KEY); GRANT SELECT ON rows TO reader; ALTER TABLE rows ENABLE ROW LEVEL SECURITY`)
	found, err := Survey(t.Context(), dsn, nil)
	if err != nil {
		t.Fatal(err)
	}
	why := map[string]string{}
	for _, f := range found {
		why[f.Table.Name] = strings.Join(f.Refused, "; ")
		if (f.DDL == "") != (len(f.Refused) > 0) {
			t.Errorf("table %s: refused %q, and made by %q", f.Table.Name, f.Refused, f.DDL)
		}
		if f.Table.Name == "good" && !strings.Contains(strings.Join(f.Notes, ";"), "different texts of column b for equal") {
			t.Errorf("notes of good: %q", f.Notes)
		}
	}
	for table, word := range map[string]string{"keyless": "no primary key", "loose": "UNLOGGED", "parts": "partitioned", "part": "partitioned", "shape": "type point",
		"floats": "floating-point", "late": "DEFERRABLE", "made": "generated", "fold": "different texts for equal", "child": "shape, which does not sync",
		"grandchild": "child, which does not sync"} {
		if !strings.Contains(why[table], word) {
			t.Errorf("table %s is refused because %q, not because of %q", table, why[table], word)
		}
	}
	if why["good"] != "" || why["rows"] != "" || found[0].Table.Name != "child" {
		t.Errorf("good: %q, rows: %q, first %s", why["good"], why["rows"], found[0].Table.Name)
	}
	if list, err := Survey(t.Context(), dsn, []string{"view"}); err != nil || len(list) != 1 || !strings.Contains(list[0].Refused[0], "view") {
		t.Errorf("a view: %+v, %v", list, err)
	}
	run(t, c, `CREATE TEMP TABLE passing (a int PRIMARY KEY); CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
		CREATE FOREIGN TABLE outside (a int) SERVER files OPTIONS (filename '/dev/null')`)
	for name, word := range map[string]string{"passing": "temporary", "outside": "foreign table"} {
		if list, err := relations(t.Context(), c, []string{name}); err != nil || len(list) != 1 || !strings.Contains(strings.Join(list[0].refused, ";"), word) {
			t.Errorf("table %s: %+v, %v", name, list, err)
		}
	}
	run(t, c, "SET ROLE reader")
	list, err := relations(t.Context(), c, []string{"rows"})
	if err != nil || len(list) != 1 || len(list[0].refused) == 0 || !strings.Contains(list[0].refused[0], "row level security") {
		t.Errorf("rows as their reader: %+v, %v", list, err)
	}
	run(t, c, "RESET ROLE; DROP OWNED BY reader; DROP ROLE reader")
	if _, err := Survey(t.Context(), dsn, []string{"good", "nowhere"}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a table that is not there: %v", err)
	}
	if _, err := Survey(t.Context(), "postgres:///nowhere?host=/nonexistent", nil); err == nil {
		t.Error("a server that is not there")
	}
}
