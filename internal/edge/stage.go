package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// stageMemory is how many bytes of a delta's sealed parts stay in memory; what
// is beyond goes to a file beside the application's.
const stageMemory = 8 << 20

// A plan of a fetch: what is being fetched, so that a later session can tell
// whether a cut one may be resumed.
type fetchPlan struct {
	Full   bool           `json:"full"`             // everything; otherwise the scopes of Fetch
	Fetch  []rule.ScopeID `json:"fetch,omitempty"`  // scopes to add
	From   string         `json:"from,omitempty"`   // the file's cursor as the fetch began
	Evict  []rule.ScopeID `json:"evict,omitempty"`  // scopes to remove when it is installed
	Grants []rule.Grant   `json:"grants,omitempty"` // in force when it began
	Scopes change.Hash    `json:"scopes"`
	Setup  change.Hash    `json:"setup"`
	Reset  bool           `json:"reset,omitempty"` // another history: outcomes are counted anew
	Lost   bool           `json:"lost,omitempty"`  // the hub was restored: what it lost is offered back
	Why    string         `json:"why,omitempty"`   // for people
}

// place is where a fetch goes on.
type place struct {
	Pin    string // change.Cursor of the first chunk
	Seen   string // change.Cursor of the last one
	Table  string
	After  string // change.Key.ID
	Done   bool
	Chunks int
	Bytes  int64
	Rows   int64
	Total  map[string]int64
}

// A stage holds what was received and is not installed yet, outside the
// application's file: a bootstrap in a file that survives a crash (trap D18), a
// delta in memory as long as it is small (trap S21).
type stage struct {
	dir  string
	plan *fetchPlan // nil: no bootstrap under way
	at   place
	file *journal

	beside wire.Beside // nil: chunks are decoded when their turn has come

	limit int      // bytes of a delta in memory
	parts [][]byte // of the delta
	bytes int
	spill *journal
}

func newStage(path string) *stage { return &stage{dir: path + "-tidemark", limit: stageMemory} }

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

const (
	bootstrapFile = "bootstrap"
	deltaFile     = "delta"
)

// The records of a bootstrap journal.
const (
	recordPlan  = 'P' // fetchPlan as JSON: the first record
	recordChunk = 'C' // place as JSON, NUL, sealed rows
)

// resume picks up the bootstrap that an earlier process left, if any: whole
// records count, a torn tail is cut.
func (s *stage) resume() error {
	s.plan, s.at = nil, place{}
	j, err := openJournal(s.path(bootstrapFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("resume bootstrap: %w", err)
	}
	err = j.scan(func(kind byte, body []byte) error {
		switch kind {
		case recordPlan:
			s.plan = new(fetchPlan)
			return json.Unmarshal(body, s.plan)
		case recordChunk:
			at, _, err := splitChunk(body)
			s.at = at
			return err
		}
		return nil
	})
	if err != nil || s.plan == nil {
		s.plan, s.at = nil, place{}
		return errors.Join(err, j.remove())
	}
	s.file = j
	return nil
}

// begin starts a bootstrap, dropping whatever was staged.
func (s *stage) begin(p *fetchPlan) error {
	if err := s.drop(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	j, err := createJournal(s.path(bootstrapFile))
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	s.plan, s.at, s.file = p, place{}, j
	return j.append(recordPlan, body)
}

// chunk keeps one bootstrap chunk.
func (s *stage) chunk(at place, body []byte) error {
	head, err := json.Marshal(at)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	s.at = at
	return s.file.append(recordChunk, append(append(head, 0), body...))
}

func splitChunk(b []byte) (at place, body []byte, err error) {
	for i, c := range b {
		if c == 0 {
			return at, b[i+1:], json.Unmarshal(b[:i], &at)
		}
	}
	return at, nil, errors.New("staged chunk without a head")
}

// part keeps one part of a delta.
func (s *stage) part(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	if s.spill == nil && s.bytes+len(body) <= s.limit {
		s.parts = append(s.parts, body)
		s.bytes += len(body)
		return nil
	}
	if s.spill == nil {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		j, err := createJournal(s.path(deltaFile))
		if err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		s.spill = j
	}
	return s.spill.append(recordChunk, body)
}

// rows returns everything staged, as apply reads it. What is in memory is
// decoded now, before any lock is taken.
func (s *stage) rows() (func(fn func(*change.Rows) error) error, error) {
	ready := make([]*change.Rows, 0, len(s.parts))
	for _, b := range s.parts {
		rows, err := change.OpenRows(b, change.Limits{})
		if err != nil {
			return nil, fmt.Errorf("delta: %w", err)
		}
		ready = append(ready, rows...)
	}
	return func(fn func(*change.Rows) error) error {
		if s.plan != nil {
			if err := s.file.rows(true, s.beside, fn); err != nil {
				return err
			}
		}
		for _, r := range ready {
			if err := fn(r); err != nil {
				return err
			}
		}
		if s.spill != nil {
			return s.spill.rows(false, s.beside, fn)
		}
		return nil
	}, nil
}

// clear forgets the delta.
func (s *stage) clear() error {
	s.parts, s.bytes = nil, 0
	if s.spill == nil {
		return nil
	}
	err := s.spill.remove()
	s.spill = nil
	if s.file == nil {
		_ = os.Remove(s.dir) // only when empty
	}
	return err
}

// drop forgets everything staged.
func (s *stage) drop() error {
	err := s.clear()
	s.plan, s.at = nil, place{}
	if s.file != nil {
		err = errors.Join(err, s.file.remove())
		s.file = nil
		_ = os.Remove(s.dir) // only when empty
	}
	return err
}

// close lets go of the files and keeps a bootstrap under way for the next process.
func (s *stage) close() error {
	err := s.clear()
	if s.file != nil {
		err = errors.Join(err, s.file.close())
		s.file = nil
	}
	return err
}
