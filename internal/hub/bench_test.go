package hub_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// BenchmarkIngest takes in 2,000 offline transactions of 5 rows each (insert 1
// order and 3 lines, update an older order), as one push, over a file with fsync
// off; what the same writes cost raw is BenchmarkIngestCeiling.
func BenchmarkIngest(b *testing.B) {
	for _, tc := range []struct {
		name  string
		stale bool // others wrote since: the log is asked about each row
	}{{"quiet", false}, {"others", true}} {
		b.Run(tc.name, func(b *testing.B) {
			var spent time.Duration
			defer func() { b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op") }()
			for b.Loop() {
				b.StopTimer()
				w := newWorld(b)
				s := w.site("s", branchGrant("1"))
				s.applies(ins("customer", "c", "1", "Ann"), ins("orders", "first", "c", "new", 1))
				s.pull()
				if tc.stale {
					w.sql("INSERT INTO product(id) VALUES ('p')")
				}
				txs := ingestWork(s)
				b.StartTimer()
				from := processor()
				res, err := w.hub.Push(w.ctx, s.id, txs)
				spent += processor() - from
				b.StopTimer()
				if err != nil || len(res.Results) != len(txs) || hub.Status(res.Results[1].Status) != hub.Applied {
					b.Fatalf("%v, %v", err, res.Results[1])
				}
				_ = w.store.Close()
				b.StartTimer()
			}
		})
	}
}

// processor is the processor time this process has used: on a shared machine it
// says more than the clock.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ingestWork(s *site) []*change.Transaction {
	pad := strings.Repeat("x", 100)
	var txs []*change.Transaction
	last := "first"
	for i := range 2000 {
		o := fmt.Sprintf("0190f6a2-7c1e-7d3a-9b2f-%012x", i)
		txs = append(txs, s.tx(ins("orders", o, "c", "new"+pad, 1), ins("line", o, 1, pad), ins("line", o, 2, pad), ins("line", o, 3, pad),
			upd("orders", last, "status", map[bool]string{true: "new", false: "new" + pad}[i == 0], "paid"+pad)))
		last = o
	}
	return txs
}

func BenchmarkIngestCeiling(b *testing.B) {
	var spent time.Duration
	defer func() { b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op") }()
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		s := w.site("s", branchGrant("1"))
		txs := ingestWork(s)
		path := filepath.Join(b.TempDir(), "raw.db")
		c, err := sqlite.Open(path, sqlite.Options{WAL: true, NoSync: true})
		w.must(err)
		for _, q := range shopDDL {
			w.must(sqlite.Exec(c, q))
		}
		b.StartTimer()
		from := processor()
		w.must(sqlite.Immediate(c, func() error {
			for _, t := range txs {
				for _, op := range t.Ops {
					var err error
					switch op.Table + op.Kind.String() {
					case "ordersinsert":
						err = sqlite.Exec(c, "INSERT INTO orders VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET status=excluded.status", op.New...)
					case "lineinsert":
						err = sqlite.Exec(c, "INSERT INTO line VALUES (?,?,?) ON CONFLICT DO UPDATE SET item=excluded.item", op.New...)
					default:
						err = sqlite.Exec(c, "UPDATE orders SET status=? WHERE id=?", op.New[0], op.Key[0])
					}
					if err != nil {
						return err
					}
				}
			}
			return nil
		}))
		spent += processor() - from
		b.StopTimer()
		_ = c.Close()
		_ = w.store.Close()
		b.StartTimer()
	}
}
