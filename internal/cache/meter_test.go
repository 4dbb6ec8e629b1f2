package cache

import (
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// Sixty a minute, all at once after a quiet one.
const (
	room = 59 * time.Second
	each = time.Second
)

// Processes count together, each device by itself, and one hub's are not another's.
func TestProcessesCountTogether(t *testing.T) {
	server := pgtest.NewRedis(t)
	list := []*Redis{process(t, server), process(t, server)}
	began := clock.System{}.Now()
	n := 0
	for ; n < 200; n++ {
		wait, ok := list[n%2].Take(t.Context(), "one", room, each)
		if !ok {
			t.Fatal("it did not answer")
		}
		if wait > 0 {
			if wait > each {
				t.Errorf("it waits %v", wait)
			}
			break
		}
	}
	more := int(clock.System{}.Now().Sub(began)/each) + 1 // what became free meanwhile
	if n < 60 || n > 60+more {
		t.Errorf("%d got through", n)
	}
	if wait, ok := list[0].Take(t.Context(), "two", room, each); !ok || wait != 0 {
		t.Errorf("another device waits %v, %v", wait, ok)
	}
	stranger := process(t, server, func(c *RedisConfig) { c.Secret = []byte("the secret of another hub") })
	if wait, ok := stranger.Take(t.Context(), "one", room, each); !ok || wait != 0 {
		t.Errorf("the device at another hub waits %v, %v", wait, ok)
	}
}

// Without the server nothing is known, and it is back with nothing used up.
func TestCountingWithoutRedis(t *testing.T) {
	server := pgtest.NewRedis(t)
	now := clock.NewManual(time.Unix(1_000_000, 0))
	r := process(t, server, func(c *RedisConfig) { c.Clock = now })
	if _, ok := r.Take(t.Context(), "one", 0, time.Hour); !ok {
		t.Fatal("it did not answer")
	}
	if wait, ok := r.Take(t.Context(), "one", 0, time.Hour); !ok || wait < 59*time.Minute || wait > time.Hour {
		t.Errorf("the second waits %v, %v", wait, ok)
	}
	server.Kill(t)
	if wait, ok := r.Take(t.Context(), "one", 0, time.Hour); ok {
		t.Errorf("a server that is gone says %v", wait)
	}
	server.Start(t)
	now.Advance(redisPause)
	if wait, ok := r.Take(t.Context(), "one", 0, time.Hour); !ok || wait != 0 {
		t.Errorf("after it came back: %v, %v", wait, ok)
	}
}
