package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

type emitFunc = func(wire.Message) error

// A peer is an edge's session as a service drives it: it tells when the hub let
// it in, and ends the session when after says so. Its methods are called one at
// a time.
type peer struct {
	s        *edge.Session
	let      bool // the hub let this device in
	done     bool // after ended the session
	stop     context.CancelFunc
	check    func() error                          // before each look at the file; may be nil
	welcomed func()                                // the hub let this device in; may be nil
	after    func(context.Context, emitFunc) error // after each step; may be nil
	parting  func() (*wire.EdgeStatus, error)      // what the hub should know at the end; may be nil, or give nil
	leaving  bool                                  // after is done, the hub was told and has not answered
}

func newPeer(e *edge.Engine, device change.DeviceID, cfg edge.SessionConfig) *peer {
	cfg.Device, cfg.Beside = device, transport.Beside
	return &peer{s: edge.NewSession(e, cfg)}
}

var (
	// errDone ends a session that has done what it was for.
	errDone = errors.New("done")
	// errEnded says that a session ended before that, in order.
	errEnded = fmt.Errorf("%w: the hub ended the session", transport.ErrUnreachable)
)

// dial runs the session until it ends; errDone when it did what it was for.
func (p *peer) dial(ctx context.Context, o transport.Options) error {
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	err := transport.Dial(ctx, o, p)
	if p.done || p.leaving { // the work was done, whatever became of the parting word
		err = errDone
	}
	if e := p.s.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close staging: %w", e))
	}
	return err
}

func (p *peer) Start(ctx context.Context, emit func(wire.Message) error) error {
	return p.step(ctx, emit, p.s.Start(ctx, emit))
}

func (p *peer) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	err := p.s.Receive(ctx, m, emit)
	if pong, ok := m.(*wire.Pong); ok && p.leaving && pong.N == partingPing {
		p.finish()
		return err
	}
	if _, ok := m.(*wire.Welcome); ok && err == nil && !p.let {
		p.let = true
		if p.welcomed != nil {
			p.welcomed()
		}
	}
	return p.step(ctx, emit, err)
}

func (p *peer) Nudge(ctx context.Context, emit func(wire.Message) error) error {
	if p.check != nil {
		if err := p.check(); err != nil {
			return err
		}
	}
	return p.step(ctx, emit, p.s.Nudge(ctx, emit))
}

func (p *peer) Tick(ctx context.Context, emit func(wire.Message) error) error {
	if p.check != nil {
		if err := p.check(); err != nil {
			return err
		}
	}
	return p.step(ctx, emit, p.s.Tick(ctx, emit))
}

func (p *peer) step(ctx context.Context, emit emitFunc, err error) error {
	if err != nil || p.after == nil || p.done || p.leaving {
		return err
	}
	err = p.after(ctx, emit)
	if errors.Is(err, errDone) {
		return p.part(emit)
	}
	return err
}

// part ends the session in order. What the edge said of itself as it came is no
// longer true: the hub would go on counting work as unsafe that it has.
func (p *peer) part(emit emitFunc) error {
	if p.parting != nil {
		st, err := p.parting()
		if err != nil {
			return err
		}
		if st != nil {
			p.leaving = true // until the hub's Pong
			time.AfterFunc(partingWait, p.stop)
			return emit(&wire.Ping{N: partingPing, Status: st})
		}
	}
	p.finish()
	return nil
}

const (
	// partingPing is beyond what a session counts its own to, and below the bit
	// that marks the transport's heartbeats.
	partingPing = 1 << 62
	partingWait = 5 * time.Second // for the hub's answer; the work is done anyway
)

func (p *peer) finish() {
	p.done = true
	p.stop() // the hub is told, nothing is cut off
}
