package serve

import (
	"context"
	"sync"
)

// A bell wakes every session of a hub when the store changed. One goroutine
// waits on the store and strikes; sessions, however many, only listen.
type bell struct {
	mu   sync.Mutex
	ring chan struct{} // closed by the next strike; guarded by mu
}

func newBell() *bell { return &bell{ring: make(chan struct{})} }

func (b *bell) strike() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ring)
	b.ring = make(chan struct{})
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ring
}

// listener returns a wait function for one session, which is its only caller.
// A strike between two waits is not missed: the channel to wait on is taken
// before the session looks at the store.
func (b *bell) listener() func(context.Context) error {
	c := b.next()
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c:
			c = b.next()
			return nil
		}
	}
}
