package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// trips counts the statements and batches that go to the server.
type trips struct{ n atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (c *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// pushes does what the hub does when so many devices push at once.
func pushes(t *testing.T, s *Store, round, devices int) {
	t.Helper()
	ahead := &hub.Ahead{}
	var list []deed
	base := now(t, s)
	for i := range devices {
		inc := change.Incarnation{0xD, byte(i)}
		id := fmt.Sprintf("v%d/%d", round, i)
		list = append(list, deed{inc, []hub.Effect{visit(id, fmt.Sprint("c", 1+i%9), "", 1), set1("customer", change.Text(fmt.Sprint("c", 1+i%9)), "name", change.Text(id))}})
		ahead.Records = append(ahead.Records, hub.Name{Kind: "device", ID: inc.String()}, hub.Name{Kind: "incarnation", ID: inc.String()})
		ahead.Lists = append(ahead.Lists, hub.Name{Kind: "parked", ID: inc.String() + "/"})
	}
	ahead.Txs = asTransactions(list)
	for i, x := range ahead.Txs {
		x.ID, x.Seq, x.Bases = change.TxID{byte(round), byte(i)}, uint64(round), []change.Cursor{base}
		x.Ops[1].Base = x.Ops[1].New
	}
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		if err := tx.(hub.Foreseer).Foresee(ahead); err != nil {
			return err
		}
		for i, d := range list {
			if err := pushOne(tx, d, ahead.Txs[i], base); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func pushOne(tx hub.Tx, d deed, x *change.Transaction, base change.Cursor) error {
	name := d.inc.String()
	for _, kind := range []string{"device", "incarnation"} {
		if _, err := tx.Record(kind, name); err != nil && !errors.Is(err, hub.ErrNotFound) {
			return err
		}
	}
	if list, err := tx.Records("parked", name+"/", "", 256); err != nil || len(list) > 0 {
		return fmt.Errorf("%d parked: %w", len(list), err)
	}
	if p, err := tx.Progress(d.inc); err != nil || p.Seq >= x.Seq {
		return fmt.Errorf("progress %d: %w", p.Seq, err)
	}
	if _, err := tx.Known(x.ID); !errors.Is(err, hub.ErrNotFound) {
		return fmt.Errorf("known: %w", err)
	}
	if err := tx.Check(base); err != nil {
		return err
	}
	err := tx.Savepoint(func() error {
		if err := tx.As(d.inc, change.NewHLC(1000, uint16(x.Seq))); err != nil {
			return err
		}
		for _, e := range d.list {
			if e.Kind == change.Update {
				if _, err := tx.Row(e.Table, e.Key); err != nil {
					return err
				}
				if _, err := tx.Touched(e.Table, e.Key, base, d.inc); err != nil {
					return err
				}
			}
			if err := tx.Write(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.Receive([]hub.Received{{Tx: x, ID: x.ID, Inc: x.Incarnation, Seq: x.Seq, Status: hub.Applied, At: time.UnixMilli(1)}}); err != nil {
		return err
	}
	if err := tx.PutRecord("trace", name+fmt.Sprint(x.Seq), []byte("t")); err != nil {
		return err
	}
	return tx.PutRecord("device", name, []byte("d"))
}

// A commit that many pushes share goes to the database as often as one push does: the
// writer's lock is held meanwhile, and all other processes wait for it.
func TestManyPushesTakeTheTripsOfOne(t *testing.T) {
	s, dsn := visits(t)
	pushes(t, s, 1, 40) // numbers the incarnations, and prepares statements
	count := &trips{}
	s.pool.config.Tracer = count
	s.pool.forget()
	pushes(t, s, 2, 8) // connects
	took := func(round, devices int) int64 {
		from := count.n.Load()
		pushes(t, s, round, devices)
		return count.n.Load() - from
	}
	one, many := took(3, 1), took(4, 8)
	if one == 0 || many > one {
		t.Errorf("%d trips for one push, %d for 8", one, many)
	}
	t.Logf("%d trips for one push, %d for 8", one, many)
	want := "40 8 1 8"
	if got := psql(t, dsn, "SELECT string_agg(n::text, ' ' ORDER BY round) FROM (SELECT split_part(id, '/', 1) AS round, count(*) AS n FROM visit GROUP BY 1) AS x"); got != want {
		t.Errorf("rows of each round: %s", got)
	}
}

func now(t *testing.T, s *Store) (c change.Cursor) {
	t.Helper()
	err := s.View(t.Context(), func(v hub.View) (err error) { c, err = v.Cursor(); return err })
	if err != nil {
		t.Fatal(err)
	}
	return c
}
