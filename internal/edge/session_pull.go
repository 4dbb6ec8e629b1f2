package edge

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// startPull begins the download: a bootstrap goes on where a cut one stopped.
func (s *Session) startPull(emit emitFunc) error {
	complete, err := s.e.complete()
	if err != nil {
		return err
	}
	cursor, _, _, err := s.e.position()
	if err != nil {
		return err
	}
	p := s.stage.plan
	if p != nil && p.From != cursor.String() {
		// Installed already, and the agent died before it could throw this away: the
		// rows are older than the file.
		if err := s.stage.drop(); err != nil {
			return err
		}
		p = nil
	}
	if p != nil && (p.Setup != s.e.Setup().Hash || p.Scopes != s.welcome.Scopes || !complete && !p.Full) {
		// Fetched for other tables or other scopes: of no use any more.
		if err := s.stage.drop(); err != nil {
			return err
		}
		p = nil
	}
	switch {
	case p != nil:
		return s.fetch(emit)
	case !complete:
		return s.bootstrap(&fetchPlan{Full: true, Grants: s.welcome.Grants, Scopes: s.welcome.Scopes}, emit)
	}
	return s.pull(emit, false)
}

func (e *Engine) complete() (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.metaInt(metaComplete)
	return v == 1, err
}

// bootstrap begins fetching what a plan says.
func (s *Session) bootstrap(p *fetchPlan, emit emitFunc) error {
	cursor, _, _, err := s.e.position()
	if err != nil {
		return err
	}
	p.Setup, p.From = s.e.Setup().Hash, cursor.String()
	if err := s.stage.begin(p); err != nil {
		return err
	}
	if !p.Full && len(p.Fetch) == 0 { // scopes only go: nothing to fetch
		s.stage.at.Done = true
	}
	return s.fetch(emit)
}

// fetch asks for the next chunks, or for the delta that closes the bootstrap.
func (s *Session) fetch(emit emitFunc) error {
	at := s.stage.at
	s.pulling = true
	if at.Done {
		return s.pull(emit, false)
	}
	// The scopes are named even when they are all there are: should the grants
	// change meanwhile, and back again before the closing pull, the chunks still
	// hold exactly the rows of these.
	scopes := s.stage.plan.Fetch
	if s.stage.plan.Full {
		scopes = readable(s.stage.plan.Grants)
	}
	f := &wire.Fetch{Scopes: scopes, Table: at.Table, Window: s.cfg.FetchWindow}
	if at.After != "" {
		key, err := change.ParseKeyID(at.After)
		if err != nil {
			return fmt.Errorf("staged position: %w", err)
		}
		f.After = key
	}
	var err error
	if f.Seen, err = change.ParseCursor(at.Seen); err != nil {
		return fmt.Errorf("staged state: %w", err)
	}
	s.got = 0
	return emit(f)
}

func (s *Session) chunk(m *wire.Chunk, emit emitFunc) error {
	if s.stage.plan == nil || s.stage.at.Done {
		return nil // of a fetch that was given up
	}
	at := s.stage.at
	if at.Pin == "" {
		at.Pin = m.At.String()
	}
	if m.Total != nil {
		at.Total = maps.Clone(m.Total)
	}
	at.Seen, at.Table, at.After, at.Done = m.At.String(), m.Table, m.After.ID(), m.Done
	at.Chunks++
	at.Bytes += int64(len(m.Body))
	if len(m.Body) > 0 {
		// Also a check: what does not decode is not kept.
		rows, err := change.OpenRows(m.Body, change.Limits{})
		if err != nil {
			return fmt.Errorf("chunk of table %s: %w", m.Table, err)
		}
		for _, r := range rows {
			at.Rows += int64(r.Len())
		}
	}
	if err := s.stage.chunk(at, m.Body); err != nil {
		return err
	}
	// What counts is the window that was asked for: after a resume the staged
	// chunks are no multiple of it.
	if s.got++; at.Done || s.got >= s.cfg.FetchWindow {
		return s.fetch(emit)
	}
	return nil
}

// pull asks for everything after the file's cursor, or after the bootstrap's pin.
func (s *Session) pull(emit emitFunc, wait bool) error {
	if err := s.stage.clear(); err != nil {
		return err
	}
	cursor, scopes, mark, err := s.e.position()
	if err != nil {
		return err
	}
	m := &wire.Pull{Cursor: cursor, Scopes: scopes, Outcome: mark, Wait: wait && !s.cfg.Once}
	if err := s.e.locked(func() error { m.Echo, err = s.e.reoffered(); return err }); err != nil {
		return err
	}
	if p := s.stage.plan; p != nil {
		m.Scopes, m.Echo, m.Wait = p.Scopes, true, false
		if m.Seen, err = change.ParseCursor(s.stage.at.Seen); err != nil {
			return fmt.Errorf("staged state: %w", err)
		}
		if p.Full {
			if m.Cursor, err = change.ParseCursor(s.stage.at.Pin); err != nil {
				return fmt.Errorf("staged pin: %w", err)
			}
		}
		if p.Reset {
			m.Outcome = 0
		}
	}
	m.Known = m.Cursor == s.told && !m.Cursor.IsZero()
	m.Brief = s.welcome.Brief && m.Scopes == s.welcome.Scopes
	s.pulling, s.echo = true, m.Echo
	return emit(m)
}

