package hub

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// ErrAbsent means that the values of a parked transaction are not at the hub.
var ErrAbsent = errors.New("its values are larger than this hub takes and are still at the device: raise the limits and let the device sync, or discard it (the device keeps a rescue copy)")

// standIn parks a transaction of which only a stub came, because the whole is
// larger than the hub unpacks (trap D14). The chain goes on behind it, and what
// touches the same rows waits for it.
func (b *batch) standIn(rec *Received, t *change.Transaction) error {
	no := &refusal{code: "oversized", reason: fmt.Sprintf("the transaction changes %d rows in %d bytes, more than this hub takes in: its values stay at the device until the hub's limits are raised, or it is discarded",
		b.stub.Ops, b.stub.Bytes)}
	if b.review.undone != nil { // whole or not, a person looks at it
		no = b.review.undone
	}
	v := parkWhole(t, no)
	v.park.Absent = true
	rec.Status, rec.Reason = v.status, v.reason
	b.parked++
	return b.park(rec, v)
}

// fill puts a transaction that came whole in the place of its stub, and decides on
// it. rec is the journal entry of t; it is read again when that changed its outcome.
func (b *batch) fill(rec *Received, t *change.Transaction) error {
	if b.stub != nil || rec.Status != Quarantined {
		return nil
	}
	// rec may be a copy's, which shares the outcome of the first. What a copy added to
	// it is not filled in: part of that may have been applied with the first.
	id := t.ID
	if !b.holds.absent[id] {
		return nil
	}
	first, err := b.tx.Known(id)
	if err != nil || first.Content != t.Content() {
		return err
	}
	p, err := findParked(b.tx, id)
	if err != nil {
		return err
	}
	whole, err := p.Transaction()
	if err != nil {
		return err
	}
	whole.Ops, whole.Bases, whole.Unaware = t.Ops, t.Bases, t.Unaware
	p.Absent, p.Tx = false, change.AppendTransaction(nil, whole)
	no := b.isolated()
	if no != nil && p.Code != codeUndone {
		p.Code, p.Reason = no.code, no.reason
	}
	if p.Code == codeUndone || no != nil { // it is whole now, and waits on for its review
		err = errors.Join(keepParked(b.tx, p), tell(b.tx, id, Quarantined, p.Reason))
	} else {
		err = b.retryFilled(p)
	}
	if err != nil {
		return err
	}
	if err := b.uphold(); err != nil {
		return err
	}
	now, err := b.tx.Known(rec.ID)
	if err == nil {
		*rec = *now
	}
	return err
}

func (b *batch) retryFilled(p *Parked) error {
	next, err := b.hub.batchOf(b.tx, p)
	if err != nil {
		return err
	}
	_, err = next.retry(p)
	return err
}
