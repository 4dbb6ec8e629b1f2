package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// Two processes that open a new database at once lay it out once.
func TestTwoOpenAtOnce(t *testing.T) {
	dsn := pgtest.Database(t)
	psql(t, dsn, shopDDL)
	stores := make([]*Store, 4)
	errs := make([]error, len(stores))
	var done sync.WaitGroup
	for i := range stores {
		done.Add(1)
		go func() {
			defer done.Done()
			stores[i], errs[i] = Open(context.Background(), Config{DSN: dsn, Rules: shopRules()})
		}()
	}
	done.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stores[i].Close() }()
		if stores[i].Epoch() != stores[0].Epoch() {
			t.Error("two lives began")
		}
	}
	psql(t, dsn, `INSERT INTO customer VALUES ('c1', 'north', 'Ann')`)
	for _, s := range stores {
		expect(t, "each serves it", since(t, s, change.Cursor{}, edgeA, "region/north"), "customer 'c1'")
	}
}

// Each Update of any process sees what the one before wrote, and its log.
func TestTrapP14_UpdatesOfTwoProcesses(t *testing.T) {
	one, dsn := shop(t, `INSERT INTO customer VALUES ('c1', 'north', '0')`)
	two := serve(t, Config{DSN: dsn, Rules: shopRules()})
	const rounds = 25
	var done sync.WaitGroup
	for i, s := range []*Store{one, two, one, two} {
		done.Add(1)
		go func() {
			defer done.Done()
			for range rounds {
				err := s.Update(context.Background(), func(tx hub.Tx) error {
					key := change.Key{change.Text("c1")}
					row, err := tx.Row("customer", key)
					if err != nil {
						return err
					}
					seen, err := tx.Touched("customer", key, change.Cursor{}, change.Incarnation{})
					if err != nil {
						return err
					}
					if fmt.Sprint(len(seen)) != row[2].Str() {
						t.Errorf("the row says %s, the log %d", row[2], len(seen))
					}
					if err := tx.As(change.Incarnation{byte(i + 1)}, 0); err != nil {
						return err
					}
					return tx.Write(set1("customer", key[0], "name", change.Text(fmt.Sprint(len(seen)+1))))
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	done.Wait()
	expect(t, "none was lost", psql(t, dsn, `SELECT name FROM customer`), fmt.Sprint(4*rounds))
}

// An Update does not begin while one of another process is under way.
func TestTrapP14_UpdatesWaitForEachOther(t *testing.T) {
	one, dsn := shop(t, family)
	two := serve(t, Config{DSN: dsn, Rules: shopRules()})
	watch := connect(t, dsn)
	entered, done := make(chan struct{}), make(chan error, 1)
	err := one.Update(t.Context(), func(hub.Tx) error {
		go func() {
			done <- two.Update(context.Background(), func(tx hub.Tx) error {
				close(entered)
				row, err := tx.Row("customer", change.Key{change.Text("c1")})
				if err == nil && row[2] != change.Text("one") {
					t.Errorf("the second does not see what the first wrote: %v", row)
				}
				return err
			})
		}()
		for waiting := false; !waiting; {
			select {
			case <-entered:
				t.Error("the second began before the first ended")
				return nil
			default:
			}
			err := query(t.Context(), watch, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tidemark.writer'::regclass)`, func(r *row) error {
				waiting = r.bool(0)
				return nil
			})
			if err != nil {
				return err
			}
		}
		psql(t, dsn, `UPDATE customer SET name = 'one' WHERE id = 'c1'`)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A collision with another program runs the Update again (trap P11), and a key that
// only a newer snapshot shows is seen by the second run.
func TestTrapP11_CollisionsRunAgain(t *testing.T) {
	s, dsn := shop(t, family)
	for name, sql := range map[string]string{
		"the row changed": `UPDATE customer SET region = 'west' WHERE id = 'c1'`,
		"the key came":    `INSERT INTO customer VALUES ('c7', 'east', 'Gus')`,
	} {
		runs := 0
		err := s.Update(t.Context(), func(tx hub.Tx) error {
			runs++
			if _, err := tx.Row("customer", change.Key{change.Text("c1")}); err != nil { // the snapshot stands
				return err
			}
			if runs == 1 {
				psql(t, dsn, sql)
			}
			err := tx.Savepoint(func() error {
				row, err := tx.Row("customer", change.Key{change.Text("c7")})
				if err != nil {
					return err
				}
				if row == nil && name == "the key came" {
					return tx.Write(put1("customer", "id region", change.Text("c7"), change.Text("north")))
				}
				return tx.Write(set1("customer", change.Text("c1"), "name", change.Text("x")))
			})
			return err
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: %d runs, %v", name, runs, err)
		}
	}
	expect(t, "nobody's change is lost", psql(t, dsn, `SELECT region || name FROM customer WHERE id IN ('c1', 'c7') ORDER BY id`), "westx\neastGus")
}

// A wait ends when another process commits.
func TestWaitAcrossProcesses(t *testing.T) {
	one, dsn := shop(t, family)
	two := serve(t, Config{DSN: dsn, Rules: shopRules()})
	c := at(t, two)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- two.Wait(ctx, c)
	}()
	if err := write(t, one, set1("customer", change.Text("c1"), "name", change.Text("x"))); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWaits(t *testing.T) {
	s, _ := shop(t)
	c := at(t, s)
	done := make(chan error, 1)
	s.bell.hear() // the connection that listens is being made
	go func() { done <- s.Wait(context.Background(), c) }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("a wait after the close: %v", err)
	}
	if err := s.View(t.Context(), func(hub.View) error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("a view after the close: %v", err)
	}
}

// Nothing is prepared: so it works through a pgbouncer in transaction mode.
func TestPooled(t *testing.T) {
	dsn := pgtest.Database(t)
	psql(t, dsn, shopDDL)
	s := serve(t, Config{DSN: dsn, Pooled: true, Rules: shopRules()})
	psql(t, dsn, family)
	c := at(t, s)
	if err := write(t, s, set1("customer", change.Text("c1"), "name", change.Text("ünï")), put1("invoice", "id customer_id total", change.Int(3), change.Text("c1"), change.Text("1.00"))); err != nil {
		t.Fatal(err)
	}
	expect(t, "changes", since(t, s, c, change.Incarnation{}, "region/north"), "customer 'c1'; invoice 3")
	if n := psql(t, dsn, `SELECT count(*) FROM pg_prepared_statements`); n != "0" {
		t.Errorf("%s statements are prepared", n)
	}
}

// A layout from a newer build is refused.
func TestNewerLayoutIsRefused(t *testing.T) {
	s, dsn := shop(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	psql(t, dsn, `UPDATE tidemark.meta SET value = '99' WHERE key = 'layout'`)
	if _, err := Open(t.Context(), Config{DSN: dsn}); err == nil || !strings.Contains(err.Error(), "newer build") {
		t.Errorf("opening it gave %v", err)
	}
}
