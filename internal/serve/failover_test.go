package serve

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// A pair is a primary and its standby, with a hub that is told of both.
type pair struct {
	*world
	primary, standby *pgtest.Postgres
	name             string // of the database
	before, after    *server
}

func newPair(t *testing.T, yaml string) *pair {
	t.Helper()
	p := &pair{primary: pgtest.Own(t, pgtest.Options{Durable: true})}
	dsn := p.primary.Database(t)
	p.name = strings.TrimPrefix(strings.Split(dsn, "?")[0], "postgres:///")
	p.standby = p.primary.Standby(t, pgtest.Options{})
	p.before, p.after = &server{t, dsn}, &server{t, p.standby.DSN(p.name)}
	p.world = (&server{t, p.primary.Pair(p.standby, p.name)}).world()
	p.yaml(yaml + shopYAML)
	p.up()
	return p
}

// takeOver ends the primary, and lets the standby take over.
func (p *pair) takeOver() {
	p.t.Helper()
	p.primary.Kill(p.t)
	p.standby.Promote(p.t)
}

// insist syncs until it works, and once more.
func (p *pair) insist(list ...run.Edge) {
	p.t.Helper()
	for _, e := range append(list, list...) {
		eventually(p.t, "sync of "+e.File, func() bool {
			_, err := run.Once(context.Background(), run.OnceConfig{Edge: e})
			return err == nil
		})
	}
}

const allItems = "SELECT group_concat(id || coalesce(note, ''), ' ') FROM (SELECT * FROM item WHERE branch = 1 ORDER BY id)"

func (s *server) items() string {
	s.t.Helper()
	return s.sql("SELECT string_agg(id || coalesce(note, ''), ' ' ORDER BY id) FROM item WHERE branch = 1")
}

// Where every answer waits for the standby, a failover is a pause: sessions go on by
// themselves, and what was confirmed is there.
func TestFailover_SynchronousLosesNothing(t *testing.T) {
	p := newPair(t, "")
	p.before.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
	p.before.sql("SELECT pg_reload_conf()")
	eventually(t, "the standby is synchronous", func() bool {
		return p.before.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
	})
	one, two := p.join("one.db", "branch/1"), p.join("two.db", "branch/1")
	p.agent(one)
	p.agent(two)
	sh(t, one.File, "INSERT INTO item VALUES ('k1', 1, 11, 'pushed')")
	reads(t, two.File, "SELECT note FROM item WHERE id='k1'", "pushed")
	p.takeOver()
	sh(t, one.File, "INSERT INTO item VALUES ('k2', 1, 12, 'after')")
	reads(t, two.File, "SELECT note FROM item WHERE id='k2'", "after")
	if got := p.after.items(); got != "ax cz k1pushed k2after" {
		t.Errorf("at the hub: %s", got)
	}
	if b := p.hub.Core().Behind(); b != nil {
		t.Errorf("it waits for its operator: %v", b)
	}
	reads(t, one.File, allItems, p.after.items())
}

