package postgresstore

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// anyValue draws what applications write, and what they should not.
func anyValue() *rapid.Generator[change.Value] {
	num := func(lo, hi int) *rapid.Generator[int] { return rapid.IntRange(lo, hi) }
	return rapid.Custom(func(t *rapid.T) change.Value {
		switch num(0, 9).Draw(t, "kind") {
		case 0:
			return change.Int(rapid.Int64().Draw(t, "int"))
		case 1:
			return change.Int(int64(num(-3, 3).Draw(t, "small")))
		case 2:
			return change.Float(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0.1, -0.5, 1e15, 1e16, math.MaxFloat64, 5e-324, math.Inf(1), math.Inf(-1), math.NaN()})).Draw(t, "float"))
		case 3:
			return change.Blob(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "blob"))
		case 4:
			return change.Text(rapid.String().Draw(t, "text"))
		case 5:
			return change.Text(rapid.StringMatching(`[+-]?[0-9]{0,25}\.?[0-9]{0,12}([eE][+-]?[0-9]{1,2})?`).Draw(t, "decimal"))
		case 6:
			day := fmt.Sprintf("%04d-%02d-%02d", num(0, 12000).Draw(t, "year"), num(0, 13).Draw(t, "month"), num(0, 32).Draw(t, "day"))
			return change.Text(day + rapid.SampledFrom([]string{"", " BC"}).Draw(t, "era"))
		case 7, 8:
			s := fmt.Sprintf("%04d-%02d-%02d%s%02d:%02d", num(1, 12000).Draw(t, "year"), num(1, 12).Draw(t, "month"), num(1, 29).Draw(t, "day"),
				rapid.SampledFrom([]string{" ", "T"}).Draw(t, "sep"), num(0, 24).Draw(t, "hour"), num(0, 59).Draw(t, "minute"))
			s += rapid.StringMatching(`(:[0-5][0-9](\.[0-9]{1,8})?)?`).Draw(t, "second")
			s += rapid.SampledFrom([]string{"", "Z", "+02", "-05:30", "+1400", " BC", "+01 BC"}).Draw(t, "zone")
			return change.Text(s)
		}
		return change.Text(rapid.StringMatching(`[0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,8})?)?|\{?[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\}?|infinity|true|off`).Draw(t, "word"))
	})
}

// Whatever an edge wrote: it is refused in so many words, or it is there, and what was
// foretold of it holds. What was read, written again, stays as it is.
func TestLawOfTypes(t *testing.T) {
	l := typed(t)
	for _, typ := range []string{
		"bigint", "integer", "smallint", "boolean", "double precision", "real", "numeric", "numeric(12,3)", "text", "varchar(12)", "char(6)", "bytea", "uuid",
		"date", "time", "time(2)", "timestamp", "timestamp(1)", "timestamptz", "timestamptz(0)",
	} {
		t.Run(typ, func(t *testing.T) {
			x := newCell(t, l, typ)
			rapid.Check(t, func(r *rapid.T) {
				v := anyValue().Draw(r, "value")
				p, err := x.put(x.bad, v)
				var refused *hub.ConstraintError
				if errors.As(err, &refused) {
					return
				}
				if err != nil {
					var known *hub.ConstraintError
					if !errors.As(constraint("cell", err), &known) || known.Kind != "type" || p.sure && x.col.form != formText && x.col.form != formChar && x.col.form != formNumeric {
						r.Fatalf("%s: %v", v, err)
					}
					return
				}
				got := x.get()
				if p.sure && got != p.now {
					r.Fatalf("%s was to become %s; it is %s", v, p.now, got)
				}
				again, err := x.col.put(got)
				if err != nil || !again.sure || again.now != got {
					r.Fatalf("%s became %s, which would become %s (sure %v, %v)", v, got, again.now, again.sure, err)
				}
			})
		})
	}
}
