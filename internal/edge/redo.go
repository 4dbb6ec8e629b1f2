package edge

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The redo ring: what was handed in and settled stays in the file for a while, so
// that a hub which is set back gets it again. The settled transactions of the
// present incarnation are in the outbox, where the chain needs them; those of
// earlier ones in _tidemark_redo. One bound in bytes and one in age hold for both
// together, and the oldest go first.
//
// All of _tidemark_redo was confirmed in the life of the hub that metaEpoch names.
// A hub in another life may lack any of it.

// metaRedo counts the bytes of the redo ring.
const metaRedo = "redo_bytes"

// errRing stops reading the ring once enough was found to drop.
var errRing = errors.New("enough")

// epochValue is an epoch as the file keeps it: all 64 bits.
func epochValue(e change.Epoch) change.Value { return change.Int(int64(e)) }

// A redoRow is one settled transaction of an earlier incarnation.
type redoRow struct {
	epoch change.Epoch
	at    int64 // Unix ms
	tx    *change.Transaction
	size  int64 // bytes
}

// ring moves a settled transaction out of the outbox, before the chain it belongs
// to ends: the hub has it.
func (e *Engine) ring(seq uint64) error {
	for _, sql := range []string{
		"INSERT OR IGNORE INTO _tidemark_redo (id, epoch, at, body) SELECT id, epoch, at, body FROM _tidemark_outbox WHERE seq=?",
		"DELETE FROM _tidemark_outbox WHERE seq=?",
	} {
		if err := sqlite.Exec(e.conn, sql, change.Int(int64(seq))); err != nil {
			return fmt.Errorf("keep transaction %d: %w", seq, err)
		}
	}
	return nil
}

// unring moves all that earlier incarnations handed in back into the outbox, after
// the seq last, and returns the seqs in order. The caller chains them.
func (e *Engine) unring(last uint64) (order []uint64, err error) {
	list, err := e.redoList()
	if err != nil {
		return nil, err
	}
	for _, n := range list {
		r, err := e.redoRow(n)
		if err != nil {
			return nil, err
		}
		last++
		err = sqlite.Exec(e.conn, `INSERT INTO _tidemark_outbox (seq, id, sum, at, state, ops, epoch, body) VALUES (?,?,?,?,?,?,?,?)`,
			change.Int(int64(last)), change.Blob(r.tx.ID[:]), change.Blob(nil), change.Int(r.at), change.Int(int64(waiting)),
			change.Int(int64(len(r.tx.Ops))), epochValue(r.epoch), change.Blob(change.AppendTransaction(nil, r.tx)))
		if err != nil {
			return nil, fmt.Errorf("offer transaction %s again: %w", r.tx.ID, err)
		}
		for i := range r.tx.Ops {
			if err := e.track(last, &r.tx.Ops[i]); err != nil {
				return nil, err
			}
		}
		if err := e.addRedo(-r.size); err != nil {
			return nil, err
		}
		order = append(order, last)
	}
	return order, sqlite.Exec(e.conn, "DELETE FROM _tidemark_redo")
}

func (e *Engine) redoList() (out []int64, err error) {
	err = sqlite.Query(e.conn, "SELECT n FROM _tidemark_redo ORDER BY n", func(s *sqlite.Stmt) error {
		out = append(out, s.ColumnInt64(0))
		return nil
	})
	return out, err
}

func (e *Engine) redoRow(n int64) (r redoRow, err error) {
	err = sqlite.Query(e.conn, "SELECT epoch, at, body FROM _tidemark_redo WHERE n=?", func(s *sqlite.Stmt) error {
		r.epoch, r.at, r.size = change.Epoch(s.ColumnInt64(0)), s.ColumnInt64(1), int64(s.ColumnLen(2))
		r.tx, err = change.DecodeTransaction([]byte(sqlite.Column(s, 2).Str()))
		return err
	}, change.Int(n))
	if err == nil && r.tx == nil {
		err = errors.New("it is gone")
	}
	if err != nil {
		return r, fmt.Errorf("entry %d of the redo ring: %w", n, err)
	}
	return r, nil
}

// ringed reports whether anything of earlier incarnations is kept.
func (e *Engine) ringed() (bool, error) {
	_, some, err := sqlite.One(e.conn, "SELECT 1 FROM _tidemark_redo LIMIT 1")
	return some, err
}

func (e *Engine) addRedo(n int64) error {
	have, err := e.metaInt(metaRedo)
	if err != nil {
		return err
	}
	return e.setMeta(metaRedo, change.Int(max(have+n, 0)))
}

// pruneRedo forgets the oldest settled transactions beyond the ring's bounds. Only
// settled ones: nothing unsafe ever leaves the outbox (I8).
func (e *Engine) pruneRedo() error {
	have, err := e.metaInt(metaRedo)
	if err != nil || have <= 0 {
		return err
	}
	over, freed := have-e.cfg.RedoBytes, int64(0)
	old := e.cfg.Clock.Now().Add(-e.cfg.RedoAge).UnixMilli()
	for _, part := range []struct{ list, drop string }{
		{"SELECT n, at, length(body) FROM _tidemark_redo ORDER BY n", "DELETE FROM _tidemark_redo WHERE n=?"},
		{"SELECT seq, at, length(body) FROM _tidemark_outbox WHERE state=3 ORDER BY seq", "DELETE FROM _tidemark_outbox WHERE seq=?"},
	} {
		var drop []int64
		err := sqlite.Query(e.conn, part.list, func(s *sqlite.Stmt) error {
			if freed >= over && s.ColumnInt64(1) >= old {
				return errRing
			}
			drop = append(drop, s.ColumnInt64(0))
			freed += s.ColumnInt64(2)
			return nil
		})
		if err != nil && !errors.Is(err, errRing) {
			return err
		}
		for _, n := range drop {
			if err := sqlite.Exec(e.conn, part.drop, change.Int(n)); err != nil {
				return err
			}
		}
		if err != nil { // what comes after is younger, and fits
			break
		}
	}
	if freed == 0 {
		return nil
	}
	return e.addRedo(-freed)
}
