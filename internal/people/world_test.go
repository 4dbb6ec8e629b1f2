package people_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

var morning = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

const good = "a long sentence is good"

// cheap makes passwords cost next to nothing.
var cheap = people.Cost{Time: 1, Memory: 64, Threads: 1}

// A world is a book over a real store.
type world struct {
	t     *testing.T
	ctx   context.Context
	clock *clock.Manual
	store *sqlitestore.Store
	book  *people.Book
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), clock: clock.NewManual(morning)}
	path := filepath.Join(t.TempDir(), "hub.db")
	w.must(sqlitestore.Create(path, []string{`CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, note)`}))
	rules := &rule.Rules{Tables: []rule.Table{{Name: "item", Scope: rule.Scope{All: true}}}}
	var err error
	w.store, err = sqlitestore.Open(sqlitestore.Config{Path: path, Rules: rules, Clock: w.clock, Rand: rand.Reader, NoSync: true})
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	w.book = w.another()
	return w
}

// another is the book of another process that serves the same database.
func (w *world) another() *people.Book {
	w.t.Helper()
	b, err := people.New(people.Config{Store: w.store, Clock: w.clock, Rand: rand.Reader, Key: make([]byte, 32), Hub: "test hub", Cost: cheap})
	w.must(err)
	return b
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// admin sets the first admin up.
func (w *world) admin(name string) *people.Person {
	w.t.Helper()
	l, err := w.book.SetUpLink(w.ctx)
	w.must(err)
	p, err := w.book.SetUp(w.ctx, l.Secret, name, good)
	w.must(err)
	return p
}

// person invites somebody, who comes in.
func (w *world) person(name string, role people.Role) *people.Person {
	w.t.Helper()
	l, err := w.book.Invite(w.ctx, name, role)
	w.must(err)
	p, err := w.book.SetUp(w.ctx, l.Secret, "", good)
	w.must(err)
	return p
}

func (w *world) session(p *people.Person) string {
	w.t.Helper()
	s, err := w.book.Begin(w.ctx, p.ID, "10.0.0.9")
	w.must(err)
	return s
}

// refused demands a fault of a code.
func (w *world) refused(err error, code string) {
	w.t.Helper()
	var f *people.Fault
	if !errors.As(err, &f) || f.Code != code {
		w.t.Fatalf("got %v, want a fault %q", err, code)
	}
	if f.Message == "" || f.Hint == "" {
		w.t.Errorf("the fault %q does not say what happened (%q) and what to do (%q)", code, f.Message, f.Hint)
	}
}

func (w *world) in(secret string) {
	w.t.Helper()
	if _, err := w.book.Session(w.ctx, secret); err != nil {
		w.t.Fatalf("the session ended: %v", err)
	}
}

func (w *world) out(secret string) {
	w.t.Helper()
	_, err := w.another().Session(w.ctx, secret) // in all processes
	w.refused(err, "login")
}
