package change

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var oddNumbers = []int64{0, 1, -1, 127, 128, -128, 255, 256, 65535, 65536, 1<<31 - 1, 1 << 32, math.MaxInt64, math.MinInt64, math.MinInt64 + 1}

var oddFloats = []float64{0, math.Copysign(0, -1), 1, 1.5, 12.99, 0.1, 1e300, 5e-324, math.Inf(1), math.Inf(-1), math.NaN(),
	math.Float64frombits(0x7ff8000000000001), 1 << 53, 123456.789}

var oddTexts = []string{"", "a", "\x00", "a\x00b", "\xff\xfe", "0123456789abcdef", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
	"6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b810-9dad-11d1-80b4-00c04fd430cg", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"}

func drawValue(t *rapid.T, kind Kind) Value {
	switch kind {
	case KindInt:
		if rapid.Bool().Draw(t, "odd") {
			return Int(rapid.SampledFrom(oddNumbers).Draw(t, "int"))
		}
		return Int(rapid.Int64().Draw(t, "int"))
	case KindFloat:
		if rapid.Bool().Draw(t, "odd") {
			return Float(rapid.SampledFrom(oddFloats).Draw(t, "float"))
		}
		return Float(float64(rapid.IntRange(-1000000, 1000000).Draw(t, "cents")) / 100)
	case KindText, KindBlob:
		s := rapid.SampledFrom(oddTexts).Draw(t, "text")
		if rapid.Bool().Draw(t, "free") {
			s = string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
		}
		return Value{kind: kind, str: s}
	}
	return Null
}

func drawAny(t *rapid.T) Value { return drawValue(t, Kind(rapid.IntRange(0, 4).Draw(t, "kind"))) }

// drawGrid draws rows×columns values, a column being of one kind, constant, few
// valued or of any kinds.
func drawGrid(t *rapid.T, rows, columns int) []Value {
	out := make([]Value, rows*columns)
	for c := range columns {
		form := rapid.IntRange(0, 4).Draw(t, "form")
		kind := Kind(rapid.IntRange(0, 4).Draw(t, "kind"))
		few := []Value{drawValue(t, kind), drawValue(t, kind), drawAny(t)}
		for i := range rows {
			v := &out[i*columns+c]
			switch form {
			case 0:
				*v = few[0]
			case 1:
				*v = few[rapid.IntRange(0, 1).Draw(t, "pick")]
			case 2:
				*v = few[rapid.IntRange(0, 2).Draw(t, "pick")]
			case 3:
				*v = drawValue(t, kind)
			default:
				*v = drawAny(t)
			}
		}
	}
	return out
}

func drawRows(t *rapid.T) *Rows {
	columns := rapid.IntRange(1, 6).Draw(t, "columns")
	keys := rapid.IntRange(1, columns).Draw(t, "keys")
	r := &Rows{Table: rapid.SampledFrom([]string{"", "orders", "Order Details"}).Draw(t, "table")}
	for c := range columns {
		r.Columns = append(r.Columns, fmt.Sprint("c", c))
	}
	for k := range keys {
		r.Key = append(r.Key, k)
	}
	if n := rapid.IntRange(0, 60).Draw(t, "rows"); n > 0 {
		r.Values = drawGrid(t, n, columns)
	}
	if n := rapid.IntRange(0, 9).Draw(t, "gone"); n > 0 {
		r.Gone = drawGrid(t, n, keys)
	}
	return r
}

func drawTransaction(t *rapid.T) *Transaction {
	tx := &Transaction{Seq: rapid.Uint64().Draw(t, "seq"), HLC: HLC(rapid.Uint64().Draw(t, "hlc")),
		Offset: time.Duration(rapid.Int64().Draw(t, "offset")), Unaware: rapid.Bool().Draw(t, "unaware")}
	for i, b := range rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id") {
		tx.ID[i], tx.Prev[i], tx.Device[i], tx.Schema[i], tx.Incarnation[i] = b, b+1, b&1, b&2, 9
	}
	for range rapid.IntRange(0, 3).Draw(t, "bases") {
		tx.Bases = append(tx.Bases, Cursor{Epoch: Epoch(rapid.Uint64().Draw(t, "epoch")), Token: rapid.String().Draw(t, "token")})
	}
	columns := []string{"id", "name", "total"}
	for range rapid.IntRange(0, 40).Draw(t, "ops") {
		op := Op{Table: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "table"), Kind: OpKind(rapid.IntRange(1, 3).Draw(t, "op")),
			Columns: columns[:rapid.IntRange(1, 3).Draw(t, "columns")], Move: rapid.Uint32Range(0, 3).Draw(t, "move")}
		n := len(op.Columns)
		if op.Kind != Delete {
			op.New = drawGrid(t, 1, n)
		}
		if op.Kind != Insert {
			op.Base = drawGrid(t, 1, n)
		}
		switch op.Kind {
		case Insert:
			op.Key = Key{op.New[0]}
		default:
			op.Key = Key(drawGrid(t, 1, rapid.IntRange(1, 2).Draw(t, "key")))
		}
		if len(tx.Bases) > 0 {
			op.BaseAt = rapid.IntRange(0, len(tx.Bases)-1).Draw(t, "base")
		}
		op.Rows = rapid.SliceOfN(rapid.Uint64(), 0, 3).Draw(t, "rows")
		if len(op.Rows) == 0 {
			op.Rows = nil
		}
		tx.Ops = append(tx.Ops, op)
	}
	return tx
}

func TestTransactionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tx := drawTransaction(t)
		b := AppendTransaction([]byte("head"), tx)
		got, err := DecodeTransaction(b[4:])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(tx, got) {
			t.Fatalf("wrote %+v\nread  %+v", tx, got)
		}
		if tx.Sum() != got.Sum() || tx.Content() != got.Content() {
			t.Fatal("sums differ")
		}
	})
}

func TestSealedTransactionsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var txs []*Transaction
		for range rapid.IntRange(0, 5).Draw(t, "transactions") {
			txs = append(txs, drawTransaction(t))
		}
		b, err := SealTransactions(txs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenTransactions(b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(txs) {
			t.Fatalf("%d transactions, want %d", len(got), len(txs))
		}
		for i := range txs {
			if !reflect.DeepEqual(txs[i], got[i]) {
				t.Fatalf("transaction %d: wrote %+v\nread  %+v", i, txs[i], got[i])
			}
		}
	})
}

func TestSealedRowsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []*Rows
		for range rapid.IntRange(0, 4).Draw(t, "tables") {
			rows = append(rows, drawRows(t))
		}
		b, err := SealRows(rows)
		if err != nil {
			t.Fatal(err)
		}
		got, err := OpenRows(b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(rows) {
			t.Fatalf("%d tables, want %d", len(got), len(rows))
		}
		for i := range rows {
			if !reflect.DeepEqual(rows[i], got[i]) {
				t.Fatalf("table %d: wrote %+v\nread  %+v", i, rows[i], got[i])
			}
		}
	})
}

func TestRowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cols := rapid.SliceOfN(rapid.String(), 0, 8).Draw(t, "columns")
		vals := make([]Value, len(cols))
		for i := range vals {
			vals[i] = drawAny(t)
		}
		gotCols, gotVals, err := DecodeRow(AppendRow(nil, cols, vals))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(append([]string{}, cols...), gotCols) || !reflect.DeepEqual(vals, gotVals) {
			t.Fatalf("wrote %v %v, read %v %v", cols, vals, gotCols, gotVals)
		}
	})
}

func TestKeyIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Key(drawGrid(t, 1, rapid.IntRange(1, 4).Draw(t, "n"))), Key(drawGrid(t, 1, rapid.IntRange(1, 4).Draw(t, "n")))
		got, err := ParseKeyID(a.ID())
		if err != nil {
			t.Fatal(err)
		}
		if !a.Equal(got) {
			t.Fatalf("wrote %v, read %v", a, got)
		}
		if string(AppendKey(nil, a)) != a.ID() {
			t.Fatal("AppendKey and ID differ")
		}
		if (a.ID() == b.ID()) != a.Equal(b) {
			t.Fatalf("ids of %v and %v", a, b)
		}
	})
}

