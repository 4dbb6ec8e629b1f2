package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

var regions = []string{"east", "north", "south", "west"}

// A holder is one who holds the rows of a region, and goes by deltas alone.
type holder struct {
	region string
	at     change.Cursor
	rows   map[string]string
}

func (h *holder) pull(ctx context.Context, s *Store) error {
	return s.View(ctx, func(v hub.View) error {
		err := v.Delta(h.at, change.Incarnation{}, []rule.ScopeID{rule.ScopeID("region/" + h.region)}, 100, func(r *change.Rows) error {
			for i := range r.Len() {
				h.rows[r.Table+" "+r.KeyOf(i).String()] = change.Key(r.Row(i)).String()
			}
			for i := range r.GoneLen() {
				delete(h.rows, r.Table+" "+r.GoneKey(i).String())
			}
			return nil
		})
		if err == nil {
			h.at, err = v.Cursor()
		}
		return err
	})
}

// crowd is how many customers there are, each with two invoices of two lines.
const crowd = 150

// A scribe writes at random, in transactions that others cross: all of them are at about
// the same customers at a time, and then never again, so that nothing mends what is wrong.
type scribe struct {
	*rand.Rand
	n, made int
	pace    *atomic.Int64 // of all of them
}

// about is a customer, an invoice and a line of those that everybody is at.
func (w *scribe) about() (customer, invoice, line int) {
	customer = (int(w.pace.Load())/4 + w.IntN(3)) % crowd
	return customer, 2*customer + w.IntN(2), 4*customer + w.IntN(4)
}

func (w *scribe) statement() string {
	customer, _, line := w.about()
	_, invoice, _ := w.about()
	w.made++
	fresh := 10_000*(w.n+1) + w.made
	switch w.IntN(12) {
	case 0, 1:
		return fmt.Sprintf("UPDATE customer SET region = '%s' WHERE id = 'c%d'", regions[w.IntN(len(regions))], customer)
	case 2, 3:
		return fmt.Sprintf("UPDATE invoice SET customer_id = 'c%d' WHERE id = %d", customer, invoice)
	case 4:
		return fmt.Sprintf("UPDATE line SET invoice_id = %d WHERE id = %d", invoice, line)
	case 5:
		return fmt.Sprintf("UPDATE line SET what = 'w%d' WHERE id = %d", fresh, line)
	case 6:
		return fmt.Sprintf("DELETE FROM line WHERE id = %d", line)
	case 7:
		return fmt.Sprintf("UPDATE line SET id = %d WHERE id = %d", fresh, line)
	case 8, 9:
		return fmt.Sprintf("INSERT INTO line VALUES (%d, %d, 'new')", fresh, invoice)
	case 10:
		return fmt.Sprintf("INSERT INTO invoice VALUES (%d, 'c%d', 1)", fresh, customer)
	default:
		return fmt.Sprintf("INSERT INTO line VALUES (%d, %d, 'again') ON CONFLICT (id) DO UPDATE SET what = 'w%d'", line, invoice, fresh)
	}
}

// transaction runs a few statements, each a trip of its own. What collides, or refers to
// nothing, is rolled back.
func (w *scribe) transaction(ctx context.Context, c *pgx.Conn) error {
	w.pace.Add(1)
	level := pgx.ReadCommitted
	switch w.IntN(4) {
	case 0:
		level = pgx.RepeatableRead
	case 1:
		level = pgx.Serializable
	}
	err := pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: level}, func(tx pgx.Tx) error {
		for range 1 + w.IntN(4) {
			if _, err := tx.Exec(ctx, w.statement()); err != nil {
				return err
			}
		}
		return nil
	})
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && slices.Contains([]string{"40001", "40P01", "23503", "23505"}, pe.Code) {
		return nil
	}
	return err
}

