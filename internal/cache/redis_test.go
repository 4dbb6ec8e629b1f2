package cache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

var secret = []byte("a secret of one hub, shared by its processes")

// process is one hub process's cache over a server.
func process(t *testing.T, server *pgtest.Redis, edit ...func(*RedisConfig)) *Redis {
	t.Helper()
	cfg := RedisConfig{URL: server.URL(), Secret: secret, Memory: NewMemory(0), Clock: clock.System{}, Rand: rand.Reader,
		Within: 10 * time.Second} // the machine may be busy
	for _, e := range edit {
		e(&cfg)
	}
	r, err := NewRedis(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestProcessesShareWhatOneMade(t *testing.T) {
	server := pgtest.NewRedis(t)
	var m maker
	var wait sync.WaitGroup
	for range 4 {
		p := process(t, server)
		for range 10 {
			wait.Go(func() {
				want(t, "value")(p.Get(t.Context(), "key", func(ctx context.Context) ([]byte, error) {
					pause := time.NewTimer(50 * time.Millisecond) // long enough that all ask meanwhile
					defer pause.Stop()
					<-pause.C
					return m.fill("value")(ctx)
				}))
			})
		}
	}
	wait.Wait()
	if n := m.made.Load(); n != 1 {
		t.Errorf("made %d times in 4 processes", n)
	}
	b, err := process(t, server).client.Get(t.Context(), valueKey("key")).Bytes()
	if err != nil || bytes.Contains(b, []byte("value")) {
		t.Errorf("in redis: %q, %v", b, err)
	}
}

// Redis that dies costs time and nothing else, and when it is back it is used again.
func TestRedisKilledAndRestarted(t *testing.T) {
	server := pgtest.NewRedis(t)
	now := clock.NewManual(time.Unix(1_000_000, 0))
	timed := func(c *RedisConfig) { c.Clock = now }
	a, b := process(t, server, timed), process(t, server, timed)
	var m maker
	want(t, "1")(a.Get(t.Context(), "one", m.fill("1")))
	server.Kill(t)
	want(t, "1")(a.Get(t.Context(), "one", m.fill("never"))) // from memory
	want(t, "1")(b.Get(t.Context(), "one", m.fill("1")))     // made again
	for i := range 20 {
		want(t, fmt.Sprint(i))(a.Get(t.Context(), fmt.Sprint("key", i), m.fill(fmt.Sprint(i))))
	}
	if err := a.do(t.Context(), func(context.Context) error { t.Error("it is asked again at once"); return nil }); !errors.Is(err, errPaused) {
		t.Errorf("got %v", err)
	}
	server.Start(t)
	now.Advance(redisPause + time.Millisecond)
	made := m.made.Load()
	want(t, "2")(a.Get(t.Context(), "two", m.fill("2")))
	want(t, "2")(b.Get(t.Context(), "two", m.fill("never")))
	if n := m.made.Load() - made; n != 1 {
		t.Errorf("made %d times after the restart", n)
	}
}

// A value that was changed, or put under another key, or is of another hub, is made
// anew; and the right one takes its place.
func TestWhatSomebodyElseWroteIsNotUsed(t *testing.T) {
	server := pgtest.NewRedis(t)
	var log bytes.Buffer
	var m maker
	first := process(t, server)
	want(t, "1")(first.Get(t.Context(), "one", m.fill("1")))
	sealed, err := first.client.Get(t.Context(), valueKey("one")).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, b := range map[string][]byte{"two": sealed, "one": flipped, "three": []byte("x"), "four": append([]byte{2}, sealed[1:]...)} {
		p := process(t, server, func(c *RedisConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		if err := p.client.Set(t.Context(), valueKey(name), b, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want(t, "right")(p.Get(t.Context(), name, m.fill("right")))
		want(t, "right")(process(t, server).Get(t.Context(), name, m.fill("never")))
	}
	other := process(t, server, func(c *RedisConfig) { c.Secret = bytes.Repeat([]byte("x"), 16) })
	want(t, "mine")(other.Get(t.Context(), "one", m.fill("mine")))
	if n := strings.Count(log.String(), "not this hub's"); n != 4 {
		t.Errorf("%d were noticed: %s", n, log.String())
	}
}

// A process that takes a lease and dies holds the others up for the lease, no longer;
// and one that comes back late changes nothing.
func TestALeaseEndsWithItsTime(t *testing.T) {
	server := pgtest.NewRedis(t)
	short := func(c *RedisConfig) { c.Lease = 300 * time.Millisecond }
	dead, alive := process(t, server, short), process(t, server, short)
	token := "of one that died"
	if _, leased, err := dead.claim(t.Context(), "key", token, false); err != nil || !leased {
		t.Fatal(leased, err)
	}
	var m maker
	want(t, "value")(alive.Get(t.Context(), "key", m.fill("value")))
	dead.file(t.Context(), "key", token, []byte("late"))
	want(t, "value")(process(t, server).Get(t.Context(), "key", m.fill("value")))
	// Who fails to make it gives the lease back at once.
	if _, err := alive.Get(t.Context(), "other", func(context.Context) ([]byte, error) { return nil, errors.New("no luck") }); err == nil {
		t.Error("no error")
	}
	if _, leased, err := dead.claim(t.Context(), "other", token, false); err != nil || !leased {
		t.Errorf("after a failure: %v, %v", leased, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if value, token := alive.look(ctx, "other"); value != nil || token != "" {
		t.Errorf("who went away got %q, %q", value, token)
	}
	// One that nobody gives back, and nothing comes of, is not waited for for ever.
	if err := alive.client.Set(t.Context(), leaseKey("stuck"), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	want(t, "own")(alive.Get(t.Context(), "stuck", m.fill("own")))
}

func TestRedisRefusals(t *testing.T) {
	for _, url := range []string{"http://:geheim@x", "redis://:geheim@host:port:x", ""} {
		_, err := NewRedis(RedisConfig{URL: url, Secret: secret})
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := NewRedis(RedisConfig{URL: "redis://localhost", Secret: []byte("short")}); err == nil {
		t.Error("a short secret was taken")
	}
	server := pgtest.NewRedis(t)
	var m maker
	mute := process(t, server, func(c *RedisConfig) { c.Rand = iotest.ErrReader(errors.New("none")) })
	want(t, "value")(mute.Get(t.Context(), "key", m.fill("value")))
	if _, err := mute.seal.close("key", nil); err == nil {
		t.Error("sealed without randomness")
	}
}