// A standby takes over that lacks the last commits, and nobody says so. The hub notices
// by itself; what devices had handed in comes again, and rows that are gone go.
func TestFailover_WhatIsLostIsNoticed(t *testing.T) {
	p := newPair(t, "hub: {rollback: recover}\n")
	one, two := p.join("one.db", "branch/1"), p.join("two.db", "branch/1")
	ctx := context.Background()
	early, err := pgx.Connect(ctx, p.before.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = early.Close(ctx) }()
	exec := func(sql string) {
		t.Helper()
		if _, err := early.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN")
	exec("INSERT INTO item VALUES ('below', 1, 50, 'lost')")
	sh(t, one.File, "INSERT INTO item VALUES ('kept', 1, 51, '')")
	p.sync(one)
	p.standby.Follow(t, p.primary)
	p.standby.Cut(t)
	exec("COMMIT")
	p.sync(two) // its newest entry is there, and what it has is not
	sh(t, one.File, "INSERT INTO item VALUES ('mine', 1, 52, 'handed in')")
	p.sync(one)
	p.takeOver()
	if got := p.after.items(); got != "ax cz kept" {
		t.Fatalf("after the failover: %s", got)
	}
	p.insist(two, one)
	p.insist(two)
	want := "ax cz kept minehanded in"
	if got := p.after.items(); got != want {
		t.Errorf("at the hub: %s", got)
	}
	for _, e := range []run.Edge{one, two} {
		if got := strings.TrimSpace(sh(t, e.File, allItems)); got != want {
			t.Errorf("%s: %s", e.File, got)
		}
	}
	if list, err := p.hub.Core().Lineage(ctx); err != nil || len(list) != 2 || list[1].Mode != change.Restored {
		t.Errorf("lineage %+v, %v", list, err)
	}
	parked, err := p.hub.Core().Queue(ctx, change.DeviceID{})
	if err != nil || len(parked) != 1 || !strings.Contains(parked[0].Code, "salvage") {
		t.Errorf("the row that only a device still had: %+v, %v", parked, err)
	}
}

// The hub's own note proves that something is gone, and its operator is to be asked:
// nothing is served until then. The word is taken at its value.
func TestFailover_TheOperatorIsAsked(t *testing.T) {
	for _, mode := range []change.BranchMode{change.Restored, change.Undone} {
		t.Run(string(mode), func(t *testing.T) {
			p := newPair(t, "")
			one := p.join("one.db", "branch/1")
			p.standby.Follow(t, p.primary)
			p.standby.Cut(t)
			sh(t, one.File, "INSERT INTO item VALUES ('mine', 1, 52, 'handed in')")
			p.sync(one)
			if err := p.hub.takeNote(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.takeOver()
			eventually(t, "it waits for its operator", func() bool { return p.hub.Core().Behind() != nil })
			if _, err := run.Once(t.Context(), run.OnceConfig{Edge: one}); faultCode(err) != "hub-behind" {
				t.Errorf("a device: %v", err)
			}
			p.down()
			p.up() // a start without a word changes nothing
			if p.hub.Core().Behind() == nil {
				t.Error("it serves after a start")
			}
			p.down()
			p.revive(mode)
			p.insist(one)
			want := map[change.BranchMode]string{change.Restored: "ax cz minehanded in", change.Undone: "ax cz"}[mode]
			if got := p.after.items(); got != want {
				t.Errorf("at the hub: %s", got)
			}
		})
	}
}

// The servers change while no hub runs: the word of the start counts for the life that
// begins, and without one it begins by itself.
func TestFailover_WhileNoHubRuns(t *testing.T) {
	p := newPair(t, "")
	one := p.join("one.db", "branch/1")
	p.down()
	p.standby.Follow(t, p.primary)
	p.takeOver()
	p.up()
	list, err := p.hub.Core().Lineage(t.Context())
	if err != nil || len(list) != 2 || list[1].Mode != change.Restored {
		t.Errorf("lineage %+v, %v", list, err)
	}
	p.insist(one)
	reads(t, one.File, allItems, "ax cz")
}

// Two processes of a hub that recovers by itself find out at one instant, and begin one
// life: by a failover, and by what a device says.
func TestFailover_TwoProcessesBeginOneLife(t *testing.T) {
	p := newPair(t, "hub: {rollback: recover}\n")
	other := beside(t, p.world)
	p.standby.Follow(t, p.primary)
	p.takeOver()
	for _, w := range []*world{p.world, other} {
		eventually(t, "both take up the new life", func() bool {
			list, err := w.hub.Core().Lineage(t.Context())
			return err == nil && len(list) >= 2
		})
	}
	list, err := other.hub.Core().Lineage(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("lineage %+v, %v", list, err)
	}

	// Both were told of a state that is in no database.
	seen := change.Cursor{Epoch: list[1].Epoch, Token: "ffffffff.1.1"}
	ends := make(chan error, 2)
	for _, w := range []*world{p.world, other} {
		go func() { ends <- w.hub.Core().Compare(context.Background(), seen, clock.System{}.Now()) }()
	}
	for range 2 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	if list, err = p.hub.Core().Lineage(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("lineage %+v, %v", list, err)
	}
}
