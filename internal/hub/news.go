package hub

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A commit wakes all who read the scopes that it touched, and what it brings is the same
// for all of them that wait from one state on, but for its authors: theirs leaves out what
// they wrote, and brings what became of it. So one of them reads it for the others, once
// for each state that somebody was woken for. Who is an author is told by the outcomes:
// whatever is written in somebody's name is journalled as theirs by the same commit.

// news is what the sessions of a process share of it.
type news struct {
	cache Chunks
	toll  atomic.Pointer[string] // what the shell said last, see Hub.Tolled; nil: nothing yet
	rings atomic.Int64           // counts what the change log does not show
}

func newNews(c Chunks) *news {
	if c == nil {
		return nil
	}
	return &news{cache: c}
}

// Tolled says up to where those are told who are woken from here on: whom something
// concerns that is committed and that at does not show will be woken once more. The shell
// says so before it wakes them; the zero cursor says that it cannot tell. It may be called
// concurrently.
func (h *Hub) Tolled(at change.Cursor) {
	if n := h.shelf.news; n != nil {
		text := ""
		if !at.IsZero() {
			text = at.String()
		}
		n.toll.Store(&text)
	}
}

// A moment is what a session knows of the shell's wakes.
type moment struct {
	toll  string // "": nothing is known
	rings int64
	stirs int64 // that concerned the session
}

func (s *Session) now() (m moment) {
	n := s.hub.shelf.news
	if n == nil {
		return m
	}
	m.rings, m.stirs = n.rings.Load(), s.heed.stirs.Load()
	if t := n.toll.Load(); t != nil {
		m.toll = *t
	}
	return m
}

// quiet reports whether the session was told of nothing between the two. What was
// committed meanwhile, and concerns it, it is about to be woken for.
func (m moment) quiet(now moment) bool {
	return m.toll != "" && now.toll != "" && m.rings == now.rings && m.stirs == now.stirs
}

func (n *news) rang() {
	if n != nil {
		n.rings.Add(1)
	}
}

// rest is how far a session's device was told, and when.
type rest struct {
	at     change.Cursor
	mark   uint64
	scopes change.Hash
	list   []rule.ScopeID // of scopes
	when   moment         // before at was read
	wrote  bool           // the device handed in something since
}

// follows reports whether a pull asks for what comes after r, and for nothing else.
func (r *rest) follows(m *wire.Pull) bool {
	return r.when.toll != "" && m.Wait && !m.Echo && m.Seen.IsZero() && m.Cursor == r.at && m.Outcome == r.mark && m.Scopes == r.scopes
}

// rests holds a pull without a look, where nobody was told of anything since the last one.
func (s *Session) rests(m *wire.Pull) bool {
	if !s.rest.follows(m) || s.abreast() != nil {
		return false
	}
	held := *m
	s.hold(&held) // before the moment is looked at: a wake that is due finds it
	if !s.rest.when.quiet(s.now()) {
		return false
	}
	s.heed.only(s.rest.list, s.hello.Incarnation)
	return true
}

// errApart says that a session must read for itself.
var errApart = errors.New("this session's answer is its own")

// hearNews answers a pull that waits by what was read for all who wait from its state on. done
// is false when that is not for this session.
func (s *Session) hearNews(ctx context.Context, m *wire.Pull, emit func(wire.Message) error) (done bool, err error) {
	n, when := s.hub.shelf.news, s.now()
	if when.toll == "" || s.rest.wrote || !s.rest.follows(m) {
		return false, nil
	}
	s.heed.anything()
	mine := false
	b, err := n.cache.Get(ctx, s.newsKey(m, when), func(ctx context.Context) (b []byte, err error) {
		mine = true
		err = s.hub.view(ctx, func(v View) error {
			if err := s.mayHear(v, m.Cursor, m, emit); err != nil {
				return err
			}
			b, err = s.letter(v, m.Cursor)
			return err
		})
		return b, err
	})
	var l *letter
	if err == nil {
		l, err = openLetter(b)
	}
	if err == nil && l.Apart {
		err = errApart
	}
	if err == nil && !mine { // after it was read: who may read now may have what was there before
		err = s.hub.view(ctx, func(v View) error { return s.mayHear(v, l.next, m, emit) })
	}
	switch {
	case errors.Is(err, errApart):
		return false, nil
	case err != nil:
		return true, s.fail("pull", s.confess(ctx, err))
	}
	return true, s.deliver(m, l, when, emit)
}

// newsKey names all that a letter depends on which somebody was woken for.
func (s *Session) newsKey(m *wire.Pull, when moment) string {
	return s.letterKey("news", m.Scopes.String(), m.Cursor.String(), when.toll)
}

