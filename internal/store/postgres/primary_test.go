package postgresstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// A pair is a primary with a store on it, and a standby.
type pair struct {
	t                *testing.T
	primary, standby *pgtest.Postgres
	name             string // of the database
	dsn              string // on the primary
	both             string // on whichever takes writes
}

func newPair(t *testing.T, settings ...string) *pair {
	t.Helper()
	p := &pair{t: t, primary: pgtest.Own(t, pgtest.Options{Durable: true})}
	p.dsn = p.primary.Database(t)
	p.name = strings.TrimPrefix(strings.Split(p.dsn, "?")[0], "postgres:///")
	psql(t, p.dsn, shopDDL)
	psql(t, p.dsn, family)
	p.standby = p.primary.Standby(t, pgtest.Options{Settings: settings})
	p.both = p.primary.Pair(p.standby, p.name)
	return p
}

// copied is the database on the standby.
func (p *pair) copied() string { return p.standby.DSN(p.name) }

// A hub on a standby would mint cursors that skip transactions: it is refused, and told
// what to do.
func TestTrapP15_AStandbyIsRefused(t *testing.T) {
	p := newPair(t)
	serve(t, Config{DSN: p.dsn, Rules: shopRules()})
	p.standby.Follow(t, p.primary)
	_, err := Open(t.Context(), Config{DSN: p.copied(), Rules: shopRules()})
	if !errors.Is(err, ErrStandby) || !strings.Contains(err.Error(), "target_session_attrs=read-write") {
		t.Errorf("opening a standby: %v", err)
	}
	for what, err := range map[string]error{
		"founded": second(Founded(t.Context(), p.copied())),
		"survey":  second(Survey(t.Context(), p.copied(), nil)),
	} {
		if !errors.Is(err, ErrStandby) {
			t.Errorf("%s of a standby: %v", what, err)
		}
	}
	// Whatever order the servers are named in, and with nothing said of what is wanted.
	turned := "postgres:///" + p.name + "?host=" + p.standby.Dir() + "," + p.primary.Dir() + "&user=postgres"
	s := serve(t, Config{DSN: turned, Rules: shopRules()})
	if err := write(t, s, set1("customer", change.Text("c1"), "name", change.Text("x"))); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAReadOnlySessionIsRefused(t *testing.T) {
	_, dsn := shop(t)
	_, err := Open(t.Context(), Config{DSN: dsn + "&options=-c%20default_transaction_read_only%3Don", Rules: shopRules()})
	if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "default_transaction_read_only") {
		t.Errorf("opening it gave %v", err)
	}
}

// Behind a pgbouncer the server changes, and the connection stays: each transaction
// looks where it is.
func TestTrapP15_AStandbyBehindAPoolerIsRefused(t *testing.T) {
	p := newPair(t)
	s := serve(t, Config{DSN: p.dsn, Rules: shopRules()})
	p.standby.Follow(t, p.primary)
	pc, err := anyServer(p.copied()) // nobody asks when it connects
	if err != nil {
		t.Fatal(err)
	}
	right := s.pool.config
	s.pool.forget()
	s.pool.config = pc
	if err := s.View(t.Context(), func(hub.View) error { t.Error("a view of a standby"); return nil }); !errors.Is(err, ErrStandby) {
		t.Errorf("a view: %v", err)
	}
	if err := s.Update(t.Context(), func(hub.Tx) error { t.Error("an update of a standby"); return nil }); !errors.Is(err, ErrStandby) {
		t.Errorf("an update: %v", err)
	}
	s.pool.config = right
	if err := s.View(t.Context(), func(hub.View) error { return nil }); err != nil {
		t.Errorf("back on the primary: %v", err)
	}
}
