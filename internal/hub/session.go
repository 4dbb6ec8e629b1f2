package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A Session is the hub's end of one edge's connection. It implements wire.Peer:
// Receive and Wake are called one at a time, by whoever drives it. Only Wait may
// run beside them.
//
// A Fault that Receive or Wake returns ends the session.
type Session struct {
	hub    *Hub
	device change.DeviceID
	hello  *wire.Hello // nil until the edge said Hello
	pushed gathering
	carted gathering   // of another device's sealed outbox
	told   change.Hash // the setup that the edge knows
	place  standpoint
	tenure tenure
	rest   rest
	heed   heed
	tally  tally
	asked  asking

	mu   sync.Mutex    // guards what follows: Wait reads it
	held *wire.Pull    // a pull that waits for something to answer
	turn chan struct{} // closed and replaced when held is set
}

var _ wire.Peer = (*Session)(nil)

// NewSession starts a session for an authenticated device.
func (h *Hub) NewSession(device change.DeviceID) *Session {
	return &Session{hub: h, device: device, turn: make(chan struct{}), tally: tally{caller: device}}
}

// Receive implements wire.Peer.
func (s *Session) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	s.tally.heard(s.hub.clock.Now())
	err := s.receive(ctx, m, s.tally.through(emit))
	s.tally.failed(err)
	return err
}

func (s *Session) receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	if _, ok := m.(*wire.Hello); !ok && s.hello == nil {
		return &wire.Fault{Code: "protocol", Message: fmt.Sprintf("a session starts with Hello, not %T", m)}
	}
	if err := s.standstill(); err != nil {
		return err
	}
	if err := s.speak(ctx, m); err != nil {
		return s.fail("session", err)
	}
	switch m := m.(type) {
	case *wire.Hello:
		return s.greet(ctx, m, emit)
	case *wire.Push:
		return s.push(ctx, m, emit)
	case *wire.Pull:
		if m.Known {
			m.Cursor = s.hello.At
		}
		if m.Brief {
			m.Scopes = s.Reads()
		}
		return s.pull(ctx, m, emit)
	case *wire.Fetch:
		return s.fetch(ctx, m, emit)
	case *wire.Snapshot:
		return s.snapshot(ctx, m, emit)
	case *wire.Parcel:
		return s.parcel(ctx, m, emit)
	case *wire.Verify:
		return s.verify(ctx, m, emit)
	case *wire.LeaseAsk:
		return s.lease(ctx, m, emit)
	case *wire.Shape:
		return s.takeShape(ctx, m)
	case *wire.Ping:
		s.hub.note(s.device, func(p *presence) {
			if m.Status != nil {
				p.status = m.Status
			}
		})
		if err := s.takeWord(ctx, m); err != nil {
			return s.fail("ping", err)
		}
		if err := emit(&wire.Pong{N: m.N}); err != nil {
			return err
		}
		return s.wake(ctx, emit) // what another process decided rings no bell here
	case *wire.Pong:
		s.hub.note(s.device, func(*presence) {})
		return nil
	case *wire.Fault:
		return fmt.Errorf("the edge ended the session: %w", m)
	}
	return &wire.Fault{Code: "protocol", Message: fmt.Sprintf("a hub does not take %T", m)}
}

