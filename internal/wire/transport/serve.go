package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
)

// The defaults of a session.
const (
	// DefaultHeartbeat is how often a side that has nothing to say says so.
	DefaultHeartbeat = 15 * time.Second
	// MissedBeats is how many heartbeats may go missing before the session ends.
	MissedBeats = 3
	// DefaultWriteTimeout bounds one frame's sending. A side that reads slower
	// than that is cut off: the hub may hold a snapshot open meanwhile.
	DefaultWriteTimeout = 2 * time.Minute
	// DefaultMaxFrame is the largest frame accepted, in bytes.
	DefaultMaxFrame = 33 << 20
)

// beatBit marks the pings of the transport itself, which no peer sees.
const beatBit = 1 << 63

// A Stream is one side's end of a session. Send and Receive may run at the same
// time, but neither twice.
type Stream interface {
	Send(*pb.Frame) error
	Receive() (*pb.Frame, error)
}

// The parts a peer may have beside Receive. The loop calls them one at a time.
type (
	// A Starter speaks first.
	Starter interface {
		Start(ctx context.Context, emit func(wire.Message) error) error
	}
	// A Waker looks whether it can answer now what it held back.
	Waker interface {
		Wake(ctx context.Context, emit func(wire.Message) error) error
	}
	// A Nudger looks whether the application wrote something.
	Nudger interface {
		Nudge(ctx context.Context, emit func(wire.Message) error) error
	}
	// A Ticker is called every heartbeat.
	Ticker interface {
		Tick(ctx context.Context, emit func(wire.Message) error) error
	}
)

// ServeOptions are the terms of one session.
type ServeOptions struct {
	Heartbeat    time.Duration // 0 means DefaultHeartbeat
	WriteTimeout time.Duration // 0 means DefaultWriteTimeout
	MaxFrame     int           // 0 means DefaultMaxFrame

	// Wait blocks until the peer should be woken, or ctx ends. Nil: never.
	Wait func(ctx context.Context) error
	// Nudges arrive when the peer should be nudged. Nil: never.
	Nudges <-chan struct{}
	// Finish is called when this side ends the session in order, after its last
	// frame. It must make Receive return soon. Required.
	Finish func()
	// Abort makes a Send or Receive that is blocked return at once. Required.
	Abort func()
}

// finishGrace is how long the other side may take to end its half.
const finishGrace = time.Second

func (o ServeOptions) withDefaults() ServeOptions {
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = DefaultMaxFrame
	}
	return o
}

// Serve steps peer with what comes in over the stream until the stream, ctx or
// the peer ends the session. It returns nil when the other side ended it in
// order. It returns after the last step of the peer and after the last Receive:
// nothing of the session goes on behind it.
//
// One frame waits, at most, while the peer is busy: behind it the other side is
// held back by the stream's flow control.
func Serve(outer context.Context, stream Stream, peer wire.Peer, opts ServeOptions) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	s := &session{stream: stream, peer: peer, opts: opts.withDefaults(), in: make(chan wire.Message), wake: make(chan struct{}, 1), refused: make(chan struct{})}
	fuse := &fuse{abort: s.opts.Abort}
	defer fuse.remove()
	s.end = func(err error) {
		cancel(err)
		if !s.finished.Load() {
			fuse.blow()
		}
	}
	s.ended = func(why error) {
		cancel(why)
		if !s.finished.Load() {
			fuse.light()
		}
	}
	stop := context.AfterFunc(outer, fuse.light)
	defer stop()

	s.why = func() {
		patience := time.NewTimer(finishGrace)
		defer patience.Stop()
		select {
		case <-ctx.Done():
		case <-s.refused:
		case <-patience.C:
		}
	}

	var reader, wait sync.WaitGroup
	reader.Go(func() { s.read(ctx) })
	wait.Go(func() { s.beat(ctx) })
	if s.opts.Wait != nil {
		wait.Go(func() { s.await(ctx) })
	}
	err := s.loop(ctx)
	refusal := s.fault.Load()
	cancel(err)
	wait.Wait()
	fuse.light()
	s.tell(err)
	s.finished.Store(true)
	s.opts.Finish()
	reader.Wait()
	if refusal != nil {
		return refusal // however the stream came down after it
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A fuse aborts a stream at most once, and never after the session is over: the
// stream may belong to the next one then.
type fuse struct {
	mu    sync.Mutex
	abort func()      // guarded by mu; nil once blown or removed
	timer *time.Timer // guarded by mu
}

func (f *fuse) blow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abort != nil {
		f.abort()
		f.abort = nil
	}
}

// light blows the fuse when who ends the session in order takes too long.
func (f *fuse) light() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abort != nil && f.timer == nil {
		f.timer = time.AfterFunc(finishGrace, f.blow)
	}
}

func (f *fuse) remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abort = nil
	if f.timer != nil {
		f.timer.Stop()
	}
}

type session struct {
	stream Stream
	peer   wire.Peer
	opts   ServeOptions
	in     chan wire.Message // unbuffered: flow control reaches the other side
	wake   chan struct{}
	end    func(error) // ends the session at once
	ended  func(error) // ends it in order: the other side may still read why

	finished atomic.Bool // our half is over: the reader's error says nothing

	heard atomic.Bool // since the last beat
	busy  atomic.Bool // the reader waits for the peer: the other side is not to blame
	spoke atomic.Bool // since the last beat

	send    sync.Mutex
	started atomic.Int64 // beats for which the present Send has been running
	why     func()       // waits for the reader to learn why the stream ended

	fault   atomic.Pointer[wire.Fault] // what the other side refused with
	refused chan struct{}              // closed when fault is set
}

