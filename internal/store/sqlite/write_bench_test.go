package sqlitestore

import (
	"context"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The workload of the benchmarks: customers, orders and lines with text keys and
// about 200 bytes a row.
var shopDDL = []string{
	`CREATE TABLE customers (id TEXT PRIMARY KEY, branch TEXT NOT NULL, name TEXT, email TEXT, note TEXT)`,
	`CREATE TABLE orders (id TEXT PRIMARY KEY, customer_id TEXT REFERENCES customers(id), branch TEXT NOT NULL, status TEXT, total INTEGER, at TEXT, note TEXT)`,
	`CREATE TABLE order_lines (id TEXT PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders(id) ON DELETE CASCADE, product TEXT, qty INTEGER, price REAL, note TEXT)`,
	`CREATE INDEX orders_customer ON orders (customer_id)`,
	`CREATE INDEX lines_order ON order_lines (order_id)`,
}

func shopRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "customers", Scope: rule.Scope{Kind: "branch", Column: "branch"}},
		{Name: "orders", Scope: rule.Scope{Kind: "branch", Column: "branch"}},
		{Name: "order_lines", Scope: rule.Scope{Via: "order_id"}},
	}}
}

type shop struct{ r *mrand.Rand }

func (s shop) id() change.Value {
	var b [16]byte
	for i := range b {
		b[i] = byte(s.r.UintN(256))
	}
	return change.Text(change.TxID(b).String())
}

func (s shop) text(n int) change.Value {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + s.r.UintN(26))
	}
	return change.Text(string(b))
}

var (
	orderCols = []string{"id", "customer_id", "branch", "status", "total", "at", "note"}
	lineCols  = []string{"id", "order_id", "product", "qty", "price", "note"}
	updCols   = []string{"status", "total"}
)

// transactions is n times: one order, three lines, one older order updated.
func (s shop) transactions(n int) [][]hub.Effect {
	var out [][]hub.Effect
	var orders []change.Value
	customer := s.id()
	for range n {
		id := s.id()
		list := []hub.Effect{{Table: "orders", Kind: change.Insert, Key: change.Key{id}, Columns: orderCols,
			Values: []change.Value{id, customer, change.Text("7"), change.Text("new"), change.Int(100), change.Text("2026-01-01T00:00:00Z"), s.text(90)}}}
		for range 3 {
			l := s.id()
			list = append(list, hub.Effect{Table: "order_lines", Kind: change.Insert, Key: change.Key{l}, Columns: lineCols,
				Values: []change.Value{l, id, s.text(12), change.Int(3), change.Float(9.5), s.text(90)}})
		}
		if len(orders) > 0 {
			old := orders[s.r.IntN(len(orders))]
			list = append(list, hub.Effect{Table: "orders", Kind: change.Update, Key: change.Key{old}, Columns: updCols,
				Values: []change.Value{change.Text("paid"), change.Int(s.r.Int64N(1000))}})
		}
		orders = append(orders, id)
		out = append(out, list)
	}
	return out
}

func (s shop) received(list [][]hub.Effect, inc change.Incarnation) []hub.Received {
	out := make([]hub.Received, len(list))
	for i, effects := range list {
		tx := &change.Transaction{Incarnation: inc, Seq: uint64(i + 1), HLC: change.NewHLC(1000, uint16(i)), Bases: []change.Cursor{{}}}
		copy(tx.ID[:], fmt.Sprintf("%016d", i))
		for _, e := range effects {
			op := change.Op{Table: e.Table, Kind: e.Kind, Key: e.Key, Columns: e.Columns, New: e.Values}
			if e.Kind == change.Update {
				op.Base = make([]change.Value, len(e.Columns))
			}
			tx.Ops = append(tx.Ops, op)
		}
		out[i] = hub.Received{Tx: tx, ID: tx.ID, Inc: inc, Seq: tx.Seq, Status: hub.Applied, At: time.UnixMilli(1)}
	}
	return out
}

