package hub_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// refreshed is a store that counts how often its tables are read again.
type refreshed struct {
	hub.Store
	n atomic.Int64
}

func (r *refreshed) Refresh(ctx context.Context, rules *rule.Rules) (bool, error) {
	r.n.Add(1)
	return r.Store.Refresh(ctx, rules)
}

// When the tables were looked at while much is going on, they are not looked at again and
// again by all who find that their own picture is an older one.
func TestOneLookAtTheTablesIsOne(t *testing.T) {
	var store *refreshed
	w := newWorld(t, func(c *hub.Config) { store = &refreshed{Store: c.Store}; c.Store = store })
	store.n.Store(0)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 8 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := w.hub.Queue(w.ctx, change.DeviceID{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	const looks = 20
	for range looks {
		w.must(w.hub.CatchUp(w.ctx))
	}
	close(stop)
	busy.Wait()
	if n := store.n.Load(); n != looks {
		t.Errorf("the tables were read %d times for %d looks", n, looks)
	}
}

// slow is a store that takes its time over the tables.
type slow struct {
	hub.Store
	at, on chan struct{}
}

func (s *slow) Refresh(ctx context.Context, rules *rule.Rules) (bool, error) {
	if s.at != nil {
		close(s.at)
		<-s.on
	}
	return s.Store.Refresh(ctx, rules)
}

// Who waits while another one looks at the tables may give up.
func TestTheWaitForALookAtTheTablesEnds(t *testing.T) {
	store := &slow{}
	w := newWorld(t, func(c *hub.Config) { store.Store = c.Store; c.Store = store })
	store.at, store.on = make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- w.hub.Reload(w.ctx, w.rules) }()
	<-store.at
	ctx, end := context.WithTimeout(w.ctx, time.Millisecond)
	defer end()
	if err := w.hub.Reload(ctx, w.rules); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	store.at = nil
	close(store.on)
	w.must(<-done)
}