// greet answers Hello: who the device is and what it needs to know.
func (s *Session) greet(ctx context.Context, m *wire.Hello, emit func(wire.Message) error) error {
	if m.Max < wire.MinProtocol || m.Min > wire.MaxProtocol {
		return &wire.Fault{Code: "unsupported-version", Message: fmt.Sprintf("the edge speaks protocol %d to %d, this hub %d to %d", m.Min, m.Max, wire.MinProtocol, wire.MaxProtocol),
			Hint: "update the older of the two", Fatal: true}
	}
	now := s.hub.clock.Now()
	w := &wire.Welcome{Protocol: min(m.Max, wire.MaxProtocol), Hub: s.hub.name, Clock: now,
		MaxFrame: uint32(s.hub.limits.Frame), MaxTx: uint32(s.hub.limits.Tx), Unpack: s.unpack(), Brief: true}
	s.pushed, s.carted = gathering{}, gathering{}
	var dev *Device
	var place standpoint
	file := s.hub.fileShape(m.Schema)
	known := true
	read := func(v View) (err error) {
		if err = s.become(v, m); err != nil {
			return err
		}
		s.hub.note(s.device, func(p *presence) { p.status = new(m.Status) })
		if dev, err = activeDevice(v, s.device); err != nil {
			return err
		}
		if err = s.hear(v, m); err != nil {
			return err
		}
		if err = s.welcome(v, dev, m, w); err != nil {
			return err
		}
		if err = s.lookShape(v, &file); err != nil {
			return err
		}
		place, known, err = s.stand(v, m, w)
		if w.Device.IsZero() && m.Device != s.device { // become did not know the name
			w.Device = s.device
		}
		return err
	}
	err := s.attend(ctx, read)
	if err != nil {
		return s.fail("hello", err)
	}
	setup := s.hub.Setup()
	s.told = setup.Hash
	if setup.Hash != m.Rules {
		w.Setup = setup
	}
	if err := s.meet(ctx, dev, m, now); err != nil {
		return s.fail("hello", err)
	}
	if w.AskShape, err = s.noteShape(ctx, &file, now); err != nil {
		return s.fail("hello", err)
	}
	if !known {
		if err := s.enter(ctx, m, w.Epoch, now); err != nil {
			return s.fail("hello", err)
		}
	}
	s.hello, s.place = m, place
	s.hold(nil)
	return s.letIn(dev, w, emit)
}

func (s *Session) welcome(v View, dev *Device, m *wire.Hello, w *wire.Welcome) error {
	cur, err := v.Cursor()
	if err != nil {
		return err
	}
	r := rightsOf(dev.Grants)
	w.Epoch, w.Grants, w.Scopes = cur.Epoch, r.grants(), hashScopes(r.scopes())
	if err := tellLineage(v, m, w); err != nil {
		return err
	}
	if m.Incarnation.IsZero() {
		return nil
	}
	if w.Lacks, err = lacksNewest(v, &m.Newest); err != nil {
		return err
	}
	var owner change.DeviceID
	err = readRecord(v, kindIncarnation, m.Incarnation.String(), &owner)
	if errors.Is(err, ErrNotFound) {
		return nil // nothing of this file's came from this device
	}
	if err != nil {
		return err
	}
	if owner != dev.ID {
		w.Progress = beyond(m)
		return nil
	}
	p, err := v.Progress(m.Incarnation)
	w.Progress, w.Sum = p.Seq, p.Sum
	return err
}

// stale is how old a device's record may become before a Hello writes it anew.
const stale = time.Minute

// meet keeps what a Hello says of the device, when that is worth a write.
func (s *Session) meet(ctx context.Context, dev *Device, m *wire.Hello, now time.Time) error {
	offset := now.Sub(m.Clock)
	if m.Clock.IsZero() {
		offset = 0
	}
	ahead := offset < -MaxDrift
	drifted := (offset - dev.Offset).Abs() > time.Second
	if dev.Agent == m.Agent && !drifted && !ahead && now.Sub(dev.Seen) < stale {
		return nil
	}
	if ahead {
		s.hub.log.Warn("device clock is ahead", "device", s.device.String(), "by", (-offset).Round(time.Second))
	}
	return s.hub.change(ctx, s.device, func(d *Device) {
		d.Agent, d.Offset = m.Agent, offset
		if ahead {
			d.Future = now
		}
	})
}

// push takes transactions in once the last part of their body is here.
func (s *Session) push(ctx context.Context, m *wire.Push, emit func(wire.Message) error) error {
	if err := s.abreast(); err != nil {
		return err
	}
	body, err := s.pushed.take(m.Body, m.More, s.hub.limits.Frame, s.unpack().Encoded)
	if err != nil {
		return s.fail("push", err)
	}
	s.hub.note(s.device, func(*presence) {})
	if m.More {
		return nil
	}
	txs, err := change.OpenTransactions(body, s.unpack())
	if err != nil {
		return s.fail("push", err)
	}
	if m.Stub != nil && len(txs) != 1 {
		return &wire.Fault{Code: "malformed", Message: fmt.Sprintf("push: a stub for %d transactions", len(txs)), Hint: "the edge is broken: update it"}
	}
	res, err := s.hub.push(ctx, s.device, txs, m)
	if err != nil {
		return s.fail("push", err)
	}
	s.tally.took(len(res.Results))
	s.rest.wrote = true
	if !m.Salvage { // that chain is not the file's own
		s.took(res.Durable)
	}
	return emit(&res)
}

