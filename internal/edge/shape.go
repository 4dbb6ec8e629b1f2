package edge

import (
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// fileSchema is the synced tables as the file has them: its own names, all columns.
// The hub shows with it which devices run which schema.
func (e *Engine) fileSchema() change.Schema {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ownSchema()
}

func (e *Engine) ownSchema() (s change.Schema) {
	for i := range e.tables {
		if have := e.tables[i].have; have != nil {
			s.Tables = append(s.Tables, *have)
		}
	}
	return s
}

// Schema names the synced tables as the file has them, as the hub shows it; zero
// until Install.
func (e *Engine) Schema() change.SchemaHash {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return change.SchemaHash{}
	}
	s := e.ownSchema()
	return s.Hash()
}

func (e *Engine) fileHash() change.SchemaHash {
	s := e.fileSchema()
	return s.Hash()
}

// regreet tells the hub of another shape of the file, once what is under way is
// answered.
func (s *Session) regreet(emit emitFunc) (bool, error) {
	if len(s.inflight) > 0 || s.ready != nil || s.stage.plan != nil || s.verify != nil && !s.verify.done {
		return false, nil
	}
	if s.e.fileHash() == s.mending.told {
		return false, nil
	}
	return true, s.greet(emit)
}

// tellShape answers a hub that does not know the shape that it was told of.
func (s *Session) tellShape(m *wire.Welcome, emit emitFunc) error {
	if !m.AskShape {
		return nil
	}
	own := s.e.fileSchema()
	if own.Hash() != s.mending.told { // another one by now: see regreet
		return nil
	}
	return emit(&wire.Shape{Schema: own})
}
