package hub

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// aliasID is the id under which a record is journalled whose uuid was taken. It
// follows from its place in the chain, so that the same record finds it again.
func aliasID(t *change.Transaction) change.TxID { return aliasOf(t.ID, t.Incarnation, t.Seq) }

func aliasOf(own change.TxID, inc change.Incarnation, seq uint64) (id change.TxID) {
	h := sha256.New()
	h.Write(own[:])
	h.Write(inc[:])
	_ = binary.Write(h, binary.BigEndian, seq)
	copy(id[:], h.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// repeated takes in a transaction whose uuid the hub knows from another place in
// some chain. The same content is the same transaction, handed in by a clone or
// after a restore: it shares the first one's outcome. Other content means that the
// file was copied while work was waiting in it: only what the copy added counts
// (trap D22).
func (b *batch) repeated(rec *Received, t *change.Transaction, first *Received) (receipts int, err error) {
	rec.ID = aliasID(t)
	journal := *t
	journal.ID = rec.ID
	rec.Tx = &journal
	if first.Content == rec.Content {
		if err := b.fill(first, t); err != nil {
			return 0, fmt.Errorf("take in the values of a stub: %w", err)
		}
		return 0, b.echo(rec, first)
	}
	if b.review.salvage { // rows that a device held are no version of anybody's work
		return b.decide(rec, &journal, nil)
	}
	if b.stub != nil { // what the copy added cannot be told without the values
		if err := b.appendIDs(kindVersion, t.ID, rec.ID); err != nil {
			return 0, err
		}
		return 0, b.standIn(rec, &journal)
	}
	return b.copied(rec, t, first)
}

// echo lets a record share the outcome of one with the same content.
func (b *batch) echo(rec, first *Received) error {
	rec.Status, rec.Reason = first.Status, first.Reason
	if first.Status == Quarantined {
		if list, err := waitsOf(b.tx, first.ID); err != nil {
			return err
		} else if list != nil {
			if err := writeRecord(b.tx, kindWaits, rec.ID.String(), list); err != nil {
				return err
			}
		}
	}
	return b.appendIDs(kindEcho, first.ID, rec.ID)
}

// appendIDs adds to a record that is a list of journal ids.
func (b *batch) appendIDs(kind string, of, id change.TxID) error {
	var list []change.TxID
	if err := readRecord(b.tx, kind, of.String(), &list); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return writeRecord(b.tx, kind, of.String(), append(list, id))
}

// copied decides on the part of a copy's transaction that no earlier one had.
func (b *batch) copied(rec *Received, t *change.Transaction, first *Received) (int, error) {
	var ids []change.TxID
	if err := readRecord(b.tx, kindVersion, t.ID.String(), &ids); err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	ids = append([]change.TxID{first.ID}, ids...)
	var earlier []*change.Transaction
	var waits *change.TxID
	for i, id := range ids {
		known, err := b.tx.Known(id)
		if err != nil {
			return 0, err
		}
		if known.Content == rec.Content { // a copy of the copy
			return 0, b.echo(rec, known)
		}
		if known.Status == Quarantined && waits == nil {
			waits = &ids[i]
		}
		p, err := b.tx.Payload(id)
		if errors.Is(err, ErrNotFound) || err == nil && len(p.Ops) == 0 { // or only a stub came, without rows
			return b.forgotten(rec, t, known)
		}
		if err != nil {
			return 0, err
		}
		earlier = append(earlier, p)
		b.lives = append(b.lives, known.Inc)
	}
	defer func() { b.lives = nil }()
	if err := b.appendIDs(kindVersion, t.ID, rec.ID); err != nil {
		return 0, err
	}
	rest := *t
	var places []uint32
	rest.Ops, places = unseen(t, earlier)
	no, ok := errors.AsType[*refusal](b.diverged(t, rest.Ops, places, earlier))
	if !ok && waits != nil && len(rest.Ops) > 0 {
		no = &refusal{code: "depends", depends: []change.TxID{*waits},
			reason: "it continues transaction " + waits.String() + " of a copied file, which is in quarantine"}
	}
	if no != nil {
		v := parkWhole(&rest, no)
		v.park.Places = places
		rec.Status, rec.Reason = v.status, v.reason
		b.parked++
		return 0, b.park(rec, v)
	}
	return b.decide(rec, &rest, places)
}

// forgotten parks a copy's transaction whose beginning is known to have come, but
// not any more what it was: applying it might apply part of it twice, and not
// applying it might lose the rest.
func (b *batch) forgotten(rec *Received, t *change.Transaction, known *Received) (int, error) {
	v := parkWhole(t, &refusal{code: "forgotten", reason: "an earlier form of this transaction came on " + known.At.UTC().Format(time.DateOnly) +
		", before the file was copied or restored, and the journal no longer holds it: compare its rows with the hub's"})
	rec.Status, rec.Reason = v.status, v.reason
	b.parked++
	return 0, b.park(rec, v)
}

// unseen is the part of t's operations that none of the earlier transactions of
// the same uuid had, on top of what they did. places are theirs in t.
func unseen(t *change.Transaction, earlier []*change.Transaction) (out []change.Op, places []uint32) {
	seen := map[uint64]bool{}
	for _, e := range earlier {
		for i := range e.Ops {
			for _, r := range e.Ops[i].Rows {
				seen[r] = true
			}
		}
	}
	for i, op := range t.Ops {
		n := 0
		for _, r := range op.Rows {
			if seen[r] {
				n++
			}
		}
		ok := n == 0 && !idle(&op)
		if n > 0 && n < len(op.Rows) {
			if prev := overlap(&op, earlier); forked(prev, &op) {
				ok = true
			} else {
				op, ok = onTop(&op, partOf(t, i, joined(prev, earlier)))
			}
		}
		if ok {
			out, places = append(out, op), append(places, uint32(i))
		}
	}
	return out, places
}

// siblings reports whether two operations are parts of one update: the columns had
// different bases.
func siblings(a, b *change.Op) bool {
	return a.Kind == change.Update && b.Kind == change.Update && a.Table == b.Table && a.Key.Equal(b.Key) && slices.Equal(a.Rows, b.Rows)
}

// joined is an earlier update with all its parts.
func joined(prev *change.Op, earlier []*change.Transaction) *change.Op {
	if prev == nil || prev.Kind != change.Update {
		return prev
	}
	out := *prev
	out.Columns, out.New, out.Base = nil, nil, nil
	for _, e := range earlier {
		for i := range e.Ops {
			if o := &e.Ops[i]; siblings(prev, o) && len(o.Columns) > 0 && out.Column(o.Columns[0]) < 0 {
				out.Columns, out.New, out.Base = append(out.Columns, o.Columns...), append(out.New, o.New...), append(out.Base, o.Base...)
			}
		}
	}
	return &out
}

// partOf is what of prev concerns t's i-th operation and not another part of it.
func partOf(t *change.Transaction, i int, prev *change.Op) *change.Op {
	op := &t.Ops[i]
	if prev == nil || prev.Kind != change.Update || op.Kind != change.Update {
		return prev
	}
	out := *prev
	out.Columns, out.New, out.Base = nil, nil, nil
	for j, c := range prev.Columns {
		mine := op.Column(c) >= 0
		if !mine { // the first part sets back what none of them has
			k := slices.IndexFunc(t.Ops, func(o change.Op) bool { return siblings(op, &o) })
			mine = k == i && !slices.ContainsFunc(t.Ops, func(o change.Op) bool { return siblings(op, &o) && o.Column(c) >= 0 })
		}
		if mine {
			out.Columns, out.New, out.Base = append(out.Columns, c), append(out.New, prev.New[j]), append(out.Base, prev.Base[j])
		}
	}
	return &out
}

// overlap finds the earlier operation on op's row that shares most of its events:
// rather one that has no others.
func overlap(op *change.Op, earlier []*change.Transaction) *change.Op {
	var best *change.Op
	most, inside := 0, false
	for _, e := range earlier {
		for i := range e.Ops {
			o := &e.Ops[i]
			if o.Table != op.Table || !o.Key.Equal(op.Key) {
				continue
			}
			n := 0
			for _, r := range o.Rows {
				if slices.Contains(op.Rows, r) {
					n++
				}
			}
			in := within(o, op)
			if n > most && in == inside || n > 0 && in && !inside {
				best, most, inside = o, n, in
			}
		}
	}
	return best
}

// onTop is what op still does after prev, which began as it did, was applied. ok
// is false when that is nothing.
func onTop(op, prev *change.Op) (change.Op, bool) {
	if prev == nil {
		return *op, true
	}
	out := *op
	switch {
	case len(prev.Columns) == 0:
		return out, len(op.Columns) > 0 // what it did cancelled out
	case prev.Kind == change.Insert && idle(op):
		// Inserted, then deleted again: the row is not there any more.
		out.Kind, out.Columns, out.Base = change.Delete, prev.Columns, slices.Clone(prev.New)
		return out, true
	case prev.Kind == change.Delete && op.Kind == change.Update:
		// Deleted, then inserted again: the whole row is new.
		out.Kind, out.Columns, out.Base, out.Move = change.Insert, prev.Columns, nil, 0
		out.New = slices.Clone(prev.Base)
		for i, c := range op.Columns {
			if j := prev.Column(c); j >= 0 {
				out.New[j] = op.New[i]
			}
		}
		return out, true
	case op.Kind == change.Delete:
		out.Base = slices.Clone(op.Base)
		for i, c := range op.Columns {
			if j := prev.Column(c); j >= 0 && prev.New != nil && i < len(out.Base) {
				out.Base[i] = prev.New[j]
			}
		}
		return out, prev.Kind != change.Delete
	case prev.Kind == change.Delete:
		return out, true
	}
	out.Kind, out.Columns, out.New, out.Base = change.Update, nil, nil, nil
	for i, c := range op.Columns {
		base := change.Null
		if i < len(op.Base) {
			base = op.Base[i]
		}
		if j := prev.Column(c); j >= 0 && prev.New != nil {
			base = prev.New[j]
		}
		if base != op.New[i] {
			out.Columns, out.New, out.Base = append(out.Columns, c), append(out.New, op.New[i]), append(out.Base, base)
		}
	}
	// What the earlier one changed and this one set back to where it began.
	for j, c := range prev.Columns {
		if prev.Kind == change.Update && op.Kind == change.Update && op.Column(c) < 0 && prev.New[j] != prev.Base[j] {
			out.Columns, out.New, out.Base = append(out.Columns, c), append(out.New, prev.Base[j]), append(out.Base, prev.New[j])
		}
	}
	return out, len(out.Columns) > 0
}

// idle reports whether an operation says only which events of a row cancelled out:
// for what a copy of the file may have handed in of them. The operations of a stub
// look like that too.
func idle(op *change.Op) bool {
	return op.Kind == change.Update && len(op.Columns) == 0
}
