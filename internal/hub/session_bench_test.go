package hub_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// BenchmarkHello is what a file costs that comes back and has nothing to say: W6.
func BenchmarkHello(b *testing.B) {
	w := newWorld(b, sealed)
	s := w.site("s", branchGrant("1"))
	s.applies(ins("customer", "c", "1", "Ann"))
	s.runs(w.schema(nil))
	p := s.here()
	s.greets(p)
	h := s.hello()
	h.At, h.Seal, h.Last, h.Schema = p.at, p.seal, s.seq, w.hub.Setup().Schema.Hash()
	defer spending(b)()
	for b.Loop() {
		err := w.hub.NewSession(s.id).Receive(w.ctx, h, func(wire.Message) error { return nil })
		w.must(err)
	}
}

// BenchmarkPush is one transaction of one row at a time, with and without large
// transactions of another device in quarantine.
func BenchmarkPush(b *testing.B) {
	for _, tc := range []struct {
		name   string
		parked int
	}{{"quiet", 0}, {"quarantine", 200}} {
		b.Run(tc.name, func(b *testing.B) {
			w := newWorld(b)
			low, high := w.site("a", everywhere), w.site("b", everywhere)
			if low.id.String() > high.id.String() {
				low, high = high, low
			}
			for i := range tc.parked {
				high.parks("", ins("orders", "o"+string(rune(0x4E00+i)), "nobody", strings.Repeat("a big order ", 1700), 1))
			}
			low.applies(ins("pair", "p", 0, 0))
			txs := make([]*change.Transaction, 0, b.N)
			defer spending(b)()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				t := low.tx(upd("pair", "p", "x", i, i+1))
				txs = append(txs[:0], t)
				b.StartTimer()
				_, err := w.hub.Push(w.ctx, low.id, txs)
				w.must(err)
			}
		})
	}
}

// spending reports the processor time of each round.
func spending(b *testing.B) func() {
	from := processor()
	return func() {
		b.ReportMetric(float64((processor()-from)/time.Microsecond)/float64(b.N), "cpu-us/op")
	}
}
