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

// A rift is why a new incarnation begins.
type rift struct {
	// lost is the last seq that the hub has, when it was set back in its present
	// life; allKnown when it has what it confirmed in that.
	lost   uint64
	device change.DeviceID // whom the file belongs to from now on; zero: as before
}

// fork begins a new incarnation: the hub knows another history of this one, so
// this file was cloned or restored (trap D4).
func (e *Engine) fork() error { return e.split(rift{lost: allKnown}) }

// split begins a new incarnation. Everything without an outcome is handed in again
// under new numbers, and so is everything settled that the hub may lack; the
// uuids stay, so the hub applies it once. The caller holds e.mu.
func (e *Engine) split(r rift) error {
	inc, dev := e.incarnation, e.device
	err := sqlite.Immediate(e.conn, func() error { return e.splitNow(r) })
	if err != nil {
		e.incarnation, e.device = inc, dev // as the file has it
	}
	return err
}

func (e *Engine) splitNow(r rift) error {
	if _, err := e.export(e.cfg.Clock.Now()); err != nil {
		return err
	}
	was := e.incarnation
	again, order, err := e.collect(r)
	if err != nil {
		return err
	}
	if err := e.noteParent(was); err != nil {
		return err
	}
	if err := e.changeDevice(r.device); err != nil {
		return err
	}
	if err := e.newIncarnation(); err != nil {
		return err
	}
	if err := e.dropLeases(); err != nil {
		return err
	}
	// Outcomes are counted per incarnation from its first one on.
	if err := e.setMeta(metaMark, change.Int(0)); err != nil {
		return err
	}
	if err := e.rechain(order); err != nil {
		return err
	}
	if err := e.setMeta(metaForked, change.Int(int64(len(order)))); err != nil {
		return err
	}
	if err := e.rechainSalvage(); err != nil {
		return err
	}
	if r.lost == allKnown && again == 0 && r.device.IsZero() {
		detail := fmt.Sprintf("the file was restored, or is a copy: it goes on as incarnation %s, after %s", e.incarnation, was)
		if len(order) > 0 {
			detail += "; handed in as such: " + transactions(len(order))
		}
		if err := e.addEvent(EventFork, detail); err != nil {
			return err
		}
	}
	// Nothing of the new chain is at the hub yet.
	return e.enterLife(0, again)
}

// noteParent keeps which incarnation this one continues, until the hub knows. A
// life that the hub never heard of is nobody's parent.
func (e *Engine) noteParent(was change.Incarnation) error {
	v, err := e.meta(metaParent)
	if err != nil || !v.IsNull() {
		return err
	}
	return e.setMeta(metaParent, change.Text(was.String()))
}

// collect gathers in the outbox what is to be handed in again and returns its seqs
// in the order of the new chain: what the hub may lack of the redo ring first, then
// the outbox. What the hub has, settled, goes to the ring. again counts what a hub
// confirmed and is offered anew because it may lack it.
func (e *Engine) collect(r rift) (again int, order []uint64, err error) {
	known, err := e.metaInt(metaEpoch)
	if err != nil {
		return 0, nil, err
	}
	anew := e.epoch != 0 && change.Epoch(known) != e.epoch || r.lost != allKnown
	list, err := e.outboxRows(0)
	if err != nil {
		return 0, nil, err
	}
	if anew {
		last, err := e.metaInt(metaSeq)
		if err != nil {
			return 0, nil, err
		}
		if order, err = e.unring(uint64(last)); err != nil {
			return 0, nil, err
		}
		again = len(order)
	}
	for _, o := range list {
		lacks := o.state != waiting && (anew && o.epoch != e.epoch || o.seq > r.lost)
		switch {
		// Once something is offered again, so is all that came after it: what a hub
		// gets back it gets in the order in which it was done.
		case lacks, o.state == settled && again > 0:
			if err := e.recallOne(o); err != nil {
				return 0, nil, err
			}
			again++
		case o.state == settled:
			if err := e.ring(o.seq); err != nil {
				return 0, nil, err
			}
			continue
		}
		order = append(order, o.seq)
	}
	return again, order, nil
}

// An outboxRow is what must be known of a transaction to offer it again.
type outboxRow struct {
	seq   uint64
	state outboxState
	epoch change.Epoch
	size  int64 // bytes
}

// outboxRows lists the transactions after a seq.
func (e *Engine) outboxRows(after uint64) (out []outboxRow, err error) {
	err = sqlite.Query(e.conn, "SELECT seq, state, epoch, length(body) FROM _tidemark_outbox WHERE seq>? ORDER BY seq", func(s *sqlite.Stmt) error {
		out = append(out, outboxRow{uint64(s.ColumnInt64(0)), outboxState(s.ColumnInt64(1)), change.Epoch(s.ColumnInt64(2)), s.ColumnInt64(3)})
		return nil
	}, change.Int(int64(after)))
	return out, err
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
		tx.Device, tx.Incarnation, tx.Seq, tx.Prev = e.device, e.incarnation, uint64(i+1), prev
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
