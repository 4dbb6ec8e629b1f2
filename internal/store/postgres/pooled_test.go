package postgresstore

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/storetest"
)

// The whole suite again, through a pgbouncer in transaction mode with fewer
// connections than the store has: nothing may hang on a session.
func TestConformanceThroughPgbouncer(t *testing.T) {
	server := pgtest.Server(t)
	front := server.Bouncer(t, 3)
	storetest.Run(t, func(t *testing.T, rules *rule.Rules, ddl []string) (hub.Store, func(string), storetest.Dialect) {
		dsn := server.Database(t)
		for _, q := range ddl {
			psql(t, dsn, storetest.PostgreSQL.Translate(q))
		}
		s := serve(t, Config{DSN: front.DSN(dsn), Listen: dsn, Pooled: true, Rules: rules})
		return s, func(sql string) { t.Helper(); psql(t, dsn, storetest.PostgreSQL.Translate(sql)) }, storetest.PostgreSQL
	})
}

// Two bouncers' worth of sessions, and each transaction somewhere else.
func TestThroughPgbouncerManyAtOnce(t *testing.T) {
	server := pgtest.Server(t)
	x := newExperiment(t, 0)
	front := server.Bouncer(t, 2)
	s := serve(t, Config{DSN: front.DSN(x.dsn), Listen: x.dsn, Pooled: true, Rules: &ofAccounts})
	twin := serve(t, Config{DSN: front.DSN(x.dsn), Listen: x.dsn, Pooled: true, Rules: &ofAccounts})
	transfers(t, x, 40, s, twin)
	front.Restart(t)
	transfers(t, x, 10, s, twin)
	sum := int64(0)
	for _, v := range x.truth() {
		sum += v
	}
	if sum != accounts*each {
		t.Errorf("the accounts add up to %d, not %d", sum, accounts*each)
	}
}

// transfers makes n of them through each store, at once.
func transfers(t *testing.T, x *experiment, n int, stores ...*Store) {
	t.Helper()
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			for range n {
				if err := transfer(t.Context(), s, r, byte(i+1)); err != nil {
					t.Errorf("process %d: %v", i+1, err)
					return
				}
			}
		})
	}
	all.Wait()
}
