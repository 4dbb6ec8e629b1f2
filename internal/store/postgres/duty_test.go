package postgresstore

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// together opens two stores on one database, as two processes would.
func together(t *testing.T, heard func(string)) (dsn string, a, b *Store) {
	t.Helper()
	dsn = pgtest.Database(t)
	list := [2]*Store{}
	for i := range list {
		cfg := Config{DSN: dsn, Rand: rand.Reader, Common: true}
		if i == 1 {
			cfg.Heard = heard
		}
		s, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		list[i] = s
	}
	return dsn, list[0], list[1]
}

func jot(ctx context.Context, s *Store, id string) error {
	return s.Update(ctx, func(tx hub.Tx) error { return tx.PutRecord("thing", id, []byte("x")) })
}

// Whoever has a duty keeps it while it renews; who lost it writes nothing.
func TestDuty_OneHasIt(t *testing.T) {
	ctx := t.Context()
	_, a, b := together(t, nil)
	first, ok, err := a.TakeDuty(ctx, "chores", "a", time.Hour)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := b.TakeDuty(ctx, "chores", "b", time.Hour); ok || err != nil {
		t.Fatalf("two have it: %v", err)
	}
	if free, err := b.DutyFree(ctx, "chores"); free || err != nil {
		t.Error("it looks free", err)
	}
	if free, err := b.DutyFree(ctx, "another"); !free || err != nil {
		t.Error("one that nobody ever took looks taken", err)
	}
	if err := jot(OnDuty(ctx, first), a, "1"); err != nil {
		t.Fatal(err)
	}
	if ok, err := a.KeepDuty(ctx, first, 0); !ok || err != nil { // as if it had hung
		t.Fatal(ok, err)
	}
	second, ok, err := b.TakeDuty(ctx, "chores", "b", time.Hour)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := jot(OnDuty(ctx, first), a, "2"); !errors.Is(err, ErrOffDuty) {
		t.Errorf("the late one wrote: %v", err)
	}
	if err := jot(OnDuty(ctx, second), b, "3"); err != nil {
		t.Error(err)
	}
	if ok, err := a.KeepDuty(ctx, first, time.Hour); ok || err != nil {
		t.Errorf("the late one renewed: %v", err)
	}
	err = a.View(ctx, func(v hub.View) error {
		list, err := v.Records("thing", "", "", 9)
		if len(list) != 2 || list[0].ID != "1" || list[1].ID != "3" {
			t.Errorf("records %v", list)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A server that was started again costs nobody a duty: the connections from before are
// dead, and no reason to say that it cannot be had.
func TestDuty_OutlivesItsConnections(t *testing.T) {
	ctx := t.Context()
	dsn, a, b := together(t, nil)
	duty, ok, err := a.TakeDuty(ctx, "chores", "a", time.Hour)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	hangUp := func() {
		t.Helper()
		const all = `SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
		run(t, connect(t, dsn), all)
	}
	hangUp()
	if ok, err := a.KeepDuty(ctx, duty, 0); err != nil || !ok {
		t.Errorf("renewing on a dead connection: %v, %v", ok, err)
	}
	hangUp()
	if free, err := b.DutyFree(ctx, "chores"); err != nil || !free {
		t.Errorf("looking on a dead connection: %v, %v", free, err)
	}
	hangUp()
	if _, ok, err := b.TakeDuty(ctx, "chores", "b", time.Hour); err != nil || !ok {
		t.Errorf("taking over on a dead connection: %v, %v", ok, err)
	}
}

// A write that is under way when the loan runs out is either before the one that takes
// over, or not at all.
func TestDuty_IsNotTakenOverInTheMiddleOfAWrite(t *testing.T) {
	ctx := t.Context()
	_, a, b := together(t, nil)
	first, _, err := a.TakeDuty(ctx, "chores", "a", 0)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan error, 1)
	err = a.Update(OnDuty(ctx, first), func(tx hub.Tx) error {
		go func() {
			_, ok, err := b.TakeDuty(ctx, "chores", "b", time.Hour)
			if err == nil && !ok {
				err = errors.New("it is not free")
			}
			taken <- err
		}()
		select {
		case err := <-taken:
			t.Errorf("it was taken over in the middle: %v", err)
			taken <- err
		case <-time.After(200 * time.Millisecond):
		}
		return tx.PutRecord("thing", "1", []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	if err := jot(OnDuty(ctx, first), a, "2"); !errors.Is(err, ErrOffDuty) {
		t.Errorf("the late one wrote: %v", err)
	}
}

// Words reach the others, and not who says them; who connects hears that there may have
// been some.
func TestWordsReachTheOthers(t *testing.T) {
	ctx := t.Context()
	words := make(chan string, 9)
	_, a, b := together(t, func(w string) { words <- w })
	b.bell.hear() // listening begins
	if w := <-words; w != "" {
		t.Fatalf("first %q", w)
	}
	if err := b.Tell(ctx, []string{"own"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Tell(ctx, []string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	if x, y := <-words, <-words; x != "one" || y != "two" {
		t.Errorf("heard %q and %q", x, y)
	}
	a.heard("nobody listens here")
}

// The rules in force are the database's: a store that is opened under others takes
// them, unless it is told to put its own in force; the other one follows.
func TestRulesInForce(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Database(t)
	run(t, connect(t, dsn), "CREATE TABLE item (id text PRIMARY KEY, branch int); CREATE TABLE other (id text PRIMARY KEY)")
	rules := func(names ...string) *rule.Rules {
		r := &rule.Rules{}
		for _, n := range names {
			r.Tables = append(r.Tables, rule.Table{Name: n, Scope: rule.Scope{All: true}})
		}
		return r
	}
	open := func(r *rule.Rules, enforce bool) *Store {
		s, err := Open(ctx, Config{DSN: dsn, Rules: r, Common: true, Enforce: enforce})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	a := open(rules("item"), false)
	b := open(rules("other"), false)
	if got := b.Rules().Names(); len(got) != 1 || got[0] != "item" {
		t.Errorf("under the rules of its own: %v", got)
	}
	c := open(rules("item", "other"), true)
	if _, err := a.Refresh(ctx, rules("item")); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, c} {
		if got := s.Rules().Names(); len(got) != 2 || len(s.Schema().Tables) != 2 {
			t.Errorf("rules %v", got)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Config{DSN: dsn, Rules: rules("none"), Common: true, Enforce: true}); err == nil {
		t.Error("rules that do not fit were put in force")
	}
	if err := jot(ctx, b, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Refresh(ctx, nil); err != nil || len(b.Rules().Names()) != 2 {
		t.Errorf("rules that do not fit are in force: %v, %v", b.Rules().Names(), err)
	}
}

func TestGlances(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Database(t)
	if yes, err := Founded(ctx, dsn); yes || err != nil {
		t.Error(yes, err)
	}
	if _, err := Peek(ctx, dsn, "thing", "1"); !errors.Is(err, hub.ErrNotFound) {
		t.Error(err)
	}
	s, err := Open(ctx, Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := jot(ctx, s, "1"); err != nil {
		t.Fatal(err)
	}
	if yes, err := Founded(ctx, dsn); !yes || err != nil {
		t.Error(yes, err)
	}
	if b, err := Peek(ctx, dsn, "thing", "1"); string(b) != "x" || err != nil {
		t.Error(b, err)
	}
	if _, err := Peek(ctx, dsn, "thing", "2"); !errors.Is(err, hub.ErrNotFound) {
		t.Error(err)
	}
	if v, age, err := Server(ctx, dsn); v == "" || age < 0 || err != nil {
		t.Error(v, age, err)
	}
	const nowhere = "postgres://127.0.0.1:1/none"
	if _, err := Founded(ctx, nowhere); err == nil {
		t.Error("nowhere is a hub")
	}
	if _, err := Peek(ctx, nowhere, "thing", "1"); err == nil || errors.Is(err, hub.ErrNotFound) {
		t.Error(err)
	}
}
