package edge

import (
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Queued is one transaction that is not settled, as this file knows it.
type Queued struct {
	Seq    uint64
	ID     change.TxID
	At     time.Time // of its oldest change
	State  string    // "waiting", "durable" or "quarantined"
	Reason string    // why it was quarantined, or cannot be handed in
	Aside  bool      // taken out of the tables until its outcome
	Ops    int
}

func (s outboxState) String() string {
	switch s {
	case waiting:
		return "waiting"
	case durable:
		return "durable"
	case quarantined:
		return "quarantined"
	case settled:
		return "settled"
	}
	return "unknown"
}

// Queue lists unsettled transactions after a seq, oldest first, at most limit.
func (e *Engine) Queue(after uint64, limit int) (out []Queued, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	err = e.queued(`state<? AND seq>? ORDER BY seq LIMIT ?`, &out, change.Int(int64(settled)), change.Int(int64(after)), change.Int(int64(limit)))
	return out, err
}

// Waiting lists the oldest transactions that are not known to be at the hub, at most
// limit, and Parked those that it quarantined. An outbox of months is not read for that.
func (e *Engine) Waiting(limit int) ([]Queued, error) { return e.queueOf(waiting, limit) }

// Parked is described at Waiting.
func (e *Engine) Parked(limit int) ([]Queued, error) { return e.queueOf(quarantined, limit) }

func (e *Engine) queueOf(state outboxState, limit int) (out []Queued, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	err = e.queued(`state=? ORDER BY seq LIMIT ?`, &out, change.Int(int64(state)), change.Int(int64(limit)))
	return out, err
}

// queued appends what of the outbox a condition finds.
func (e *Engine) queued(where string, out *[]Queued, args ...change.Value) error {
	return sqlite.Query(e.conn, "SELECT seq, id, at, state, reason, aside, ops FROM _tidemark_outbox WHERE "+where, func(s *sqlite.Stmt) error {
		q := Queued{
			Seq: uint64(s.ColumnInt64(0)), At: time.UnixMilli(s.ColumnInt64(2)).UTC(),
			State: outboxState(s.ColumnInt64(3)).String(), Reason: s.ColumnText(4),
			Aside: s.ColumnInt64(5) != 0, Ops: int(s.ColumnInt64(6)),
		}
		copy(q.ID[:], sqlite.Column(s, 1).Str())
		*out = append(*out, q)
		return nil
	}, args...)
}

// Queued reads one transaction of the outbox back, settled ones included while
// the redo ring holds them.
func (e *Engine) Queued(id change.TxID) (*change.Transaction, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, fmt.Errorf("transaction %s: the file is not enrolled", id)
	}
	v, ok, err := sqlite.One(e.conn, "SELECT seq FROM _tidemark_outbox WHERE id=?", change.Blob(id[:]))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("transaction %s is not in this file's outbox", id)
	}
	return e.transaction(uint64(v.Int()))
}
