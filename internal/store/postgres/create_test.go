package postgresstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

var salesDDL = []string{
	`CREATE TABLE customer (id TEXT PRIMARY KEY, email TEXT COLLATE NOCASE NOT NULL UNIQUE, active BOOLEAN NOT NULL DEFAULT 1,
		since DATETIME DEFAULT CURRENT_TIMESTAMP, credit DECIMAL(10,2) NOT NULL DEFAULT 0, score REAL DEFAULT 0.5, photo BLOB DEFAULT x'00ff', any,
		note TEXT DEFAULT ('it''s'), tag TEXT DEFAULT (lower(hex(randomblob(16)))), odd TEXT DEFAULT (printf('%d', 1)),
		loud TEXT GENERATED ALWAYS AS (upper(note)) VIRTUAL, CHECK (score >= 0 AND score<=1 OR score IS NULL), CHECK (note NOT LIKE 'x%'))`,
	`CREATE TABLE "Order" (id INTEGER PRIMARY KEY, customer TEXT NOT NULL REFERENCES customer ON DELETE CASCADE ON UPDATE CASCADE, qty INTEGER CHECK (qty > 0),
		before INTEGER REFERENCES "Order"(id) ON DELETE SET NULL, shop INTEGER REFERENCES shop(id), code INTEGER REFERENCES customer(email))`,
	`CREATE UNIQUE INDEX one_open ON "Order" (customer) WHERE qty > 5`,
	`CREATE UNIQUE INDEX weird ON "Order" (customer) WHERE customer LIKE 'a%'`,
	`CREATE UNIQUE INDEX expr ON "Order" (abs(qty), customer)`,
	`CREATE INDEX plain ON "Order" (qty)`,
	`CREATE TRIGGER t AFTER INSERT ON "Order" BEGIN UPDATE customer SET score=1 WHERE id=NEW.customer; END`,
}

