package serve

import (
	"context"
	"errors"
	"sync"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// What requests count for at the gate. The bytes are what a request takes beside its
// own body.
const (
	smallWork = 32 << 10
	partWork  = 2 * hub.DefaultPart // values, and what they are sealed to
	pushUnit  = 64 << 10            // of a push's body: one unit of work
	bulkUnits = 8
)

// An admitted session waits for its turn at the gate before each step. Meanwhile the
// heart beats on, and what the device sends next stays where flow control holds it.
//
// Answers are sent after the turn is over: a device that reads slowly holds its
// answer's bytes, and nobody else up. Only what does not fit one part is sent while
// the work goes on; it no longer counts as work then.
type admitted struct {
	*reception
	peer   *hub.Session
	device change.DeviceID
	parts  parts // of a push that is not complete
	missed bool  // a wake was turned away
}

func (p *admitted) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	if p.counts(m) {
		if err := p.measure(ctx, p.device); err != nil {
			return p.later(err)
		}
	}
	switch m := m.(type) {
	case *wire.Pong, *wire.Fault:
		return p.peer.Receive(ctx, m, emit)
	case *wire.Ping:
		return p.ping(ctx, m, emit)
	case *wire.Fetch:
		return p.fetch(ctx, m, emit)
	case *wire.Push:
		return p.push(ctx, m, m.Body, m.More, emit)
	case *wire.Parcel:
		return p.push(ctx, m, m.Body, m.More, emit)
	}
	return p.later(p.step(ctx, ask(m), emit, func(emit emitter) error { return p.peer.Receive(ctx, m, emit) }))
}

// ask says what a request counts for.
func ask(m wire.Message) admit.Ask {
	switch m.(type) {
	case *wire.Pull:
		return admit.Ask{Class: admit.News, Weight: 1, Bytes: partWork}
	case *wire.Fetch, *wire.Snapshot, *wire.Verify:
		return admit.Ask{Class: admit.Bulk, Weight: bulkUnits, Bytes: partWork}
	}
	return admit.Ask{Class: admit.Live, Weight: 1, Bytes: smallWork}
}

type emitter = func(wire.Message) error

// step does one piece of work when its turn comes.
func (p *admitted) step(ctx context.Context, a admit.Ask, emit emitter, work func(emitter) error) error {
	a.Who, a.Party = p.device, p.peer.Reads()
	pass, err := p.gate.Enter(ctx, a)
	if err != nil {
		return err
	}
	defer pass.Done()
	out := &answer{pass: pass, emit: emit}
	err = work(out.take)
	if e := out.send(); e != nil {
		return errors.Join(e, err)
	}
	return err
}

// An answer collects what a step emits, up to one part, until its work is done.
type answer struct {
	pass *admit.Pass
	emit emitter
	list []wire.Message
	size int64
	open bool // it did not fit: the rest goes out as it comes
}

func (a *answer) take(m wire.Message) error {
	if a.open {
		return a.emit(m)
	}
	a.list, a.size = append(a.list, m), a.size+weigh(m)
	if a.size < partWork {
		return nil
	}
	a.open = true
	return a.send()
}

// send sends what was collected. Nothing of the work waits for it.
func (a *answer) send() error {
	a.pass.Worked(a.size)
	list := a.list
	a.list = nil
	for _, m := range list {
		if err := a.emit(m); err != nil {
			return err
		}
	}
	return nil
}

// weigh is about what a message takes in memory, in bytes.
func weigh(m wire.Message) int64 {
	const head = 512
	switch m := m.(type) {
	case *wire.Delta:
		return head + int64(len(m.Body)) + 64*int64(len(m.Outcomes))
	case *wire.Chunk:
		return head + int64(len(m.Body))
	case *wire.SnapshotPart:
		return head + int64(len(m.Body))
	case *wire.Digests:
		return head + int64(len(m.Body)) + 4096*int64(len(m.Digests))
	}
	return head
}

// stretch is how many chunks a device gets in one turn while nobody else works or waits:
// within a turn, the next chunk is read while one is sealed.
const stretch = 4

