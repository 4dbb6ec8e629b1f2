package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A wall is a TCP proxy that can stop forwarding without closing anything, as a
// mobile network or a firewall that forgot the connection does.
type wall struct {
	ln   net.Listener
	to   string
	shut atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

func newWall(t *testing.T, to string) *wall {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{ln: ln, to: to}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, a, b)
			w.mu.Unlock()
			wait.Go(func() { w.pump(a, b) })
			wait.Go(func() { w.pump(b, a) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		wait.Wait()
	})
	return w
}

// pump forwards, and swallows what comes while the wall is shut.
func (w *wall) pump(to io.Writer, from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if w.shut.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestTrapD17_HalfOpenConnectionEndsByHeartbeat(t *testing.T) {
	beat := testBeat
	hubEnded := make(chan struct{}, 2)
	c := newCore()
	c.session = func(ctx context.Context, _ change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		context.AfterFunc(ctx, func() { hubEnded <- struct{}{} })
		return echo(), nil, nil
	}
	r := newRig(t, c, func(s *ServerConfig) { s.Heartbeat = beat })
	w := newWall(t, r.addr)
	client := r.client(t, func(o *Options) {
		o.URL = "https://" + w.ln.Addr().String()
		o.Heartbeat = beat
	})
	peer := &scripted{
		start:   func(_ context.Context, emit emitter) error { return emit(&wire.Pong{}) },
		receive: func(context.Context, wire.Message, emitter) error { w.shut.Store(true); return nil },
	}
	within(t, 20*time.Second, "both sides notice", func() {
		if err := client.Run(t.Context(), peer); !errors.Is(err, ErrSilent) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
		<-hubEnded
	})
	// The next session does not try the dead connection again.
	w.shut.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	peer.receive = func(context.Context, wire.Message, emitter) error { cancel(); return nil }
	within(t, 20*time.Second, "the next session", func() {
		if err := client.Run(ctx, peer); err != nil {
			t.Error(err)
		}
	})
}

// A connection that breaks is noticed at once, not by heartbeat.
func TestBrokenConnection(t *testing.T) {
	r := newRig(t, newCore(), nil)
	w := newWall(t, r.addr)
	client := r.client(t, func(o *Options) { o.URL = "https://" + w.ln.Addr().String() })
	peer := &scripted{
		start: func(_ context.Context, emit emitter) error { return emit(&wire.Pong{}) },
		receive: func(context.Context, wire.Message, emitter) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, c := range w.conns {
				_ = c.Close()
			}
			return nil
		},
	}
	within(t, 10*time.Second, "the client notices", func() {
		if err := client.Run(t.Context(), peer); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})
}
