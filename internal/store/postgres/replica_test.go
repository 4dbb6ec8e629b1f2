package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// served is a store on the primary of a pair that reads from its standby.
func (p *pair) served() *Store {
	p.t.Helper()
	s := serve(p.t, Config{DSN: p.dsn, Rules: shopRules(), Replicas: []string{p.copied()}})
	p.standby.Follow(p.t, p.primary)
	return s
}

// names reads the customers of a region from a replica.
func names(t *testing.T, s *Store, seen change.Cursor, exact bool) (string, change.Cursor, error) {
	t.Helper()
	var out []string
	at, err := s.Aside(t.Context(), seen, exact, func(hv hub.View) error {
		where := ""
		if err := hv.(*view).query("SELECT pg_is_in_recovery()::text", func(r *row) error { where = r.text(0); return nil }); err != nil {
			return err
		}
		if where != "true" {
			t.Error("it was read from the primary")
		}
		out = nil
		rows, _, err := hv.Scan("customer", nil, []rule.ScopeID{"region/north"}, 1<<20)
		if err != nil {
			return err
		}
		for i := range rows.Len() {
			out = append(out, rows.Values[i*3+2].Str())
		}
		return nil
	})
	return strings.Join(out, " "), at, err
}

// ready lets a replica that was left alone be asked again.
func (s *Store) forgive() {
	for _, r := range s.replicas.list {
		r.mu.Lock()
		r.until = time.Time{}
		r.mu.Unlock()
	}
}

func (s *Store) complaint() string { return s.ReplicaStates()[0].Why }

// A replica shows what its reader has seen, or is not read.
func TestReplicaShowsWhatItsReaderHasSeen(t *testing.T) {
	p := newPair(t)
	s := p.served()
	if s.Replicas() != 1 {
		t.Fatal("it knows of no replica")
	}
	got, c, err := names(t, s, at(t, s), true)
	if err != nil || got != "Ann" || c != at(t, s) {
		t.Fatalf("%q at %s, %v", got, c, err)
	}
	for i := range 5 {
		want := fmt.Sprint("Ann", i)
		psql(t, p.dsn, `UPDATE customer SET name = '`+want+`' WHERE id = 'c1'`)
		got, c, err := names(t, s, at(t, s), true)
		if err != nil || got != want || c != at(t, s) {
			t.Fatalf("%q at %s, want %q at %s, %v", got, c, want, at(t, s), err)
		}
	}
	if n := psql(t, p.dsn, "SELECT count(*) FROM tidemark.witness"); n != "1" {
		t.Errorf("%s witnesses of one process", n)
	}

	// It is held up: whoever has seen nothing new may read it, and nobody else.
	old := at(t, s)
	p.standby.Follow(t, p.primary)
	p.standby.Pause(t)
	psql(t, p.dsn, `UPDATE customer SET name = 'late' WHERE id = 'c1'`)
	if got, _, err := names(t, s, old, false); err != nil || got != "Ann4" {
		t.Errorf("somebody who has not seen it: %q, %v", got, err)
	}
	if got, _, err := names(t, s, at(t, s), false); !errors.Is(err, hub.ErrNoReplica) || s.complaint() != errLags.Error() {
		t.Errorf("a replica that lags: %q, %v, %s", got, err, s.complaint())
	}
	p.standby.Resume(t)
	p.standby.Follow(t, p.primary)
	s.forgive()
	if got, _, err := names(t, s, at(t, s), true); err != nil || got != "late" || s.complaint() != "" {
		t.Errorf("it caught up: %q, %v, %s", got, err, s.complaint())
	}
}

