package change_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// SQLite itself says what a column makes of a value.
func TestAffinityStoresWhatSQLiteStores(t *testing.T) {
	c, err := sqlite.Open(filepath.Join(t.TempDir(), "a.db"), sqlite.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	types := []string{"INTEGER", "VARCHAR(9)", "BLOB", "DOUBLE", "DECIMAL(9,2)", ""}
	for i, typ := range types {
		if err := sqlite.Script(c, fmt.Sprintf(`CREATE TABLE t%d (v %s)`, i, typ)); err != nil {
			t.Fatal(err)
		}
	}
	agree := func(t interface{ Errorf(string, ...any) }, v change.Value) {
		for i, typ := range types {
			_, _, err := sqlite.One(c, fmt.Sprintf(`DELETE FROM t%d`, i))
			if err == nil {
				err = sqlite.Exec(c, fmt.Sprintf(`INSERT INTO t%d VALUES (?)`, i), v)
			}
			got, _, err2 := sqlite.One(c, fmt.Sprintf(`SELECT v FROM t%d`, i))
			if err != nil || err2 != nil {
				t.Errorf("%v, %v", err, err2)
			}
			if want := change.AffinityOf(typ).Store(v); got != want {
				t.Errorf("%q column: %s (%s) is stored as %s (%s), Store says %s (%s)", typ, v, v.Kind(), got, got.Kind(), want, want.Kind())
			}
		}
	}
	for _, v := range []change.Value{change.Null, change.Int(5), change.Int(-1 << 62), change.Float(5), change.Float(0.1), change.Float(1e15), change.Float(1e14),
		change.Float(1e100), change.Float(-2.5e-7), change.Float(0.0001), change.Float(1e300), change.Float(math.Inf(1)), change.Float(math.Inf(-1)), change.Float(9.3e18), change.Float(123456789.125),
		change.Blob([]byte("5")), change.Text(""), change.Text("5"), change.Text(" 5\n"), change.Text("+5"), change.Text("-"), change.Text("007"), change.Text("5.0"), change.Text("5.5"),
		change.Text("."), change.Text(".5"), change.Text("5."), change.Text("1e3"), change.Text("1e"), change.Text("1e+2"), change.Text("e5"), change.Text("1e-3x"), change.Text("0x10"),
		change.Text("five"), change.Text("5 6"), change.Text("--5"), change.Text("9223372036854775807"), change.Text("9223372036854775808"), change.Text("1_000"), change.Text("Inf"), change.Text("nan")} {
		agree(t, v)
	}
	rapid.Check(t, func(r *rapid.T) {
		switch rapid.IntRange(0, 2).Draw(r, "kind") {
		case 0:
			agree(r, change.Int(rapid.Int64().Draw(r, "int")))
		case 1:
			agree(r, change.Float(float64(rapid.Int64Range(-1e6, 1e6).Draw(r, "n"))/float64(rapid.SampledFrom([]int{1, 2, 8, 10, 100}).Draw(r, "by"))))
		case 2:
			agree(r, change.Text(rapid.StringMatching(`[ ]?[-+]?[0-9]{0,6}(\.[0-9]{0,3})?(e[-+]?[0-9]{0,2})?x?`).Draw(r, "text")))
		}
	})
}

func TestAffinityOfStrictTables(t *testing.T) {
	tab := change.Table{Columns: []change.Column{{Name: "a", Type: "ANY"}, {Name: "i", Type: "INT"}}}
	if got := tab.Affinity(0); got != change.AffinityNumeric {
		t.Errorf("ANY in an ordinary table: %s", got)
	}
	tab.Strict = true
	if a, i := tab.Affinity(0), tab.Affinity(1); a != change.AffinityBlob || i != change.AffinityInteger {
		t.Errorf("in a STRICT table: %s, %s", a, i)
	}
}

func TestAffinityOf(t *testing.T) {
	for declared, want := range map[string]change.Affinity{
		"INTEGER": change.AffinityInteger, "bigint": change.AffinityInteger, "FLOATING POINT": change.AffinityInteger, "CHARINT": change.AffinityInteger,
		"varchar(20)": change.AffinityText, "CLOB": change.AffinityText, "": change.AffinityBlob, "blob": change.AffinityBlob, "DOUBLE": change.AffinityReal, "float": change.AffinityReal,
		"NUMERIC": change.AffinityNumeric, "DECIMAL(10,2)": change.AffinityNumeric, "DATE": change.AffinityNumeric, "JSON": change.AffinityNumeric,
	} {
		if got := change.AffinityOf(declared); got != want {
			t.Errorf("AffinityOf(%q) = %s, want %s", declared, got, want)
		}
	}
}