// letterKey names a letter by its kind, what tells it from others of its kind, and what
// all depend on.
func (s *Session) letterKey(kind string, parts ...string) string {
	h := sha256.New()
	for _, part := range append(parts, s.hub.shelf.hub, fmt.Sprint(letterFormat, s.hub.limits.Part), s.told.String()) {
		fmt.Fprintf(h, "%d:%s\n", len(part), part)
	}
	return kind + ":" + hex.EncodeToString(h.Sum(nil))
}

// mayHear is standing for who is to hear a letter, or errApart.
func (s *Session) mayHear(v View, at change.Cursor, m *wire.Pull, emit func(wire.Message) error) error {
	again, _, err := s.standing(v, at, m.Scopes)
	if err != nil {
		return err
	}
	own, _, err := v.Outcomes(s.hello.Incarnation, m.Outcome, 1)
	if err != nil {
		return fmt.Errorf("read outcomes: %w", err)
	}
	if again != nil || len(own) > 0 {
		return errApart
	}
	return s.askAgain(emit)
}

// A letter is what a state brings to whoever waits from an older one on, and is none of
// its authors.
type letter struct {
	Next  string
	Apart bool  `json:",omitempty"` // it is too large to be kept for others
	Rows  int   `json:",omitempty"`
	Sizes []int `json:",omitempty"` // of the bodies behind

	next   change.Cursor
	bodies [][]byte
}

// letterMost is how many bytes of values a letter holds at most.
const letterMost = 4 * DefaultPart

// letter reads one for everybody.
func (s *Session) letter(v View, since change.Cursor) ([]byte, error) {
	l := &letter{}
	var err error
	if l.next, err = v.Cursor(); err != nil {
		return nil, fmt.Errorf("read cursor: %w", err)
	}
	if err := s.fill(v, since, s.rest.list, l); err != nil {
		return nil, err
	}
	return l.encode()
}

// fill reads a letter's rows.
func (s *Session) fill(v View, since change.Cursor, scopes []rule.ScopeID, l *letter) error {
	d := &deltas{session: s, emit: func(m wire.Message) error {
		l.bodies = append(l.bodies, m.(*wire.Delta).Body)
		return nil
	}}
	size := 0
	err := v.Delta(since, change.Incarnation{}, scopes, s.hub.limits.Part, func(r *change.Rows) error {
		for _, val := range r.Values {
			size += val.Size()
		}
		if size > letterMost {
			return errApart
		}
		l.Rows += r.Len() + r.GoneLen()
		return d.add(r)
	})
	if errors.Is(err, errApart) {
		l.Apart, l.Rows, l.bodies = true, 0, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	if len(d.rows) > 0 {
		return d.flush(&wire.Delta{})
	}
	return nil
}

// deliver sends a letter, or goes on waiting when nothing is in it.
func (s *Session) deliver(m *wire.Pull, l *letter, when moment, emit func(wire.Message) error) error {
	s.tenure.given = l.next
	s.rest.at, s.rest.when = l.next, when
	if len(l.bodies) == 0 {
		held := *m
		held.Cursor = l.next
		s.hold(&held)
		s.heed.only(s.rest.list, s.hello.Incarnation)
		return nil
	}
	s.tally.sent(l.Rows)
	for i, body := range l.bodies {
		d := &wire.Delta{Body: body}
		if i == len(l.bodies)-1 {
			d.Last, d.Mark, d.Next, d.Seal = true, m.Outcome, l.next, s.hub.seal(s.device, l.next)
		}
		if err := emit(d); err != nil {
			return err
		}
	}
	s.hold(nil)
	s.hub.note(s.device, func(p *presence) { p.cursor, p.progress = l.next, p.seen })
	return nil
}

// letterFormat is the version of the encoding below: a header's length as uvarint, the
// header as JSON, the bodies.
const letterFormat = 1

func (l *letter) encode() ([]byte, error) {
	l.Next = l.next.String()
	for _, b := range l.bodies {
		l.Sizes = append(l.Sizes, len(b))
	}
	head, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode news: %w", err)
	}
	out := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	for _, b := range l.bodies {
		out = append(out, b...)
	}
	return out, nil
}

// openLetter keeps parts of b. What is none is for nobody: it costs a look of one's own.
func openLetter(b []byte) (*letter, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, errApart
	}
	l := &letter{}
	if err := json.Unmarshal(b[used:used+int(n)], l); err != nil {
		return nil, errApart
	}
	var err error
	if l.next, err = change.ParseCursor(l.Next); err != nil {
		return nil, errApart
	}
	rest := b[used+int(n):]
	for _, size := range l.Sizes {
		if size < 0 || size > len(rest) {
			return nil, errApart
		}
		l.bodies, rest = append(l.bodies, slices.Clip(rest[:size])), rest[size:]
	}
	return l, nil
}
