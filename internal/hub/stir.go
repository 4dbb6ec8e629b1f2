package hub

import (
	"sync"
	"sync/atomic"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Stir is whom something concerns that was committed: asked once for all sessions, it
// spares those that it does not concern a look into the store.
type Stir struct {
	All     bool // anybody
	Scopes  map[rule.ScopeID]bool
	Authors map[change.Incarnation]bool // whose transactions were decided
}

// A Stirrer is a View that can tell. It is optional: without it every commit concerns
// everybody.
type Stirrer interface {
	// Stirred says whom what was committed after a cursor concerns. A cursor that
	// Check refuses concerns everybody.
	Stirred(since change.Cursor) (Stir, error)
}

// heed is what a session waits for. Its methods may be called concurrently.
type heed struct {
	stirs atomic.Int64 // that concerned the session

	mu     sync.Mutex
	some   bool // what follows is known; until then everything counts
	scopes []rule.ScopeID
	author change.Incarnation
	reads  change.Hash // names all the scopes that its device reads
}

// anything is for who is about to look: what is committed from here on may be seen by
// that look, or not.
func (h *heed) anything() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.some = false
}

func (h *heed) only(scopes []rule.ScopeID, author change.Incarnation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.some, h.scopes, h.author = true, scopes, author
}

func (h *heed) as(reads change.Hash) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = reads
}

// Reads names the set of scopes that the session's device read when it said hello: the
// same for all devices that read the same. It is zero before, and may be called at any
// time.
func (s *Session) Reads() change.Hash {
	s.heed.mu.Lock()
	defer s.heed.mu.Unlock()
	return s.heed.reads
}

// Heeds reports whether the session should look again after a stir, and counts that. It may
// be called at any time; a shell that wakes sessions asks it of every stir.
func (s *Session) Heeds(st *Stir) bool {
	yes := s.heed.concerns(st)
	if yes {
		s.heed.stirs.Add(1)
	}
	return yes
}

func (h *heed) concerns(st *Stir) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if st.All || !h.some || st.Authors[h.author] {
		return true
	}
	for _, sc := range h.scopes {
		if st.Scopes[sc] {
			return true
		}
	}
	return false
}
