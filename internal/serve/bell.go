package serve

import (
	"context"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
)

// A bell wakes every session of a hub when the store changed, or one device's when
// that one was changed. One goroutine waits on the store and strikes; sessions, however
// many, only listen.
type bell struct {
	mu   sync.Mutex
	ring chan struct{}                     // closed by the next strike; guarded by mu
	own  map[change.DeviceID]chan struct{} // closed by the next call of a device; guarded by mu
}

func newBell() *bell {
	return &bell{ring: make(chan struct{}), own: map[change.DeviceID]chan struct{}{}}
}

func (b *bell) strike() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ring)
	b.ring = make(chan struct{})
}

// call wakes the sessions of a device; zero: all.
func (b *bell) call(device change.DeviceID) {
	if device.IsZero() {
		b.strike()
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.own[device]; c != nil {
		close(c)
		delete(b.own, device)
	}
}

func (b *bell) next(device change.DeviceID) (ring, own <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.own[device]
	if c == nil {
		c = make(chan struct{})
		b.own[device] = c
	}
	return b.ring, c
}

// listener returns a wait function for one session of a device, which is its only
// caller. A strike between two waits is not missed: the channels to wait on are taken
// before the session looks at the store.
func (b *bell) listener(device change.DeviceID) func(context.Context) error {
	ring, own := b.next(device)
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ring:
		case <-own:
		}
		ring, own = b.next(device)
		return nil
	}
}