// fetch serves a window chunk by chunk, each in a turn of its own; a few in one turn
// where nobody has to wait for that.
func (p *admitted) fetch(ctx context.Context, m *wire.Fetch, emit emitter) error {
	some := *m
	for left := max(m.Window, 1); left > 0; left -= some.Window {
		a := ask(m)
		some.Window = 1
		if l := p.gate.Load(); l.InFlight == 0 && l.Waiting == 0 {
			some.Window = min(left, stretch)
			a.Bytes *= 2 // one chunk is made while another one is
		}
		var c *wire.Chunk
		err := p.step(ctx, a, func(m wire.Message) error {
			c, _ = m.(*wire.Chunk)
			return emit(m)
		}, func(emit emitter) error { return p.peer.Receive(ctx, &some, emit) })
		if err != nil {
			return p.later(err)
		}
		if c == nil || c.Done {
			return nil
		}
		some.Table, some.After, some.Seen = c.Table, c.After, c.At
	}
	return nil
}

// push takes a push, or a part of one. Parts stay in memory until the last one came,
// and count as long: those of one device for no more than all that large pushes may
// take, so that it gets through.
func (p *admitted) push(ctx context.Context, m wire.Message, body []byte, more bool, emit emitter) error {
	n := int64(len(body))
	a := admit.Ask{Class: admit.Live, Weight: 1 + int(n/pushUnit), Bytes: smallWork + 2*n, Held: n}
	size := p.parts.bytes()
	if more || size > 0 {
		a.Class = admit.Large
		a.Bytes = min(n, p.gate.Room(admit.Large)-size)
	}
	if !more {
		defer p.parts.drop()
		return p.later(p.step(ctx, a, emit, func(emit emitter) error { return p.peer.Receive(ctx, m, emit) }))
	}
	a.Who, a.Party = p.device, p.peer.Reads()
	pass, err := p.gate.Enter(ctx, a)
	if err != nil {
		return p.later(err)
	}
	err = p.peer.Receive(ctx, m, emit)
	pass.Worked(a.Bytes)
	p.parts.add(pass, a.Bytes)
	return err
}

// parts are the passes of an unfinished push's parts. The session may end, and
// let go of them, while one of its steps still runs.
type parts struct {
	mu    sync.Mutex
	list  []*admit.Pass // guarded by mu, as all below
	size  int64
	ended bool
}

func (p *parts) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

func (p *parts) add(pass *admit.Pass, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		pass.Done()
		return
	}
	p.list, p.size = append(p.list, pass), p.size+bytes
}

func (p *parts) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pass := range p.list {
		pass.Done()
	}
	p.list, p.size = nil, 0
}

func (p *parts) end() {
	p.drop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}

// ping answers in any case: a hub that has much to do is not dead.
func (p *admitted) ping(ctx context.Context, m *wire.Ping, emit emitter) error {
	err := p.step(ctx, ask(m), emit, func(emit emitter) error { return p.peer.Receive(ctx, m, emit) })
	if _, ok := errors.AsType[*admit.Busy](err); ok {
		p.missed = true
		return emit(&wire.Pong{N: m.N})
	}
	p.missed = p.missed && err != nil
	return err
}

// Wake implements transport.Waker. A wake that is turned away ends no session: it is
// tried again with the next heartbeat.
func (p *admitted) Wake(ctx context.Context, emit func(wire.Message) error) error {
	if !p.peer.Held() {
		return p.peer.Wake(ctx, emit) // it only looks whether the hub still serves
	}
	err := p.step(ctx, admit.Ask{Class: admit.News, Weight: 1, Bytes: partWork}, emit, func(emit emitter) error { return p.peer.Wake(ctx, emit) })
	_, p.missed = errors.AsType[*admit.Busy](err)
	if p.missed {
		return nil
	}
	return err
}

// Tick implements transport.Ticker.
func (p *admitted) Tick(ctx context.Context, emit func(wire.Message) error) error {
	if !p.missed {
		return nil
	}
	return p.Wake(ctx, emit)
}
