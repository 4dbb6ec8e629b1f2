package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

var errNoLuck = errors.New("no luck")

// glanced is a store that counts the looks into it, and the deltas that are read.
type glanced struct {
	hub.Store
	views, deltas atomic.Int64
}

func (l *glanced) View(ctx context.Context, fn func(hub.View) error) error {
	l.views.Add(1)
	return l.Store.View(ctx, func(v hub.View) error { return fn(glancedView{v, l}) })
}

type glancedView struct {
	hub.View
	l *glanced
}

func (v glancedView) Delta(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error {
	v.l.deltas.Add(1)
	return v.View.Delta(since, self, scopes, limit, emit)
}

// A hall is a hub whose sessions share what they are woken for, and devices that wait.
type hall struct {
	*world
	store *glanced
	all   []*site
}

func newHall(t *testing.T, deltas hub.Chunks, n int, grants ...rule.Grant) *hall {
	t.Helper()
	h := &hall{}
	h.world = newWorld(t, func(c *hub.Config) {
		h.store = &glanced{Store: c.Store}
		c.Store, c.Deltas, c.Limits.Part = h.store, deltas, 4000
	})
	for i := range n {
		h.all = append(h.all, h.site(fmt.Sprint("device", i), grants...))
	}
	h.toll()
	for _, s := range h.all {
		s.pull()
		s.wait()
	}
	h.store.views.Store(0)
	h.store.deltas.Store(0)
	return h
}

// toll does what a shell does after a commit, but for the wakes.
func (h *hall) toll() {
	h.t.Helper()
	var at change.Cursor
	h.must(h.store.Store.View(h.ctx, func(v hub.View) (err error) { at, err = v.Cursor(); return err }))
	h.hub.Tolled(at)
	for _, s := range h.all {
		if s.session != nil {
			s.session.Heeds(&hub.Stir{All: true})
		}
	}
}

// wait asks for what comes, and must get nothing now.
func (s *site) wait() {
	s.t.Helper()
	if out := s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark, Wait: true}); len(out) != 0 {
		s.t.Fatalf("nothing happened, and it was answered %v", out)
	}
}

// woken is what a wake answers.
func (s *site) woken() (out []wire.Message) {
	s.t.Helper()
	s.must(s.session.Wake(s.ctx, func(m wire.Message) error { out = append(out, m); return nil }))
	return out
}

// What a commit brings to many is read once, whatever they wait for next costs nothing,
// and its author hears something else.
func TestADeltaIsReadOnceForAllWhoWait(t *testing.T) {
	const crowd = 12
	h := newHall(t, cache.NewMemory(0), crowd, everywhere)
	for round := range 5 {
		h.sql(fmt.Sprintf("INSERT INTO product VALUES('p%d','tea',%d,'c%d')", round, round, round))
		h.toll()
		h.store.views.Store(0)
		h.store.deltas.Store(0)
		var wait sync.WaitGroup
		for _, s := range h.all {
			wait.Go(func() {
				if n := s.pulled(s.woken()); n != 1 {
					t.Errorf("%d rows", n)
				}
			})
		}
		wait.Wait()
		if n := h.store.deltas.Load(); n != 1 {
			t.Errorf("round %d: %d deltas were read for %d devices", round, n, crowd)
		}
		looks := h.store.views.Load()
		for _, s := range h.all {
			s.wait()
		}
		if n := h.store.views.Load(); looks != crowd || n != looks {
			t.Errorf("round %d: %d looks to answer %d devices, and %d to let them wait", round, looks, crowd, n-looks)
		}
	}
	author := h.all[3]
	author.applies(ins("product", "mine", "coffee", 1, "m"))
	h.toll()
	for _, s := range h.all {
		n := s.pulled(s.woken())
		if s == author && (n != 0 || s.done[1] != hub.Applied) || s != author && n != 1 {
			t.Errorf("%d rows came, outcomes %v", n, s.done)
		}
		s.same("product", "1")
	}
	// What becomes of its work later is its own, too.
	id := author.parks("not at the hub", ins("orders", "o1", "nobody"))
	author.pull()
	author.wait()
	h.all[0].wait()
	_, err := h.hub.Discard(h.ctx, id, "no")
	h.must(err)
	h.toll()
	h.all[0].pulled(h.all[0].woken()) // that there is no such row
	author.pulled(author.woken())
	if len(h.all[0].done) > 0 || author.done[2] != hub.Discarded {
		t.Errorf("outcomes %v", author.done)
	}
}

