package hub

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// split saves what it can of a group whose application gave no transaction
// identity: everything visible in one export snapshot travelled as one, though
// much of it is unrelated. When the whole cannot be applied, the connected parts
// are tried one by one, and only those that fail wait. ok is false when the group
// is one part, or no part can be applied.
//
// The parts that go in are written as the hub's own, and the outcome says which
// operations wait (waits.go): the edge takes the rows of the others as they come.
func (b *batch) split(id change.TxID, t *change.Transaction, list []*work, no *refusal) (v verdict, ok bool, err error) {
	parts := components(list)
	if len(parts) < 2 {
		return v, false, nil
	}
	var waiting []*work
	var depends []change.TxID
	v = verdict{status: Quarantined, reason: no.reason}
	code, applied := no.code, 0
	for _, part := range parts {
		got, err := b.try(id, t, part, true)
		if r, isRefusal := errors.AsType[*refusal](err); isRefusal {
			if len(waiting) == 0 {
				code, v.reason = r.code, r.reason
			}
			waiting = append(waiting, part...)
			depends = append(depends, r.depends...)
			continue
		}
		if err != nil {
			return v, false, err
		}
		applied += len(part)
		v.receipts += got.receipts
	}
	if len(waiting) == 0 { // alone each of them fits
		v.status, v.reason = Merged, ""
		return v, true, nil
	}
	if applied == 0 {
		return v, false, nil
	}
	v.reason = fmt.Sprintf("%s (the other %d rows of the group were applied)", v.reason, applied)
	slices.SortFunc(waiting, func(x, y *work) int { return x.at - y.at })
	rest := *t
	rest.Ops = make([]change.Op, len(waiting))
	places := make([]uint32, len(waiting))
	for i, w := range waiting {
		rest.Ops[i], places[i] = *w.raw, uint32(w.at)
	}
	v.park = &Parked{Code: code, Reason: v.reason, DependsOn: depends, Unaware: true, Split: true, Places: places, Tx: change.AppendTransaction(nil, &rest)}
	return v, true, nil
}

// components groups work that must stay together: the halves of a move, rows
// joined by a foreign key, rows that pass a unique value on.
func components(list []*work) [][]*work {
	parent := make([]int, len(list))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	seen := map[any]int{}
	join := func(name any, i int) {
		if j, ok := seen[name]; ok {
			parent[find(i)] = find(j)
			return
		}
		seen[name] = i
	}
	for i, w := range list {
		for _, name := range ties(w) {
			join(name, i)
		}
	}
	at := map[int]int{}
	var out [][]*work
	for i, w := range list {
		r := find(i)
		n, ok := at[r]
		if !ok {
			n = len(out)
			at[r] = n
			out = append(out, nil)
		}
		out[n] = append(out[n], w)
	}
	return out
}

// ties names what work has in common with other work.
func ties(w *work) []any {
	out := []any{w.id}
	if w.op.Move != 0 {
		out = append(out, w.op.Move)
	}
	before, after := images(w.t, w.op)
	for _, img := range []image{before, after} {
		for _, l := range w.t.parents {
			if vals, ok := img.pick(l.from); ok {
				if l.byKey {
					out = append(out, rowID{l.parent, change.Key(vals).ID()})
				}
				out = append(out, linkID{l, change.Key(vals).ID()})
			}
		}
		for n, cols := range w.t.unique {
			if vals, ok := img.pick(cols); ok {
				out = append(out, uniqueID{w.t, n, change.Key(vals).ID()})
			}
		}
		for _, l := range w.t.children {
			if vals, ok := img.pick(l.to); ok {
				out = append(out, linkID{l, change.Key(vals).ID()})
			}
		}
	}
	return out
}
