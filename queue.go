package tidemark

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Where a transaction of Queue is.
const (
	Waiting    = "waiting"     // not known to be at the hub: unsafe
	Durable    = "durable"     // at the hub, its decision not yet here
	Quarantine = "quarantined" // parked at the hub, for Reason
)

// Queued is a transaction of this file that is not settled: its changes stand in
// the tables here, and the hub's decision is not known here yet.
type Queued struct {
	ID     change.TxID
	At     time.Time // of its oldest change
	State  string    // Waiting, Durable or Quarantine
	Reason string    // why it is parked
	// Aside says that its changes were taken out of the tables until the hub decides,
	// because what came from the hub could not stand beside them.
	Aside bool
	Ops   []change.Op // what it did, row by row; not to be modified
}

// Queue lists the transactions that are not settled, oldest first. What was
// written since the agent's last look is looked at first.
func (db *DB) Queue(ctx context.Context) ([]Queued, error) {
	if err := db.usable(ctx); err != nil {
		return nil, err
	}
	var out []Queued
	err := db.edge.Inside(func(e *edge.Engine) error {
		list, err := run.Unsettled(e)
		if err != nil {
			return err
		}
		for _, q := range list {
			t, err := e.Queued(q.ID)
			if err != nil {
				return err
			}
			out = append(out, Queued{ID: q.ID, At: q.At, State: q.State, Reason: q.Reason, Aside: q.Aside, Ops: t.Ops})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return out, nil
}

// A Rescue is a copy of work that is no longer in the tables, because it was
// discarded at the hub or gave way to the hub's row.
type Rescue struct {
	ID     int64 // within this file
	At     time.Time
	Reason string
	Ops    []change.Op // a row that gave way is an Insert of its last image; not to be modified
}

const rescuePage = 200

// Rescues lists the rescue copies, oldest first. They stay until they are
// dismissed or entered again.
func (db *DB) Rescues(ctx context.Context) ([]Rescue, error) {
	if err := db.usable(ctx); err != nil {
		return nil, err
	}
	var out []Rescue
	err := db.edge.Inside(func(e *edge.Engine) error {
		for after := int64(0); ; {
			page, err := e.Rescues(after, rescuePage)
			if err != nil {
				return err
			}
			for _, r := range page {
				out = append(out, Rescue{ID: r.ID, At: r.At, Reason: r.Reason, Ops: r.Tx.Ops})
				after = r.ID
			}
			if len(page) < rescuePage {
				return nil
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("rescue copies: %w", err)
	}
	return out, nil
}

// Dismiss lets rescue copies go, for good: all of them, or none when one does not
// exist ([ErrGone]).
func (db *DB) Dismiss(ctx context.Context, ids ...int64) error {
	return db.Write(ctx, func(tx *Tx) error {
		for _, id := range ids {
			if err := dismiss(tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func dismiss(tx *Tx, id int64) error {
	if err := tx.Exec(edge.DropRescue, id); err != nil {
		return fmt.Errorf("dismiss rescue copy %d: %w", id, err)
	}
	if tx.Changes() == 0 {
		return fmt.Errorf("rescue copy %d: %w", id, ErrGone)
	}
	return nil
}

// Reapply enters the values of a rescue copy once more, as a new transaction with
// today's rows as its base, and dismisses the copy, all or nothing. A row of the
// copy that exists now takes the copy's values; one that does not is inserted,
// unless the copy only changed some of its columns: then it fails with [ErrGone].
// The hub decides on the new transaction as on any other; what parked the old one
// may park it again.
func (db *DB) Reapply(ctx context.Context, id int64) error {
	list, err := db.Rescues(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.ID != id {
			continue
		}
		return db.Write(ctx, func(tx *Tx) error {
			for i := range r.Ops {
				if err := enter(tx, &r.Ops[i]); err != nil {
					return fmt.Errorf("reapply rescue copy %d: %s of %s %s: %w", id, r.Ops[i].Kind, r.Ops[i].Table, r.Ops[i].Key, err)
				}
			}
			return dismiss(tx, id)
		})
	}
	return fmt.Errorf("rescue copy %d: %w", id, ErrGone)
}

// enter does what an op did. A row is never replaced: only its columns change.
func enter(tx *Tx, op *change.Op) error {
	key, err := keyColumns(tx, op.Table)
	if err != nil {
		return err
	}
	if len(key) != len(op.Key) {
		return errors.New("the table has another key now")
	}
	switch op.Kind {
	case change.Delete:
		return tx.Exec("DELETE FROM "+sqlite.Quote(op.Table)+where(key), values(op.Key)...)
	case change.Update:
		if err := update(tx, op, key); err != nil {
			return err
		}
		if tx.Changes() == 0 {
			return ErrGone
		}
		return nil
	}
	there := false
	err = tx.Query("SELECT 1 FROM "+sqlite.Quote(op.Table)+where(key), func(Row) error { there = true; return nil }, values(op.Key)...)
	switch {
	case err != nil:
		return err
	case there:
		return update(tx, op, key)
	}
	return tx.Exec("INSERT INTO "+sqlite.Quote(op.Table)+" ("+sqlite.QuoteAll("", op.Columns)+") VALUES (?"+strings.Repeat(",?", len(op.Columns)-1)+")", values(op.New)...)
}

// update sets an op's columns outside the key in the row that has its key.
func update(tx *Tx, op *change.Op, key []string) error {
	var set []string
	var args []any
	for i, c := range op.Columns {
		if !slices.ContainsFunc(key, func(k string) bool { return strings.EqualFold(k, c) }) {
			set, args = append(set, sqlite.Quote(c)+"=?"), append(args, op.New[i])
		}
	}
	if len(set) == 0 { // a row that is all key
		return nil
	}
	return tx.Exec("UPDATE "+sqlite.Quote(op.Table)+" SET "+strings.Join(set, ", ")+where(key), append(args, values(op.Key)...)...)
}

func where(key []string) string {
	terms := make([]string, len(key))
	for i, k := range key {
		terms[i] = sqlite.Quote(k) + "=?"
	}
	return " WHERE " + strings.Join(terms, " AND ")
}

func keyColumns(tx *Tx, table string) (out []string, err error) {
	err = tx.Query("SELECT name FROM pragma_table_info(?) WHERE pk>0 ORDER BY pk", func(r Row) error {
		out = append(out, r.Value(0).Str())
		return nil
	}, table)
	return out, err
}

func values(list []change.Value) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}