// Where a replica shows more than its witness, the state that is told is one of the
// primary that shows all of it: by that it is found out later that a hub lost it.
func TestReplicaThatShowsMoreSaysSo(t *testing.T) {
	p := newPair(t)
	s := p.served()
	before := at(t, s)
	if _, _, err := names(t, s, before, true); err != nil {
		t.Fatal(err)
	}
	psql(t, p.dsn, `UPDATE customer SET name = 'more' WHERE id = 'c1'`)
	p.standby.Follow(t, p.primary)
	if _, _, err := names(t, s, before, true); !errors.Is(err, hub.ErrNoReplica) || s.complaint() != "" {
		t.Errorf("exactly the state of the cursor, which is gone: %v, %s", err, s.complaint())
	}
	got, c, err := names(t, s, before, false)
	if err != nil || got != "more" || c != at(t, s) {
		t.Errorf("%q at %s, not %s: %v", got, c, at(t, s), err)
	}
}

// Whatever happens to the replicas, and whoever writes meanwhile: the parts of a
// bootstrap, and the changes since the first part's state, make the truth; and the last
// part's state shows all that any part did.
func TestReplicaBootstrapsAreTrueWhileOthersWrite(t *testing.T) {
	p := newPair(t)
	psql(t, p.dsn, `INSERT INTO customer SELECT 'n' || i, 'north', '0' FROM generate_series(1, 60) i`)
	s := p.served()
	stop := make(chan struct{})
	var all sync.WaitGroup
	var wrote atomic.Int64
	for w := range 3 {
		all.Go(func() {
			c, r := connect(t, p.dsn), rand.New(rand.NewPCG(uint64(w), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Two rows in one transaction: no state shows one of them alone.
				q := fmt.Sprintf(`BEGIN; SELECT pg_sleep(%f); UPDATE customer SET name = (name::int + 1)::text WHERE id IN (SELECT 'n' || (1 + (%d + k) %% 60) FROM generate_series(0, 1) k); COMMIT`,
					r.Float64()/100, r.IntN(60))
				if _, err := c.PgConn().Exec(context.Background(), q).ReadAll(); err != nil {
					_, _ = c.Exec(context.Background(), "ROLLBACK") // a deadlock of the two
				}
				wrote.Add(1)
			}
		})
	}
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 12 {
		if round%4 == 3 {
			p.standby.Pause(t)
		}
		p.bootstrap(s, r)
		if round%4 == 3 {
			p.standby.Resume(t)
		}
		s.forgive()
	}
	close(stop)
	all.Wait()
	if n := s.ReplicaStates()[0].Reads; n < 20 {
		t.Errorf("%d parts only came from the replica", n)
	}
	if wrote.Load() < 20 {
		t.Error("nobody wrote")
	}
}

// bootstrap reads all of the region in parts, and compares it with the truth.
func (p *pair) bootstrap(s *Store, r *rand.Rand) {
	p.t.Helper()
	have := map[string]string{}
	scopes := []rule.ScopeID{"region/north"}
	var first, seen change.Cursor
	take := func(rows *change.Rows) {
		for i := range rows.Len() {
			have[rows.KeyOf(i).String()] = rows.Values[i*3+2].Str()
		}
	}
	for key := change.Key(nil); ; {
		var rows *change.Rows
		var next change.Key
		part := func(v hub.View) (err error) {
			rows, next, err = v.Scan("customer", key, scopes, 100+r.IntN(100))
			return err
		}
		need := seen
		if first.IsZero() {
			need = at(p.t, s)
		}
		c, err := s.Aside(p.t.Context(), need, first.IsZero(), part)
		if errors.Is(err, hub.ErrNoReplica) {
			err = s.View(p.t.Context(), func(v hub.View) (err error) {
				if err = part(v); err == nil {
					c, err = v.Cursor()
				}
				return err
			})
		}
		if err != nil {
			p.t.Fatal(err)
		}
		take(rows)
		if first.IsZero() {
			first = c
		}
		if seen = c; next == nil {
			break
		}
		key = next
	}
	err := s.View(p.t.Context(), func(v hub.View) error {
		if err := v.Check(seen); err != nil {
			p.t.Errorf("the last part's state: %v", err)
		}
		err := v.Delta(first, edgeA, scopes, 1<<20, func(rows *change.Rows) error {
			if rows.Table == "customer" {
				take(rows)
			}
			return nil
		})
		if err != nil {
			return err
		}
		rows, _, err := v.Scan("customer", nil, scopes, 1<<20)
		for i := range rows.Len() {
			if key, want := rows.KeyOf(i).String(), rows.Values[i*3+2].Str(); have[key] != want {
				p.t.Errorf("row %s is %q, not %q", key, have[key], want)
			}
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// A replica that dies while it is read, or is not there at all, costs time.
func TestReplicaThatIsGone(t *testing.T) {
	p := newPair(t)
	s := p.served()
	_, err := s.Aside(t.Context(), at(t, s), true, func(hv hub.View) error {
		p.standby.Kill(t)
		_, _, err := hv.Scan("customer", nil, []rule.ScopeID{"region/north"}, 1<<20)
		return err
	})
	if !errors.Is(err, hub.ErrNoReplica) || s.complaint() == "" {
		t.Errorf("killed under way: %v, %q", err, s.complaint())
	}
	if _, _, err := names(t, s, at(t, s), true); !errors.Is(err, hub.ErrNoReplica) {
		t.Errorf("while it is left alone: %v", err)
	}
	s.forgive()
	if _, _, err := names(t, s, at(t, s), true); !errors.Is(err, hub.ErrNoReplica) {
		t.Errorf("it is gone: %v", err)
	}
	p.standby.Kill(t)
	p.standby.Start(t)
	p.standby.Follow(t, p.primary)
	s.forgive()
	if got, _, err := names(t, s, at(t, s), true); err != nil || got != "Ann" {
		t.Errorf("it is back: %q, %v", got, err)
	}
}

// A replica that was promoted, and one that follows it, have a past in common with the
// primary, and nothing after.
func TestReplicaThatWentItsOwnWay(t *testing.T) {
	p := newPair(t)
	below := p.standby.Standby(t, pgtest.Options{})
	s := p.served()
	follower := serve(t, Config{DSN: p.dsn, Rules: shopRules(), Replicas: []string{below.DSN(p.name)}})
	below.Follow(t, p.primary)
	seen := at(t, s)
	for _, s := range []*Store{s, follower} {
		if got, _, err := names(t, s, seen, false); err != nil || got != "Ann" {
			t.Fatalf("before: %q, %v", got, err)
		}
	}
	p.standby.Promote(t)
	psql(t, p.copied(), `UPDATE customer SET name = 'stranger' WHERE id = 'c1'`)
	below.Follow(t, p.standby)
	if got, _, err := names(t, s, seen, false); !errors.Is(err, hub.ErrNoReplica) || !strings.Contains(s.complaint(), "no standby") {
		t.Errorf("a promoted one: %q, %v, %s", got, err, s.complaint())
	}
	if got, _, err := names(t, follower, seen, false); !errors.Is(err, hub.ErrNoReplica) || follower.complaint() != errOwnWay.Error() {
		t.Errorf("one that follows it: %q, %v, %s", got, err, follower.complaint())
	}
	psql(t, p.dsn, `UPDATE customer SET name = 'right' WHERE id = 'c1'`)
	follower.forgive()
	if got, _, err := names(t, follower, at(t, s), false); !errors.Is(err, hub.ErrNoReplica) || follower.complaint() != errLags.Error() {
		t.Errorf("what the primary wrote since: %q, %v, %s", got, err, follower.complaint())
	}
}

// A standby of another cluster is not read, whatever it holds.
func TestReplicaOfAnotherCluster(t *testing.T) {
	p := newPair(t)
	other := newPair(t)
	serve(t, Config{DSN: other.dsn, Rules: shopRules()})
	other.standby.Follow(t, other.primary)
	s := serve(t, Config{DSN: p.dsn, Rules: shopRules(), Replicas: []string{other.copied()}})
	if got, _, err := names(t, s, at(t, s), false); !errors.Is(err, hub.ErrNoReplica) {
		t.Errorf("another cluster's rows: %q, %v", got, err)
	}
	if _, err := Open(t.Context(), Config{DSN: p.dsn, Rules: shopRules(), Replicas: []string{"postgres://x:geheim@[/"}}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("an address that is none: %v", err)
	}
}