// position is where the file stands.
func (e *Engine) position() (c change.Cursor, scopes change.Hash, mark uint64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.meta(metaCursor)
	if err != nil {
		return c, scopes, 0, err
	}
	if c, err = change.ParseCursor(v.Str()); err != nil {
		return c, scopes, 0, err
	}
	if v, err = e.meta(metaScopes); err != nil {
		return c, scopes, 0, err
	}
	if !v.IsNull() {
		if err = scopes.UnmarshalText([]byte(v.Str())); err != nil {
			return c, scopes, 0, err
		}
	}
	n, err := e.metaInt(metaMark)
	return c, scopes, uint64(n), err
}

// rebase answers that the cursor cannot be served: other scopes, or everything anew.
func (s *Session) rebase(m *wire.Rebase, emit emitFunc) error {
	if err := s.stage.drop(); err != nil {
		return err
	}
	s.verify.interrupt()
	p := &fetchPlan{Full: m.Full, Grants: m.Grants, Scopes: m.Scopes, Reset: m.Full, Lost: m.Full && m.Salvage, Why: m.Reason}
	if !m.Full {
		have, err := s.e.Grants()
		if err != nil {
			return err
		}
		was, now := readable(have), readable(m.Grants)
		p.Fetch, p.Evict = without(now, was), without(was, now)
	}
	s.e.cfg.Logger.Info("fetching anew", "full", m.Full, "reason", m.Reason, "added", scopeNames(p.Fetch), "removed", scopeNames(p.Evict))
	return s.bootstrap(p, emit)
}

// delta stages one part, and installs the whole when it was the last.
func (s *Session) delta(m *wire.Delta, emit emitFunc) error {
	if err := s.stage.part(m.Body); err != nil {
		return err
	}
	if !m.Last {
		return nil
	}
	each, err := s.stage.rows()
	if err != nil {
		return err
	}
	next, err := s.next(m)
	if err != nil {
		return err
	}
	in := &incoming{each: each, next: next, seal: m.Seal, outcomes: m.Outcomes, mark: m.Mark, echo: s.echo}
	if p := s.stage.plan; p != nil && s.stage.at.Done {
		in.full, in.echo, in.evict = p.Full, true, p.Evict
		in.scoped, in.grants, in.scopes = true, p.Grants, p.Scopes
		in.lost, in.why, in.anew = p.Lost, p.Why, p.Reset
	}
	s.ready = in
	return s.install(emit)
}

// next is where the file stands after a delta's last part.
func (s *Session) next(m *wire.Delta) (change.Cursor, error) {
	if !m.Still {
		return m.Next, nil
	}
	if s.told.IsZero() {
		return s.told, errors.New("the hub says that nothing moved since a state that this session did not name")
	}
	return s.told, nil
}

// install applies what is staged whole. A file that the application keeps locked
// is tried again at the next Tick or Nudge; nothing is lost meanwhile.
func (s *Session) install(emit emitFunc) error {
	in := s.ready
	if in == nil {
		return nil
	}
	out, err := s.e.bring(in)
	if busy(err) {
		s.e.cfg.Logger.Warn("the application keeps the file locked", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.ready, s.pulling, s.current, s.echo = nil, false, true, false
	if out != nil {
		s.last = *out
		s.leases.unblock()
	}
	if in.scoped {
		err = s.stage.drop()
	} else {
		err = s.stage.clear()
	}
	if err != nil {
		return err
	}
	if v := s.verify; v != nil && v.lost {
		v.begin()
		return s.askVerify(emit, v.tables, nil)
	}
	if s.verify != nil && !s.verify.done {
		return nil // Digests follow
	}
	if err := s.push(emit); err != nil {
		return err
	}
	if asked, err := s.mindGap(emit); err != nil || asked {
		return err
	}
	if !s.cfg.Once {
		return s.pull(emit, true)
	}
	if done, err := s.synced(); err != nil || done || len(s.inflight) > 0 {
		return err
	}
	return s.pull(emit, false)
}

// bring applies one pull; one that brings nothing takes no lock.
func (e *Engine) bring(in *incoming) (*applied, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !in.scoped && len(in.outcomes) == 0 {
		v, err := e.meta(metaCursor)
		if err != nil {
			return nil, err
		}
		mark, err := e.metaInt(metaMark)
		if err != nil {
			return nil, err
		}
		if v.Str() == in.next.String() && uint64(mark) == in.mark {
			return nil, e.sealLate(in.seal)
		}
	}
	return e.apply(in)
}

// A Progress tells how far a bootstrap is.
type Progress struct {
	Fetching bool  // a bootstrap is under way; otherwise the rest is zero
	Rows     int64 // received
	Bytes    int64 // received, compressed
	Total    int64 // estimated rows in all; 0 when unknown
}

// Progress tells how far a bootstrap is.
func (s *Session) Progress() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage.plan == nil {
		return Progress{}
	}
	p := Progress{Fetching: true, Rows: s.stage.at.Rows, Bytes: s.stage.at.Bytes}
	for _, n := range slices.Collect(maps.Values(s.stage.at.Total)) {
		p.Total += n
	}
	return p
}
