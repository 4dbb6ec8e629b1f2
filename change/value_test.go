package change

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func anyValue() *rapid.Generator[Value] {
	return rapid.OneOf(
		rapid.Just(Null),
		rapid.Map(rapid.Int64(), Int),
		rapid.Map(rapid.Float64(), Float),
		rapid.Map(rapid.String(), Text),
		rapid.Map(rapid.SliceOf(rapid.Byte()), Blob),
	)
}

func TestValuesAreIdenticalOrDifferent(t *testing.T) {
	distinct := []Value{
		Null, Int(0), Int(1), Float(0), Float(math.Copysign(0, -1)), Float(1), Text(""), Text("1"), BlobString(""), BlobString("1"),
		Text("a"), Text("A"), Text("a\x00"), Int(math.MaxInt64), Float(math.MaxInt64),
	}
	for i, a := range distinct {
		for j, b := range distinct {
			if (a == b) != (i == j) {
				t.Errorf("%v (%v) == %v (%v) is %v", a, a.Kind(), b, b.Kind(), a == b)
			}
		}
	}
	if nan := Float(math.NaN()); nan != Float(math.NaN()) {
		t.Error("a NaN must equal itself: the cell did not change")
	}
}

func TestAccessors(t *testing.T) {
	if Int(7).Int() != 7 || Text("7").Int() != 0 || Int(7).Float() != 7 || Float(1.5).Float() != 1.5 || Text("x").Float() != 0 {
		t.Error("numbers")
	}
	if Text("x").Str() != "x" || Blob([]byte("y")).Str() != "y" || Int(1).Str() != "" || !Null.IsNull() || Int(0).IsNull() {
		t.Error("bytes and NULL")
	}
	if Bool(true) != Int(1) || Bool(false) != Int(0) {
		t.Error("booleans")
	}
	if Int(1).Size() != 9 || Text("abc").Size() != 4 || Null.Size() != 1 {
		t.Error("sizes")
	}
}

func TestLiterals(t *testing.T) {
	for want, v := range map[string]Value{
		"NULL": Null, "-5": Int(-5), "1.0": Float(1), "0.1": Float(0.1), "1e+300": Float(1e300),
		"'it''s'": Text("it's"), "x'00ff'": Blob([]byte{0, 255}), "+Inf": Float(math.Inf(1)),
	} {
		if got := v.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := (Key{Text("a"), Int(1)}).String(); got != "'a',1" {
		t.Errorf("key %s", got)
	}
}

func TestKeyIDsAreEqualExactlyWhenKeysAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Key(rapid.SliceOfN(anyValue(), 1, 3).Draw(t, "a"))
		b := Key(rapid.SliceOfN(anyValue(), 1, 3).Draw(t, "b"))
		if (a.ID() == b.ID()) != a.Equal(b) {
			t.Fatalf("%v and %v: ids equal %v, keys equal %v", a, b, a.ID() == b.ID(), a.Equal(b))
		}
		if a.ID() != append(Key(nil), a...).ID() {
			t.Fatal("one key, two ids")
		}
	})
}
