package merge

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func TestCompareInOrder(t *testing.T) {
	list := []change.Value{
		change.Null,
		change.Float(math.Inf(-1)), change.Int(math.MinInt64), change.Int(-1), change.Float(-0.5),
		change.Int(0), change.Float(0.5), change.Int(1), change.Float(1),
		change.Float(1 << 53), change.Int(1<<53 + 1), change.Int(math.MaxInt64), change.Float(1 << 63),
		change.Text(""), change.Text("A"), change.Text("a"), change.Text("a\x00"),
		change.Blob(nil), change.Blob([]byte("A")),
	}
	for i, a := range list {
		for j, b := range list {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := Compare(a, b); got != want {
				t.Errorf("Compare(%v, %v) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestCompareNaNIsTotal(t *testing.T) {
	nan := change.Float(math.NaN())
	if Compare(nan, nan) != 0 || Compare(nan, change.Int(1))+Compare(change.Int(1), nan) != 0 || Compare(nan, change.Int(1)) == 0 {
		t.Error("NaN must have one place in the order")
	}
}

// SQLite itself is the judge: our order never contradicts its "<".
func TestCompareAgreesWithSQLite(t *testing.T) {
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	rapid.Check(t, func(r *rapid.T) {
		a, b := anyValue().Draw(r, "a"), anyValue().Draw(r, "b")
		v, _, err := sqlite.One(c, `SELECT (?1 IS NULL AND ?2 IS NOT NULL) OR ?1 < ?2`, a, b)
		if err != nil {
			r.Fatal(err)
		}
		if v.Int() == 1 && Compare(a, b) >= 0 {
			r.Fatalf("SQLite has %v before %v, Compare says %d", a, b, Compare(a, b))
		}
	})
}