// Whoever writes at the same time, and however: in the end each holds what there is.
func TestI2_ReadersHoldWhatIsThereWhoeverWroteAtTheSameTime(t *testing.T) {
	s, dsn := shop(t)
	psql(t, dsn, fmt.Sprintf(`INSERT INTO customer SELECT 'c' || i, (ARRAY['east', 'north', 'south', 'west'])[i %% 4 + 1], 'n' FROM generate_series(0, %d) AS i;
		INSERT INTO invoice SELECT i, 'c' || i / 2, 1 FROM generate_series(0, %d) AS i; INSERT INTO line SELECT i, i / 2, 'old' FROM generate_series(0, %d) AS i`, crowd-1, 2*crowd-1, 4*crowd-1))
	holders := make([]*holder, len(regions))
	begin := at(t, s)
	for i, r := range regions {
		holders[i] = &holder{r, begin, there(t, dsn, r)}
	}
	ctx, stop := context.WithCancel(t.Context())
	var writers, readers sync.WaitGroup
	seed := rand.Uint64() //nolint:gosec // a test's
	t.Log("seed", seed)
	pace := &atomic.Int64{}
	scribes := 6
	for n := range scribes {
		w := &scribe{rand.New(rand.NewPCG(seed, uint64(n))), n, 0, pace} //nolint:gosec // a test's
		c := connect(t, dsn)
		writers.Go(func() {
			for range 4 * crowd / (scribes + 1) {
				if err := w.transaction(t.Context(), c); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Go(func() { // a device, by way of the hub
		w := &scribe{rand.New(rand.NewPCG(seed, 99)), scribes, 0, pace} //nolint:gosec // a test's
		for i := range 4 * crowd / (scribes + 1) {
			pace.Add(1)
			n, _, _ := w.about()
			_, m, _ := w.about()
			customer, invoice := change.Text(fmt.Sprint("c", n)), change.Int(int64(m))
			e := set1("customer", customer, "region", change.Text(regions[w.IntN(4)]))
			switch w.IntN(3) {
			case 0:
				e = set1("invoice", invoice, "customer_id", customer)
			case 1:
				e = put1("line", "id invoice_id what", change.Int(int64(9000+i)), invoice, change.Text("pushed"))
			}
			_ = write(t, s, e)
		}
	})
	for _, h := range holders {
		readers.Go(func() {
			for ctx.Err() == nil {
				if err := h.pull(t.Context(), s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.FollowUp(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	writers.Wait()
	stop()
	readers.Wait()
	followed(t, s)
	for _, h := range holders {
		if err := h.pull(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		want := there(t, dsn, h.region)
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if h.rows[id] != want[id] {
				t.Errorf("%s: %s is %q for its reader, and %q", h.region, id, h.rows[id], want[id])
			}
			delete(h.rows, id)
		}
		for id := range h.rows {
			t.Errorf("%s: its reader still has %s", h.region, id)
		}
	}
	expect(t, "notes that are left", psql(t, dsn, `SELECT count(*) FROM tidemark.crossing`), "0")
}

// there is what a region really holds, as a holder would.
func there(t *testing.T, dsn, region string) map[string]string {
	t.Helper()
	out := map[string]string{}
	c := connect(t, dsn)
	for _, q := range []struct{ table, sql string }{
		{"customer", `SELECT quote_literal(id), quote_literal(id) || ',' || quote_literal(region) || ',' || quote_literal(name) FROM customer AS c WHERE region = $1`},
		{"invoice", `SELECT i.id::text, i.id || ',' || quote_literal(c.id) || ',' || quote_literal(i.total) FROM invoice AS i JOIN customer AS c ON c.id = customer_id WHERE region = $1`},
		{"line", `SELECT l.id::text, l.id || ',' || i.id || ',' || quote_literal(l.what) FROM line AS l JOIN invoice AS i ON i.id = invoice_id JOIN customer AS c ON c.id = customer_id WHERE region = $1`},
	} {
		rows, err := c.Query(t.Context(), q.sql, region)
		if err != nil {
			t.Fatal(err)
		}
		var id, row string
		if _, err := pgx.ForEachRow(rows, []any{&id, &row}, func() error {
			out[q.table+" "+id] = row
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