// A gathering is the parts of a body whose end has not come. What a session that ends
// had collected is forgotten.
type gathering struct {
	parts [][]byte
	size  int // bytes in parts
}

// take collects one part, of at most frame bytes, up to most in all, and returns the
// body with the last one.
func (g *gathering) take(part []byte, more bool, frame, most int) ([]byte, error) {
	if len(part) > frame {
		return nil, fmt.Errorf("%w: %d bytes in one frame, the limit is %d", change.ErrTooLarge, len(part), frame)
	}
	if !more && len(g.parts) == 0 {
		return part, nil
	}
	if more && len(part) == 0 {
		return nil, fmt.Errorf("%w: an empty part", change.ErrCorrupt)
	}
	if g.size += len(part); g.size > most {
		return nil, fmt.Errorf("%w: %d bytes in parts, the limit is %d", change.ErrTooLarge, g.size, most)
	}
	g.parts = append(g.parts, part)
	if more {
		return nil, nil
	}
	body := bytes.Join(g.parts, nil)
	*g = gathering{}
	return body, nil
}

// slack is room for what decoded values take beside their bytes.
const slack = 64 << 20

// unpack is what the hub takes of one push, all parts together. Transactions above
// Limits.Tx but below this are taken in and quarantined; of larger ones the edge
// sends a stub. Either way they do not block their queue. With the defaults a
// session holds at most 96 MiB of parts, twice that while it joins them, and what
// they decode to is bounded by Decoded.
func (s *Session) unpack() change.Limits {
	lim := s.hub.limits
	return change.Limits{Encoded: lim.Frame + lim.Tx + lim.Tx/4, Decoded: 4*lim.Tx + slack, Rows: 2 * lim.Ops}
}

// fail turns an error into what the other side may hear: faults as they are,
// damage as a fault, anything else only named.
func (s *Session) fail(what string, err error) error {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f
	}
	switch {
	case errors.Is(err, change.ErrTooLarge):
		return &wire.Fault{Code: "oversized", Message: what + ": " + err.Error(), Hint: "send smaller batches, or raise the hub's limits"}
	case errors.Is(err, change.ErrCorrupt):
		return &wire.Fault{Code: "corrupt", Message: what + ": " + err.Error(), Hint: "the frame was damaged on its way; it is safe to send it again"}
	}
	return fmt.Errorf("%s of device %s: %w", what, s.device, err)
}

// hold keeps a pull for Wake, or lets go of it.
func (s *Session) hold(m *wire.Pull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = m
	if m != nil {
		close(s.turn)
		s.turn = make(chan struct{})
	}
}

// Held reports whether a pull waits for something to answer.
func (s *Session) Held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held != nil
}

// Wait blocks until it is worth calling Wake, or ctx ends. It may return early
// for nothing. It may run beside Receive and Wake, but only once at a time.
func (s *Session) Wait(ctx context.Context) error {
	inner, ring := context.WithCancel(ctx)
	defer ring()
	s.hub.listen(s, ring)
	defer s.hub.listen(s, nil)
	for {
		s.mu.Lock()
		held, turn := s.held, s.turn
		s.mu.Unlock()
		var err error
		if held != nil {
			if err = s.hub.store.Wait(inner, held.Cursor); err == nil {
				return nil
			}
		} else {
			select {
			case <-turn:
				continue
			case <-inner.Done():
				err = inner.Err()
			}
		}
		if inner.Err() != nil && ctx.Err() == nil {
			return nil // somebody rang
		}
		return err
	}
}

// tables checks names against the hub's, and returns all of them for none.
func (s *Session) tables(names []string) ([]string, error) {
	shape := s.hub.shape.Load()
	var out []string
	if len(names) == 0 {
		for _, t := range shape.tables {
			out = append(out, t.schema.Name)
		}
		return out, nil
	}
	for _, n := range names {
		t := shape.table(n)
		if t == nil {
			return nil, &wire.Fault{Code: "unknown-table", Message: "the hub has no synced table " + n, Hint: "reconnect to learn the present tables"}
		}
		if !slices.Contains(out, t.schema.Name) {
			out = append(out, t.schema.Name)
		}
	}
	return out, nil
}
