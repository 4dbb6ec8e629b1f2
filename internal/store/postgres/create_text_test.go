package postgresstore

import (
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestSQLiteSQLIsRead(t *testing.T) {
	for sql, want := range map[string][]string{
		`a--x` + "\n" + `b/* c */d`:     {"a", "b", "d"},
		`'it''s' "q""r" [s t] ` + "`u`": {"'it''s'", `"q""r"`, "[s t]", "`u`"},
		`a1 1.5e3 $x ü`:                 {"a1", "1.5e3", "$x", "ü"},
		`'open`:                         {"'open"},
		`/* open`:                       nil,
		`a -- open`:                     {"a"},
		`[open`:                         {"[open"},
		`x<=y`:                          {"x", "<", "=", "y"},
	} {
		if got := lex(sql); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	for tok, want := range map[string]string{`"a""b"`: `a"b`, "`c`": "c", "[d e]": "d e", "f": "f", "1": "", "(": "", "'x'": ""} {
		if got := identifier(tok); got != want {
			t.Errorf("%s names %q, want %q", tok, got, want)
		}
	}
	for sql, want := range map[string][2]string{
		`CREATE TABLE IF NOT EXISTS "a b" (x)`: {"table", "a b"}, `CREATE TABLE t(x)`: {"table", "t"}, `CREATE UNIQUE INDEX i ON t (x)`: {"index", "t"},
		`CREATE INDEX i ON [t u] (x)`: {"index", "t u"}, `CREATE TRIGGER g AFTER UPDATE OF x ON t BEGIN SELECT 1; END`: {"trigger", "t"},
		`CREATE VIRTUAL TABLE f USING fts5(x)`: {"", ""}, `CREATE TEMP TABLE t (x)`: {"", ""}, `SELECT 1`: {"", ""}, `CREATE INDEX`: {"", ""}, ``: {"", ""},
	} {
		if kind, table := object(sql); kind != want[0] || table != want[1] {
			t.Errorf("%s makes %s for %s", sql, kind, table)
		}
	}
	if got := checksOf(`CREATE TABLE t (a CHECK (a > (1+2)), b DEFAULT ')' CHECK(b<>'('), check_c, CHECK`); !slices.Equal(got, []string{"a > ( 1 + 2 )", "b < > '('"}) {
		t.Errorf("checks %q", got)
	}
	for _, c := range []struct {
		text string
		at   int
	}{{"(a)", 2}, {"(')')", 4}, {"((a)", -1}, {`("(" || 'x')`, 11}} {
		if got := closing(c.text, 0); got != c.at {
			t.Errorf("%s closes at %d, want %d", c.text, got, c.at)
		}
	}
}

func TestExpressionsThatMeanTheSame(t *testing.T) {
	tab := &change.Table{Columns: []change.Column{{Name: "Qty"}, {Name: "n"}, {Name: "fold", Collation: "NOCASE"}, {Name: "gen", Generated: true}}}
	for expr, want := range map[string]string{
		`qty == 1`: `"Qty" = 1`, `qty<=2 AND n<>3`: `"Qty" <= 2 AND "n" <> 3`, `n != 1 OR n>=2`: `"n" != 1 OR "n" >= 2`,
		`"n" IN (1,2)`: `"n" IN ( 1 , 2 )`, `length(n) > 0`: `length ( "n" ) > 0`, `n LIKE 'a'`: "", `fold = 'a'`: "", `gen = 1`: "", `n / 2 = 1`: "",
		`typeof(n) = 'text'`: "", `x = 1`: "", ``: "", `n || 'a' = 'b'`: "",
	} {
		got, ok := portable(expr, tab)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v; want %q", expr, got, ok, want)
		}
	}
}

func TestDefaultsInSQLitesWords(t *testing.T) {
	mk := func(f form, affinity change.Affinity) *column {
		return &column{form: f, class: f.class(), affinity: affinity, scale: anyScale}
	}
	text, blob, num, stamp := mk(formText, "TEXT"), mk(formBytes, "BLOB"), mk(formInt8, "INTEGER"), mk(formMoment, "TEXT")
	for _, c := range []struct {
		col        *column
		expr, want string
	}{
		{text, "", ""}, {text, "NULL::character varying", ""}, {text, "'a'::character varying(10)", "'a'"}, {text, "'it''s'::text", "'it''s'"}, {text, "upper('a'::text)", ""},
		{num, "(-5)", "-5"}, {num, "'7'::bigint", "7"}, {num, "'x'::bigint", ""}, {num, "nextval('s'::regclass)", ""}, {mk(formBool, "NUMERIC"), "false", "0"},
		{blob, `'\x0aff'::bytea`, "x'0aff'"}, {blob, `'a\\b'::bytea`, ""}, {blob, "5", ""}, {stamp, "now()", "CURRENT_TIMESTAMP"}, {stamp, "CURRENT_TIMESTAMP(3)", "CURRENT_TIMESTAMP"},
		{text, "now()", ""}, {mk(formDate, "TEXT"), "CURRENT_DATE", "CURRENT_DATE"}, {text, "CURRENT_DATE", ""}, {stamp, "'2024-01-02 00:00:00+00'::timestamp with time zone", "'2024-01-02 00:00:00'"},
		{mk(formUUID, "TEXT"), "gen_random_uuid()", uuidV4}, {mk(formCast, "TEXT"), "'{}'::jsonb", ""}, {mk(formDouble, "REAL"), "0.5", "0.5"}, {mk(formDouble, "REAL"), "'1'::double precision", "1.0"},
	} {
		if got := edgeDefault(c.expr, c.col); got != c.want {
			t.Errorf("%s: %q, want %q", c.expr, got, c.want)
		}
	}
}
