package edge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const benchDDL = `CREATE TABLE orders (id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, at TEXT, state TEXT, total INTEGER, note TEXT)`

func benchRows(n int, round string) []change.Value {
	r := rand.New(rand.NewPCG(1, 2))
	var out []change.Value
	for range n {
		out = append(out, text(fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff, r.Uint32()&0xfff, r.Uint64()&0xffffffffffff)),
			text(fmt.Sprintf("%08x-0000-4000-8000-000000000000", r.Uint32())), text("2026-03-01T10:11:12Z"), text("open"+round),
			num(int64(r.Uint32()%100000)), text(strings.Repeat("note ", 16)+round))
	}
	return out
}

// BenchmarkApply compares how long the write lock is held while a delta of 10,000
// changed rows is applied with a plain upsert of the same rows.
func BenchmarkApply(b *testing.B) {
	const n = 10000
	b.Run("raw", func(b *testing.B) {
		c := enrolled(b, benchDDL, "CREATE INDEX orders_customer ON orders (customer_id)")
		if err := sqlite.Exec(c.e.conn, "PRAGMA journal_mode=WAL"); err != nil {
			b.Fatal(err)
		}
		if err := sqlite.Script(c.app, "DROP TRIGGER IF EXISTS x"); err != nil {
			b.Fatal(err)
		}
		if err := c.e.dropTriggers(); err != nil {
			b.Fatal(err)
		}
		st, err := c.e.conn.Prepare("INSERT INTO orders VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET customer_id=excluded.customer_id, at=excluded.at, state=excluded.state, total=excluded.total, note=excluded.note")
		if err != nil {
			b.Fatal(err)
		}
		write := func(round string) time.Duration {
			rows := benchRows(n, round)
			t0 := time.Now()
			err := sqlite.Immediate(c.e.conn, func() error {
				for i := range n {
					if err := exec(st, rows[i*6:i*6+6]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			return time.Since(t0)
		}
		write("0")
		b.ResetTimer()
		d := write("1")
		for i := range b.N {
			d = min(d, write(fmt.Sprint(i+2)))
		}
		b.ReportMetric(float64(d.Microseconds())/n, "min-µs/row")
	})
	b.Run("apply", func(b *testing.B) {
		c := enrolled(b, benchDDL, "CREATE INDEX orders_customer ON orders (customer_id)")
		if err := sqlite.Exec(c.e.conn, "PRAGMA journal_mode=WAL"); err != nil {
			b.Fatal(err)
		}
		write := func(round string, at int) time.Duration {
			r := c.h.batch("orders")
			r.Values = benchRows(n, round)
			in := &incoming{each: func(fn func(*change.Rows) error) error { return fn(r) }, next: change.Cursor{Epoch: 7, Token: fmt.Sprint(at)}}
			t0 := time.Now()
			if _, err := c.e.apply(in); err != nil {
				b.Fatal(err)
			}
			return time.Since(t0)
		}
		write("0", 1)
		b.ResetTimer()
		d := write("1", 2)
		for i := range b.N {
			d = min(d, write(fmt.Sprint(i+2), i+3))
		}
		b.ReportMetric(float64(d.Microseconds())/n, "min-µs/row")
	})
}
