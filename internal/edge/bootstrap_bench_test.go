//go:build unix

package edge

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// BenchmarkBootstrap compares filling a new file by a full fetch with plain inserts of
// the same rows, in the order of their keys.
func BenchmarkBootstrap(b *testing.B) {
	const n = 50000
	values := benchRows(n, "0")
	rows := slices.Collect(slices.Chunk(values, 6))
	slices.SortFunc(rows, func(x, y []change.Value) int {
		if x[0].Str() < y[0].Str() {
			return -1
		}
		return 1
	})
	sorted := slices.Concat(rows...)
	best := func(b *testing.B, one func() time.Duration) {
		d := one()
		for range b.N {
			d = min(d, one())
		}
		b.ReportMetric(float64(d.Nanoseconds())/n, "min-cpu-ns/row")
	}
	b.Run("raw", func(b *testing.B) {
		best(b, func() time.Duration {
			c, err := sqlite.Open(filepath.Join(b.TempDir(), "raw.db"), sqlite.Options{WAL: true, NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if err := sqlite.Script(c, benchDDL+"; CREATE INDEX orders_customer ON orders (customer_id)"); err != nil {
				b.Fatal(err)
			}
			st, err := c.Prepare("INSERT INTO orders VALUES (?,?,?,?,?,?)")
			if err != nil {
				b.Fatal(err)
			}
			t0 := spent(b)
			err = sqlite.Immediate(c, func() error {
				for i := range n {
					if err := exec(st, sorted[i*6:i*6+6]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			return spent(b) - t0
		})
	})
	b.Run("fetch", func(b *testing.B) {
		best(b, func() time.Duration {
			c := enrolled(b, benchDDL, "CREATE INDEX orders_customer ON orders (customer_id)")
			if err := sqlite.Exec(c.e.conn, "PRAGMA journal_mode=WAL"); err != nil {
				b.Fatal(err)
			}
			r := c.h.batch("orders")
			r.Values = sorted
			in := &incoming{each: func(fn func(*change.Rows) error) error { return fn(r) }, full: true, next: change.Cursor{Epoch: 7, Token: "1"}}
			t0 := spent(b)
			if _, err := c.e.apply(in); err != nil {
				b.Fatal(err)
			}
			return spent(b) - t0
		})
	})
}

// spent is the CPU time that this process used so far: less is at the mercy of whoever
// else runs on the machine than with the time that passed.
func spent(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
