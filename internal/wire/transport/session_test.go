package transport

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func TestJoinThenSession(t *testing.T) {
	r := newRig(t, newCore(), nil)
	c := r.stranger(t, nil)
	joined, err := c.Join(t.Context(), "open sesame", "test")
	if err != nil {
		t.Fatal(err)
	}
	if joined.Hub != "head office" || joined.Device != (change.DeviceID{1, 2, 3}) {
		t.Errorf("%+v", joined)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []wire.Message
	peer := &scripted{
		start: func(_ context.Context, emit emitter) error {
			return errors.Join(emit(&wire.Push{Body: bytes.Repeat([]byte("x"), 1<<20)}), emit(&wire.Pong{N: 7}))
		},
		receive: func(_ context.Context, m wire.Message, _ emitter) error {
			if got = append(got, m); len(got) == 2 {
				cancel()
			}
			return nil
		},
	}
	if err := c.Run(ctx, peer); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d messages came back", len(got))
	}
	if p, ok := got[0].(*wire.Push); !ok || len(p.Body) != 1<<20 {
		t.Errorf("%T", got[0])
	}
	if p, ok := got[1].(*wire.Pong); !ok || p.N != 7 {
		t.Errorf("%+v", got[1])
	}
	if peer.overlap.Load() {
		t.Error("two steps of one peer ran at once")
	}
}

// The hub's peer ends the session; a Fault travels first and is what Run returns.
func TestFaultReachesTheOtherSide(t *testing.T) {
	c := newCore()
	fault := &wire.Fault{Code: "oversized", Message: "row 7 of t", Hint: "h", RetryAfter: time.Minute}
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(context.Context, wire.Message, emitter) error { return fault }}, nil, nil
	}
	client := newRig(t, c, nil).client(t, nil)
	for _, heeds := range []bool{true, false} {
		peer := &scripted{
			start: func(_ context.Context, emit emitter) error { return emit(&wire.Pong{}) },
			receive: func(_ context.Context, m wire.Message, _ emitter) error {
				if f, ok := m.(*wire.Fault); ok && heeds {
					return f
				}
				return nil
			},
		}
		err := client.Run(t.Context(), peer)
		var f *wire.Fault
		if !errors.As(err, &f) || *f != *fault {
			t.Fatalf("%v", err)
		}
		if after, ok := RetryAfter(err); !ok || after != time.Minute {
			t.Errorf("retry after %v, %v", after, ok)
		}
	}
}

// The edge's refusal reaches the hub's peer, too.
func TestFaultFromTheEdge(t *testing.T) {
	heard := make(chan *wire.Fault, 1)
	c := newCore()
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(_ context.Context, m wire.Message, _ emitter) error {
			if f, ok := m.(*wire.Fault); ok {
				heard <- f
				return f
			}
			return nil
		}}, nil, nil
	}
	client := newRig(t, c, nil).client(t, nil)
	mine := &wire.Fault{Code: "disk-full", Message: "no room"}
	err := client.Run(t.Context(), &scripted{start: func(context.Context, emitter) error { return mine }})
	if !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	within(t, 5*time.Second, "the hub hears the fault", func() {
		if f := <-heard; f.Code != "disk-full" {
			t.Errorf("%+v", f)
		}
	})
}

