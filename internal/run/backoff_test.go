package run

import (
	"crypto/rand"
	"errors"
	"testing"
	"testing/iotest"
	"time"
)

// A device that cannot reach its hub backs off with jitter, never past the
// limit, and never sooner than the hub asked for.
func TestTrapD13_BackoffGrowsWithJitter(t *testing.T) {
	b := &backoff{rand: rand.Reader, first: 100 * time.Millisecond, most: time.Second}
	limit := 100 * time.Millisecond
	for i := range 10 {
		d := b.next(0)
		if d < limit/2 || d > limit {
			t.Fatalf("try %d waits %v, want between %v and %v", i, d, limit/2, limit)
		}
		limit = min(limit*2, time.Second)
	}
	if d := b.next(8 * time.Second); d < 8*time.Second || d > 10*time.Second {
		t.Fatalf("asked for 8s, waits %v", d)
	}
	b.reset()
	if d := b.next(0); d > 100*time.Millisecond {
		t.Fatalf("after reset waits %v", d)
	}
	seen := map[time.Duration]bool{}
	for range 20 {
		b.reset()
		seen[b.next(0)] = true
	}
	if len(seen) < 10 {
		t.Fatalf("20 first waits gave %d values: no jitter", len(seen))
	}
	mute := &backoff{rand: iotest.ErrReader(errors.New("none")), first: time.Second, most: time.Second}
	if d := mute.next(0); d != time.Second {
		t.Fatalf("without randomness waits %v, want the longest", d)
	}
}
