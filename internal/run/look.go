package run

import (
	"context"
	"errors"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

// LookMost is how many waiting transactions, and how many parked ones, a Sight lists;
// its Status counts all of them. LookRows is how many rows of each it names.
const (
	LookMost = 100
	LookRows = 5
)

// A Sight is what somebody sees of a file who only looks: how it stands, what waits in
// it to be handed in, and what the hub parked. It holds no values of rows, but for their
// keys.
type Sight struct {
	Status  *EdgeStatus
	Waiting []Work // oldest first, at most LookMost. What was written since the agent's last look is counted in Status, and not here
	Parked  []Work // likewise
}

// Work is a transaction of the outbox, and which rows it wrote.
type Work struct {
	edge.Queued
	Rows []Row // the first ones, at most LookRows of Ops
}

// A Row is what a transaction did to a row, without what it wrote.
type Row struct {
	Table string
	Kind  string // insert, update or delete
	Key   change.Key
}

// LookConfig says what to look at.
type LookConfig struct {
	Edge
	// Count has the rows of the synced tables counted, which takes a while in a large
	// file. Else Status.Rows is 0.
	Count bool
	// Before is what was seen last, or nil: a transaction never changes, and those
	// that are in it are not read again.
	Before *Sight
}

// Look looks at an enrolled file. Its connection is read-only: whoever writes to the
// file, an application or the agent, never waits for it.
func Look(_ context.Context, cfg LookConfig) (_ *Sight, err error) {
	id, err := ReadIdentity(cfg.File)
	if err != nil {
		return nil, err
	}
	eng, err := cfg.openAs(true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	read := eng.Brief
	if cfg.Count {
		read = eng.Status
	}
	out := &Sight{}
	if out.Status, err = cfg.status(eng, id, read); err != nil {
		return nil, err
	}
	known := cfg.Before.rows()
	if out.Waiting, err = works(eng, eng.Waiting, known); err != nil {
		return nil, err
	}
	out.Parked, err = works(eng, eng.Parked, known)
	return out, err
}

// rows are the rows of the transactions that were seen.
func (s *Sight) rows() map[change.TxID][]Row {
	out := map[change.TxID][]Row{}
	if s == nil {
		return out
	}
	for _, list := range [][]Work{s.Waiting, s.Parked} {
		for i := range list {
			out[list[i].ID] = list[i].Rows
		}
	}
	return out
}

func works(eng *edge.Engine, read func(limit int) ([]edge.Queued, error), known map[change.TxID][]Row) ([]Work, error) {
	list, err := read(LookMost)
	if err != nil {
		return nil, err
	}
	out := make([]Work, len(list))
	for i, q := range list {
		out[i].Queued = q
		if rows, ok := known[q.ID]; ok {
			out[i].Rows = rows
			continue
		}
		t, err := eng.Queued(q.ID)
		if err != nil {
			return nil, err
		}
		for j := range t.Ops[:min(len(t.Ops), LookRows)] {
			op := &t.Ops[j]
			out[i].Rows = append(out[i].Rows, Row{Table: op.Table, Kind: op.Kind.String(), Key: op.Key})
		}
	}
	return out, nil
}
