package edge

import "github.com/tidemark-sync/tidemark/change"

// A mending is what one session does about the shape of the file.
type mending struct {
	tries int               // comparisons made to close gaps
	told  change.SchemaHash // the shape that the hub was told of
}

// gapTries bounds how often one session compares for the sake of gaps: an
// application that writes all the time could keep it from ever coming to an end.
const gapTries = 5

// mindGap compares the tables of which something is not known with the hub's, as
// soon as nothing else waits, and reports whether it asked for that.
func (s *Session) mindGap(emit emitFunc) (asked bool, err error) {
	if s.welcome == nil || !s.current || s.ready != nil || s.stage.plan != nil || len(s.inflight) > 0 {
		return false, nil
	}
	if s.verify != nil && !s.verify.done {
		return true, nil
	}
	if s.mending.tries >= gapTries {
		return false, nil
	}
	tables, err := s.e.openGaps()
	if err != nil || len(tables) == 0 {
		return false, err
	}
	if quiet, err := s.e.quiet(); err != nil || !quiet {
		return false, err
	}
	s.mending.tries++
	s.verify = &verification{tables: tables, auto: true}
	return true, s.askVerify(emit, tables, nil)
}

// whole reports that no comparison is under way or due.
func (s *Session) whole() (bool, error) {
	if s.verify != nil && !s.verify.done {
		return false, nil
	}
	if s.mending.tries >= gapTries {
		return true, nil
	}
	tables, err := s.e.openGaps()
	return err == nil && len(tables) == 0, err
}

// openGaps lists the tables that can be compared now to close a gap. Work of an
// earlier life of the file comes first: until it is settled, what the hub has of a
// row is not known.
func (e *Engine) openGaps() (out []string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, err := e.gaps()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if again, err := e.reoffered(); err != nil || again {
		return nil, err
	}
	for i := range e.tables {
		t := &e.tables[i]
		t.gap = all[t.schema.Name]
		// Reference rows follow from what other rows need, not from scopes.
		if t.gap.open() && !t.missing && !e.rules(t).Reference {
			out = append(out, t.schema.Name)
		}
	}
	return out, nil
}

// compareAnew begins a comparison again: what came between its questions has values that
// were not taken, in buckets that were not asked for. When others write all the time, the
// gap stays open for the next session.
func (s *Session) compareAnew(at change.Cursor, emit emitFunc) error {
	v := s.verify
	if s.mending.tries++; s.mending.tries <= gapTries {
		v.begin()
		return s.askVerify(emit, v.tables, nil)
	}
	v.done, v.report.At = true, at
	for i := range v.report.Tables {
		v.report.Tables[i].closed = false
	}
	return s.pull(emit, true)
}
