package sim

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// post returns an emit that queues messages, and, when cutAfter is positive, fails
// at that message: the link goes in the middle of the call.
func (w *world) post(queue *[]wire.Message, cutAfter int) func(wire.Message) error {
	return func(m wire.Message) error {
		if cutAfter--; cutAfter == 0 {
			return errCut
		}
		again, err := reencode(m)
		if err != nil {
			return fmt.Errorf("encode %T: %w", m, err)
		}
		*queue = append(*queue, again)
		return nil
	}
}

// reencode sends a message through its frame form, as a real network would.
func reencode(m wire.Message) (wire.Message, error) {
	b, err := wire.Encode(m)
	if err != nil {
		return nil, err
	}
	return wire.Decode(b)
}

// dial opens a new session for a site.
func (w *world) dial(s *site) error {
	w.cut(s)
	if err := w.turn(); err != nil {
		return err
	}
	l := &link{hs: w.hub.hub.NewSession(s.device), at: w.hub.process}
	l.es = edge.NewSession(s.engine, edge.SessionConfig{Device: s.device})
	s.link = l
	w.logf("e%d dials", s.n)
	return w.atSite(s, func() error { return l.es.Start(w.ctx, w.post(&l.up, 0)) })
}

// cut ends a site's session. Messages under way to the hub may still arrive, late.
func (w *world) cut(s *site) {
	if s.link == nil {
		return
	}
	if w.rng.IntN(2) == 0 {
		for _, m := range s.link.up {
			s.late = append(s.late, lateMessage{s.link.hs, s.link.at, m})
		}
	}
	w.logf("e%d cut, %d up, %d down under way", s.n, len(s.link.up), len(s.link.down))
	s.link = nil
}

// atSite runs a call on a site's machine. A crash restarts the machine; a cut or a
// refusal ends the session; anything else fails the history.
func (w *world) atSite(s *site, fn func() error) error {
	crashed, err := survive(s.clock, fn)
	if crashed {
		w.sometimes("edge crashed in a call")
		w.logf("e%d crashes", s.n)
		return w.restartSite(s)
	}
	return w.settleError(s, err)
}

// atHub runs a call on the machine of the process that has a site's session.
func (w *world) atHub(s *site, fn func() error) error {
	w.hub.process = s.link.at
	meanwhile := w.interfere()
	crashed, err := survive(w.hub.clock, fn)
	if meanwhile.err != nil {
		return meanwhile.err
	}
	if !crashed && meanwhile.lost && err != nil {
		w.logf("hub lost its database: %v", err)
		w.sometimes("the database was lost in a call")
		w.cut(s)
		return nil
	}
	if crashed {
		w.sometimes("hub crashed in a call")
		w.logf("hub crashes")
		return w.kill(w.hub.process)
	}
	return w.settleError(s, err)
}

func (w *world) settleError(s *site, err error) error {
	var fault *wire.Fault
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errCut):
		w.sometimes("link cut in a call")
		w.cut(s)
		return nil
	case errors.As(err, &fault) && !fault.Fatal:
		w.logf("e%d refused: %s", s.n, fault.Code)
		w.sometimes("refused: " + fault.Code)
		w.cut(s)
		return nil
	}
	return fmt.Errorf("e%d: %w", s.n, err)
}

func (w *world) restartSite(s *site) error {
	w.cut(s)
	if err := s.engine.Close(); err != nil {
		return fmt.Errorf("close engine of e%d: %w", s.n, err)
	}
	return w.bootSite(s)
}

// chance draws a countdown: mostly 0 (nothing happens), else a small number.
func (w *world) chance(oneIn, upTo int) int {
	if w.opt.calm || w.rng.IntN(oneIn) != 0 {
		return 0
	}
	return 1 + w.rng.IntN(upTo)
}

// deliverUp hands the hub the next message of a site.
func (w *world) deliverUp(s *site) error {
	l := s.link
	if l == nil || len(l.up) == 0 {
		return nil
	}
	m := l.up[0]
	l.up = l.up[1:]
	w.logf("e%d → hub %s", s.n, describe(m))
	l.at.clock.armed = w.hubChance()
	cut := w.chance(60, 3)
	if err := w.atHub(s, func() error { return l.hs.Receive(w.ctx, m, w.post(&l.down, cut)) }); err != nil {
		return err
	}
	return w.checkFloor()
}

