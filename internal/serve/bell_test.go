package serve

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestBellNeverMissesAStrike(t *testing.T) {
	b := newBell()
	ctx, stop := context.WithCancel(context.Background())
	nothing := func(*hub.Stir) bool { return false }
	first, second := b.listener(ctx, change.DeviceID{}, nothing), b.listener(ctx, change.DeviceID{}, nothing)
	b.strike()
	b.strike() // nobody waited in between: one wake is enough
	for _, wait := range []func(context.Context) error{first, second} {
		if err := wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	woken := make(chan error)
	go func() { woken <- first(ctx) }()
	b.strike()
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	stop()
	if err := first(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("after the end: %v", err)
	}
}

func TestBellWakesOnlyWhomAStirConcerns(t *testing.T) {
	b := newBell()
	ctx, stop := context.WithCancel(t.Context())
	in := func(sc rule.ScopeID) func(*hub.Stir) bool { return func(st *hub.Stir) bool { return st.Scopes[sc] } }
	berlin := b.listener(ctx, change.DeviceID{1}, in("branch/berlin"))
	oslo := b.listener(ctx, change.DeviceID{2}, in("branch/oslo"))
	rung := func(wait func(context.Context) error) bool {
		done, end := context.WithCancel(context.Background())
		end()
		for range 64 { // of two ways out one is taken by chance
			if wait(done) == nil {
				return true
			}
		}
		return false
	}
	b.stir(&hub.Stir{Scopes: map[rule.ScopeID]bool{"branch/oslo": true}})
	if rung(berlin) || !rung(oslo) {
		t.Error("a change in Oslo does not concern Berlin")
	}
	b.call(change.DeviceID{1})
	if !rung(berlin) || rung(oslo) {
		t.Error("a call is for one device")
	}
	b.call(change.DeviceID{})
	if !rung(berlin) || !rung(oslo) {
		t.Error("a call of nobody is for all")
	}
	stop()
	for range 1000 { // the ends of sessions are heard of a little later
		b.mu.Lock()
		n := len(b.ears)
		b.mu.Unlock()
		if n == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Error("sessions that ended listen on")
}
