package postgresstore

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// looked reports whether a View looks into the catalogue.
func looked(t testing.TB, s *Store) bool {
	t.Helper()
	was := s.plan.Load().seen.Load()
	view1(t, s, func(hub.View) error { return nil })
	return s.plan.Load().seen.Load() != was
}

// atRest is when nobody looks any more: the first one makes the backend's acquaintance,
// the second one looks on its behalf.
func atRest(t testing.TB, s *Store, after string) {
	t.Helper()
	looked(t, s)
	if looked(t, s); looked(t, s) {
		t.Errorf("after %s: nothing was committed, and it looks again", after)
	}
}

// Of transactions that see the same state one looks whether the tables were changed.
func TestOneLooksForAllWhoSeeTheSame(t *testing.T) {
	s, dsn := shop(t, family)
	atRest(t, s, "the start")
	for range 2 {
		psql(t, dsn, `UPDATE customer SET name = name || '+'`)
		if !looked(t, s) {
			t.Error("something was committed, and nobody looked")
		}
		if looked(t, s) {
			t.Error("it looks again")
		}
	}
}

// Whatever another program does to a table, the next transaction that sees it knows.
func TestAnyChangeOfATableIsSeenAtOnce(t *testing.T) {
	s, dsn := shop(t, family)
	other := connect(t, dsn)
	run(t, other, "BEGIN; SELECT pg_current_xact_id()") // is open all the time: snapshots differ in what else was committed
	after := "the start"
	for _, q := range []string{
		`ALTER TABLE customer ADD a text`,
		`ALTER TABLE customer ALTER a TYPE varchar(9)`,
		`ALTER TABLE customer ALTER a SET DEFAULT 'x'`,
		`ALTER TABLE customer RENAME a TO b`,
		`BEGIN; SAVEPOINT p; ALTER TABLE customer ALTER b SET DEFAULT 'y'; ROLLBACK TO p; SAVEPOINT q; ALTER TABLE customer ALTER b DROP DEFAULT; RELEASE q; COMMIT`,
		`ALTER TABLE customer DROP b`,
		`ALTER TABLE line DISABLE TRIGGER ALL`,
		`DROP TRIGGER tidemark_ins ON line`,
		`CREATE TRIGGER own BEFORE UPDATE ON line FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
	} {
		atRest(t, s, after)
		after = q
		was := s.plan.Load().version
		psql(t, dsn, q)
		view1(t, s, func(hub.View) error { return nil })
		if now := s.plan.Load(); now.version == was {
			t.Errorf("%s: nobody noticed", q)
		}
	}
}

// A change counts when it is committed: those who looked before that did not see it.
func TestAChangeUnderWayIsSeenWhenItIsCommitted(t *testing.T) {
	s, dsn := shop(t, family)
	other := connect(t, dsn)
	run(t, other, `BEGIN; ALTER TABLE customer ADD a text`)
	atRest(t, s, "the start")
	was := s.plan.Load()
	run(t, other, `COMMIT`)
	view1(t, s, func(hub.View) error { return nil })
	if s.plan.Load() == was {
		t.Error("nobody noticed the new column")
	}
}

// What was seen before the process knew a backend may have been seen in a state that the
// server lost since, under the same numbers.
func TestABackendGoesByNothingFromBeforeItsTime(t *testing.T) {
	s, _ := shop(t, family)
	atRest(t, s, "the start")
	s.pool.forget()
	if !looked(t, s) {
		t.Error("a new backend went by what another one saw")
	}
	atRest(t, s, "another connection")
	p := s.plan.Load()
	p.seen.Store(&sight{p.seen.Load().state, 1}) // as if it were of the start
	if !looked(t, s) {
		t.Error("it went by what was seen before its time")
	}
	p.seen.Store(&sight{strings.Replace(p.seen.Load().state, "0000", "0001", 1), math.MaxInt64}) // of another timeline
	if !looked(t, s) {
		t.Error("it went by what was seen at another server")
	}
}

// A pooler keeps sessions beyond the server's life. The backends do not.
func TestThroughPgbouncerAServerStartsAnew(t *testing.T) {
	server := pgtest.Own(t, pgtest.Options{Durable: true})
	dsn := server.Database(t)
	psql(t, dsn, shopDDL)
	front := server.Bouncer(t, 1)
	s := serve(t, Config{DSN: front.DSN(dsn), Listen: dsn, Pooled: true, Rules: shopRules()})
	atRest(t, s, "the start")
	was := s.plan.Load().seen.Load()
	server.Kill(t)
	server.Start(t)
	for ok := false; !ok && t.Context().Err() == nil; { // the pooler finds out when it uses a connection that is gone
		ok = s.View(t.Context(), func(hub.View) error { return nil }) == nil
	}
	if s.plan.Load().seen.Load() == was {
		t.Error("a new backend went by what another one saw")
	}
}

// BenchmarkOpen begins a transaction of a hub of some tables, in a state that was seen
// before, or not.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{3, 50} {
		dsn := pgtest.Database(b)
		rules := &rule.Rules{}
		var ddl strings.Builder
		for i := range n {
			fmt.Fprintf(&ddl, "CREATE TABLE t%d (id text PRIMARY KEY", i)
			for j := range 19 {
				fmt.Fprintf(&ddl, ", c%d text", j)
			}
			ddl.WriteString(");\n")
			rules.Tables = append(rules.Tables, rule.Table{Name: fmt.Sprint("t", i), Scope: rule.Scope{All: true}})
		}
		psql(b, dsn, ddl.String())
		s := serve(b, Config{DSN: dsn, Rules: rules})
		for _, seen := range []bool{true, false} {
			b.Run(fmt.Sprintf("tables=%d/seen=%t", n, seen), func(b *testing.B) {
				for b.Loop() {
					if !seen {
						s.plan.Load().seen.Store(nil)
					}
					if err := s.View(b.Context(), func(hub.View) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
