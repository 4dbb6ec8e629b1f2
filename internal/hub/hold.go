package hub

import (
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// holds is what a device's parked transactions keep others from: the closure of
// quarantine (I11, traps D11 and D12). nil holds keep nothing.
type holds struct {
	rows   map[rowID][]hold  // rows they touch
	refs   map[linkID][]hold // parent rows that their rows were unlinked from
	unique map[uniqueID][]hold
	absent map[change.TxID]bool // parked without their values
}

// A hold is one parked operation's claim.
type hold struct {
	id   change.TxID
	kind change.OpKind
	cols []int // columns an Update sets
	all  bool  // which columns an Update sets is not known here
}

// A uniqueID names a value of a UNIQUE set.
type uniqueID struct {
	t   *table
	n   int
	key string
}

func loadHolds(s *shape, v View, device change.DeviceID) (*holds, error) {
	list, err := parkedWork(v, device)
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	h := &holds{}
	for _, p := range list {
		if err := h.add(s, p); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *holds) add(s *shape, p *Parked) error {
	if p.Salvage { // nothing that anybody did: no work stands on it
		return nil
	}
	t, err := p.Transaction()
	if err != nil {
		return err
	}
	if h.rows == nil {
		h.rows, h.refs, h.unique = map[rowID][]hold{}, map[linkID][]hold{}, map[uniqueID][]hold{}
		h.absent = map[change.TxID]bool{}
	}
	if p.Absent {
		h.absent[p.ID] = true
	}
	for i := range t.Ops {
		op := &t.Ops[i]
		tab := s.table(op.Table)
		if tab == nil || !p.Absent && idle(op) {
			continue
		}
		op = tab.present(op)
		before, after := images(tab, op)
		hd := hold{id: p.ID, kind: op.Kind, all: p.Absent}
		for c := range after {
			if op.Kind == change.Update {
				hd.cols = append(hd.cols, c)
			}
		}
		id := rowID{tab, op.Key.ID()}
		h.rows[id] = append(h.rows[id], hd)
		for _, l := range tab.parents {
			if vals, ok := before.pick(l.from); ok {
				h.refs[linkID{l, change.Key(vals).ID()}] = append(h.refs[linkID{l, change.Key(vals).ID()}], hd)
			}
		}
		for n, cols := range tab.unique {
			for _, img := range []image{before, after} {
				if vals, ok := img.pick(cols); ok {
					u := uniqueID{tab, n, change.Key(vals).ID()}
					h.unique[u] = append(h.unique[u], hd)
				}
			}
		}
	}
	return nil
}

// An image is the known columns of a row.
type image map[int]change.Value

func images(t *table, op *change.Op) (before, after image) {
	before, after = image{}, image{}
	for i, name := range op.Columns {
		c := t.column(name)
		if c < 0 {
			continue
		}
		if i < len(op.Base) && (op.Kind == change.Delete || i < len(op.New) && op.Base[i] != op.New[i]) {
			before[c] = op.Base[i]
		}
		if i < len(op.New) && (op.Kind == change.Insert || i < len(op.Base) && op.Base[i] != op.New[i]) {
			after[c] = op.New[i]
		}
	}
	return before, after
}

// pick cuts columns out of an image; ok when all are known and none is NULL.
func (m image) pick(cols []int) ([]change.Value, bool) {
	out := make([]change.Value, len(cols))
	for i, c := range cols {
		v, ok := m[c]
		if !ok || v.IsNull() {
			return nil, false
		}
		out[i] = v
	}
	return out, true
}

// blocks refuses work that depends on something parked.
func (h *holds) blocks(b *batch, list []*work) error {
	if h == nil || len(h.rows) == 0 {
		return nil
	}
	var ids []change.TxID
	why := ""
	found := func(list []hold, ok func(hold) bool, reason func() string) {
		for _, hd := range list {
			if !ok(hd) || slices.Contains(ids, hd.id) {
				continue
			}
			if ids = append(ids, hd.id); why == "" {
				why = reason()
			}
		}
	}
	for _, w := range list {
		h.blocksRow(w, found)
		_, after := images(w.t, w.op)
		h.blocksLinks(w, after, found)
		for n, cols := range w.t.unique {
			vals, ok := after.pick(cols)
			if !ok {
				continue
			}
			found(h.unique[uniqueID{w.t, n, change.Key(vals).ID()}], func(hd hold) bool { return true },
				func() string { return fmt.Sprintf("a unique value of row %s of %s", w.op.Key, w.t.schema.Name) })
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return &refusal{code: "depends", depends: ids,
		reason: fmt.Sprintf("it depends on transaction %s, which is in quarantine, through %s", ids[0], why)}
}

type finder func(list []hold, ok func(hold) bool, reason func() string)

// blocksRow finds parked work on the very row that does not commute with w.
func (h *holds) blocksRow(w *work, found finder) {
	clash := func(hd hold) bool {
		if hd.all || hd.kind != change.Update || w.op.Kind != change.Update || w.t.rule.ByRow {
			return true
		}
		for j, c := range w.cols {
			if w.op.Base[j] != w.op.New[j] && slices.Contains(hd.cols, c) && !w.t.cols[c].policy.Commutes() {
				return true
			}
		}
		return false
	}
	found(h.rows[w.id], clash, func() string { return fmt.Sprintf("row %s of %s", w.op.Key, w.t.schema.Name) })
}

// blocksLinks finds parents of w's row that are parked inserts, and parked rows
// that would no longer hang on a row w deletes.
func (h *holds) blocksLinks(w *work, after image, found finder) {
	for _, l := range w.t.parents {
		vals, ok := after.pick(l.from)
		if !ok || !l.byKey {
			continue
		}
		found(h.rows[rowID{l.parent, change.Key(vals).ID()}], func(hd hold) bool { return hd.kind != change.Update },
			func() string {
				return fmt.Sprintf("the parent of row %s of %s in %s", w.op.Key, w.t.schema.Name, l.parent.schema.Name)
			})
	}
	if w.op.Kind != change.Delete {
		return
	}
	img, _ := images(w.t, w.op)
	for i, c := range w.t.key {
		img[c] = w.op.Key[i]
	}
	for _, l := range w.t.children {
		vals, ok := img.pick(l.to)
		if !ok {
			continue
		}
		found(h.refs[linkID{l, change.Key(vals).ID()}], func(hd hold) bool { return true },
			func() string {
				return fmt.Sprintf("the rows of %s that left row %s of %s", l.child.schema.Name, w.op.Key, w.t.schema.Name)
			})
	}
}
