package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// testBeat is short for the tests' sake, and long enough that a busy machine does
// not make a living session look silent.
const testBeat = 150 * time.Millisecond

type emitter = func(wire.Message) error

// A scripted peer is made of functions; those left out do nothing.
type scripted struct {
	start, wake, nudge, tick func(context.Context, emitter) error
	receive                  func(context.Context, wire.Message, emitter) error
	steps                    atomic.Int32 // steps running now
	overlap                  atomic.Bool  // two ran at once
}

func (p *scripted) step(fn func() error) error {
	if p.steps.Add(1) > 1 {
		p.overlap.Store(true)
	}
	defer p.steps.Add(-1)
	return fn()
}

func (p *scripted) optional(ctx context.Context, emit emitter, fn func(context.Context, emitter) error) error {
	return p.step(func() error {
		if fn == nil {
			return nil
		}
		return fn(ctx, emit)
	})
}

func (p *scripted) Start(ctx context.Context, emit func(wire.Message) error) error {
	return p.optional(ctx, emit, p.start)
}

func (p *scripted) Wake(ctx context.Context, emit func(wire.Message) error) error {
	return p.optional(ctx, emit, p.wake)
}

func (p *scripted) Nudge(ctx context.Context, emit func(wire.Message) error) error {
	return p.optional(ctx, emit, p.nudge)
}

func (p *scripted) Tick(ctx context.Context, emit func(wire.Message) error) error {
	return p.optional(ctx, emit, p.tick)
}

func (p *scripted) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	return p.step(func() error {
		if p.receive == nil {
			return nil
		}
		return p.receive(ctx, m, emit)
	})
}

// echo is a hub's peer that sends everything back.
func echo() *scripted {
	return &scripted{receive: func(_ context.Context, m wire.Message, emit emitter) error { return emit(m) }}
}

// A core is a hub that knows one secret and whoever joined with it.
type core struct {
	secret  string
	session func(ctx context.Context, id change.DeviceID) (wire.Peer, func(context.Context) error, error)

	mu      sync.Mutex
	known   map[change.Hash]change.DeviceID
	revoked bool
	broken  bool // its database fails
	opened  int
}

func (c *core) Authenticate(_ context.Context, print change.Hash) (change.DeviceID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return change.DeviceID{}, errors.New("disk on fire at /secret/path")
	}
	id, ok := c.known[print]
	if !ok {
		return id, &wire.Fault{Code: "unknown-device", Message: "no device has this key", Fatal: true}
	}
	if c.revoked {
		return id, &wire.Fault{Code: "revoked", Message: "the device was revoked: stolen", Hint: "ask the operator", Fatal: true}
	}
	return id, nil
}

func (c *core) Join(_ context.Context, secret string, spki []byte) (change.DeviceID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken:
		return change.DeviceID{}, errors.New("disk on fire at /secret/path")
	case secret == "expired":
		return change.DeviceID{}, &wire.Fault{Code: "token-expired", Message: "this join token expired", Fatal: true}
	case secret != c.secret:
		return change.DeviceID{}, &wire.Fault{Code: "token-unknown", Message: "not known here", Fatal: true}
	}
	id := change.DeviceID{1, 2, 3}
	c.known[hashOf(spki)] = id
	return id, nil
}

func (c *core) Session(ctx context.Context, id change.DeviceID) (wire.Peer, func(context.Context) error, error) {
	c.mu.Lock()
	c.opened++
	c.mu.Unlock()
	if c.session == nil {
		return echo(), nil, nil
	}
	return c.session(ctx, id)
}

func (c *core) set(fn func(*core)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c)
}

func newCore() *core { return &core{secret: "open sesame", known: map[change.Hash]change.DeviceID{}} }

// A rig is a hub on a real socket with real TLS.
type rig struct {
	core *core
	id   *Identity
	addr string
	stop func()
	done chan error
}

func newRig(t testing.TB, c *core, tune func(*ServerConfig)) *rig {
	t.Helper()
	id, err := LoadOrCreateIdentity(t.TempDir(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := ServerConfig{Identity: id, Core: c, Name: "head office"}
	if tune != nil {
		tune(&cfg)
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{core: c, id: id, addr: ln.Addr().String(), stop: cancel, done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- s.Serve(ctx, ln)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

// client is a device that has joined.
func (r *rig) client(t testing.TB, tune func(*Options)) *Client {
	t.Helper()
	c := r.stranger(t, tune)
	if _, err := c.Join(t.Context(), r.core.secret, "test"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *rig) stranger(t testing.TB, tune func(*Options)) *Client {
	t.Helper()
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{URL: "https://" + r.addr, Pin: r.id.Pin(), Key: key}
	if tune != nil {
		tune(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// within fails the test when fn takes longer than a session ever should.
func within(t *testing.T, d time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s: still waiting after %v", what, d)
	}
}
