package hub

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// allOutcomes asks for every outcome there is: one that came in a later pull than
// the rows of its snapshot would be taken for newer than they are.
const allOutcomes = math.MaxInt32

// pull answers with everything after the edge's cursor, all of one snapshot: the
// rows, and the outcomes whose effects they show (trap D3).
func (s *Session) pull(ctx context.Context, m *wire.Pull, emit func(wire.Message) error) error {
	s.hold(nil)
	if m.Wait {
		if s.rests(m) {
			return nil
		}
		return s.try(ctx, m, emit)
	}
	return s.answer(ctx, m, emit, true)
}

// Wake looks again at a pull that waits. The shell calls it when Wait returned.
func (s *Session) Wake(ctx context.Context, emit func(wire.Message) error) error {
	err := s.wake(ctx, s.tally.through(emit))
	s.tally.failed(err)
	return err
}

func (s *Session) wake(ctx context.Context, emit func(wire.Message) error) error {
	s.mu.Lock()
	m := s.held
	s.mu.Unlock()
	if err := s.standstill(); err != nil {
		return err
	}
	if m == nil {
		return nil
	}
	return s.try(ctx, m, emit)
}

// try answers a waiting pull when there is something, and holds it otherwise.
func (s *Session) try(ctx context.Context, m *wire.Pull, emit func(wire.Message) error) error {
	if done, err := s.hearNews(ctx, m, emit); done {
		return err
	}
	return s.answer(ctx, m, emit, false)
}

// answer serves one pull from one snapshot. An empty answer is only sent when
// empty is set; otherwise the pull is held, from what was seen on.
func (s *Session) answer(ctx context.Context, m *wire.Pull, emit func(wire.Message) error, empty bool) error {
	var next change.Cursor
	var heeded []rule.ScopeID
	moved := false
	s.heed.anything()
	told := rest{when: s.now(), scopes: m.Scopes}
	err := s.hub.view(ctx, func(v View) error {
		again, scopes, err := s.standing(v, m.Cursor, m.Scopes)
		heeded = scopes
		if again == nil && err == nil {
			again, err = s.voided(v, m.Seen)
		}
		if err == nil {
			err = s.askAgain(emit)
		}
		if err != nil {
			return err
		}
		if again != nil {
			moved = true
			return emit(again)
		}
		d := &deltas{session: s, emit: emit, echo: m.Echo, still: m.Brief && m.Known}
		next, moved, err = d.send(ctx, v, m.Cursor, scopes, m.Outcome, empty)
		told.at, told.mark, told.list = next, d.mark, scopes
		return err
	})
	if err != nil {
		return s.fail("pull", s.confess(ctx, err))
	}
	s.rest = told
	if !moved && !empty {
		held := *m
		held.Cursor = next // nothing for this edge lies between
		s.hold(&held)
		s.heed.only(heeded, s.hello.Incarnation)
		return nil
	}
	s.hold(nil)
	s.hub.note(s.device, func(p *presence) {
		if !next.IsZero() {
			p.cursor = next
		}
		if moved {
			p.progress = p.seen
		}
	})
	return nil
}

// standing checks that the device may read, and that its cursor and scopes can be
// served; otherwise it says what to do first.
func (s *Session) standing(v View, cursor change.Cursor, scopes change.Hash) (*wire.Rebase, []rule.ScopeID, error) {
	if err := s.abreast(); err != nil {
		return nil, nil, err
	}
	dev, err := activeDevice(v, s.device)
	if err != nil {
		return nil, nil, err
	}
	if err := s.alone(v); err != nil {
		return nil, nil, err
	}
	s.asked.noticed(dev)
	r := rightsOf(dev.Grants)
	list := r.scopes()
	re := &wire.Rebase{Grants: r.grants(), Scopes: hashScopes(list)}
	if cursor.IsZero() {
		re.Full, re.Reason = true, "nothing was fetched yet"
		return re, nil, nil
	}
	switch err := v.Check(cursor); {
	case errors.Is(err, ErrBelowFloor), errors.Is(err, ErrOtherHistory):
		re.Full, re.Reason = true, err.Error()
		if errors.Is(err, ErrOtherHistory) {
			err = s.astray(v, cursor, re)
			return re, nil, err
		}
		re.Reason = belowFloor
		return re, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("check cursor: %w", err)
	}
	if scopes != re.Scopes {
		re.Reason = "the device's scopes changed"
		return re, nil, nil
	}
	return nil, list, nil
}

// voided answers a device that fetched rows of a state which the hub lost since: they
// are fetched anew. A delta would say nothing of them.
func (s *Session) voided(v View, seen change.Cursor) (*wire.Rebase, error) {
	if seen.IsZero() {
		return nil, nil
	}
	err := v.Check(seen)
	if !errors.Is(err, ErrOtherHistory) {
		if errors.Is(err, ErrBelowFloor) { // the pull's own cursor is older, and tells
			err = nil
		}
		return nil, err
	}
	dev, err := activeDevice(v, s.device)
	if err != nil {
		return nil, err
	}
	r := rightsOf(dev.Grants)
	re := &wire.Rebase{Full: true, Reason: ErrOtherHistory.Error(), Grants: r.grants(), Scopes: hashScopes(r.scopes())}
	return re, s.astray(v, seen, re)
}

