package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// The experiment: writers move money between accounts while readers follow the change
// log, each in its own way, and a writer in another database of the same server keeps
// a transaction open. What a reader holds must always add up, and be right at the end.
const (
	accounts = 80
	each     = 1000
	plainers = 6 // writers of plain SQL; two more go through hub processes
	busy     = 4500 * time.Millisecond
	foreign  = 3 * time.Second
)

// A follower is what one reader holds, and how it fared.
type follower struct {
	name    string
	rows    map[int64]int64
	pulls   int
	torn    int
	stall   time.Duration // the longest time without a change, while there were some
	last    time.Time
	started bool
	begun   chan struct{} // closed with the first change
}

func newFollower(name string) *follower {
	f := &follower{name: name, rows: map[int64]int64{}, begun: make(chan struct{})}
	for i := range int64(accounts) {
		f.rows[i] = each
	}
	return f
}

// pulled notes a pull of n rows.
func (f *follower) pulled(n int) {
	if n == 0 {
		return
	}
	f.pulls++
	sum := int64(0)
	for _, v := range f.rows {
		sum += v
	}
	if sum != accounts*each {
		f.torn++
	}
	now := time.Now()
	if f.started {
		f.stall = max(f.stall, now.Sub(f.last))
	}
	if !f.started {
		close(f.begun)
	}
	f.last, f.started = now, true
}

// wrong counts the rows that differ from the truth.
func (f *follower) wrong(truth map[int64]int64) (n int) {
	for k, v := range truth {
		if f.rows[k] != v {
			n++
		}
	}
	return n
}

type experiment struct {
	t      *testing.T
	dsn    string
	stores []*Store
	done   atomic.Int64 // transfers
}

var ofAccounts = rule.Rules{Tables: []rule.Table{{Name: "account", Scope: rule.Scope{All: true}}}}

func newExperiment(t *testing.T, hubs int) *experiment {
	t.Helper()
	x := &experiment{t: t, dsn: pgtest.Database(t)}
	run(t, connect(t, x.dsn), fmt.Sprintf(`CREATE TABLE account (id bigint PRIMARY KEY, money bigint NOT NULL);
		INSERT INTO account SELECT n, %d FROM generate_series(0, %d) n`, each, accounts-1))
	for range hubs {
		s, err := Open(t.Context(), Config{DSN: x.dsn, Rules: &ofAccounts})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		x.stores = append(x.stores, s)
	}
	return x
}

