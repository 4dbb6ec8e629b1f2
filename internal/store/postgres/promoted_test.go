package postgresstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// takeOver ends the primary, and lets the standby take over.
func (p *pair) takeOver() {
	p.t.Helper()
	p.primary.Kill(p.t)
	p.standby.Promote(p.t)
}

// recovering is a store on whichever server takes writes, whose hub begins a new life
// when another one took over.
func (p *pair) recovering() *Store {
	p.t.Helper()
	s := serve(p.t, Config{DSN: p.both, Rules: shopRules()})
	s.OnPromotion(func(ctx context.Context) error {
		_, err := s.Begin(ctx, change.Restored)
		return err
	})
	return s
}

// eventually runs fn until it works: the first calls find the connections dead.
func eventually(t *testing.T, fn func() error) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	for {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// checked is what a cursor is worth.
func checked(t *testing.T, s *Store, c change.Cursor) (got error) {
	t.Helper()
	eventually(t, func() error {
		return s.View(t.Context(), func(v hub.View) error {
			got = v.Check(c)
			return nil
		})
	})
	return got
}

func lives(t *testing.T, s *Store) (list []change.Branch) {
	t.Helper()
	view1(t, s, func(v hub.View) (err error) { list, err = v.Lineage(); return err })
	return list
}

func begun(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	for _, q := range []string{"BEGIN", sql} {
		if _, err := c.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
}

// A standby takes over, and lacks a transaction that began before others which it has:
// every end that a cursor names is there, and still something is missing. Whoever saw
// it is told apart from whoever did not.
func TestTrapP10_AFailoverThatLosesBelowTheEnd(t *testing.T) {
	p := newPair(t)
	s := p.recovering()
	if err := s.Testify(t.Context()); err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	early, late := connect(t, p.dsn), connect(t, p.dsn)
	begun(t, early, `UPDATE customer SET name = 'lost' WHERE id = 'c1'`)
	begun(t, late, `UPDATE customer SET name = 'kept' WHERE id = 'c2'`)
	if _, err := late.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	without := at(t, s)
	p.standby.Follow(t, p.primary)
	p.standby.Cut(t)
	if _, err := early.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	with := at(t, s)
	psql(t, p.dsn, `UPDATE customer SET name = 'lost, too' WHERE id = 'c2'`)
	beyond := at(t, s)
	p.takeOver()
	if got := psql(t, p.copied(), `SELECT string_agg(name, ' ' ORDER BY id) FROM customer`); got != "Ann kept" {
		t.Fatalf("after the failover: %s", got)
	}
	psql(t, p.copied(), `UPDATE customer SET name = 'new' WHERE id = 'c2'`) // numbers are given out again
	for _, c := range []struct {
		what string
		at   change.Cursor
		want error
	}{{"who saw neither", without, nil}, {"who saw the one below", with, hub.ErrOtherHistory}, {"who saw the last one", beyond, hub.ErrOtherHistory}} {
		if err := checked(t, s, c.at); !errors.Is(err, c.want) {
			t.Errorf("%s, %s: %v", c.what, c.at, err)
		}
	}
	if list := lives(t, s); len(list) != 2 || list[0].Epoch != epoch || list[1].Mode != change.Restored {
		t.Errorf("lineage %+v", list)
	}
	expect(t, "what came since", since(t, s, without, edgeA, "region/north", "region/south"), "customer 'c2'")
	if err := write(t, s, set1("customer", change.Text("c1"), "name", change.Text("on"))); err != nil {
		t.Error(err)
	}
	two := p.recovering()
	if list := lives(t, two); len(list) != 2 {
		t.Errorf("a process that comes later begins one more life: %+v", list)
	}
}

// Nothing was lost: whoever saw all there was goes on with what it has. What was rolled
// back before the last witness counts for nothing.
func TestAFailoverThatLosesNothing(t *testing.T) {
	p := newPair(t)
	s := p.recovering()
	psql(t, p.dsn, `BEGIN; UPDATE customer SET name = 'never' WHERE id = 'c1'; ROLLBACK; UPDATE customer SET name = 'once' WHERE id = 'c1'`)
	for range 2 {
		if err := s.Testify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	psql(t, p.dsn, `CREATE TABLE elsewhere (n int); INSERT INTO elsewhere VALUES (1); UPDATE customer SET name = 'twice' WHERE id = 'c1'`)
	c := at(t, s)
	p.standby.Follow(t, p.primary)
	p.takeOver()
	if err := checked(t, s, c); err != nil {
		t.Errorf("who saw all: %v", err)
	}
	if list := lives(t, s); len(list) != 2 {
		t.Errorf("lineage %+v", list)
	}
	expect(t, "nothing is new", since(t, s, c, edgeA, "region/north"), "")
}

// Without a witness nothing is proven, and everyone reads anew; and so it is with more
// rolled back since than a cursor can name.
func TestAFailoverOfWhichLittleIsKnown(t *testing.T) {
	for name, prepare := range map[string]func(*pair, *Store){
		"no witness": func(p *pair, _ *Store) { psql(p.t, p.dsn, "DELETE FROM tidemark.witness") },
		"many rolled back": func(p *pair, s *Store) {
			psql(p.t, p.dsn, `CREATE FUNCTION again() RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..5000 LOOP BEGIN
				PERFORM pg_current_xact_id(); UPDATE invoice SET total = 1 WHERE id = 1; RAISE 'no'; EXCEPTION WHEN raise_exception THEN END; END LOOP; END $$;
				SELECT again()`)
			psql(p.t, p.dsn, `UPDATE customer SET name = 'x' WHERE id = 'c1'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.t = t
			s := p.recovering()
			psql(t, p.dsn, `UPDATE customer SET name = 'w' WHERE id = 'c2'`)
			if err := s.Testify(t.Context()); err != nil {
				t.Fatal(err)
			}
			sure := at(t, s)
			psql(t, p.dsn, `UPDATE customer SET name = 'y' WHERE id = 'c2'`)
			prepare(p, s)
			c := at(t, s)
			p.standby.Follow(t, p.primary)
			p.takeOver()
			if err := checked(t, s, c); !errors.Is(err, hub.ErrOtherHistory) {
				t.Errorf("%v", err)
			}
			err := checked(t, s, sure)
			if name == "no witness" && !errors.Is(err, hub.ErrOtherHistory) || name != "no witness" && err != nil {
				t.Errorf("what was surely there: %v", err)
			}
		})
	}
}

// The hub decides, once, for all that wait; until then nothing is read or written.
func TestAHubDecidesAfterAFailover(t *testing.T) {
	p := newPair(t)
	s := serve(t, Config{DSN: p.both, Rules: shopRules()})
	asked, wait := 0, true
	var ends error
	s.OnPromotion(func(ctx context.Context) error {
		asked++
		if ends != nil {
			return ends
		}
		if !wait {
			_, err := s.Begin(ctx, change.Undone)
			return err
		}
		return s.View(ctx, func(hub.View) error { return nil })
	})
	p.standby.Follow(t, p.primary)
	p.takeOver()
	ends = errors.New("not yet")
	eventually(t, func() error {
		if err := s.View(t.Context(), func(hub.View) error { return nil }); !errors.Is(err, ends) {
			return errors.New("a view before the hub decided")
		}
		return nil
	})
	if err := s.Update(t.Context(), func(hub.Tx) error { return nil }); !errors.Is(err, ends) {
		t.Errorf("an update before the hub decided: %v", err)
	}
	ends, asked = nil, 0
	for range 3 {
		if err := s.View(t.Context(), func(hub.View) error { return nil }); err != nil {
			t.Errorf("the hub waits for its operator, and reads: %v", err)
		}
	}
	if asked != 1 || len(lives(t, s)) != 1 {
		t.Errorf("asked %d times", asked)
	}
	// The operator speaks at another process.
	wait = false
	two := serve(t, Config{DSN: p.both, Rules: shopRules()})
	if _, err := two.Begin(context.WithValue(t.Context(), settlingKey{}, true), change.Undone); err != nil {
		t.Fatal(err)
	}
	if list := lives(t, s); len(list) != 2 || list[1].Mode != change.Undone {
		t.Errorf("lineage %+v", list)
	}
	if asked != 1 {
		t.Error("it was asked again after the life began")
	}
}

// Two processes that find out the same at one instant begin one life.
func TestTwoProcessesBeginOneLife(t *testing.T) {
	one, dsn := shop(t, family)
	two := serve(t, Config{DSN: dsn, Rules: shopRules()})
	ctx := hub.InLife(t.Context(), one.Epoch())
	if _, err := one.Begin(ctx, change.Restored); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Begin(ctx, change.Restored); !errors.Is(err, hub.ErrOtherLife) {
		t.Errorf("the second began another one: %v", err)
	}
	if list := lives(t, two); len(list) != 2 {
		t.Errorf("lineage %+v", list)
	}
	if _, err := two.Begin(t.Context(), change.Restored); err != nil {
		t.Errorf("whoever does not care: %v", err)
	}
}
