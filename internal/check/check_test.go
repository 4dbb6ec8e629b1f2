package check

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

var table = &change.Table{
	Name: "product",
	Columns: []change.Column{
		{Name: "id"}, {Name: "price"}, {Name: "double_price", Generated: true},
		{Name: "Unit Name"}, {Name: "qty"}, {Name: "photo"},
	},
	Key: []int{0},
}

func row(price, unit, qty change.Value) []change.Value {
	return []change.Value{change.Int(1), price, unit, qty, change.Blob([]byte{1})}
}

func compileOne(t *testing.T, expr string) *Set {
	t.Helper()
	s, err := Compile([]rule.Check{{Name: "c", Expr: expr}}, table)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return s
}

func TestEval(t *testing.T) {
	real, num, txt, null := change.Float, change.Int, change.Text, change.Null
	for _, c := range []struct {
		expr     string
		row, old []change.Value
		broken   bool
	}{
		{"row.price >= 0", row(real(-0.5), null, null), nil, true},
		{"row.price >= 0", row(real(0), null, null), nil, false},
		{"row.price >= 0", row(num(3), null, null), nil, false},
		{"row.price >= 0", row(txt("cheap"), null, null), nil, true},
		{"row.price >= 0", row(null, null, null), nil, false},
		{"row.PRICE >= 0", row(num(-1), null, null), nil, true},
		{"row.price >= 0 && row.qty > 0", row(null, null, num(0)), nil, true},
		{"row.price >= 0 && row.qty > 0", row(null, null, num(1)), nil, false},
		{`row["Unit Name"].startsWith("k")`, row(null, txt("kg"), null), nil, false},
		{`row["Unit Name"] in ["kg", "g"]`, row(null, txt("lb"), null), nil, true},
		{"old == null || row.price >= old.price", row(num(1), null, null), nil, false},
		{"old == null || row.price >= old.price", row(num(1), null, null), row(num(2), null, null), true},
		{"row.price >= old.price", row(num(1), null, null), nil, false},
		{"row.price >= old.price", row(num(1), null, null), row(null, null, null), false},
		{"old == null || old.qty * 1.5 > 0.0", row(null, null, null), row(null, null, num(1)), true}, // reads no other column
		{"null != old", row(null, null, null), nil, true},
		{"size(row.photo) == 1", row(null, null, null), nil, false},
		{"row.qty", row(null, null, num(1)), nil, true},
		{"row.qty * row.price > 1.0", row(num(1), null, real(2)), nil, true}, // int × double
		{"double(row.qty) * row.price > 1.0", row(real(1), null, num(2)), nil, false},
		{"row.all(k, k != 'qty' || row[k] == 2)", row(num(1), null, num(2)), nil, false},
		{"row.all(k, k != 'qty' || row[k] == 2)", row(num(1), null, num(3)), nil, true},
		{"has(row.qty)", row(null, null, null), nil, false},
	} {
		got := compileOne(t, c.expr).Eval(c.row, c.old)
		if (len(got) > 0) != c.broken {
			t.Errorf("%s on %v, %v: %v", c.expr, c.row, c.old, got)
		}
	}
}

func TestViolationSaysWhichRuleAndValue(t *testing.T) {
	s, err := Compile([]rule.Check{
		{Name: "price", Expr: "row.price >= 0 || row.price == -1", Message: "must not be negative"},
		{Name: "qty", Expr: "row.qty > 0"},
		{Name: "unit", Expr: `row["Unit Name"] != ""`},
	}, table)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, v := range s.Eval(row(change.Float(-3), change.Text("kg"), change.Int(0)), nil) {
		list = append(list, v.String())
	}
	want := `table product: check "price": must not be negative (price = -3.0)
table product: check "qty": row.qty > 0 (qty = 0)`
	if got := strings.Join(list, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	long := s.Eval(row(change.Text(strings.Repeat("x", 1000)), change.Null, change.Null), nil)
	if len(long) != 1 || long[0].Values != "price = text …" {
		t.Errorf("a long value is not shown whole: %v", long)
	}
	if got := (Violation{Table: "t", Check: "c", Reason: "r"}).String(); got != `table t: check "c": r` {
		t.Error(got)
	}
}

func TestCompileReportsEveryFault(t *testing.T) {
	_, err := Compile([]rule.Check{
		{Name: "ok", Expr: "row.price > 0"},
		{Name: "syntax", Expr: "row.price >"},
		{Name: "name", Expr: "row.prise > 0 && old.foo == 1"},
		{Name: "generated", Expr: "row.double_price > 0"},
		{Name: "index", Expr: `row["unit nam"] == ""`},
		{Name: "not bool", Expr: "1 + 2"},
		{Name: "variable", Expr: "price > 0"},
		{Name: "long", Expr: strings.Repeat("(true) && ", 1000) + "true"},
		{Name: "deep", Expr: strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500)},
	}, table)
	for _, want := range []string{
		`check "syntax": 1:12: Syntax error`,
		`unknown column "prise"; did you mean "price"?`,
		`unknown column "foo"`,
		`check "generated": unknown column "double_price"`,
		`unknown column "unit nam"; did you mean "Unit Name"?`,
		`check "not bool": the expression gives int; want bool`,
		`check "variable": 1:1: undeclared reference to 'price'`,
		`check "long": `,
		`check "deep": `,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	var f *Fault
	if !errors.As(err, &f) || f.Index != 1 || f.Unwrap() == nil {
		t.Errorf("first fault: %+v", f)
	}
}

func TestCompileWithoutTable(t *testing.T) {
	if _, err := Compile([]rule.Check{{Name: "c", Expr: "row.anything > 0"}}, nil); err != nil {
		t.Error(err)
	}
}

func TestEmptySet(t *testing.T) {
	var s *Set
	if !s.Empty() || s.Eval(nil, nil) != nil {
		t.Error("no checks, no violations")
	}
}

// A rule that would run for ever is cut off by its cost and counts as broken.
func TestCostIsBounded(t *testing.T) {
	list := "[" + strings.Repeat("1,", 60) + "1]"
	expr := list + ".all(a, " + list + ".all(b, " + list + ".all(c, row.qty + a + b + c > 0)))"
	got := compileOne(t, expr).Eval(row(change.Null, change.Null, change.Int(1)), nil)
	if len(got) != 1 || !strings.Contains(got[0].Reason, "cost limit") {
		t.Errorf("got %v", got)
	}
}

func FuzzCompileEval(f *testing.F) {
	for _, s := range []string{
		"row.price >= 0", "old == null || !old.paid || row.paid", `row["Unit Name"].matches("^k")`,
		"row.all(k, row[k] != null)", "has(row.qty) ? row.qty / 0 == 1 : true", "row", "old", "row.qty.x.y", "b'\\xff' == row.photo",
	} {
		f.Add(s, int64(3))
	}
	f.Fuzz(func(t *testing.T, expr string, n int64) {
		s, err := Compile([]rule.Check{{Name: "c", Expr: expr}}, table)
		if err != nil {
			return
		}
		r := row(change.Int(n), change.Text(expr), change.Float(float64(n)/3))
		for _, old := range [][]change.Value{nil, r} {
			a, b := s.Eval(r, old), s.Eval(r, old)
			if len(a) != len(b) {
				t.Fatalf("two verdicts: %v, %v", a, b)
			}
		}
	})
}
