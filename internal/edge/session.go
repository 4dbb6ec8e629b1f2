package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	zs "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// SessionConfig says how a session behaves. Zero values take the defaults.
type SessionConfig struct {
	Device change.DeviceID // for the first enrolment; later the file knows
	Agent  string          // build version, for people

	Interval    time.Duration // between heartbeats; 0 means DefaultInterval
	Once        bool          // never wait for news: for a sync that ends
	PushBytes   int           // of one push; 0 means DefaultPushBytes
	PushWindow  int           // pushes under way; 0 means DefaultPushWindow
	FetchWindow uint32        // chunks per fetch; 0 means DefaultFetchWindow
	Beside      wire.Beside   // decodes a staged chunk while one is written; nil: one after the other
}

// Defaults of SessionConfig.
const (
	DefaultInterval    = 15 * time.Second
	DefaultPushBytes   = 512 << 10
	DefaultPushWindow  = 4
	DefaultFetchWindow = 64
)

// silentIntervals is after how many intervals without a word a session is dead
// (trap D17).
const silentIntervals = 3

// ErrSilent ends a session whose other side says nothing any more.
var ErrSilent = errors.New("the hub has been silent for three heartbeats")

// A Session is the edge's end of one connection to the hub. It implements
// wire.Peer: whoever owns the connection calls Start once, then Receive for each
// message, Nudge when the application may have written and Tick now and then, one
// at a time. What was under way when a session ends is on disk, and the next
// session goes on from there.
//
// Uploads and downloads share the stream and never wait for each other.
type Session struct {
	e   *Engine
	cfg SessionConfig

	mu       sync.Mutex // guards all below: Progress and Synced may be called at any time
	stage    *stage
	welcome  *wire.Welcome
	met      bool          // the hub said Welcome before this file greeted again
	told     change.Cursor // Hello.At, where the hub sealed that
	hello    time.Time     // when Hello was sent
	heard    time.Time     // when the hub last spoke
	pinged   time.Time
	ping     uint64
	pushed   uint64                 // last seq sent
	inflight []uint64               // last seq of each push without an answer
	filling  map[uint64]change.TxID // pushed again, whole, in the place of a stub
	offer    offer                  // of rows that the hub lost
	pulling  bool                   // a pull or fetch without an answer
	got      uint32                 // chunks of the fetch under way
	echo     bool                   // the pull under way asked for our own rows, too
	current  bool                   // a pull was answered with everything there was when it was asked
	ready    *incoming
	verify   *verification
	mending  mending
	last     applied
	leases   leasing
	asks     asks
}

// NewSession begins a session over an open engine.
func NewSession(e *Engine, cfg SessionConfig) *Session {
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.PushBytes == 0 {
		cfg.PushBytes = DefaultPushBytes
	}
	if cfg.PushWindow == 0 {
		cfg.PushWindow = DefaultPushWindow
	}
	if cfg.FetchWindow == 0 {
		cfg.FetchWindow = DefaultFetchWindow
	}
	s := &Session{e: e, cfg: cfg, stage: newStage(e.cfg.Path)}
	s.stage.beside = cfg.Beside
	return s
}

type emitFunc = func(wire.Message) error

// Start opens the session.
func (s *Session) Start(ctx context.Context, emit func(wire.Message) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.export(); err != nil {
		return err
	}
	if err := s.stage.resume(); err != nil {
		return err
	}
	now := s.e.cfg.Clock.Now()
	s.heard, s.pinged = now, now
	return s.greet(emit)
}

// Close lets go of the staging files. What they hold stays for the next session.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = nil
	return s.stage.close()
}

// greet sends Hello: as the first message, and again when this file's identity
// changed under way.
func (s *Session) greet(emit emitFunc) error {
	h, err := s.e.Hello(s.cfg.Agent, s.cfg.Device)
	if err != nil {
		return err
	}
	s.verify.interrupt()
	s.welcome, s.inflight, s.pulling, s.current, s.filling = nil, nil, false, false, nil
	s.ready, s.echo = nil, false // it tells of transactions by the numbers of the life before
	s.leases = leasing{}
	s.mending.told, s.hello, s.asks.unsafe = h.Schema, h.Clock, h.Status.OutboxDepth > 0
	s.offer = offer{}
	s.told = change.Cursor{}
	if len(h.Seal) > 0 {
		s.told = h.At
	}
	return emit(h)
}

// Receive implements wire.Peer.
func (s *Session) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err == nil {
			err = s.lease(emit)
		}
		if err == nil {
			err = s.carryOut(emit)
		}
	}()
	s.heard = s.e.cfg.Clock.Now()
	s.e.spoke(s.heard)
	if p, ok := m.(*wire.Ping); ok {
		s.asks.hear(p.Ask)
	}
	if done, err := routine(m, emit); done || err != nil {
		return err
	}
	if m, ok := m.(*wire.Welcome); ok {
		return s.welcomed(m, emit)
	}
	if s.welcome == nil && s.met {
		return nil // an answer to the life before, from before the hub heard of this one
	}
	if s.welcome == nil {
		return fmt.Errorf("the hub sent %T before Welcome", m)
	}
	switch m := m.(type) {
	case *wire.PushResult:
		return s.pushResult(m, emit)
	case *wire.Delta:
		return s.delta(m, emit)
	case *wire.Rebase:
		return s.rebase(m, emit)
	case *wire.Chunk:
		return s.chunk(m, emit)
	case *wire.Digests:
		return s.digests(m, emit)
	case *wire.LeaseGrant:
		return s.granted(m)
	}
	return fmt.Errorf("the hub sent an unexpected %T", m)
}

