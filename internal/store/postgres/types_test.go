package postgresstore

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

func run(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	if err := script(t.Context(), c, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// only is the one relation of a name, which can sync.
func only(t *testing.T, c *pgx.Conn, name string) *relation {
	t.Helper()
	list, err := relations(t.Context(), c, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || len(list[0].refused) > 0 {
		t.Fatalf("table %s: %+v", name, list)
	}
	return &list[0]
}

// hostile are settings that another program's session may have.
const hostile = `SET datestyle = 'German, DMY'; SET extra_float_digits = 0; SET bytea_output = 'escape';
	SET intervalstyle = 'sql_standard'; SET timezone = 'Asia/Kolkata'; SET lc_monetary = 'C'`

// A lab is a database with some types in it, and two connections.
type lab struct{ c, bad *pgx.Conn } // bad: with hostile settings

// A cell is one column of a table, to write and to read.
type cell struct {
	lab
	t   *testing.T
	col column
}

func newCell(t *testing.T, l lab, typ string) *cell {
	t.Helper()
	x := &cell{lab: l, t: t}
	run(t, x.c, "DROP TABLE IF EXISTS cell; CREATE TABLE cell (id int PRIMARY KEY, v "+typ+")")
	for _, c := range []*pgx.Conn{x.c, x.bad} { // what they know is of another table
		if err := c.DeallocateAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	x.col = only(t, x.c, "cell").column(1)
	return x
}

// get reads the value in all ways, which must agree.
func (x *cell) get() change.Value {
	x.t.Helper()
	var got change.Value
	err := query(x.t.Context(), x.c, "SELECT "+x.col.read("t.")+" FROM cell AS t", func(r *row) error {
		got = x.col.value(r.value(0))
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, c := range []*pgx.Conn{x.c, x.bad} {
		err := query(x.t.Context(), c, "SELECT "+x.col.text("t.")+" FROM cell AS t", func(r *row) error {
			if r.null(0) {
				if !got.IsNull() {
					x.t.Errorf("%s: text is NULL, read %s", x.col.typ, got)
				}
				return nil
			}
			texts[r.text(0)] = true
			again, err := x.col.parse(r.text(0))
			if err != nil || again != got {
				x.t.Errorf("%s: text %q is %s, %v; read is %s", x.col.typ, r.text(0), again, err, got)
			}
			return nil
		})
		if err != nil {
			x.t.Fatal(err)
		}
	}
	if len(texts) > 1 {
		x.t.Errorf("%s: the text depends on the session's settings: %v", x.col.typ, texts)
	}
	return got
}

// put writes a value as an edge's.
func (x *cell) put(c *pgx.Conn, v change.Value) (put, error) {
	p, err := x.col.put(v)
	if err != nil {
		return p, err
	}
	_, err = exec(x.t.Context(), c, "DELETE FROM cell")
	if err == nil {
		_, err = exec(x.t.Context(), c, "INSERT INTO cell VALUES (1, "+x.col.param(1)+")", p.arg)
	}
	return p, err
}

const (
	huge  = "12345678901234567.89"
	uuid1 = "0190d3c4-5b7a-7cc1-9a3e-3f2b1c0d9e8f"
)

// What an edge wrote, and what it finds after the hub took it.
func TestTypesFromEdges(t *testing.T) {
	null, i, f, s := change.Null, change.Int, change.Float, change.Text
	blob := change.Blob([]byte{0, 255, 'x'})
	l := typed(t)
	for _, c := range []struct {
		typ      string
		in, want change.Value
	}{
		{"bigint", i(1<<53 + 1), i(1<<53 + 1)}, {"bigint", i(math.MinInt64), i(math.MinInt64)}, {"bigint", null, null},
		{"integer", i(math.MaxInt32), i(math.MaxInt32)}, {"smallint", i(-5), i(-5)}, {"bigint", f(3), i(3)},
		{"double precision", f(0.1), f(0.1)}, {"double precision", f(5e-324), f(5e-324)}, {"double precision", f(math.Inf(1)), f(math.Inf(1))},
		{"double precision", f(math.Copysign(0, -1)), f(0)}, {"double precision", i(3), f(3)}, {"real", f(0.1), f(float64(float32(0.1)))}, {"real", f(0.5), f(0.5)}, {"real", f(math.Copysign(0, -1)), f(0)},
		{"real", f(1.0 / 3), f(float64(float32(1.0 / 3)))}, {"real", f(math.Inf(-1)), f(math.Inf(-1))},
		{"boolean", i(1), i(1)}, {"boolean", i(0), i(0)}, {"boolean", s("true"), i(1)}, {"boolean", s("False"), i(0)},
		{"text", s(""), s("")}, {"text", s("grüße \U0001F30A"), s("grüße \U0001F30A")}, {"text", i(7), s("7")}, {"text", f(0.9), s("0.9")},
		{"varchar(3)", s("abc"), s("abc")}, {"char(4)", s("ab"), s("ab")}, {"char(4)", s("ab  "), s("ab")},
		{"bytea", blob, blob}, {"bytea", change.Blob(nil), change.Blob(nil)},
		{"numeric", s(huge), s(huge)}, {"numeric", s("0.90"), s("0.90")}, {"numeric", s("1e3"), s("1000")}, {"numeric", s("-0.0"), s("0.0")},
		{"numeric", s("NaN"), s("NaN")}, {"numeric", s("-Infinity"), s("-Infinity")}, {"numeric", i(12), s("12")}, {"numeric", s("+.5"), s("0.5")},
		{"numeric(10,2)", s("0.9"), s("0.90")}, {"numeric(10,2)", s("0.90"), s("0.90")}, {"numeric(10,2)", s("1.005"), s("1.01")},
		{"numeric(5,-2)", s("12345"), s("12300")},
		{"uuid", s(uuid1), s(uuid1)}, {"uuid", s("{" + strings.ToUpper(uuid1) + "}"), s(uuid1)},
		{"date", s("2024-02-29"), s("2024-02-29")}, {"date", s("0044-03-15 BC"), s("0044-03-15 BC")}, {"date", s("infinity"), s("infinity")},
		{"date", s("12024-01-01"), s("12024-01-01")},
		{"time", s("23:59:59.5"), s("23:59:59.5")}, {"time", s("24:00"), s("24:00:00")}, {"time(0)", s("23:59:59.5"), s("24:00:00")},
		{"timestamptz", s("2024-01-02 03:04:05"), s("2024-01-02 03:04:05")}, {"timestamptz", s("2024-01-02T03:04:05.120Z"), s("2024-01-02 03:04:05.12")},
		{"timestamptz", s("2024-01-01 00:30:00+02:00"), s("2023-12-31 22:30:00")}, {"timestamptz", s("2024-01-02"), s("2024-01-02 00:00:00")},
		{"timestamptz", s("2024-01-02 03:04:05.1234567"), s("2024-01-02 03:04:05.123457")}, {"timestamptz(3)", s("2024-01-02 03:04:05.1235"), s("2024-01-02 03:04:05.124")},
		{"timestamptz", s("infinity"), s("infinity")}, {"timestamptz", s("-infinity"), s("-infinity")},
		{"timestamptz", s("0044-03-15 12:00:00 BC"), s("0044-03-15 12:00:00 BC")}, {"timestamptz", s("20000-01-01 00:00:00-0530"), s("20000-01-01 05:30:00")},
		{"timestamp", s("2024-01-02 03:04"), s("2024-01-02 03:04:00")}, {"timestamp", s("infinity"), s("infinity")},
		{"jsonb", s(`{"b":1,"a":[1.0, 2]}`), s(`{"a": [1.0, 2], "b": 1}`)}, {"json", s(`{"b":1, "b":2}`), s(`{"b":1, "b":2}`)},
		{"jsonb", s(`9007199254740993`), s(`9007199254740993`)},
		{"inet", s("10.0.0.1"), s("10.0.0.1/32")}, {"int[]", s("{1, 2,NULL}"), s("{1,2,NULL}")}, {"money", s("12.5"), s("12.50")},
		{"interval", s("1 year 2 days 03:04:05.5"), s("P12M2DT11045.5S")}, {"interval", s("-1 mon -00:00:01"), s("P-1M0DT-1S")},
		{"mood", s("calm"), s("calm")}, {"mood", null, null}, {"price", s("1.50"), s("1.50")}, {"citext", s("Ab"), s("Ab")},
	} {
		t.Run(c.typ+" "+c.in.String(), func(t *testing.T) {
			x := newCell(t, l, c.typ)
			for _, conn := range []*pgx.Conn{x.c, x.bad} {
				p, err := x.put(conn, c.in)
				if err != nil {
					t.Fatal(err)
				}
				if got := x.get(); got != c.want {
					t.Errorf("%s holds %s, want %s", c.in, got, c.want)
				}
				if p.sure && p.now != c.want {
					t.Errorf("%s is sure to become %s; it is %s", c.in, p.now, c.want)
				}
				if !p.sure && c.in == c.want && x.col.form == formText {
					t.Errorf("%s is stored as it is, and nobody knows", c.in)
				}
			}
		})
	}
}

func typed(t *testing.T) lab {
	t.Helper()
	dsn := pgtest.Database(t)
	l := lab{connect(t, dsn), connect(t, dsn)}
	run(t, l.bad, hostile)
	run(t, l.c, `CREATE TYPE mood AS ENUM ('calm', 'it''s wild'); CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0);
		CREATE EXTENSION citext; CREATE COLLATION plain (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	return l
}

// What an edge may hold and the hub's column cannot: the transaction is quarantined
// with a reason, and the others go on.
func TestTypesRefused(t *testing.T) {
	i, f, s := change.Int, change.Float, change.Text
	l := typed(t)
	for _, c := range []struct {
		typ string
		in  change.Value
	}{
		{"bigint", s("abc")}, {"bigint", f(1.5)}, {"bigint", change.Blob([]byte("1"))}, {"smallint", i(40000)}, {"integer", i(1 << 31)},
		{"double precision", s("abc")}, {"double precision", f(math.NaN())}, {"real", f(1e300)}, {"real", f(1e-300)},
		{"boolean", i(2)}, {"boolean", s("perhaps")}, {"boolean", f(0.5)},
		{"text", s("a\x00b")}, {"text", s("\xff\xfe")}, {"text", change.Blob([]byte("x"))}, {"varchar(3)", s("abcd")}, {"char(2)", s("abc")},
		{"bytea", s("x")}, {"numeric", s("abc")}, {"numeric", s("1,5")}, {"numeric", s("")}, {"numeric(3,1)", s("1000")}, {"numeric(3,1)", s("Infinity")},
		{"uuid", s("none")}, {"date", s("2024-02-30")}, {"date", s("today")}, {"date", s("0000-01-01")}, {"date", i(19000)}, {"date", s("9999999-01-01")},
		{"time", s("25:00")}, {"time", s("infinity")}, {"time", s("12:00:60")}, {"timestamptz", s("now")}, {"timestamptz", s("2024-01-02 03:04:05+99")},
		{"timestamptz", s("2024-01-02 3pm")}, {"timestamptz", s("300000-01-01")}, {"timestamptz", i(1700000000)}, {"timestamp", s("2024-01-02 03:04:05Z")},
		{"jsonb", s("{")}, {"jsonb", s(`"\u0000"`)}, {"json", s("{")}, {"inet", s("x")}, {"interval", s("soon")}, {"mood", s("furious")}, {"price", s("-1")},
		{"money", s("x")}, {"int[]", s("{a}")},
	} {
		t.Run(c.typ+" "+c.in.String(), func(t *testing.T) {
			x := newCell(t, l, c.typ)
			_, err := x.put(x.c, c.in)
			if err == nil {
				t.Fatalf("%s took %s, and holds %s", c.typ, c.in, x.get())
			}
			var rule *hub.ConstraintError
			if errors.As(err, &rule) && (rule.Kind != "type" || rule.Table != "cell" || !strings.Contains(rule.Detail, "column v is ")) {
				t.Errorf("%s says %+v", c.typ, rule)
			}
		})
	}
}

// What another program wrote at the hub, and what edges find.
func TestTypesFromOtherWriters(t *testing.T) {
	i, f, s := change.Int, change.Float, change.Text
	l := typed(t)
	for _, c := range []struct {
		typ, sql string
		want     change.Value
	}{
		{"double precision", "'NaN'", change.Null}, {"double precision", "'-0'", f(0)}, {"double precision", "'-Infinity'", f(math.Inf(-1))},
		{"double precision", "0.1::float8 + 0.2", f(0.30000000000000004)}, {"real", "'NaN'", change.Null}, {"real", "16777217", f(16777216)}, {"real", "3.4e38", f(float64(float32(3.4e38)))},
		{"bigint", "9007199254740993", i(9007199254740993)}, {"boolean", "true", i(1)}, {"numeric", "1.50", s("1.50")}, {"numeric", "'Infinity'", s("Infinity")},
		{"timestamptz", "'2024-07-01 12:00:00.000001 Europe/Berlin'", s("2024-07-01 10:00:00.000001")}, {"timestamptz", "'infinity'", s("infinity")},
		{"timestamptz", "'4713-01-01 00:00:00+00 BC'", s("4713-01-01 00:00:00 BC")}, {"timestamp", "'2024-07-01'", s("2024-07-01 00:00:00")},
		{"date", "'0001-01-01 BC'", s("0001-01-01 BC")}, {"date", "'-infinity'", s("-infinity")}, {"time", "'24:00'", s("24:00:00")},
		{"char(5)", "'ab'", s("ab")}, {"bytea", `'\x00ff'`, change.Blob([]byte{0, 255})}, {"jsonb", `'{"b":1,"a":2}'`, s(`{"a": 2, "b": 1}`)},
		{"text[]", `ARRAY['a,b', 'c"d']`, s(`{"a,b","c\"d"}`)}, {"mood", "'it''s wild'", s("it's wild")}, {"name", "'n'", s("n")},
		{"interval", "'1 mon -1 day 25:00'", s("P1M-1DT90000S")}, {"cidr", "'10/8'", s("10.0.0.0/8")}, {"bit(3)", "B'101'", s("101")},
	} {
		t.Run(c.typ+" "+c.sql, func(t *testing.T) {
			x := newCell(t, l, c.typ)
			run(t, x.c, "INSERT INTO cell VALUES (1, "+c.sql+")")
			if got := x.get(); got != c.want {
				t.Errorf("edges find %s, want %s", got, c.want)
			}
		})
	}
}

// A column that came from an SQLite schema keeps its declared type at edges.
func TestTypesUnderADeclaredType(t *testing.T) {
	i, f, s := change.Int, change.Float, change.Text
	c := column{table: "t", name: "v", quoted: `"v"`, typ: "numeric", cast: "numeric", base: "numeric", form: formNumeric, scale: anyScale, declared: "DECIMAL(10,2)", affinity: change.AffinityNumeric}
	for text, want := range map[string]change.Value{"NaN": change.Null, "Infinity": f(math.Inf(1)), "-Infinity": f(math.Inf(-1)), "1.50": f(1.5), "7": i(7)} {
		if got := c.value(s(text)); got != want {
			t.Errorf("%s: edges find %s, want %s", text, got, want)
		}
	}
	date := column{table: "t", name: "v", quoted: `"v"`, typ: "text", cast: "text", base: "text", form: formText, scale: anyScale, declared: "DATETIME", affinity: change.AffinityNumeric}
	loose := date
	loose.declared, loose.affinity = "", change.AffinityBlob
	for _, x := range []struct {
		col *column
		in  change.Value
		arg any
	}{
		{&c, i(12), "12"}, {&c, f(0.9), "0.9"}, {&c, f(1e300), "1" + strings.Repeat("0", 300)}, {&c, f(math.Inf(1)), "Infinity"}, {&c, f(math.Inf(-1)), "-Infinity"},
		{&c, f(5e-324), ""}, {&c, s("abc"), nil},
		{&date, s("2024-01-02 03:04:05"), "2024-01-02 03:04:05"}, {&date, i(1700000000), "1700000000"}, {&date, f(2460000.5), "2.4600005e+06"},
		{&date, f(math.Inf(1)), nil}, {&date, change.Blob([]byte{1}), nil},
		{&loose, s("5"), "5"}, {&loose, i(5), nil},
	} {
		p, err := x.col.put(x.in)
		switch {
		case x.arg == nil:
			if err == nil {
				t.Errorf("%s took %s", x.col.declared, x.in)
			}
		case err != nil:
			t.Errorf("%s: %v", x.col.declared, err)
		case x.arg != "" && p.arg != x.arg || p.now != x.in || !p.sure:
			t.Errorf("%s: %s goes as %v and comes back as %s (%v)", x.col.declared, x.in, p.arg, p.now, p.sure)
		}
	}
}

func TestKeysAreSpelledOneWay(t *testing.T) {
	i, s := change.Int, change.Text
	l := typed(t)
	for _, c := range []struct {
		typ       string
		good, bad change.Value
	}{
		{"bigint", i(7), s("7")}, {"boolean", i(1), s("true")}, {"text", s("a"), s("a\x00")}, {"uuid", s(uuid1), s(strings.ToUpper(uuid1))},
		{"bytea", change.Blob([]byte{1}), s("1")}, {"numeric(6,2)", s("1.50"), s("1.5")}, {"char(3)", s("ab"), s("ab ")}, {"date", s("2024-01-01"), s("24-1-1")},
		{"timestamptz", s("2024-01-01 00:00:00"), s("2024-01-01T00:00:00Z")}, {"timestamp", s("infinity"), s("now")}, {"mood", s("calm"), change.Null},
	} {
		x := newCell(t, l, c.typ)
		if why := x.col.keyable(); why != "" {
			t.Errorf("%s cannot be a key: %s", c.typ, why)
		}
		text, err := x.col.spell(c.good)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := x.col.parse(text); err != nil || back != c.good {
			t.Errorf("%s: %s is spelled %q, which is %s, %v", c.typ, c.good, text, back, err)
		}
		if _, err := x.put(x.c, c.good); err != nil {
			t.Fatal(err)
		}
		written := ""
		err = query(t.Context(), x.bad, "SELECT "+x.col.text("t.")+" FROM cell AS t", func(r *row) error { written = r.text(0); return nil })
		if err != nil || written != text {
			t.Errorf("%s: the log says %q, we say %q (%v)", c.typ, written, text, err)
		}
		if got, err := x.col.spell(c.bad); err == nil {
			t.Errorf("%s: %s names a row %q", c.typ, c.bad, got)
		}
	}
	for _, typ := range []string{"double precision", "numeric", "json", "jsonb", "interval", "citext", `text COLLATE "plain"`} {
		x := newCell(t, l, typ)
		if x.col.keyable() == "" {
			t.Errorf("%s may be a key", typ)
		}
	}
	for _, text := range []string{"x", "0102"} {
		for _, col := range []column{{class: classInt}, {class: classFloat}, {class: classBlob}} {
			if v, err := col.parse(text); text == "x" && err == nil || text == "0102" && err != nil && col.class == classInt {
				t.Errorf("class %d makes %s of %q, %v", col.class, v, text, err)
			}
		}
	}
}
