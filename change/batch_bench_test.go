package change

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A shop makes rows like those of the project's benchmark: customers, orders
// and order lines, text UUID keys, about 200 bytes a row.
type shop struct{ r *rand.Rand }

func newShop(seed uint64) *shop { return &shop{rand.New(rand.NewPCG(seed, 1))} }

func (s *shop) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return formatUUID(b)
}

var shopWords = []string{"harbour", "lantern", "quiet", "copper", "willow", "stone", "market", "seven", "bright", "river",
	"north", "paper", "glass", "autumn", "field", "silver", "garden", "winter", "corner", "bridge"}

func (s *shop) words(n int) string {
	out := ""
	for i := range n {
		if i > 0 {
			out += " "
		}
		out += shopWords[s.r.IntN(len(shopWords))]
	}
	return out
}

var orderColumns = []string{"id", "customer_id", "branch_id", "status", "total", "note", "created_at", "updated_at"}

func (s *shop) order(i int) []Value {
	at := time.Unix(1767225600+int64(i)*37, 0).UTC().Format("2006-01-02T15:04:05Z")
	return []Value{Text(s.uuid()), Text(s.uuid()), Int(int64(s.r.IntN(20))), Text([]string{"new", "paid", "sent", "done"}[s.r.IntN(4)]),
		Float(float64(s.r.IntN(100000)) / 100), Text(s.words(8)), Text(at), Text(at)}
}

var lineColumns = []string{"id", "order_id", "sku", "quantity", "price", "note"}

func (s *shop) line(order Value) []Value {
	return []Value{Text(s.uuid()), order, Text(fmt.Sprintf("SKU-%05d", s.r.IntN(5000))), Int(int64(1 + s.r.IntN(9))),
		Float(float64(s.r.IntN(9000)) / 100), Text(s.words(10))}
}

func (s *shop) rows(n int) *Rows {
	out := &Rows{Table: "orders", Columns: orderColumns, Key: []int{0}}
	for i := range n {
		out.Values = append(out.Values, s.order(i)...)
	}
	return out
}

// transactions insert an order and three lines and update an older order.
func (s *shop) transactions(n int) []*Transaction {
	out := make([]*Transaction, n)
	device, inc := DeviceID{1, 2, 3}, Incarnation{4, 5, 6}
	var prev Hash
	for i := range out {
		t := &Transaction{Device: device, Incarnation: inc, Seq: uint64(i + 1), Prev: prev, Schema: SchemaHash{7},
			Bases: []Cursor{{Epoch: 9, Token: "1234.567890"}}, HLC: NewHLC(1767225600000+int64(i)*731, 0), Offset: 12 * time.Millisecond}
		for j := range t.ID {
			t.ID[j] = byte(s.r.Uint32())
		}
		order := s.order(i)
		t.Ops = append(t.Ops, Op{Table: "orders", Kind: Insert, Key: Key{order[0]}, Columns: orderColumns, New: order})
		for range 3 {
			l := s.line(order[0])
			t.Ops = append(t.Ops, Op{Table: "order_lines", Kind: Insert, Key: Key{l[0]}, Columns: lineColumns, New: l})
		}
		t.Ops = append(t.Ops, Op{Table: "orders", Kind: Update, Key: Key{Text(s.uuid())}, Columns: []string{"status", "updated_at"},
			New: []Value{Text("sent"), order[7]}, Base: []Value{Text("new"), order[6]}})
		for j := range t.Ops {
			t.Ops[j].Rows = []uint64{s.r.Uint64()}
		}
		prev = t.Sum()
		out[i] = t
	}
	return out
}

// plainJSON is what a simple protocol would send for v.
func plainJSON(v Value) any {
	switch v.Kind() {
	case KindInt:
		return v.Int()
	case KindFloat:
		return v.Float()
	case KindText:
		return v.Str()
	case KindBlob:
		return hex.EncodeToString([]byte(v.Str()))
	}
	return nil
}

func zstdFastest(tb testing.TB, b []byte) int {
	tb.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	return len(e.EncodeAll(b, nil))
}

func rowsJSON(tb testing.TB, rows *Rows) []byte {
	tb.Helper()
	list := make([]map[string]any, rows.Len())
	for i := range list {
		list[i] = map[string]any{}
		for c, v := range rows.Row(i) {
			list[i][rows.Columns[c]] = plainJSON(v)
		}
	}
	b, err := json.Marshal(list)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestRowsAreSmallerThanJSON(t *testing.T) {
	rows := newShop(1).rows(10000)
	sealed, err := SealRows([]*Rows{rows})
	if err != nil {
		t.Fatal(err)
	}
	plain := rowsJSON(t, rows)
	packed := zstdFastest(t, plain)
	t.Logf("bytes a row: sealed %.1f, JSON+zstd %.1f, JSON %.1f", float64(len(sealed))/10000, float64(packed)/10000, float64(len(plain))/10000)
	if float64(len(sealed)) > 0.75*float64(packed) {
		t.Errorf("sealed %d bytes, JSON+zstd %d: more than 0.75 of it", len(sealed), packed)
	}
}

func BenchmarkSealRows(b *testing.B) {
	rows := []*Rows{newShop(1).rows(10000)}
	for b.Loop() {
		if _, err := SealRows(rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/row")
}

func BenchmarkOpenRows(b *testing.B) {
	sealed, err := SealRows([]*Rows{newShop(1).rows(10000)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := OpenRows(sealed, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/row")
	b.ReportMetric(float64(len(sealed))/10000, "bytes/row")
}

func BenchmarkSealTransactions(b *testing.B) {
	txs := newShop(2).transactions(2000)
	for b.Loop() {
		if _, err := SealTransactions(txs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/op-row")
}

func BenchmarkOpenTransactions(b *testing.B) {
	sealed, err := SealTransactions(newShop(2).transactions(2000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := OpenTransactions(sealed, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/op-row")
	b.ReportMetric(float64(len(sealed))/10000, "bytes/op-row")
}

func BenchmarkHashRow(b *testing.B) {
	row := newShop(1).order(1)
	h := NewRowHasher(orderColumns)
	for b.Loop() {
		h.Hash(row)
	}
}