func (s *Session) welcomed(m *wire.Welcome, emit emitFunc) error {
	if offset, _, ok := clock.Midpoint(s.hello, s.heard, m.Clock); ok {
		s.e.setOffset(offset)
	}
	_, before := s.e.Identity()
	if m.Setup != nil {
		if err := s.e.adoptSetup(m.Setup, s.cfg.Device); err != nil {
			return err
		}
	}
	if s.e.Setup() == nil {
		return errors.New("the hub did not say what to sync")
	}
	if _, now := s.e.Identity(); now != before { // it greeted a file without a name
		return s.greet(emit)
	}
	if again, err := s.identify(m); err != nil || again {
		return s.greetOr(err, emit)
	}
	if again, err := s.e.reconcile(m); err != nil || again {
		return s.greetOr(err, emit)
	}
	if m.Setup != nil && s.e.fileHash() != s.mending.told { // tables were made for it
		return s.greet(emit)
	}
	s.welcome, s.pushed, s.met = m, m.Progress, true
	if err := s.tellShape(m, emit); err != nil {
		return err
	}
	if err := s.e.refreshGrants(m.Grants, m.Scopes); err != nil {
		return err
	}
	// What was written since Start: nobody may have nudged since.
	if err := s.export(); err != nil {
		return err
	}
	if err := s.fillStubs(emit); err != nil {
		return err
	}
	if err := s.push(emit); err != nil {
		return err
	}
	return s.startPull(emit)
}

// Nudge hands in what the application wrote meanwhile.
func (s *Session) Nudge(ctx context.Context, emit func(wire.Message) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.welcome == nil {
		return nil
	}
	if err := s.export(); err != nil {
		return err
	}
	if err := s.push(emit); err != nil {
		return err
	}
	if err := s.install(emit); err != nil {
		return err
	}
	_, err := s.mindGap(emit)
	return err
}

// Tick keeps the session alive, and ends it with ErrSilent when the hub is gone.
func (s *Session) Tick(ctx context.Context, emit func(wire.Message) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.e.cfg.Clock.Now()
	if now.Before(s.heard) || now.Before(s.pinged) { // the clock was set back
		s.heard, s.pinged = now, now
	}
	if now.Sub(s.heard) > silentIntervals*s.cfg.Interval {
		return ErrSilent
	}
	if s.welcome == nil {
		return nil
	}
	if err := s.install(emit); err != nil {
		return err
	}
	// A nudge may have met a locked file, or have got lost: work must not wait for
	// the application's next write.
	if err := s.export(); err != nil {
		return err
	}
	if err := s.push(emit); err != nil {
		return err
	}
	if again, err := s.regreet(emit); err != nil || again {
		return err
	}
	if _, err := s.mindGap(emit); err != nil {
		return err
	}
	if err := s.lease(emit); err != nil {
		return err
	}
	if err := s.carryOut(emit); err != nil {
		return err
	}
	if now.Sub(s.pinged) < s.cfg.Interval {
		return nil
	}
	st, err := s.status()
	if err != nil {
		return err
	}
	if len(s.inflight) == 0 { // an earlier push was accepted only in part
		s.pushed = 0
		if err := s.push(emit); err != nil {
			return err
		}
	}
	s.pinged = now
	s.ping++
	return emit(&wire.Ping{N: s.ping, Status: &st})
}

// export takes in what the application wrote. A file that the application keeps
// locked is no reason to end a session: it is tried again.
func (s *Session) export() error {
	_, err := s.e.Export()
	if busy(err) {
		return nil
	}
	return err
}

func busy(err error) bool {
	if err == nil {
		return false
	}
	p := zs.ErrCode(err).ToPrimary()
	return p == zs.ResultBusy || p == zs.ResultLocked
}

// Synced reports that everything written here is at the hub and settled or
// parked there, and everything the hub had when last asked is here.
func (s *Session) Synced() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced()
}

func (s *Session) synced() (bool, error) {
	if s.welcome == nil || !s.current || s.leases.asking != 0 || len(s.inflight) > 0 || s.ready != nil || s.stage.plan != nil {
		return false, nil
	}
	quiet, err := s.e.quiet()
	if err != nil || !quiet {
		return false, err
	}
	if some, err := s.e.holdsSalvage(); err != nil || some && !s.offer.stop {
		return false, err
	}
	return s.whole()
}

// quiet reports that nothing waits in the file for the hub to take or decide.
func (e *Engine) quiet() (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, _, err := sqlite.One(e.conn, `SELECT EXISTS (SELECT 1 FROM _tidemark_undo)
		OR EXISTS (SELECT 1 FROM _tidemark_outbox WHERE state IN (?, ?))`, change.Int(int64(waiting)), change.Int(int64(durable)))
	return err == nil && v.Int() == 0, err
}

// spoke notes that the hub said something, in memory only: the application's
// file is not locked for that.
func (e *Engine) spoke(now time.Time) {
	e.mu.Lock()
	e.contact = now
	e.mu.Unlock()
}