// The shapes table changes to a map when there are many: both must number alike.
func TestManyShapesRoundTrip(t *testing.T) {
	tx := &Transaction{Seq: 1}
	for i := range 100 {
		tx.Ops = append(tx.Ops, Op{Table: fmt.Sprint("t", i%40), Kind: Update, Key: Key{Int(int64(i))},
			Columns: []string{fmt.Sprint("c", i%40)}, New: []Value{Int(1)}, Base: []Value{Null}})
	}
	got, err := DecodeTransaction(AppendTransaction(nil, tx))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(tx, got) {
		t.Fatal("differs")
	}
	sealed, err := SealTransactions([]*Transaction{tx})
	if err != nil {
		t.Fatal(err)
	}
	all, err := OpenTransactions(sealed, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(tx, all[0]) {
		t.Fatal("sealed differs")
	}
}

// Every encoding of a column must be reached, or the laws above prove little.
func TestColumnEncodings(t *testing.T) {
	uuids, words, times, ints := make([]Value, 100), make([]Value, 100), make([]Value, 100), make([]Value, 100)
	moment := make([]Value, 100)
	s := newShop(3)
	for i := range 100 {
		uuids[i] = Text(s.uuid())
		moment[i] = Text("0190f6a2-7c1e" + s.uuid()[13:])
		words[i] = Text([]string{"red", "green", "blue"}[i%3])
		times[i] = Text(fmt.Sprintf("2026-01-02T03:04:%05d", i*7))
		ints[i] = Int(int64(i) * 5000)
	}
	repeat := func(v ...Value) (out []Value) {
		for range 10 {
			out = append(out, v...)
		}
		return out
	}
	for _, test := range []struct {
		name string
		col  []Value
		want []byte
	}{
		{"constant", []Value{Int(7), Int(7)}, []byte{colConst}},
		{"nulls", []Value{Null, Null}, []byte{colConst}},
		{"small integers", repeat(Int(100), Int(-100), Int(50)), []byte{colInt, intWide1}},
		{"two bytes", repeat(Int(10000), Int(-15000), Int(30000)), []byte{colInt, intWide2}},
		{"four bytes", repeat(Int(-2e9), Int(1<<30), Int(2e9)), []byte{colInt, intWide4}},
		{"eight bytes", repeat(Int(math.MinInt64), Int(3<<60), Int(-5<<58), Int(math.MaxInt64>>1)), []byte{colInt, intWide8}},
		{"steady steps", ints, []byte{colInt, intDelta}},
		{"small and large", repeat(Int(1), Int(2), Int(3), Int(4), Int(5), Int(6), Int(7), Int(8), Int(9), Int(1<<40)), []byte{colInt, intVarint}},
		{"two levels", []Value{Int(0), Int(1), Int(2), Int(1 << 40), Int(1<<40 + 1), Int(1<<40 + 2), Int(1<<40 + 3)}, []byte{colInt, intDelta}},
		{"money", []Value{Float(12.99), Float(0.1)}, []byte{colFloat, floatDecimal}},
		{"negative zero", []Value{Float(math.Copysign(0, -1)), Float(1)}, []byte{colFloat, floatRaw}},
		{"uuids", uuids, []byte{colText, strAside}},
		{"uuids of one time", moment, []byte{colText, strUUID}},
		{"uuids of a foreign key", slices.Concat(uuids, uuids), []byte{colText, strDict, byte(len(uuids)), strAside}},
		{"dictionary", words, []byte{colText, strDict}},
		{"front", times, []byte{colText, strFront}},
		{"plain", []Value{Text("x"), Text("yy")}, []byte{colText, strPlain}},
		{"blob", []Value{BlobString("x"), BlobString("yy")}, []byte{colBlob, strPlain}},
		{"mixed", []Value{Int(1), Null}, []byte{colMixed}},
	} {
		w := &columnWriter{}
		w.column(test.col)
		if string(w.b[:len(test.want)]) != string(test.want) {
			t.Errorf("%s: starts with % x, want % x", test.name, w.b[:len(test.want)], test.want)
		}
		out := make([]Value, len(test.col))
		r := &reader{s: string(w.b), aside: string(w.aside), budget: 1 << 20, rows: 1 << 20}
		r.column(out, len(out), 1)
		if err := r.end(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !reflect.DeepEqual(out, test.col) {
			t.Errorf("%s: wrote %v, read %v", test.name, test.col, out)
		}
	}
}
