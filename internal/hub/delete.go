package hub

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A linkID names the parent values of a foreign key.
type linkID struct {
	l   *link
	key string
}

// resolveDeletes decides each delete: it happens, was done already, or loses to
// an update its author had not seen. A delete that loses keeps the children that
// the same transaction took along, and the parent it hangs on (I3).
func (a *attempt) resolveDeletes() error {
	var lost []*work
	for _, w := range a.list {
		if w.op.Kind != change.Delete {
			continue
		}
		if w.row == nil {
			if err := a.absent(w); err != nil {
				return err
			}
			continue
		}
		w.kind = change.Delete
		a.merged = a.merged || w.byHub
		h, err := a.history(w)
		if err != nil {
			return err
		}
		changed, by := changedSince(w, &h)
		if !changed {
			continue
		}
		if w.op.Move != 0 {
			if done, err := a.mergeMove(w, &h); done || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if w.t.rule.OnDelete == rule.DeleteWins {
			w.byHub, a.merged = true, true
			a.receipt(w, &Receipt{Kind: "delete", Row: w.row, Rule: string(rule.DeleteWins)}, merge.Edge, by.versioned())
			continue
		}
		a.loses(w, by)
		lost = append(lost, w)
	}
	if len(lost) > 0 {
		a.keepFamily(lost)
	}
	return nil
}

// absent decides a delete of a row that the hub does not have. As a rule the row is
// gone already. But where its author saw it in a state that the hub lost, another
// device may still bring it back: the delete waits for that, or the row would then
// stay (I3).
func (a *attempt) absent(w *work) error {
	base := a.tx.Bases[w.op.BaseAt]
	if st, err := a.standingOf(base); err != nil || st != astray {
		return err
	}
	lineage, err := a.batch.tx.Lineage()
	if err != nil {
		return fmt.Errorf("read lineage: %w", err)
	}
	if !recovering(lineage, a.now) {
		return nil
	}
	next, ok := change.Successor(lineage, nil, base.Epoch)
	if !ok {
		next = lineage[len(lineage)-1]
	}
	since, err := a.batch.tx.Touched(w.t.schema.Name, w.op.Key, next.Fork, change.Incarnation{})
	switch {
	case errors.Is(err, ErrBelowFloor), errors.Is(err, ErrOtherHistory): // that long ago: nobody can tell
	case err != nil:
		return fmt.Errorf("read log of a row of %s: %w", w.t.schema.Name, err)
	case len(since) > 0: // it was there again, and was deleted again
		return nil
	}
	return refuse("missing", "row %s of %s was deleted at the device, which had it from before the hub was put back: the hub does not have it, and waits for who brings it back", w.op.Key, w.t.schema.Name)
}

// changedSince reports whether others left the row other than the author saw it,
// and their last entry.
func changedSince(w *work, h *history) (bool, Touch) {
	var by Touch
	foreign := false
	for i := range h.touches {
		by = h.touches[i]
		foreign = foreign || !h.echo(&by)
	}
	if !h.unknown && len(h.touches) == 0 {
		return false, by
	}
	if len(w.op.Base) == 0 {
		return foreign || h.unknown, by
	}
	for j, c := range w.cols {
		if c >= 0 && w.row[c] != w.op.Base[j] {
			return true, by
		}
	}
	return false, by
}

// loses makes a delete lose: the row stays, and the edge receives it again.
func (a *attempt) loses(w *work, by Touch) {
	w.kind, w.lost, w.touch, w.byHub = 0, true, true, true
	w.hlc = by.HLC
	w.result = w.row
	a.merged = true
	a.receipt(w, &Receipt{Kind: "delete", Row: w.row, Rule: string(rule.UpdateWins)}, merge.Hub, by.versioned())
}

// keepFamily spreads a lost delete over the foreign keys between the rows that
// this transaction deletes, both ways.
func (a *attempt) keepFamily(lost []*work) {
	parents := map[linkID]*work{}
	for _, w := range a.list {
		if w.op.Kind != change.Delete || w.row == nil {
			continue
		}
		for _, l := range w.t.children {
			if vals, null := pick(w.row, l.to); !null {
				parents[linkID{l, change.Key(vals).ID()}] = w
			}
		}
	}
	next := map[*work][]*work{}
	for _, w := range a.list {
		if w.op.Kind != change.Delete || w.row == nil {
			continue
		}
		for _, l := range w.t.parents {
			vals, null := pick(w.row, l.from)
			if p := parents[linkID{l, change.Key(vals).ID()}]; !null && p != nil {
				next[w], next[p] = append(next[w], p), append(next[p], w)
			}
		}
	}
	for len(lost) > 0 {
		w := lost[0]
		lost = lost[1:]
		for _, l := range w.t.children {
			if vals, null := pick(w.row, l.to); !null {
				if a.kept == nil {
					a.kept = map[linkID]bool{}
				}
				a.kept[linkID{l, change.Key(vals).ID()}] = true
			}
		}
		for _, r := range next[w] {
			if !r.lost {
				a.loses(r, Touch{HLC: w.hlc})
				lost = append(lost, r)
			}
		}
	}
}

// keptLink reports whether an update only unlinks w's row, through column c, from
// a parent whose delete lost: then the link stays too.
func (a *attempt) keptLink(w *work, c int) bool {
	if a.kept == nil {
		return false
	}
	for _, l := range w.t.parents {
		for _, f := range l.from {
			if f != c {
				continue
			}
			vals, null := pick(w.row, l.from)
			if !null && a.kept[linkID{l, change.Key(vals).ID()}] {
				w.byHub = true
				return true
			}
		}
	}
	return false
}

// mergeMove carries others' edits of a row over to the key its author gave it.
// It reports whether the other half of the move was there to take them.
func (a *attempt) mergeMove(del *work, h *history) (bool, error) {
	for _, ins := range a.list {
		if ins.op.Kind != change.Insert || ins.op.Move != del.op.Move || ins.t != del.t || len(del.op.Base) == 0 {
			continue
		}
		op := &change.Op{Table: del.op.Table, Kind: change.Update, Key: del.op.Key, BaseAt: del.op.BaseAt}
		u := &work{op: op, t: del.t, row: del.row, hlc: a.hlc}
		for j, c := range del.cols {
			if c < 0 || del.t.cols[c].inKey {
				continue
			}
			u.cols = append(u.cols, c)
			op.Columns = append(op.Columns, del.t.names[c])
			op.Base = append(op.Base, del.op.Base[j])
			op.New = append(op.New, ins.result[c])
		}
		if err := a.mergeRow(u, h); err != nil {
			return false, err
		}
		for _, c := range u.cols {
			ins.result[c] = u.result[c]
		}
		ins.byHub, del.byHub, a.merged = true, true, true
		ins.hlc = max(ins.hlc, u.hlc)
		return true, nil
	}
	return false, nil
}

// missing handles an update of a row that the hub does not have. By default the
// update wins over the delete, and the row comes back with everything the delete
// took along; then back is true and w.row is set.
func (a *attempt) missing(w *work, h *history) (back bool, err error) {
	var by Touch
	for _, e := range h.touches {
		by = e
	}
	if w.t.rule.OnDelete == rule.DeleteWins {
		w.byHub, w.touch, a.merged = true, true, true
		w.hlc = by.HLC
		for j, c := range w.cols {
			if w.op.Base[j] != w.op.New[j] {
				a.receipt(w, &Receipt{Kind: "delete", Column: w.t.names[c], Base: w.op.Base[j], Edge: w.op.New[j], Rule: string(rule.DeleteWins)}, merge.Hub, by.versioned())
			}
		}
		return false, nil
	}
	w.row, err = a.resurrect(w.t, w.op.Key, 0)
	if err != nil {
		return false, err
	}
	if err := a.mayChange(w); err != nil {
		return false, err
	}
	w.byHub, a.merged = true, true
	a.receipt(w, &Receipt{Kind: "delete", Row: w.row, Rule: string(rule.UpdateWins)}, merge.Edge, by.versioned())
	return true, nil
}

// resurrect brings a deleted row back as it last was, with its parents and with
// the children that its deletion took along.
func (a *attempt) resurrect(t *table, key change.Key, depth int) ([]change.Value, error) {
	tomb, err := a.batch.tx.Tombstone(t.schema.Name, key)
	if errors.Is(err, ErrNotFound) || err == nil && len(tomb.Row) != len(t.names) {
		return nil, refuse("missing", "row %s of %s is not at the hub, and its last image is no longer kept", key, t.schema.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read tombstone of a row of %s: %w", t.schema.Name, err)
	}
	if depth < len(a.shape.tables) {
		for _, l := range t.parents {
			vals, null := pick(tomb.Row, l.from)
			if null || !l.byKey {
				continue
			}
			if err := a.revive(l.parent, change.Key(vals), depth+1); err != nil {
				return nil, err
			}
		}
	}
	if row, err := a.batch.tx.Row(t.schema.Name, key); err != nil || row != nil {
		return row, err // it came back as its parent's child
	}
	w := &work{op: &change.Op{Key: key}, t: t, kind: change.Insert, result: tomb.Row, byHub: true, hlc: a.hlc}
	if err := a.writer.put(w, a.tx.Incarnation, a.hlc); err != nil {
		return nil, err
	}
	for i := range tomb.Children {
		if err := a.restore(&tomb.Children[i]); err != nil {
			return nil, err
		}
	}
	a.extra = append(a.extra, w)
	return tomb.Row, nil
}

// revive brings a parent back when it is missing. A parent without a tombstone
// is left to the foreign key check.
func (a *attempt) revive(t *table, key change.Key, depth int) error {
	row, err := a.batch.tx.Row(t.schema.Name, key)
	if err != nil || row != nil {
		return err
	}
	_, err = a.resurrect(t, key, depth)
	if no, ok := errors.AsType[*refusal](err); ok && no.code == "missing" {
		return nil
	}
	return err
}

// restore inserts a row that a deletion had taken along, unless it stands again.
func (a *attempt) restore(op *change.Op) error {
	t := a.shape.table(op.Table)
	if t == nil {
		return nil
	}
	row, err := a.batch.tx.Row(t.schema.Name, op.Key)
	if err != nil || row != nil {
		return err
	}
	w := &work{op: op, t: t, kind: change.Insert, result: make([]change.Value, len(t.names)), byHub: true, hlc: a.hlc}
	for i, name := range op.Columns {
		if c := t.column(name); c >= 0 {
			w.result[c] = op.New[i]
		}
	}
	a.extra = append(a.extra, w)
	return a.writer.put(w, a.tx.Incarnation, a.hlc)
}
