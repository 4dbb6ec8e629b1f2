package hub_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// away ends all sessions of a hall, lets something happen, and lets the devices come back.
func (h *hall) away(happens func()) {
	h.t.Helper()
	happens()
	for _, s := range h.all {
		s.connect()
	}
	h.store.views.Store(0)
	h.store.deltas.Store(0)
}

// What devices missed that come back together is read by the first of them, and once more
// for all others. Where nothing happened nothing is read.
func TestWhoComesBackTogetherReadsTogether(t *testing.T) {
	const crowd = 12
	h := newHall(t, cache.NewMemory(0), crowd, everywhere)
	for round := range 3 {
		h.away(func() {
			h.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i+1 FROM n WHERE i < 300)
				INSERT INTO product SELECT printf('%d-%%05d',i), 'name of a product', i, printf('%d-%%05d',i) FROM n`, round, round))
		})
		var wait sync.WaitGroup
		for _, s := range h.all {
			wait.Go(func() {
				if n := s.pull(); n != 300 {
					t.Errorf("%d rows", n)
				}
			})
		}
		wait.Wait()
		if n := h.store.deltas.Load(); n != 2 {
			t.Errorf("round %d: %d deltas were read for %d devices", round, n, crowd)
		}
		h.all[round].same("product", "1")
	}
	h.away(func() {})
	for _, s := range h.all {
		if n := s.pull(); n != 0 {
			t.Errorf("nothing happened, and %d rows came", n)
		}
	}
	if n := h.store.deltas.Load(); n != 0 {
		t.Errorf("nothing happened, and %d deltas were read", n)
	}
}

// An author hears what became of its work, and not its work, unless it asks for that.
func TestAnAuthorComesBackWithTheOthers(t *testing.T) {
	h := newHall(t, cache.NewMemory(0), 5, everywhere)
	author, echo := h.all[3], h.all[4]
	h.away(func() {
		for i, s := range []*site{author, echo} {
			s.applies(ins("product", fmt.Sprint("mine", i), "coffee", 1, fmt.Sprint("m", i)))
		}
		h.sql("INSERT INTO product VALUES('p1','tea',1,'c1')")
	})
	for _, s := range h.all[:3] {
		if n := s.pull(); n != 3 || len(s.done) != 0 {
			t.Errorf("%d rows came, outcomes %v", n, s.done)
		}
	}
	if n := author.pull(); n != 2 || author.done[1] != hub.Applied {
		t.Errorf("%d rows came to an author, outcomes %v", n, author.done)
	}
	reads := h.store.deltas.Load()
	if n := echo.pulled(echo.ask(&wire.Pull{Cursor: echo.base, Scopes: echo.scopes, Outcome: echo.mark, Echo: true})); n != 3 || echo.done[1] != hub.Applied {
		t.Errorf("%d rows came to an author that asked for its own, outcomes %v", n, echo.done)
	}
	if n := h.store.deltas.Load(); n != reads {
		t.Error("what was read for all was read again")
	}
	for _, s := range h.all {
		s.same("product", "1")
	}
}

// What was read for others does not reach those who read other scopes, or none any more.
func TestI6_WhoComesBackReadsItsOwnScopes(t *testing.T) {
	h := newHall(t, cache.NewMemory(0), 4, branchGrant("1"))
	other := h.site("other", branchGrant("2"))
	other.pull()
	h.all = append(h.all, other)
	h.away(func() {
		h.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann'), ('c2','2','Bob')")
	})
	for _, s := range h.all[:3] {
		s.pull()
		s.same("customer", "branch='1'")
	}
	other.pull()
	other.same("customer", "branch='2'")
	h.must(h.hub.Revoke(h.ctx, h.all[3].id, "lost"))
	m := &wire.Pull{Cursor: h.all[3].base, Scopes: h.all[3].scopes}
	if _, err := h.all[3].tryAsk(m); faultCode(err) != "revoked" {
		t.Errorf("a revoked device: %v", err)
	}
}

// However much it is, and whatever the cache makes of it, everybody has it in the end.
func TestWhatOneComesBackToMayBeOfAnySize(t *testing.T) {
	for name, deltas := range map[string]hub.Chunks{"kept": cache.NewMemory(0), "forgotten": cache.NewMemory(1),
		"damaged": broken{value: []byte("\x02{}x")}, "none": broken{}, "another's": broken{value: other()}} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, deltas, 3, everywhere)
			for i, n := range []int{1, 150, 20_000} {
				h.away(func() {
					h.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i+1 FROM n WHERE i < %d)
						INSERT INTO product SELECT printf('%d-%%05d',i), '%s', i, printf('%d-%%05d',i) FROM n`, n, i, strings.Repeat("name ", 10), i))
				})
				for _, s := range h.all {
					if got := s.pull(); got != n {
						t.Errorf("%d rows came of %d", got, n)
					}
				}
			}
			h.all[2].same("product", "1")
		})
	}
	h := newHall(t, broken{err: errNoLuck}, 1, everywhere)
	h.away(func() { h.sql("INSERT INTO product VALUES('p1','tea',1,'c1')") })
	if _, err := h.all[0].tryAsk(&wire.Pull{Cursor: h.all[0].base, Scopes: h.all[0].scopes}); err == nil || !strings.Contains(err.Error(), errNoLuck.Error()) {
		t.Errorf("got %v", err)
	}
}

// other is a letter of another state.
func other() []byte {
	head := fmt.Sprintf(`{"Next":%q}`, change.Cursor{Epoch: 1, Token: "1"}.String())
	return append([]byte{byte(len(head))}, head...)
}