// What was committed after a letter was read comes with the next wake, also to one that
// slept through the one before.
func TestNobodyIsLeftBehindByWhatOthersHeard(t *testing.T) {
	h := newHall(t, cache.NewMemory(0), 2, everywhere)
	early, late := h.all[0], h.all[1]
	h.sql("INSERT INTO product VALUES('p1','tea',1,'c1')")
	h.toll()
	early.pulled(early.woken())
	h.sql("INSERT INTO product VALUES('p2','tea',1,'c2')")
	h.toll()
	for _, s := range []*site{late, early} {
		if s == early {
			s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark, Wait: true})) // it was told meanwhile
		} else {
			s.pulled(s.woken())
		}
		s.same("product", "1")
		s.wait()
	}
	// A wake for nothing leaves everybody waiting, from where it looked on.
	h.sql("INSERT INTO pair VALUES('x',1,1)")
	h.toll()
	for _, s := range h.all {
		s.pulled(s.woken())
		s.wait()
	}
	h.toll()
	for _, s := range h.all {
		if out := s.woken(); len(out) != 0 || !s.session.Held() {
			t.Errorf("nothing happened, and %v was answered", out)
		}
	}
	// A device's record that changed is no entry of the log.
	early.pulled(append(early.ask(&wire.Pull{Cursor: early.base, Scopes: early.scopes, Outcome: early.mark}), nil)[:1])
	_, err := h.hub.Ask(h.ctx, early.id, wire.AskSync)
	h.must(err)
	if out := early.ask(&wire.Pull{Cursor: early.base, Scopes: early.scopes, Outcome: early.mark, Wait: true}); len(out) != 1 {
		t.Errorf("what it is asked for came as %v", out)
	}
}

// Who may not read any more does not hear what was read for others; nor is anything of
// another set of scopes heard.
func TestI6_LettersKeepToTheScopes(t *testing.T) {
	h := newHall(t, cache.NewMemory(0), 3, branchGrant("1"))
	other := h.site("other", branchGrant("2"))
	other.pull()
	other.wait()
	h.all = append(h.all, other)
	h.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann'), ('c2','2','Bob')")
	h.toll()
	h.all[0].pulled(h.all[0].woken())
	h.must(h.hub.SetGrants(h.ctx, h.all[1].id, []rule.Grant{branchGrant("2")}))
	if out := h.all[1].woken(); len(out) != 1 {
		t.Errorf("answers: %v", out)
	} else if _, ok := out[0].(*wire.Rebase); !ok {
		t.Errorf("changed grants were answered %#v", out[0])
	}
	h.must(h.hub.Revoke(h.ctx, h.all[2].id, "lost"))
	if err := h.all[2].session.Wake(h.ctx, nil); faultCode(err) != "revoked" {
		t.Errorf("a revoked device: %v", err)
	}
	other.pulled(other.woken())
	other.same("customer", "branch='2'")
	h.all[0].same("customer", "branch='1'")
}

// Much at once comes in parts to each by itself, a little more than a part is in a letter;
// and a cache that forgets, fails or mixes things up changes nothing.
func TestLettersOfAnySize(t *testing.T) {
	for name, deltas := range map[string]hub.Chunks{"kept": cache.NewMemory(0), "forgotten": cache.NewMemory(1), "damaged": broken{value: []byte("\x02{}x")},
		"none": broken{}, "long": broken{value: []byte("\x7f{}")}, "no json": broken{value: []byte("\x01x")}, "no cursor": broken{value: []byte("\x0c{\"Next\":\"x\"}")},
		"cut": broken{value: []byte("\x0d{\"Sizes\":[9]}")}} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, deltas, 3, everywhere)
			sizes := []int{1, 150}
			if name == "kept" {
				sizes = append(sizes, 20_000)
			}
			for i, n := range sizes {
				h.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i+1 FROM n WHERE i < %d)
					INSERT INTO product SELECT printf('%d-%%05d',i), '%s', i, printf('%d-%%05d',i) FROM n`, n, i, strings.Repeat("name ", 10), i))
				h.toll()
				for _, s := range h.all {
					if got := s.pulled(s.woken()); got != n {
						t.Errorf("%d rows came of %d", got, n)
					}
					s.wait()
				}
			}
			h.all[2].same("product", "1")
		})
	}
	h := newHall(t, broken{err: errNoLuck}, 1, everywhere)
	h.toll()
	if err := h.all[0].session.Wake(h.ctx, nil); err == nil || !strings.Contains(err.Error(), errNoLuck.Error()) {
		t.Errorf("got %v", err)
	}
	h.hub.Tolled(change.Cursor{}) // the shell lost its database: everybody looks
	if out := h.all[0].woken(); len(out) != 0 {
		t.Errorf("got %v", out)
	}
}