// deliverDown hands a site the next message from the hub.
func (w *world) deliverDown(s *site) error {
	l := s.link
	if l == nil || len(l.down) == 0 {
		return nil
	}
	m := l.down[0]
	l.down = l.down[1:]
	w.note(m)
	w.logf("hub → e%d %s", s.n, describe(m))
	s.clock.armed = w.chance(60, 6)
	cut := w.chance(60, 3)
	_, was := s.engine.Identity()
	if err := w.atSite(s, func() error { return l.es.Receive(w.ctx, m, w.post(&l.up, cut)) }); err != nil {
		return err
	}
	if _, now := s.engine.Identity(); now != was && !was.IsZero() {
		w.sometimes("new incarnation")
	}
	return w.checkSite(s)
}

// deliverLate hands the hub a message of a session that has ended.
func (w *world) deliverLate(s *site) error {
	if len(s.late) == 0 {
		return nil
	}
	i := w.rng.IntN(len(s.late)) // in any order
	m := s.late[i]
	s.late = append(s.late[:i:i], s.late[i+1:]...)
	w.logf("e%d → hub late %s", s.n, describe(m.m))
	w.sometimes("late message")
	w.hub.process = m.at
	crashed, err := survive(w.hub.clock, func() error {
		return m.hs.Receive(w.ctx, m.m, func(wire.Message) error { return nil })
	})
	if crashed {
		return fmt.Errorf("crash without being armed")
	}
	if err != nil {
		w.logf("late message refused")
	}
	return nil
}

// wake lets the hub answer a waiting pull.
func (w *world) wake(s *site) error {
	l := s.link
	if l == nil {
		return nil
	}
	return w.atHub(s, func() error {
		p := w.hub.process
		if err := w.toll(p); err != nil {
			return err
		}
		before := p.deltas.Stats().Hits
		err := l.hs.Wake(w.ctx, w.post(&l.down, 0))
		if p.deltas.Stats().Hits > before {
			w.sometimes("a delta was shared")
		}
		return err
	})
}

// toll says up to where those are told who are woken now.
func (w *world) toll(p *process) error {
	var at change.Cursor
	err := p.store.View(w.ctx, func(v hub.View) (err error) {
		at, err = v.Cursor()
		return err
	})
	p.hub.Tolled(at)
	return err
}

// nudge tells a site's session that the application may have written.
func (w *world) nudge(s *site) error {
	l := s.link
	if l == nil {
		_, err := s.engine.Export()
		return err
	}
	s.clock.armed = w.chance(60, 6)
	cut := w.chance(60, 2)
	return w.atSite(s, func() error { return l.es.Nudge(w.ctx, w.post(&l.up, cut)) })
}

// describe names a message for the trace, without what is random in it.
func describe(m wire.Message) string {
	switch m := m.(type) {
	case *wire.PushResult:
		return fmt.Sprintf("PushResult durable %d, %d results, fork %v", m.Durable, len(m.Results), m.Fork)
	case *wire.Delta:
		return fmt.Sprintf("Delta last %v, %d outcomes to %d", m.Last, len(m.Outcomes), m.Mark)
	case *wire.Rebase:
		return fmt.Sprintf("Rebase full %v", m.Full)
	case *wire.Chunk:
		return fmt.Sprintf("Chunk done %v", m.Done)
	case *wire.Fault:
		return "Fault " + m.Code
	}
	return fmt.Sprintf("%T", m)[len("*wire."):]
}

// note counts rare states that show in messages.
func (w *world) note(m wire.Message) {
	switch m := m.(type) {
	case *wire.Rebase:
		w.sometimes(fmt.Sprintf("rebase full=%v", m.Full))
	case *wire.PushResult:
		if m.Fork {
			w.sometimes("fork")
		}
		for _, r := range m.Results {
			w.sometimes(fmt.Sprintf("pushed: status %d", r.Status))
		}
	case *wire.Delta:
		for _, r := range m.Outcomes {
			w.sometimes(fmt.Sprintf("outcome: status %d", r.Status))
		}
	}
}
