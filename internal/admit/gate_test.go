package admit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

func gate(l Limits) *Gate { return NewGate(GateConfig{Limits: l, Clock: clock.System{}}) }

// Many callers, never more at once than may be, and all come to their turn.
func TestGateLetsEverybodyThroughInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(Limits{InFlight: 4, Bytes: 1000})
		var now, most, done atomic.Int32
		var wait sync.WaitGroup
		for n := range byte(200) {
			wait.Go(func() {
				p, err := g.Enter(t.Context(), Ask{Who: dev(n), Weight: 1, Bytes: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if i := now.Add(1); i > most.Load() {
					most.Store(i)
				}
				<-time.After(10 * time.Millisecond) // of the bubble's clock
				now.Add(-1)
				p.Worked(1)
				p.Done()
				p.Done()
				done.Add(1)
			})
		}
		wait.Wait()
		if done.Load() != 200 || most.Load() != 4 {
			t.Errorf("%d done, %d at once", done.Load(), most.Load())
		}
		if l := g.Load(); l != (Load{Admitted: 200}) {
			t.Errorf("afterwards %+v", l)
		}
	})
}

// Who waits too long, or finds too many before them, gets an appointment; who goes
// away leaves no gap.
func TestGateTurnsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(Limits{InFlight: 1, Queue: 2})
		p, err := g.Enter(t.Context(), Ask{Who: dev(1), Weight: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make([]error, 2)
		var wait sync.WaitGroup
		wait.Go(func() { _, got[0] = g.Enter(ctx, Ask{Who: dev(2), Weight: 1}) })
		wait.Go(func() { _, got[1] = g.Enter(t.Context(), Ask{Who: dev(3), Weight: 1}) })
		synctest.Wait()
		if l := g.Load(); l.Waiting != 2 {
			t.Errorf("%+v, want two to wait", l)
		}
		var full *Busy
		if _, err := g.Enter(t.Context(), Ask{Who: dev(4), Weight: 1}); !errors.As(err, &full) || full.RetryAfter < Soonest {
			t.Errorf("the third to wait: %v", err)
		}
		cancel()
		wait.Wait() // the other one's patience ends by the bubble's clock
		var late *Busy
		if !errors.Is(got[0], context.Canceled) || !errors.As(got[1], &late) || late.RetryAfter < Soonest {
			t.Errorf("got %v", got)
		}
		p.Done()
		if l := g.Load(); l != (Load{Admitted: 1, Refused: 2}) {
			t.Errorf("afterwards %+v", l)
		}
		if b := g.Refuse("full"); b.Error() == "" || g.Load().Refused != 3 {
			t.Error(b)
		}
		if g.Room(Live) != DefaultBytes {
			t.Error(g.Room(Live))
		}
	})
}

// An answer that is still to be sent takes memory, and no turn.
func TestAnAnswerTakesMemoryAndNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate(Limits{InFlight: 1, Bytes: 100})
		a, err := g.Enter(t.Context(), Ask{Who: dev(1), Weight: 1, Bytes: 80})
		if err != nil {
			t.Fatal(err)
		}
		a.Worked(60)
		b, err := g.Enter(t.Context(), Ask{Who: dev(2), Weight: 1, Bytes: 40})
		if err != nil {
			t.Fatal(err)
		}
		b.Done()
		done := make(chan error)
		go func() {
			_, err := g.Enter(t.Context(), Ask{Who: dev(3), Weight: 1, Bytes: 50})
			done <- err
		}()
		synctest.Wait()
		if l := g.Load(); l.Waiting != 1 || l.Bytes != 60 {
			t.Errorf("%+v, want one to wait for memory", l)
		}
		a.Done()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
