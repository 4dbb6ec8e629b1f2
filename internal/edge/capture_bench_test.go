package edge

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const benchSchema = `CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL, customer_id TEXT NOT NULL, status TEXT NOT NULL,
  total INTEGER NOT NULL, note TEXT, address TEXT, created_at TEXT, quantity INTEGER, price REAL);
CREATE INDEX orders_customer ON orders(customer_id);`

// A benchFile is a file under the benchmark's writes, captured or not.
type benchFile struct {
	b    *testing.B
	app  *sqlite.Conn
	e    *Engine
	rng  *rand.Rand
	ids  []string
	next int
}

func newBenchFile(b *testing.B, captured bool) *benchFile {
	path := filepath.Join(b.TempDir(), "app.db")
	app, err := sqlite.Open(path, sqlite.Options{WAL: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { app.Close() })
	f := &benchFile{b: b, app: app, rng: rand.New(rand.NewPCG(1, 2))}
	if err := sqlite.Script(app, benchSchema); err != nil {
		b.Fatal(err)
	}
	if captured {
		if f.e, err = Open(Config{Path: path, Clock: clock.System{}, Rand: rand.NewChaCha8([32]byte{1})}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.e.Close() })
		if _, err := f.e.Install(setupOf(b, app, "orders"), deviceNo(1), InstallOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func (f *benchFile) id() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", f.rng.Uint32(), f.rng.Uint32()>>16, f.rng.Uint32()>>20, f.rng.Uint32()>>20, f.rng.Uint64()>>16)
}

// insert adds n rows and returns the time it took, ids not counted.
func (f *benchFile) insert(n int, oneByOne bool) time.Duration {
	st := f.app.Prep(`INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?)`)
	fresh := make([]string, n)
	for i := range fresh {
		fresh[i] = f.id()
	}
	f.ids = append(f.ids, fresh...)
	return f.each(n, oneByOne, func(i int) {
		st.BindText(1, fresh[i])
		st.BindText(2, f.ids[i/7])
		st.BindText(3, "open")
		st.BindInt64(4, int64(i*100))
		st.BindText(5, "a note about this order, of usual length, so that a row has about 200 bytes")
		st.BindText(6, "12 Long Street, Smalltown, Somewhere")
		st.BindText(7, "2026-11-21T22:04:05Z")
		st.BindInt64(8, 3)
		st.BindFloat(9, 9.95)
		if err := run(st); err != nil {
			f.b.Fatal(err)
		}
	})
}

func (f *benchFile) update(n int, oneByOne bool) time.Duration {
	st := f.app.Prep(`UPDATE orders SET status=?, quantity=quantity+1 WHERE id=?`)
	f.next++
	return f.each(n, oneByOne, func(i int) {
		st.BindText(1, fmt.Sprint("state", f.next))
		st.BindText(2, f.ids[i])
		if err := run(st); err != nil {
			f.b.Fatal(err)
		}
	})
}

func (f *benchFile) each(n int, oneByOne bool, do func(int)) time.Duration {
	do1 := func(sql string) {
		if err := sqlite.Exec(f.app, sql); err != nil {
			f.b.Fatal(err)
		}
	}
	start := clock.System{}.Now()
	if !oneByOne {
		do1("BEGIN IMMEDIATE")
	}
	for i := range n {
		do(i)
	}
	if !oneByOne {
		do1("COMMIT")
	}
	return clock.System{}.Now().Sub(start)
}

// BenchmarkCapture measures the application's writes with and without capture,
// in turns, and reports the ratio of the best rounds.
func BenchmarkCapture(b *testing.B) {
	for _, x := range []struct {
		name     string
		rows     int
		oneByOne bool
	}{{"bulk", 5000, false}, {"commit", 300, true}} {
		b.Run(x.name, func(b *testing.B) {
			bare, full := newBenchFile(b, false), newBenchFile(b, true)
			best := map[string]time.Duration{}
			note := func(k string, d time.Duration) {
				if best[k] == 0 || d < best[k] {
					best[k] = d
				}
			}
			for b.Loop() {
				note("bare insert", bare.insert(x.rows, x.oneByOne))
				note("insert", full.insert(x.rows, x.oneByOne))
				note("bare update", bare.update(x.rows, x.oneByOne))
				note("update", full.update(x.rows, x.oneByOne))
				if _, err := full.e.Export(); err != nil {
					b.Fatal(err)
				}
			}
			for _, k := range []string{"insert", "update"} {
				b.ReportMetric(float64(best[k])/float64(best["bare "+k]), k+"-ratio")
				b.ReportMetric(float64(best[k].Nanoseconds())/float64(x.rows), k+"-ns/row")
			}
		})
	}
}

// BenchmarkExport reports the time per row of a bulk of inserts and of updates.
func BenchmarkExport(b *testing.B) {
	for _, kind := range []string{"insert", "update"} {
		b.Run(kind, func(b *testing.B) {
			f := newBenchFile(b, true)
			const rows = 5000
			var best time.Duration
			for b.Loop() {
				b.StopTimer()
				f.insert(rows, false)
				if kind == "update" {
					if _, err := f.e.Export(); err != nil {
						b.Fatal(err)
					}
					settle(b, f.e)
					f.update(rows, false)
				}
				b.StartTimer()
				start := clock.System{}.Now()
				n, err := f.e.Export()
				if err != nil || n != 1 {
					b.Fatal(n, err)
				}
				if d := (clock.System{}).Now().Sub(start); best == 0 || d < best {
					best = d
				}
				b.StopTimer()
				settle(b, f.e)
				b.StartTimer()
			}
			b.ReportMetric(float64(best.Nanoseconds())/rows, "ns/row")
		})
	}
}

// settle forgets what was exported, as a settled outcome would.
func settle(b *testing.B, e *Engine) {
	err := sqlite.Immediate(e.conn, func() error {
		if err := sqlite.Exec(e.conn, `UPDATE _tidemark_outbox SET state=?`, change.Int(int64(settled))); err != nil {
			return err
		}
		return sqlite.Script(e.conn, `DELETE FROM _tidemark_pending; DELETE FROM _tidemark_shadow`)
	})
	if err != nil {
		b.Fatal(err)
	}
}
