package edge

import (
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// settle takes in what the hub decided, as of the very snapshot that the pulled
// rows are from: only so does an edge's own write never flicker away (trap D3).
func (a *applier) settle() error {
	for _, o := range a.in.outcomes {
		if err := a.settleOne(o); err != nil {
			return fmt.Errorf("settle transaction %d: %w", o.Seq, err)
		}
	}
	return a.disown()
}

// reopen makes unsettled what a hub that was set back got again by another way, such as
// an outbox that was carried to it, and did not apply this time, or not the same part of
// it: the outcome heard in the life before is no longer true.
func (a *applier) reopen() error {
	if !a.in.anew {
		return nil
	}
	out := map[uint64]bool{}
	for _, r := range a.in.outcomes {
		out[r.Seq] = r.Status == outcomeQuarantined || r.Status == outcomeDiscarded
	}
	list, err := a.e.outboxRows(0)
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.state < quarantined || !out[o.seq] {
			continue
		}
		if err := a.e.recallOne(o); err != nil {
			return err
		}
		err := sqlite.Exec(a.e.conn, "UPDATE _tidemark_outbox SET state=? WHERE seq=?", change.Int(int64(durable)), change.Int(int64(o.seq)))
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) settleOne(o wire.TxResult) error {
	state, ok, err := sqlite.One(a.e.conn, "SELECT state FROM _tidemark_outbox WHERE seq=?", change.Int(int64(o.Seq)))
	if err != nil || !ok || outboxState(state.Int()) == settled {
		return err // an outcome heard before changes nothing (I5)
	}
	if o.Status == outcomeQuarantined {
		a.out.Parked++
		if err := a.settlePart(o); err != nil {
			return err
		}
		return sqlite.Exec(a.e.conn, "UPDATE _tidemark_outbox SET state=?, reason=?, epoch="+a.e.epochSQL()+" WHERE seq=?",
			change.Int(int64(quarantined)), change.Text(o.Reason), epochValue(a.e.epoch), change.Int(int64(o.Seq)))
	}
	if o.Status != outcomeApplied && o.Status != outcomeMerged && o.Status != outcomeDiscarded {
		return fmt.Errorf("unknown status %d", o.Status)
	}
	x, err := a.tx(o.Seq)
	if err != nil {
		return err
	}
	rest := *x.tx
	rest.Ops = a.unsettledOps(o.Seq, x.tx)
	for i := range rest.Ops {
		if err := a.settleOp(o, &rest.Ops[i]); err != nil {
			return err
		}
	}
	if o.Status == outcomeDiscarded {
		for i := range rest.Ops {
			if err := a.e.unshare(&rest.Ops[i]); err != nil {
				return err
			}
		}
		if err := a.rescue(&rest, "discarded: "+o.Reason); err != nil {
			return err
		}
	}
	a.out.Settled++
	epoch := "?"
	if o.Status == outcomeDiscarded {
		epoch = a.e.epochSQL()
	}
	return a.e.markSettled(o.Seq, o.Reason, epoch)
}

// settlePart takes the overlay off the rows of a group of which the hub applied
// part: it wrote them as its own, so what did not come did not change, and only
// the rest waits. The pending index is the one place that says which rows wait; the
// hub never parts operations on one row.
func (a *applier) settlePart(o wire.TxResult) error {
	if o.Waits == nil {
		return nil
	}
	x, err := a.tx(o.Seq)
	if err != nil {
		return err
	}
	waits := make(map[rowRef]bool, len(o.Waits))
	for _, i := range o.Waits {
		if uint64(i) >= uint64(len(x.tx.Ops)) {
			return fmt.Errorf("operation %d is said to wait, of %d", i, len(x.tx.Ops))
		}
		op := &x.tx.Ops[i]
		waits[rowRef{a.e.nameNow(op.Table), op.Key.ID()}] = true
	}
	for i := range x.tx.Ops {
		op := &x.tx.Ops[i]
		id, name := op.Key.ID(), a.e.nameNow(op.Table)
		if waits[rowRef{name, id}] {
			continue
		}
		err := sqlite.Exec(a.e.conn, "DELETE FROM _tidemark_pending WHERE tbl=? AND key=? AND seq=?",
			change.Text(name), change.BlobString(id), change.Int(int64(o.Seq)))
		if err != nil {
			return err
		}
		if tr := a.pendingRow(o.Seq, op); tr != nil {
			if err := a.touch(tr); err != nil {
				return err
			}
			tr.drop(o.Seq)
		}
	}
	return nil
}

// unsettledOps are the operations of a transaction that are still on top of the
// hub's version: all of them, unless the hub applied part before.
func (a *applier) unsettledOps(seq uint64, tx *change.Transaction) []change.Op {
	n := 0
	waits := func(op *change.Op) bool {
		t := a.e.tableNamed(op.Table)
		return t == nil || a.pendingRow(seq, op) != nil // of a table no longer synced nothing is known
	}
	for i := range tx.Ops {
		if waits(&tx.Ops[i]) {
			n++
		}
	}
	if n == len(tx.Ops) {
		return tx.Ops
	}
	out := make([]change.Op, 0, n)
	for i := range tx.Ops {
		if waits(&tx.Ops[i]) {
			out = append(out, tx.Ops[i])
		}
	}
	return out
}

// pendingRow is the row of an operation that is not settled, or nil.
func (a *applier) pendingRow(seq uint64, op *change.Op) *track {
	t := a.e.tableNamed(op.Table)
	if t == nil {
		return nil
	}
	tr := a.track(t, op.Key.ID())
	if tr == nil || !slices.Contains(tr.seqs, seq) {
		return nil
	}
	return tr
}

func (tr *track) drop(seq uint64) {
	tr.seqs = slices.DeleteFunc(tr.seqs, func(s uint64) bool { return s == seq })
}

// settleOp moves the hub's version of one row over what the hub applied. A row
// that came with this pull has it already; one that did not was touched by nobody
// else, so the hub holds exactly what we sent. In a pull with echo every row that
// we touched comes, so what did not come did not change.
func (a *applier) settleOp(o wire.TxResult, op *change.Op) error {
	t := a.e.tableNamed(op.Table)
	if t == nil || t.missing {
		return nil
	}
	tr := a.track(t, op.Key.ID())
	if tr == nil {
		return nil
	}
	if err := a.touch(tr); err != nil {
		return err
	}
	tr.drop(o.Seq)
	if tr.came || a.in.echo || o.Status == outcomeDiscarded {
		return nil
	}
	if err := a.load(tr); err != nil {
		return err
	}
	tr.learn(advance(t, tr.shadow, op))
	a.applied = append(a.applied, tr)
	return nil
}

// markSettled moves a transaction into the redo ring, with the epoch that an SQL
// expression makes of the present one.
func (e *Engine) markSettled(seq uint64, reason, epoch string) error {
	err := sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET state=?, aside=0, reason=?, epoch="+epoch+" WHERE seq=?",
		change.Int(int64(settled)), change.Text(reason), epochValue(e.epoch), change.Int(int64(seq)))
	if err != nil {
		return err
	}
	if err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_pending WHERE seq=?", change.Int(int64(seq))); err != nil {
		return err
	}
	n, _, err := sqlite.One(e.conn, "SELECT length(body) FROM _tidemark_outbox WHERE seq=?", change.Int(int64(seq)))
	if err != nil {
		return err
	}
	return e.addRedo(n.Int())
}

// markDurable notes that the hub has everything up to a seq: it is safe, and is
// not sent again. The overlay stays until the outcome comes with a pull. It is the
// hub of the present session, in its present life, that says so.
func (e *Engine) markDurable(seq uint64) error {
	_, some, err := sqlite.One(e.conn, "SELECT 1 FROM _tidemark_outbox WHERE state=? AND seq<=? LIMIT 1",
		change.Int(int64(waiting)), change.Int(int64(seq)))
	if err != nil || !some {
		return err
	}
	note := func() error {
		err := sqlite.Exec(e.conn, "UPDATE _tidemark_outbox SET state=?, epoch="+e.epochSQL()+" WHERE state=? AND seq<=?",
			change.Int(int64(durable)), epochValue(e.epoch), change.Int(int64(waiting)), change.Int(int64(seq)))
		if err != nil {
			return err
		}
		return e.setMeta(metaProgress, change.Int(e.cfg.Clock.Now().UnixMilli()))
	}
	return e.relaxed(func() error { return sqlite.Immediate(e.conn, note) })
}