func (x *experiment) truth() map[int64]int64 {
	x.t.Helper()
	out := map[int64]int64{}
	err := query(x.t.Context(), connect(x.t, x.dsn), "SELECT id, money FROM account", func(r *row) error {
		out[r.int(0)] = r.int(1)
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// pick chooses two accounts, the lower one first, and an amount.
func pick(r *rand.Rand) (a, b, n int64) {
	a, b = r.Int64N(accounts), r.Int64N(accounts-1)
	if b >= a {
		b++
	}
	return min(a, b), max(a, b), r.Int64N(100) - 50
}

// plain is a program of somebody else's: it takes its time between two statements.
func (x *experiment) plain(ctx context.Context, seed uint64) error {
	c, err := pgx.Connect(x.t.Context(), x.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	r := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		a, b, n := pick(r)
		err := script(x.t.Context(), c, fmt.Sprintf(`BEGIN; UPDATE account SET money = money - %d WHERE id = %d; SELECT pg_sleep(%f);
			UPDATE account SET money = money + %d WHERE id = %d; COMMIT`, n, a, r.Float64()*0.01, n, b))
		if err != nil {
			return err
		}
		x.done.Add(1)
	}
	return nil
}

// hub moves money as a hub process does for a device.
func (x *experiment) hub(ctx context.Context, s *Store, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 2))
	for ctx.Err() == nil {
		if err := transfer(x.t.Context(), s, r, byte(seed)); err != nil {
			return err
		}
		x.done.Add(1)
	}
	return nil
}

// transfer is one transaction of a device.
func transfer(ctx context.Context, s *Store, r *rand.Rand, device byte) error {
	a, b, n := pick(r)
	return s.Update(ctx, func(tx hub.Tx) error {
		tx.Again()
		if err := tx.As(change.Incarnation{device}, change.NewHLC(int64(device), 1)); err != nil {
			return err
		}
		return tx.Savepoint(func() error {
			for _, m := range []struct{ id, by int64 }{{a, -n}, {b, n}} {
				row, err := tx.Row("account", change.Key{change.Int(m.id)})
				if err != nil {
					return err
				}
				err = tx.Write(hub.Effect{Table: "account", Kind: change.Update, Key: change.Key{change.Int(m.id)}, Columns: []string{"money"},
					Values: []change.Value{change.Int(row[1].Int() + m.by)}})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// stranger holds a transaction open in another database, once somebody reads whom that
// holds up.
func (x *experiment) stranger(ctx context.Context, dsn string, reader *follower) error {
	c, err := pgx.Connect(x.t.Context(), dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	select {
	case <-reader.begun:
	case <-ctx.Done():
		return errors.New("the control by horizon read nothing")
	}
	return script(x.t.Context(), c, fmt.Sprintf("BEGIN; CREATE TABLE strange (n int); SELECT pg_sleep(%f); COMMIT", foreign.Seconds()))
}

// follow pulls with the store's cursor until ctx ends, and once more.
func (x *experiment) follow(ctx context.Context, s *Store, f *follower, cursor change.Cursor) error {
	for last := false; !last; {
		last = ctx.Err() != nil
		n := 0
		err := s.View(x.t.Context(), func(v hub.View) error {
			if err := v.Check(cursor); err != nil {
				return err
			}
			err := v.Delta(cursor, change.Incarnation{0xff}, []rule.ScopeID{rule.ScopeAll}, 1<<20, func(r *change.Rows) error {
				for i := range r.Len() {
					f.rows[r.Row(i)[0].Int()] = r.Row(i)[1].Int()
					n++
				}
				return nil
			})
			if err != nil {
				return err
			}
			cursor, err = v.Cursor()
			return err
		})
		if err != nil {
			return err
		}
		f.pulled(n)
	}
	return nil
}

// control pulls in one of the usual ways: changed finds the keys above where the
// reader is, and where it is then; the rows are read afterwards. Here as in the
// systems that do it so, in one transaction.
func (x *experiment) control(ctx context.Context, f *follower, sql, start string) error {
	c, err := pgx.Connect(x.t.Context(), x.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.Background()) }()
	for last := false; !last; {
		last = ctx.Err() != nil
		n := 0
		err := inTx(x.t.Context(), c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", func() error {
			return query(x.t.Context(), c, sql, func(r *row) error {
				if !r.null(0) {
					f.rows[r.int(0)] = r.int(1)
					n++
				}
				start = r.text(2)
				return nil
			}, start)
		})
		if err != nil {
			return err
		}
		f.pulled(n)
	}
	return nil
}

const (
	// bySequence remembers the highest number seen.
	bySequence = `WITH l AS (SELECT key, pos FROM tidemark.log WHERE pos > $1::text::bigint AND tbl <> 0)
		SELECT a.id, a.money, greatest($1::text::bigint, (SELECT max(pos) FROM l))::text
		FROM (SELECT DISTINCT key FROM l) k LEFT JOIN account a ON a.id = k.key[1]::bigint`
	// byHorizon waits until no older transaction is in progress, anywhere.
	byHorizon = `WITH h AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS x),
		l AS (SELECT key FROM tidemark.log, h WHERE xid >= $1::text::xid8 AND xid < h.x AND tbl <> 0)
		SELECT a.id, a.money, h.x::text FROM h LEFT JOIN (SELECT DISTINCT key FROM l) k ON true LEFT JOIN account a ON a.id = k.key[1]::bigint`
)

// at asks the database for where a control starts.
func (x *experiment) at(sql string) (out string) {
	x.t.Helper()
	err := query(x.t.Context(), connect(x.t, x.dsn), sql, func(r *row) error { out = r.text(0); return nil })
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

func (x *experiment) cursor(s *Store) (c change.Cursor) {
	x.t.Helper()
	err := s.View(x.t.Context(), func(v hub.View) (err error) { c, err = v.Cursor(); return err })
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

func TestTrapP1_ConcurrentWritersAreNeverSkippedTornOrStalled(t *testing.T) {
	other := pgtest.Database(t)
	x := newExperiment(t, 2)
	ctx, stop := context.WithTimeout(t.Context(), busy)
	defer stop()
	writing, reading := sync.WaitGroup{}, sync.WaitGroup{}
	ours := []*follower{newFollower("snapshot, process 1"), newFollower("snapshot, process 2")}
	sequence, horizon := newFollower("sequence"), newFollower("horizon")
	quiet, settle := context.WithCancel(t.Context()) // ends when the writers have
	defer settle()
	fail := func(err error) {
		var pg *pgconn.PgError
		if err != nil && (!errors.As(err, &pg) || pg.Code != "57014") {
			t.Errorf("%v", err)
		}
	}
	// Everybody starts from the accounts as they were made.
	cursors := []change.Cursor{x.cursor(x.stores[0]), x.cursor(x.stores[1])}
	begin := x.at("SELECT coalesce(max(pos), 0)::text FROM tidemark.log")
	snap := x.at("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
	for i, s := range x.stores {
		reading.Go(func() { fail(x.follow(quiet, s, ours[i], cursors[i])) })
		writing.Go(func() { fail(x.hub(ctx, s, uint64(i+1))) })
	}
	reading.Go(func() { fail(x.control(quiet, sequence, bySequence, begin)) })
	reading.Go(func() { fail(x.control(quiet, horizon, byHorizon, snap)) })
	for i := range plainers {
		writing.Go(func() { fail(x.plain(ctx, uint64(i+10))) })
	}
	writing.Go(func() { fail(x.stranger(ctx, other, horizon)) })
	writing.Wait()
	settle()
	reading.Wait()
	truth := x.truth()
	for _, f := range append(ours, sequence, horizon) {
		t.Logf("%-20s wrong %2d of %d, torn %4d of %4d pulls, longest stall %v", f.name, f.wrong(truth), accounts, f.torn, f.pulls, f.stall.Round(time.Millisecond))
	}
	t.Logf("%d transfers", x.done.Load())
	for _, f := range ours {
		if f.wrong(truth) != 0 || f.torn != 0 || f.pulls < 5 {
			t.Errorf("%s: %d rows wrong, %d of %d pulls torn", f.name, f.wrong(truth), f.torn, f.pulls)
		}
		if f.stall > sequence.stall+foreign/2 { // which waits for nobody: beyond it is not the machine's doing
			t.Errorf("%s stood still for %v (trap P4)", f.name, f.stall)
		}
	}
	if sequence.torn == 0 {
		t.Error("the control by sequence was never torn: the experiment shows nothing")
	}
	if horizon.stall < foreign*2/3 {
		t.Errorf("the control by horizon stalled for no more than %v: the stranger held up nobody", horizon.stall)
	}
	if x.done.Load() < 100 {
		t.Errorf("only %d transfers were made", x.done.Load())
	}
}

// The one interleaving that matters, on purpose: an earlier number commits later.
func TestTrapP1_ALateCommitIsSkippedByASequenceAndNotByTheSnapshot(t *testing.T) {
	x := newExperiment(t, 1)
	s := x.stores[0]
	late, prompt := connect(t, x.dsn), connect(t, x.dsn)
	begin := x.at("SELECT coalesce(max(pos), 0)::text FROM tidemark.log")
	c := x.cursor(s)
	run(t, late, "BEGIN; UPDATE account SET money = 1 WHERE id = 1")
	run(t, prompt, "UPDATE account SET money = 2 WHERE id = 2")
	over, stop := context.WithCancel(t.Context())
	stop() // one pull each
	ours, control := newFollower("snapshot"), newFollower("sequence")
	between := x.cursor(s)
	if err := x.follow(over, s, ours, c); err != nil {
		t.Fatal(err)
	}
	if err := x.control(over, control, bySequence, begin); err != nil {
		t.Fatal(err)
	}
	if ours.rows[2] != 2 || control.rows[2] != 2 || ours.rows[1] != each {
		t.Fatalf("before the late commit: %d, %d", ours.rows[2], control.rows[2])
	}
	end := x.at("SELECT max(pos)::text FROM tidemark.log")
	run(t, late, "COMMIT")
	if err := x.follow(over, s, ours, between); err != nil {
		t.Fatal(err)
	}
	if err := x.control(over, control, bySequence, end); err != nil {
		t.Fatal(err)
	}
	truth := x.truth()
	if n := ours.wrong(truth); n != 0 {
		t.Errorf("%d rows are wrong", n)
	}
	if n := control.wrong(truth); n != 1 {
		t.Errorf("the control has %d rows wrong: it should have missed the late commit", n)
	}
}