func TestWakeNudgeAndTick(t *testing.T) {
	c := newCore()
	changed := make(chan struct{}, 1)
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		p := echo()
		p.wake = func(_ context.Context, emit emitter) error { return emit(&wire.Delta{Mark: 1}) }
		return p, func(ctx context.Context) error {
			select {
			case <-changed:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, nil
	}
	nudges := make(chan struct{}, 1)
	r := newRig(t, c, func(s *ServerConfig) { s.Heartbeat = testBeat })
	client := r.client(t, func(o *Options) {
		o.Heartbeat = testBeat
		o.Nudges = nudges
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ticks int
	peer := &scripted{
		start: func(context.Context, emitter) error { nudges <- struct{}{}; return nil },
		nudge: func(_ context.Context, emit emitter) error { return emit(&wire.Pong{N: 3}) },
		tick:  func(context.Context, emitter) error { ticks++; return nil },
	}
	peer.receive = func(_ context.Context, m wire.Message, _ emitter) error {
		switch m := m.(type) {
		case *wire.Pong: // the nudge came back: now something changes at the hub
			changed <- struct{}{}
		case *wire.Delta:
			if m.Mark == 1 {
				peer.tick = func(context.Context, emitter) error { cancel(); return nil }
			}
		}
		return nil
	}
	within(t, 10*time.Second, "wake, nudge and tick", func() {
		if err := client.Run(ctx, peer); err != nil {
			t.Error(err)
		}
	})
}

// An idle session lives through many heartbeats, and no peer sees one.
func TestHeartbeatsKeepAnIdleSession(t *testing.T) {
	r := newRig(t, newCore(), func(s *ServerConfig) { s.Heartbeat = testBeat })
	client := r.client(t, func(o *Options) { o.Heartbeat = testBeat })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	beats := 0
	peer := &scripted{
		tick: func(context.Context, emitter) error {
			if beats++; beats == 10 {
				cancel()
			}
			return nil
		},
		receive: func(_ context.Context, m wire.Message, _ emitter) error {
			t.Errorf("the peer saw %T", m)
			return nil
		},
	}
	if err := client.Run(ctx, peer); err != nil {
		t.Fatal(err)
	}
}

// A peer that is busy for many heartbeats is alive, however much waits for it.
func TestBusyPeerIsNotSilent(t *testing.T) {
	beat := testBeat
	release := make(chan struct{})
	c := newCore()
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(_ context.Context, m wire.Message, emit emitter) error {
			<-release
			return emit(m)
		}}, nil, nil
	}
	r := newRig(t, c, func(s *ServerConfig) { s.Heartbeat = beat })
	client := r.client(t, func(o *Options) { o.Heartbeat = beat })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks, answers := 0, 0
	peer := &scripted{
		start: func(_ context.Context, emit emitter) error {
			return errors.Join(emit(&wire.Pong{N: 1}), emit(&wire.Pong{N: 2}), emit(&wire.Pong{N: 3}))
		},
		tick: func(context.Context, emitter) error {
			if ticks++; ticks == 4*MissedBeats {
				close(release)
			}
			return nil
		},
		receive: func(context.Context, wire.Message, emitter) error {
			if answers++; answers == 3 {
				cancel()
			}
			return nil
		},
	}
	within(t, 20*time.Second, "the busy peer's answers", func() {
		if err := client.Run(ctx, peer); err != nil {
			t.Error(err)
		}
	})
	if answers != 3 {
		t.Errorf("%d answers", answers)
	}
}

// While one side does not read, the other is held back after a bounded number of
// bytes; when it reads again, everything arrives.
func TestSlowReaderHoldsTheSenderBack(t *testing.T) {
	const frames, size = 64, 1 << 20
	var sent atomic.Int32
	c := newCore()
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(_ context.Context, _ wire.Message, emit emitter) error {
			for range frames {
				if err := emit(&wire.Chunk{Body: make([]byte, size)}); err != nil {
					return err
				}
				sent.Add(1)
			}
			return nil
		}}, nil, nil
	}
	beat := testBeat
	r := newRig(t, c, func(s *ServerConfig) { s.Heartbeat = beat })
	client := r.client(t, func(o *Options) { o.Heartbeat = beat })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := 0
	peer := &scripted{
		start: func(_ context.Context, emit emitter) error { return emit(&wire.Fetch{Window: 1}) },
		receive: func(ctx context.Context, _ wire.Message, _ emitter) error {
			if got++; got == 1 { // read nothing until the sender has come to a stop
				last, since := int32(-1), 0
				for tick := time.NewTicker(beat); since < 5; {
					<-tick.C
					if now := sent.Load(); now != last {
						last, since = now, 0
					} else {
						since++
					}
				}
				if last >= frames/2 {
					t.Errorf("%d of %d frames were sent to a side that does not read", last, frames)
				}
			}
			if got == frames {
				cancel()
			}
			return nil
		},
	}
	within(t, 60*time.Second, "all frames", func() {
		if err := client.Run(ctx, peer); err != nil {
			t.Error(err)
		}
	})
	if got != frames {
		t.Errorf("%d of %d frames arrived", got, frames)
	}
}

// A side that never reads is cut off: the hub may hold a snapshot open.
func TestWriteTimeoutEndsASessionThatIsNotRead(t *testing.T) {
	ended := make(chan error, 1)
	c := newCore()
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(_ context.Context, _ wire.Message, emit emitter) (err error) {
			for err == nil {
				err = emit(&wire.Chunk{Body: make([]byte, 1<<20)})
			}
			ended <- err
			return err
		}}, nil, nil
	}
	beat := testBeat
	r := newRig(t, c, func(s *ServerConfig) { s.Heartbeat, s.WriteTimeout = beat, 10*beat })
	client := r.client(t, func(o *Options) { o.Heartbeat = beat })
	stuck := make(chan struct{})
	go func() {
		_ = client.Run(t.Context(), &scripted{
			start:   func(_ context.Context, emit emitter) error { return emit(&wire.Fetch{Window: 1}) },
			receive: func(context.Context, wire.Message, emitter) error { <-stuck; return nil },
		})
	}()
	defer close(stuck)
	within(t, 20*time.Second, "the hub gives up", func() {
		if err := <-ended; err == nil {
			t.Error("the sender was never refused")
		}
	})
}

func TestOversizedFrames(t *testing.T) {
	r := newRig(t, newCore(), func(s *ServerConfig) { s.MaxFrame = 1 << 16 })
	// Too large for this side's own limit: refused before it is sent.
	small := r.client(t, func(o *Options) { o.MaxFrame = 1 << 16 })
	big := &wire.Push{Body: make([]byte, 1<<17)}
	err := small.Run(t.Context(), &scripted{start: func(_ context.Context, emit emitter) error { return emit(big) }})
	if !errors.Is(err, ErrOversized) || !strings.Contains(err.Error(), "131") {
		t.Errorf("%v", err)
	}
	// Too large for the other side's limit: it says so.
	large := r.client(t, nil)
	err = large.Run(t.Context(), &scripted{start: func(_ context.Context, emit emitter) error { return emit(big) }})
	var f *wire.Fault
	if !errors.As(err, &f) || f.Code != "oversized" || !f.Fatal {
		t.Errorf("%v", err)
	}
}

// A hub that stops ends its sessions in order, and its devices come back later.
func TestServerStops(t *testing.T) {
	r := newRig(t, newCore(), nil)
	client := r.client(t, nil)
	started := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- client.Run(t.Context(), &scripted{
			start:   func(_ context.Context, emit emitter) error { return emit(&wire.Pong{}) },
			receive: func(context.Context, wire.Message, emitter) error { close(started); return nil },
		})
	}()
	within(t, 10*time.Second, "start and stop", func() {
		<-started
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v, want unreachable", err)
		}
	})
	if err := client.Run(t.Context(), &scripted{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want unreachable", err)
	}
}

func TestNewServerNeedsItsParts(t *testing.T) {
	if _, err := NewServer(ServerConfig{}); err == nil || !strings.Contains(err.Error(), "required") {
		t.Error(err)
	}
}