func openShop(b testing.TB, dir string) *Store {
	path := filepath.Join(dir, "hub.db")
	if err := Create(path, shopDDL); err != nil {
		b.Fatal(err)
	}
	s, err := Open(Config{Path: path, Rules: shopRules(), Rand: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

const benchTxs = 2000

// stopwatch adds up processor time, which neighbours on the machine disturb less.
type stopwatch struct{ total, since time.Duration }

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (w *stopwatch) start(b *testing.B) { b.StartTimer(); w.since = cpu() }
func (w *stopwatch) stop(b *testing.B)  { w.total += cpu() - w.since; b.StopTimer() }
func (w *stopwatch) report(b *testing.B) {
	b.ReportMetric(float64(w.total.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkWriteRaw is the ruler: the same rows without capture, journal or savepoints.
func BenchmarkWriteRaw(b *testing.B) {
	var w stopwatch
	b.StopTimer()
	defer w.report(b)
	for i := range b.N {
		path := filepath.Join(b.TempDir(), "raw.db")
		if err := Create(path, shopDDL); err != nil {
			b.Fatal(err)
		}
		c, err := sqlite.Open(path, sqlite.Options{WAL: true, Full: true, CacheKB: cacheKB})
		if err != nil {
			b.Fatal(err)
		}
		work := shop{mrand.New(mrand.NewPCG(uint64(i), 1))}.transactions(benchTxs)
		up := map[string]string{
			"orders":      "INSERT INTO orders VALUES (?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET customer_id=excluded.customer_id, branch=excluded.branch, status=excluded.status, total=excluded.total, at=excluded.at, note=excluded.note",
			"order_lines": "INSERT INTO order_lines VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET order_id=excluded.order_id, product=excluded.product, qty=excluded.qty, price=excluded.price, note=excluded.note",
		}
		w.start(b)
		err = sqlite.Immediate(c, func() error {
			for _, tx := range work {
				for _, e := range tx {
					q, args := up[e.Table], e.Values
					if e.Kind == change.Update {
						q, args = "UPDATE orders SET status=?, total=? WHERE id=?", append(append([]change.Value{}, e.Values...), e.Key...)
					}
					if err := sqlite.Exec(c, q, args...); err != nil {
						return err
					}
				}
			}
			return nil
		})
		w.stop(b)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkWrite is what a push of 2,000 transactions, 10,000 row changes, costs the store.
func BenchmarkWrite(b *testing.B) {
	var w stopwatch
	b.StopTimer()
	defer w.report(b)
	for i := range b.N {
		s := openShop(b, b.TempDir())
		g := shop{mrand.New(mrand.NewPCG(uint64(i), 1))}
		work := g.transactions(benchTxs)
		inc := change.Incarnation{1}
		rec := g.received(work, inc)
		w.start(b)
		if err := pushAll(s, inc, work, rec); err != nil {
			b.Fatal(err)
		}
		w.stop(b)
		s.Close()
	}
}

func pushAll(s *Store, inc change.Incarnation, work [][]hub.Effect, rec []hub.Received) error {
	return s.Update(context.Background(), func(t hub.Tx) error {
		for i, effects := range work {
			err := t.Savepoint(func() error {
				if err := t.As(inc, change.NewHLC(5000, uint16(i))); err != nil {
					return err
				}
				for _, e := range effects {
					if err := t.Write(e); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return t.Receive(rec)
	})
}

// BenchmarkDelta reads 10,000 changed rows.
func BenchmarkDelta(b *testing.B) {
	s := openShop(b, b.TempDir())
	defer s.Close()
	g := shop{mrand.New(mrand.NewPCG(1, 1))}
	var start change.Cursor
	s.View(context.Background(), func(v hub.View) (err error) { start, err = v.Cursor(); return err })
	work := g.transactions(2500)
	if err := pushAll(s, change.Incarnation{1}, work, g.received(work, change.Incarnation{1})); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		rows := 0
		err := s.View(context.Background(), func(v hub.View) error {
			return v.Delta(start, change.Incarnation{2}, []rule.ScopeID{"branch/7"}, 256<<10, func(r *change.Rows) error {
				rows += r.Len()
				return nil
			})
		})
		if err != nil {
			b.Fatal(err)
		}
		if rows != 10000 {
			b.Fatal(rows)
		}
	}
}
