package postgresstore

import (
	"fmt"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

func benchShop(b *testing.B) *Store {
	b.Helper()
	dsn := pgtest.Database(b)
	psql(b, dsn, shopDDL)
	psql(b, dsn, `INSERT INTO customer SELECT 'c' || i, 'r' || i % 20, 'n' FROM generate_series(1, 2000) i`)
	return serve(b, Config{DSN: dsn, Rules: shopRules()})
}

// BenchmarkPush writes what a hub writes for transactions of an order and three lines.
func BenchmarkPush(b *testing.B) {
	for _, together := range []int{1, 100} {
		b.Run(fmt.Sprintf("together=%d", together), func(b *testing.B) {
			s := benchShop(b)
			n := int64(0)
			for b.Loop() {
				err := s.Update(b.Context(), func(tx hub.Tx) error {
					tx.Again()
					for range together {
						n++
						err := tx.Savepoint(func() error {
							if err := tx.As(edgeA, change.NewHLC(n, 0)); err != nil {
								return err
							}
							if err := tx.Write(put1("invoice", "id customer_id total", change.Int(n), change.Text("c1"), change.Text("1.00"))); err != nil {
								return err
							}
							for i := range int64(3) {
								if err := tx.Write(put1("line", "id invoice_id what", change.Int(4*n+i), change.Int(n), change.Text("something"))); err != nil {
									return err
								}
							}
							return tx.Write(set1("customer", change.Text(fmt.Sprintf("c%d", 1+n%2000)), "name", change.Text(fmt.Sprint(n))))
						})
						if err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/tx")
		})
	}
}

// BenchmarkTouched asks who changed a row, as the hub does for each one it writes.
func BenchmarkTouched(b *testing.B) {
	s := benchShop(b)
	var c change.Cursor
	if err := s.View(b.Context(), func(v hub.View) (err error) { c, err = v.Cursor(); return err }); err != nil {
		b.Fatal(err)
	}
	err := s.View(b.Context(), func(v hub.View) error {
		for b.Loop() {
			if _, err := v.Touched("customer", change.Key{change.Text("c7")}, c, edgeA); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkView opens a snapshot and mints its cursor.
func BenchmarkView(b *testing.B) {
	s := benchShop(b)
	for b.Loop() {
		if err := s.View(b.Context(), func(v hub.View) error { _, err := v.Cursor(); return err }); err != nil {
			b.Fatal(err)
		}
	}
}
