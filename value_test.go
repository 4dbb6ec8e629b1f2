package tidemark_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/change"
)

type grams int32

// Every value that is written here is read there, bit for bit.
func TestValuesTravelBitForBit(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	seven := int64(7)
	when := time.Date(2026, 3, 1, 10, 30, 0, 5, time.FixedZone("", 3600))
	for i, c := range []struct{ in, out any }{
		{nil, nil}, {(*int64)(nil), nil}, {[]byte(nil), nil}, {change.Null, nil},
		{int64(math.MinInt64), int64(math.MinInt64)}, {int64(1<<53 + 1), int64(1<<53 + 1)}, {&seven, int64(7)},
		{7, int64(7)}, {uint8(7), int64(7)}, {grams(-3), int64(-3)}, {true, int64(1)}, {false, int64(0)}, {change.Int(5), int64(5)},
		{0.1, 0.1}, {math.Copysign(0, -1), math.Copysign(0, -1)}, {math.Inf(1), math.Inf(1)}, {math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat64},
		{float32(0.5), 0.5}, {3.0, 3.0},
		{"", ""}, {"a\x00b", "a\x00b"}, {"\xff", "\xff"}, {tidemark.State("x"), "x"},
		{[]byte{}, []byte{}}, {[]byte{0, 255}, []byte{0, 255}},
		{when, "2026-03-01T09:30:00.000000005Z"},
	} {
		write(t, one, `INSERT OR REPLACE INTO sale (id, stock, v) VALUES ('v', 'aspirin', ?)`, c.in)
		hub.Settle(t, one, two)
		var got any
		err := two.Read(ctx, func(tx *tidemark.Tx) error {
			return tx.Query(`SELECT v FROM sale`, func(r tidemark.Row) error { return r.Scan(&got) })
		})
		same := reflect.DeepEqual(got, c.out)
		if f, ok := got.(float64); ok && same {
			same = math.Float64bits(f) == math.Float64bits(c.out.(float64))
		}
		if err != nil || !same {
			t.Errorf("%d: wrote %T %v, read %T %v, %v", i, c.in, c.in, got, got, err)
		}
	}
}

func TestValuesWithoutAForm(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	for _, v := range []any{math.NaN(), float32(math.NaN()), uint64(math.MaxUint64), struct{}{}, []int{1}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if err := db.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`SELECT ?`, v) }); err == nil {
			t.Errorf("%T %v was taken", v, v)
		}
	}
}

func TestScanConvertsNothingSilently(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	scan := func(literal string, dest any) error {
		return db.Read(ctx, func(tx *tidemark.Tx) error {
			return tx.Query("SELECT "+literal+" AS it", func(r tidemark.Row) error {
				if r.Len() != 1 || r.Name(0) != "it" {
					t.Errorf("%d columns, the first is %s", r.Len(), r.Name(0))
				}
				return r.Scan(dest)
			})
		})
	}
	for _, c := range []struct {
		literal    string
		dest, want any
	}{
		{"7", new(int64), int64(7)}, {"7", new(int), 7}, {"2", new(bool), true}, {"7", new(float64), 7.0}, {"0.5", new(float64), 0.5},
		{"'a'", new(string), "a"}, {"x'00'", new([]byte), []byte{0}}, {"NULL", new([]byte), []byte(nil)},
		{"'2026-03-01T09:30:00Z'", new(time.Time), time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)},
		{"NULL", new(any), nil}, {"1.5", new(change.Value), change.Float(1.5)},
	} {
		if err := scan(c.literal, c.dest); err != nil || !reflect.DeepEqual(reflect.ValueOf(c.dest).Elem().Interface(), c.want) {
			t.Errorf("%s into %T: %v, %v", c.literal, c.dest, reflect.ValueOf(c.dest).Elem(), err)
		}
	}
	for _, c := range []struct {
		literal string
		dest    any
	}{
		{"'7'", new(int64)}, {"7.0", new(int64)}, {"NULL", new(int64)}, {"NULL", new(string)}, {"7", new(string)}, {"'1'", new(bool)},
		{"9223372036854775807", new(float64)}, {"'1'", new(float64)}, {"'a'", new([]byte)}, {"7", new(time.Time)}, {"'noon'", new(time.Time)},
		{"7", new(int8)}, {"7", 7},
	} {
		if err := scan(c.literal, c.dest); err == nil {
			t.Errorf("%s into %T: no error", c.literal, c.dest)
		}
	}
	err := db.Read(ctx, func(tx *tidemark.Tx) error {
		return tx.Query(`SELECT 1`, func(r tidemark.Row) error { return r.Scan(new(int), new(int)) })
	})
	if err == nil {
		t.Error("two destinations for one column")
	}
}
