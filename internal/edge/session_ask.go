package edge

import (
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/internal/wire"
)

// asks are what the hub's people want this device to do.
type asks struct {
	want   []string // not begun
	begun  []string // not told to the hub yet
	unsafe bool     // the status that the hub was told last has work that waits
}

// hear notes what a hub asks for. What this build does not know stays unanswered.
func (a *asks) hear(list []string) {
	for _, w := range list {
		if (w == wire.AskSync || w == wire.AskVerify) && !slices.Contains(a.want, w) {
			a.want = append(a.want, w)
		}
	}
}

func (a *asks) begin(what string) {
	a.want = slices.DeleteFunc(a.want, func(w string) bool { return w == what })
	a.begun = append(a.begun, what)
}

// carryOut begins what the hub asked for, as far as that can be begun now, and tells it.
func (s *Session) carryOut(emit emitFunc) error {
	a := &s.asks
	if len(a.want) == 0 || s.welcome == nil {
		return nil
	}
	if slices.Contains(a.want, wire.AskSync) {
		if err := s.export(); err != nil {
			return err
		}
		if err := s.push(emit); err != nil {
			return err
		}
		a.begin(wire.AskSync) // a pull is always under way
	}
	if slices.Contains(a.want, wire.AskVerify) {
		free, err := s.idle()
		if err != nil {
			return err
		}
		if free {
			if err := s.compare(emit, nil, false); err != nil {
				return err
			}
			a.begin(wire.AskVerify)
		}
	}
	if len(a.begun) == 0 {
		return nil
	}
	return s.tell(emit)
}

// idle reports whether a comparison can begin.
func (s *Session) idle() (bool, error) {
	if !s.current || s.ready != nil || s.stage.plan != nil || len(s.inflight) > 0 || s.verify != nil && !s.verify.done {
		return false, nil
	}
	if quiet, err := s.e.quiet(); err != nil || !quiet {
		return false, err
	}
	var again bool
	err := s.e.locked(func() (err error) { again, err = s.e.reoffered(); return err })
	return err == nil && !again, err
}

// status is the file's, for the hub to be told.
func (s *Session) status() (wire.EdgeStatus, error) {
	st, err := s.e.edgeStatus()
	s.asks.unsafe = err == nil && st.OutboxDepth > 0
	return st, err
}

// tellSafe tells the hub that nothing waits any more, when it was told that something
// did: who looks at the fleet must not be alarmed by work that has arrived.
func (s *Session) tellSafe(emit emitFunc) error {
	if !s.asks.unsafe || len(s.inflight) > 0 {
		return nil
	}
	return s.tell(emit)
}

// tell sends the file's status now, not at the next heartbeat.
func (s *Session) tell(emit emitFunc) error {
	st, err := s.status()
	if err != nil {
		return err
	}
	s.ping++
	m := &wire.Ping{N: s.ping, Status: &st, Begun: s.asks.begun}
	s.asks.begun = nil
	return emit(m)
}

// tellVerified tells the hub how a comparison ended that somebody wanted.
func (s *Session) tellVerified(v *verification, emit emitFunc) error {
	if v.auto {
		return nil
	}
	if err := s.e.verified(&v.report); err != nil {
		return err
	}
	return s.tell(emit)
}

// verified keeps how a comparison that somebody wanted ended, for the hub.
func (e *Engine) verified(r *VerifyReport) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	offset, err := e.metaInt(metaOffset)
	if err != nil {
		return err
	}
	out := &wire.VerifyReport{Equal: true, At: e.cfg.Clock.Now().Add(time.Duration(offset) * time.Millisecond).UTC()}
	for i := range r.Tables {
		t := &r.Tables[i]
		out.Rows += uint64(t.Rows)
		out.Differing += uint32(len(t.Differ) + len(t.Missing) + len(t.Extra))
		out.Equal = out.Equal && !t.Open()
		if t.Buckets > 0 {
			out.Tables = append(out.Tables, t.Table)
		}
	}
	e.compared = out
	return nil
}

// Tell is a status as the hub is told it.
func (e *Engine) Tell(st *Status) wire.EdgeStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tell(st)
}

func (e *Engine) tell(st *Status) wire.EdgeStatus {
	out := st.Wire()
	out.Verified = e.compared
	if e.cfg.FreeDisk != nil {
		out.FreeDisk = e.cfg.FreeDisk()
	}
	return out
}