func (s *session) loop(ctx context.Context) error {
	if p, ok := s.peer.(Starter); ok {
		if err := p.Start(ctx, s.emit); err != nil {
			return s.cause(ctx, err)
		}
	}
	tick := time.NewTicker(s.opts.Heartbeat)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-s.in:
			err = s.peer.Receive(ctx, m, s.emit)
		case <-s.wake:
			if p, ok := s.peer.(Waker); ok {
				err = p.Wake(ctx, s.emit)
			}
		case <-s.opts.Nudges:
			if p, ok := s.peer.(Nudger); ok {
				err = p.Nudge(ctx, s.emit)
			}
		case <-tick.C:
			if p, ok := s.peer.(Ticker); ok {
				err = p.Tick(ctx, s.emit)
			}
		}
		if err != nil {
			return s.cause(ctx, err)
		}
	}
}

// cause prefers what ended the session over what the peer made of it.
func (s *session) cause(ctx context.Context, err error) error {
	// A step that the other side's end cut short was cut short in order.
	if c := context.Cause(ctx); c != nil && (!errors.Is(c, io.EOF) || errors.Is(err, context.Canceled)) {
		return c
	}
	return err
}

// tell sends the refusal that ends a session to the other side, unless it came
// from there.
func (s *session) tell(err error) {
	var f *wire.Fault
	switch {
	case errors.As(err, &f):
		if f == s.fault.Load() {
			return
		}
	case errors.Is(err, ErrOversized):
		f = &wire.Fault{Code: "oversized", Message: err.Error(), Hint: "send less at once", Fatal: true}
	case errors.Is(err, wire.ErrFrame):
		f = &wire.Fault{Code: "malformed", Message: err.Error(), Hint: "the connection or the other side's build is at fault"}
	default:
		return
	}
	_ = s.emit(f) // the session ends anyway
}

// emit sends one message. Only the loop calls it.
func (s *session) emit(m wire.Message) error {
	f, err := wire.ToFrame(m)
	if err != nil {
		return err
	}
	if n := proto.Size(f); n > s.opts.MaxFrame {
		return fmt.Errorf("send %T of %d bytes: %w: the limit is %d", m, n, ErrOversized, s.opts.MaxFrame)
	}
	s.send.Lock()
	defer s.send.Unlock()
	return s.write(f)
}

func (s *session) write(f *pb.Frame) error {
	s.started.Store(1)
	err := s.stream.Send(f)
	s.started.Store(0)
	s.spoke.Store(true)
	if err != nil {
		if errors.Is(err, io.EOF) {
			s.why()
			return fmt.Errorf("send frame: %w", ErrUnreachable)
		}
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// read hands frames to the loop, one at a time. It ends with the stream: when the
// loop has ended, what still comes in is let go.
func (s *session) read(ctx context.Context) {
	for {
		f, err := s.stream.Receive()
		if err != nil {
			if err = readError(err); orderly(err) {
				s.ended(err)
			} else {
				s.end(err)
			}
			return
		}
		s.heard.Store(true)
		m, err := wire.FromFrame(f)
		if err != nil {
			s.ended(err)
			return
		}
		if p, ok := m.(*wire.Ping); ok && p.N&beatBit != 0 {
			continue
		}
		if f, ok := m.(*wire.Fault); ok && s.fault.CompareAndSwap(nil, f) {
			close(s.refused)
		}
		s.busy.Store(true)
		select {
		case s.in <- m:
			s.busy.Store(false)
			s.heard.Store(true)
		case <-ctx.Done():
		}
	}
}

func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) { // the connection broke in the middle of a frame
		return fmt.Errorf("receive frame: %w: %w", ErrUnreachable, err)
	}
	switch connect.CodeOf(err) {
	case connect.CodeResourceExhausted:
		return fmt.Errorf("receive frame: %w: %w", ErrOversized, err)
	case connect.CodeInvalidArgument:
		return fmt.Errorf("receive frame: %w: %w", wire.ErrFrame, err)
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("receive frame: %w", err)
}

// orderly reports whether the stream still carries what this side has to say.
func orderly(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, ErrOversized) || errors.Is(err, wire.ErrFrame)
}

// beat says that this side lives when it said nothing else, and ends the session
// when the other side does not (trap D17), or does not read. It counts ticks
// instead of reading a clock, so that a clock that jumps ends nothing.
func (s *session) beat(ctx context.Context) {
	tick := time.NewTicker(s.opts.Heartbeat)
	defer tick.Stop()
	missed, n := 0, uint64(beatBit)
	patience := int64(s.opts.WriteTimeout/s.opts.Heartbeat) + 1
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.heard.Swap(false) || s.busy.Load() {
			missed = 0
		} else if missed++; missed >= MissedBeats {
			s.end(fmt.Errorf("%w for %v", ErrSilent, MissedBeats*s.opts.Heartbeat))
			return
		}
		if s.started.Load() > 0 && s.started.Add(1) > patience {
			s.end(fmt.Errorf("%w: a frame was not taken within %v", ErrUnreachable, s.opts.WriteTimeout))
			return
		}
		if s.spoke.Swap(false) || !s.send.TryLock() {
			continue
		}
		n++
		err := s.write(&pb.Frame{Body: &pb.Frame_Ping{Ping: &pb.Ping{N: n}}})
		s.send.Unlock()
		s.spoke.Store(false)
		if err != nil {
			s.end(err)
			return
		}
	}
}

// await turns the wake function into wakes. Wakes that come while one is waiting
// are one.
func (s *session) await(ctx context.Context) {
	for {
		if err := s.opts.Wait(ctx); err != nil {
			if ctx.Err() == nil {
				s.end(fmt.Errorf("wait for changes: %w", err))
			}
			return
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