// belowFloor tells a person why a file is fetched anew.
const belowFloor = "the hub no longer keeps the changes since this file last synced: it was away for long, or the hub had to begin its change log anew"

// deltas packs a snapshot's changes into parts.
type deltas struct {
	session *Session
	emit    func(wire.Message) error
	echo    bool // rows that only the reader touched come, too
	still   bool // the reader need not be told again where its Hello said that it stands
	rows    []*change.Rows
	size    int
	last    []byte // the last part's body, when all was read for everybody
	sent    bool
	mark    uint64 // of the last outcome
}

// send emits everything after a cursor that is in the scopes, then the outcomes.
// moved is false, and nothing was sent unless empty is set, when there is nothing.
func (d *deltas) send(ctx context.Context, v View, since change.Cursor, scopes []rule.ScopeID, mark uint64, empty bool) (next change.Cursor, moved bool, err error) {
	last := &wire.Delta{Last: true}
	if last.Next, err = v.Cursor(); err != nil {
		return next, false, fmt.Errorf("read cursor: %w", err)
	}
	outcomes, mark, err := v.Outcomes(d.session.hello.Incarnation, mark, allOutcomes)
	if err != nil {
		return next, false, fmt.Errorf("read outcomes: %w", err)
	}
	if err := d.between(ctx, v, since, last.Next, scopes, len(outcomes) == 0); err != nil {
		return next, false, fmt.Errorf("read changes: %w", err)
	}
	last.Mark, d.mark = mark, mark
	for _, o := range outcomes {
		r := wire.TxResult{Seq: o.Seq, Status: uint8(o.Status), Reason: o.Reason}
		if o.Status == Quarantined {
			if r.Waits, err = waitsOf(v, o.ID); err != nil {
				return next, false, fmt.Errorf("read what waits of transaction %s: %w", o.ID, err)
			}
		}
		last.Outcomes = append(last.Outcomes, r)
	}
	last.Still = d.still && last.Next == d.session.hello.At
	d.session.tenure.given = last.Next
	moved = d.sent || len(d.rows) > 0 || d.last != nil || len(outcomes) > 0
	if !moved && !empty {
		return last.Next, false, nil
	}
	last.Seal = d.session.hub.seal(d.session.device, last.Next)
	return last.Next, moved, d.flush(last)
}

// between emits the rows of what lies between two states: of the older one, and of v's.
func (d *deltas) between(ctx context.Context, v View, since, next change.Cursor, scopes []rule.ScopeID, stranger bool) error {
	if since == next {
		return nil
	}
	if done, err := d.together(ctx, v, since, next, scopes, stranger); done || err != nil {
		return err
	}
	self := d.session.hello.Incarnation
	if d.echo {
		self = change.Incarnation{}
	}
	return v.Delta(since, self, scopes, d.session.hub.limits.Part, func(r *change.Rows) error {
		d.session.tally.sent(r.Len() + r.GoneLen())
		return d.add(r)
	})
}

// add takes some rows, and emits a part when it is full.
func (d *deltas) add(r *change.Rows) error {
	d.rows = append(d.rows, r)
	for _, val := range r.Values {
		d.size += val.Size()
	}
	for _, val := range r.Gone {
		d.size += val.Size()
	}
	if d.size < d.session.hub.limits.Part {
		return nil
	}
	return d.flush(&wire.Delta{})
}

func (d *deltas) flush(m *wire.Delta) error {
	if len(d.rows) > 0 {
		body, err := change.SealRows(d.rows)
		if err != nil {
			return fmt.Errorf("seal rows: %w", err)
		}
		m.Body = body
	} else if d.last != nil {
		m.Body = d.last
	}
	d.rows, d.last, d.size, d.sent = nil, nil, 0, true
	return d.emit(m)
}

// verify answers with the delta from the edge's cursor, then with digests, or
// rows of buckets, of the same snapshot.
func (s *Session) verify(ctx context.Context, m *wire.Verify, emit func(wire.Message) error) error {
	s.hold(nil)
	names, err := s.tables(m.Tables)
	if err != nil {
		return err
	}
	if len(m.Buckets) > 0 && len(names) != 1 {
		return &wire.Fault{Code: "protocol", Message: fmt.Sprintf("rows of buckets are asked of one table, not %d", len(names))}
	}
	err = s.hub.view(ctx, func(v View) error {
		again, scopes, err := s.standing(v, m.Cursor, m.Scopes)
		if err != nil {
			return err
		}
		if again != nil {
			return emit(again)
		}
		d := &deltas{session: s, emit: emit}
		at, _, err := d.send(ctx, v, m.Cursor, scopes, m.Outcome, true)
		if err != nil {
			return err
		}
		out := &wire.Digests{At: at}
		if len(m.Buckets) > 0 {
			rows, err := v.Bucket(names[0], scopes, m.Buckets)
			if err != nil {
				return fmt.Errorf("read buckets of %s: %w", names[0], err)
			}
			if out.Body, err = change.SealRows([]*change.Rows{rows}); err != nil {
				return fmt.Errorf("seal rows: %w", err)
			}
			return emit(out)
		}
		for _, n := range names {
			sum, err := v.Digest(n, scopes)
			if err != nil {
				return fmt.Errorf("digest %s: %w", n, err)
			}
			out.Digests = append(out.Digests, sum)
		}
		return emit(out)
	})
	if err != nil {
		return s.fail("verify", s.confess(ctx, err))
	}
	return nil
}
