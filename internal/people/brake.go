package people

import (
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// A Brake slows down who fails again and again: after a number of free tries each
// further one must wait, twice as long as the one before. It remembers in memory, and a
// bounded number of keys. It may be used concurrently.
type Brake struct {
	clock clock.Clock
	free  int
	first time.Duration
	most  time.Duration

	mu   sync.Mutex
	keys map[string]*tries // guarded by mu
}

type tries struct {
	failed int
	until  time.Time // of the wait
	last   time.Time
}

const mostKeys = 10_000

// NewBrake allows so many failures; then waits begin with first, and grow up to most.
func NewBrake(c clock.Clock, free int, first, most time.Duration) *Brake {
	return &Brake{clock: c, free: free, first: first, most: most, keys: map[string]*tries{}}
}

// Allow returns nil, or a Busy fault that says how long to wait.
func (b *Brake) Allow(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.keys[key]
	if t == nil {
		return nil
	}
	wait := t.until.Sub(b.clock.Now())
	if wait <= 0 || wait > b.most { // a clock that was set back locks nobody out
		return nil
	}
	return &Fault{Kind: Busy, Code: "too-many-tries", Message: "too many tries failed", After: wait,
		Hint: fmt.Sprintf("try again in %d seconds", int(wait.Seconds())+1)}
}

// Failed counts a failure.
func (b *Brake) Failed(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	t := b.keys[key]
	if t == nil {
		b.forget(now)
		t = &tries{}
		b.keys[key] = t
	}
	if now.Sub(t.last) > 4*b.most { // long ago
		t.failed = 0
	}
	t.failed, t.last = t.failed+1, now
	if over := t.failed - b.free; over > 0 {
		wait := b.most
		if over < 20 {
			wait = min(b.first<<(over-1), b.most)
		}
		t.until = now.Add(wait)
	}
}

// Done forgets a key's failures.
func (b *Brake) Done(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.keys, key)
}

// forget makes room: first what is over, then anything, for who fills the memory with
// keys may not fill it up.
func (b *Brake) forget(now time.Time) {
	if len(b.keys) < mostKeys {
		return
	}
	for k, t := range b.keys {
		if now.Sub(t.last) > b.most {
			delete(b.keys, k)
		}
	}
	for k := range b.keys { // a tenth at once, so that this is seldom
		if len(b.keys) < mostKeys-mostKeys/10 {
			return
		}
		delete(b.keys, k)
	}
}