func TestTablesAreMadeFromAnSQLiteSchema(t *testing.T) {
	dsn := pgtest.Database(t)
	sq := append(slices.Clone(salesDDL[:6]), `CREATE TABLE shop (id INTEGER PRIMARY KEY)`)
	src := Source{Schema: edgeSchema(t, sq, "customer", "Order"), DDL: salesDDL, Types: map[string]string{"customer.since": "timestamptz"}}
	notes, err := Create(t.Context(), dsn, src)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, n := range notes {
		said = append(said, n.String())
	}
	all := strings.Join(said, "\n")
	for _, w := range []string{"customer.any: it has no type", "customer.loud: it is generated", "customer.odd: its default, printf('%d', 1), is left out", "customer.credit: SQLite keeps DECIMAL(10,2)",
		"customer.email: it is unique without regard to case (NOCASE)", "Order: unique index weird is left out", "Order: unique index expr is left out",
		"Order: the foreign key (\"shop\") is left out: shop is not among the tables", "Order: the foreign key (\"code\") is left out", "customer: CHECK (note NOT LIKE 'x%') is left out",
		"Order: triggers run at edges only"} {
		if !strings.Contains(all, w) {
			t.Errorf("no note says %q", w)
		}
	}
	if len(said) != 11 {
		t.Errorf("%d notes:\n%s", len(said), all)
	}
	c := connect(t, dsn)
	list, err := relations(t.Context(), c, []string{"customer", "Order"})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	// What edges declared is what the hub says.
	for i := range list {
		r, was := &list[i], src.Schema.Table(list[i].Name)
		if len(r.refused) > 0 {
			t.Errorf("table %s: %q", r.Name, r.refused)
		}
		for _, d := range r.def.Columns {
			if e := was.Columns[was.Column(d.Name)]; d.Type != e.Type || d.NotNull != e.NotNull && !r.def.InKey(r.def.Column(d.Name)) || d.Collation != e.Collation {
				t.Errorf("%s.%s is %+v, was %+v", r.Name, d.Name, d, e)
			}
		}
	}
	customer := &list[1].def
	if u := customer.Unique; len(u) != 1 || !slices.Equal(u[0].Columns, []int{customer.Column("email")}) {
		t.Errorf("unique %+v", u)
	}
	if fk := list[0].def.ForeignKeys; len(fk) != 2 {
		t.Errorf("foreign keys %+v", fk)
	}
	edge := edgeSchema(t, mustDDL(t, dsn, "customer", "Order"), "customer", "Order")
	if h := edge.Hash(); h != src.Schema.Hash() {
		t.Error("edges would not get the tables that the hub's were made from")
	}
	run(t, c, `INSERT INTO customer (id, email) VALUES ('c1', 'Ann@x.org'); INSERT INTO "Order" VALUES (1, 'c1', 1)`)
	got := map[string]change.Value{}
	for i := range list[1].Columns {
		col := list[1].column(i)
		err := query(t.Context(), c, "SELECT "+col.read("t.")+" FROM customer t", func(r *row) error { got[col.name] = col.value(r.value(0)); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if got["active"] != change.Int(1) || got["credit"] != change.Int(0) || got["score"] != change.Float(0.5) || got["photo"] != change.Blob([]byte{0, 255}) ||
		got["note"] != change.Text("it's") || len(got["tag"].Str()) != 32 || got["since"].Kind() != change.KindText || !got["any"].IsNull() {
		t.Errorf("defaults %v", got)
	}
	for _, bad := range []string{`INSERT INTO customer (id, email) VALUES ('c2', 'ANN@x.org')`, `INSERT INTO customer (id, email, score) VALUES ('c3', 'b', 2)`,
		`INSERT INTO customer (id, email, score) VALUES ('c4', 'c', 'NaN')`, `INSERT INTO "Order" VALUES (2, 'nobody', 1)`, `INSERT INTO "Order" VALUES (3, 'c1', 0)`} {
		if err := script(t.Context(), c, bad); err == nil {
			t.Errorf("took %s", bad)
		}
	}
	run(t, c, `DELETE FROM customer`)
	if n := countOf(t, dsn, `"Order"`); n != 0 {
		t.Errorf("%d orders outlived their customer", n)
	}
	// A column that came later is at edges too.
	run(t, c, `ALTER TABLE customer ADD COLUMN phone text`)
	edge = edgeSchema(t, mustDDL(t, dsn, "customer"), "customer")
	if edge.Tables[0].Column("phone") < 0 {
		t.Error("edges miss the column that was added")
	}
}

func countOf(t *testing.T, dsn, table string) (n int64) {
	t.Helper()
	err := query(t.Context(), connect(t, dsn), "SELECT count(*) FROM "+table, func(r *row) error { n = r.int(0); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustDDL(t *testing.T, dsn string, names ...string) []string {
	t.Helper()
	c := connect(t, dsn)
	list, err := relations(t.Context(), c, names)
	if err != nil {
		t.Fatal(err)
	}
	var at []*relation
	for i := range list {
		at = append(at, &list[i])
	}
	ddl, err := edgeDDL(t.Context(), c, at)
	if err != nil {
		t.Fatal(err)
	}
	return ddl
}

func TestTablesAreMadeAllOrNone(t *testing.T) {
	dsn := pgtest.Database(t)
	schema := edgeSchema(t, []string{`CREATE TABLE a (id TEXT PRIMARY KEY)`, `CREATE TABLE b (id TEXT PRIMARY KEY, v INT)`}, "a", "b")
	run(t, connect(t, dsn), `CREATE TABLE b (x int)`)
	if _, err := Create(t.Context(), dsn, Source{Schema: schema}); err == nil || !strings.Contains(err.Error(), "table b") {
		t.Errorf("a table that exists: %v", err)
	}
	if n := countOf(t, dsn, "pg_class WHERE relname = 'a'"); n != 0 {
		t.Error("table a was left behind")
	}
	run(t, connect(t, dsn), `DROP TABLE b`)
	for types, word := range map[string]string{"int; DROP TABLE x": "is not the name of a type", "nonsense": "nonsense"} {
		if _, err := Create(t.Context(), dsn, Source{Schema: schema, Types: map[string]string{"b.v": types}}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("type %s: %v", types, err)
		}
	}
	keyless := edgeSchema(t, []string{`CREATE TABLE k (v INT)`}, "k")
	if _, err := Create(t.Context(), dsn, Source{Schema: keyless}); err == nil || !strings.Contains(err.Error(), "without a primary key") {
		t.Errorf("a table without a key: %v", err)
	}
	long := edgeSchema(t, []string{`CREATE TABLE k (id TEXT PRIMARY KEY, ` + strings.Repeat("v", 64) + ` INT)`}, "k")
	if _, err := Create(t.Context(), dsn, Source{Schema: long}); err == nil || !strings.Contains(err.Error(), "63 bytes") {
		t.Errorf("a name that PostgreSQL would cut: %v", err)
	}
	if _, err := Create(t.Context(), dsn+"&search_path=nowhere", Source{Schema: schema}); err == nil || !strings.Contains(err.Error(), "search path") {
		t.Errorf("no schema to create in: %v", err)
	}
	if _, err := Create(t.Context(), dsn, Source{Schema: schema, Types: map[string]string{"b.v": "numeric(10,2)"}}); err != nil {
		t.Error(err)
	}
}

func TestDeclaredTypesLoseNothing(t *testing.T) {
	for declared, want := range map[string]string{"INTEGER": "bigint", "TINYINT(1)": "bigint", "UNSIGNED BIG INT": "bigint", "VARCHAR(10)": "text", "CLOB": "text", "BLOB": "bytea",
		"REAL": "double precision", "FLOAT": "double precision", "BOOL": "boolean", "BOOLEAN": "boolean", "NUMERIC": "numeric", "DECIMAL(10,2)": "numeric", "MONEY": "numeric",
		"DATE": "text", "DATETIME": "text", "TIMESTAMP": "text", "JSON": "text", "UUID": "text", "": "text"} {
		if got, _ := columnType(declared); got != want {
			t.Errorf("%s becomes %s, want %s", declared, got, want)
		}
	}
}

func TestDefaultsInPostgreSQLsWords(t *testing.T) {
	for _, c := range []struct{ expr, typ, want string }{
		{"", "text", ""}, {"NULL", "bigint", ""}, {"(1)", "bigint", " DEFAULT 1"}, {"-1.5e3", "numeric", " DEFAULT -1.5e3"}, {"0", "text", " DEFAULT '0'"},
		{"TRUE", "boolean", " DEFAULT true"}, {"'x'", "boolean", "-"}, {"x'0a'", "bytea", ` DEFAULT '\x0a'`}, {"x'0a'", "text", "-"}, {"1", "bytea", "-"},
		{"CURRENT_DATE", "text", " DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')"}, {"CURRENT_TIME", "text", " DEFAULT to_char(now() AT TIME ZONE 'UTC', 'HH24:MI:SS')"},
		{"CURRENT_TIMESTAMP", "text", " DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"}, {"(1) + (2)", "bigint", "-"},
		{"'a)'", "text", " DEFAULT 'a)'"}, {"random()", "bigint", "-"},
	} {
		got, ok := hubDefault(c.expr, c.typ)
		if ok != (c.want != "-") || ok && got != c.want {
			t.Errorf("%s %s: %q, %v", c.typ, c.expr, got, ok)
		}
	}
}
