package edge

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// metaForked is the last seq that another incarnation may have handed in before.
// The hub applies such a transaction once, perhaps long before this file's cursor;
// so until all of them are settled, pulls ask for our own rows, too, and what does
// not come did not change.
const metaForked = "forked"

// reoffered reports whether work of an earlier incarnation is unsettled.
func (e *Engine) reoffered() (bool, error) {
	last, err := e.metaInt(metaForked)
	if err != nil || last == 0 {
		return false, err
	}
	_, some, err := sqlite.One(e.conn, "SELECT 1 FROM _tidemark_outbox WHERE seq<=? AND state<? LIMIT 1", change.Int(last), change.Int(int64(settled)))
	return some, err
}

// transaction reads one exported transaction.
func (e *Engine) transaction(seq uint64) (*change.Transaction, error) {
	v, ok, err := sqlite.One(e.conn, "SELECT body FROM _tidemark_outbox WHERE seq=?", change.Int(int64(seq)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("transaction %d is not in the outbox", seq)
	}
	tx, err := change.DecodeTransaction([]byte(v.Str()))
	if err != nil {
		return nil, fmt.Errorf("transaction %d in the outbox: %w", seq, err)
	}
	return tx, nil
}

// unsettled lists the transactions without an outcome, oldest first.
func (e *Engine) unsettled() (out []uint64, err error) {
	err = sqlite.Query(e.conn, "SELECT seq FROM _tidemark_outbox WHERE state<? ORDER BY seq", func(s *sqlite.Stmt) error {
		out = append(out, uint64(s.ColumnInt64(0)))
		return nil
	}, change.Int(int64(settled)))
	return out, err
}

// fork begins a new incarnation: the hub knows another history of this one, so
// this file was cloned or restored (trap D4). Everything without an outcome is
// handed in again under new numbers; the uuids stay, so the hub applies it once.
func (e *Engine) fork() error {
	was := e.incarnation
	err := sqlite.Immediate(e.conn, func() error {
		if _, err := e.export(e.cfg.Clock.Now()); err != nil {
			return err
		}
		order, err := e.unsettled()
		if err != nil {
			return err
		}
		if err := e.newIncarnation(); err != nil {
			return err
		}
		// Outcomes are counted per incarnation from its first one on.
		if err := e.setMeta(metaMark, change.Int(0)); err != nil {
			return err
		}
		if err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_outbox WHERE state=?", change.Int(int64(settled))); err != nil {
			return err
		}
		if err := e.setMeta(metaRedo, change.Null); err != nil {
			return err
		}
		if err := e.rechain(order); err != nil {
			return err
		}
		if err := e.setMeta(metaForked, change.Int(int64(len(order)))); err != nil {
			return err
		}
		e.cfg.Logger.Warn("new incarnation: the file was cloned or restored", "incarnation", e.incarnation.String(), "unsettled", len(order))
		return nil
	})
	if err != nil {
		e.incarnation = was // as the file has it
	}
	return err
}

// rechain numbers the listed transactions, which must be all that the outbox
// holds, 1, 2, 3 … in this order as the chain of the present incarnation, none of
// it handed in yet.
func (e *Engine) rechain(order []uint64) error {
	for _, sql := range []string{
		"UPDATE _tidemark_outbox SET seq=-seq", // out of the way of the new numbers
		"UPDATE _tidemark_pending SET seq=-seq",
	} {
		if err := sqlite.Exec(e.conn, sql); err != nil {
			return err
		}
	}
	var prev change.Hash
	for i, old := range order {
		v, _, err := sqlite.One(e.conn, "SELECT body FROM _tidemark_outbox WHERE seq=?", change.Int(-int64(old)))
		if err != nil {
			return err
		}
		tx, err := change.DecodeTransaction([]byte(v.Str()))
		if err != nil {
			return fmt.Errorf("transaction %d in the outbox: %w", old, err)
		}
		tx.Incarnation, tx.Seq, tx.Prev = e.incarnation, uint64(i+1), prev
		prev = tx.Sum()
		err = sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET seq=?, sum=?, body=?, state=? WHERE seq=?",
			change.Int(int64(tx.Seq)), change.Blob(prev[:]), change.Blob(change.AppendTransaction(nil, tx)),
			change.Int(int64(waiting)), change.Int(-int64(old)))
		if err != nil {
			return err
		}
		err = sqlite.Exec(e.conn, "UPDATE _tidemark_pending SET seq=? WHERE seq=?", change.Int(int64(tx.Seq)), change.Int(-int64(old)))
		if err != nil {
			return err
		}
	}
	if err := e.setMeta(metaSeq, change.Int(int64(len(order)))); err != nil {
		return err
	}
	if len(order) == 0 {
		return e.setMeta(metaSum, change.Null)
	}
	return e.setMeta(metaSum, change.Blob(prev[:]))
}

// recall makes transactions after a seq unsafe again: a hub that was restored no
// longer has them, though it once said so. It reports whether the outbox still
// holds all of them.
func (e *Engine) recall(after uint64) (bool, error) {
	last, err := e.metaInt(metaSeq)
	if err != nil {
		return false, err
	}
	var list []uint64
	err = sqlite.Query(e.conn, "SELECT seq FROM _tidemark_outbox WHERE seq>? ORDER BY seq", func(s *sqlite.Stmt) error {
		list = append(list, uint64(s.ColumnInt64(0)))
		return nil
	}, change.Int(int64(after)))
	if err != nil {
		return false, err
	}
	if uint64(len(list)) != uint64(last)-after {
		return false, nil
	}
	return true, sqlite.Immediate(e.conn, func() error {
		for _, seq := range list {
			if err := e.recallOne(seq); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Engine) recallOne(seq uint64) error {
	tx, err := e.transaction(seq)
	if err != nil {
		return err
	}
	v, _, err := sqlite.One(e.conn, "SELECT state FROM _tidemark_outbox WHERE seq=?", change.Int(int64(seq)))
	if err != nil {
		return err
	}
	// All of it may be missing at the hub: also what was settled of it, whole or in part.
	for i := range tx.Ops {
		if err := e.track(seq, &tx.Ops[i]); err != nil {
			return err
		}
	}
	if outboxState(v.Int()) == settled {
		if err := e.addRedo(-int64(len(change.AppendTransaction(nil, tx)))); err != nil {
			return err
		}
	}
	return sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET state=? WHERE seq=?", change.Int(int64(waiting)), change.Int(int64(seq)))
}

// track notes an operation as pending again. What the hub now has of the row is
// unknown until the next full fetch; until then it counts as what stands here.
func (e *Engine) track(seq uint64, op *change.Op) error {
	t := e.tableNamed(op.Table)
	if t == nil || t.missing {
		return nil
	}
	id := op.Key.ID()
	if _, ok, err := e.shadow(t, id); err != nil {
		return err
	} else if !ok {
		row, err := e.readRow(t, op.Key)
		if err != nil {
			return err
		}
		if err := e.setShadow(t, id, row); err != nil {
			return err
		}
	}
	return sqlite.Exec(e.conn, "INSERT OR IGNORE INTO _tidemark_pending (tbl, key, seq) VALUES (?,?,?)",
		change.Text(t.schema.Name), change.BlobString(id), change.Int(int64(seq)))
}
