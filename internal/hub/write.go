package hub

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A writer puts work into the database under the right name: the edge's for what
// the edge has already, the hub's own for everything that must reach it too.
type writer struct {
	tx     Tx
	scopes map[rowID]rule.ScopeID // forgotten when parents move
	set    bool                   // as was called
	origin change.Incarnation
	hlc    change.HLC
}

func (wr *writer) as(origin change.Incarnation, hlc change.HLC) error {
	if wr.set && wr.origin == origin && wr.hlc == hlc {
		return nil
	}
	if err := wr.tx.As(origin, hlc); err != nil {
		return fmt.Errorf("set origin: %w", err)
	}
	wr.set, wr.origin, wr.hlc = true, origin, hlc
	return nil
}

// put writes one work.
func (wr *writer) put(w *work, origin change.Incarnation, hlc change.HLC) error {
	if w.byHub {
		origin, hlc = change.Incarnation{}, w.hlc
	}
	if err := wr.as(origin, hlc); err != nil {
		return err
	}
	name := w.t.schema.Name
	if w.kind == 0 {
		err := wr.tx.Touch(name, w.op.Key)
		if errors.Is(err, ErrNotFound) { // gone, and the edge's shadow says so
			return nil
		}
		return err
	}
	e := Effect{Table: name, Kind: w.kind, Key: w.op.Key}
	if w.movesChildren() {
		clear(wr.scopes)
	}
	switch w.kind {
	case change.Insert:
		e.Columns, e.Values = w.t.names, w.result
		if w.partial {
			e.Columns = w.op.Columns
			e.Values, _ = pick(w.result, w.cols)
		}
	case change.Update:
		e.Columns, e.Values = w.updated()
	}
	return wr.tx.Write(e)
}

// movesChildren reports whether writing w may change the scope of other rows.
func (w *work) movesChildren() bool {
	if len(w.t.children) == 0 {
		return false
	}
	return w.kind == change.Delete || w.kind == change.Update && slices.Contains(w.set, w.t.scopeCol)
}

// updated is the columns an update writes; the operation's own lists when they
// are exactly that.
func (w *work) updated() ([]string, []change.Value) {
	if !w.byHub && len(w.set) == len(w.op.New) && slices.Equal(w.set, w.cols) {
		return w.op.Columns, w.op.New
	}
	names, vals := make([]string, len(w.set)), make([]change.Value, len(w.set))
	for i, c := range w.set {
		names[i], vals[i] = w.t.names[c], w.result[c]
	}
	return names, vals
}

// write puts all work into the database: deletes from the children up, then
// updates, then inserts from the parents down, so that values are free before
// they are taken.
func (a *attempt) write() error {
	var deletes, updates, inserts, touches []*work
	for _, w := range a.list {
		switch {
		case w.kind == change.Delete:
			deletes = append(deletes, w)
		case w.kind == change.Update:
			updates = append(updates, w)
		case w.kind == change.Insert:
			inserts = append(inserts, w)
		case w.touch:
			touches = append(touches, w)
		}
	}
	slices.SortStableFunc(deletes, func(x, y *work) int { return cmp.Compare(y.t.rank, x.t.rank) })
	slices.SortStableFunc(updates, func(x, y *work) int { return cmp.Compare(x.t.rank, y.t.rank) })
	slices.SortStableFunc(inserts, func(x, y *work) int { return cmp.Compare(x.t.rank, y.t.rank) })
	put := func(list []*work) error {
		for _, w := range list {
			if err := a.put(w); err != nil {
				return err
			}
		}
		return nil
	}
	if err := put(deletes); err != nil {
		return err
	}
	update := put
	if a.careful {
		update = a.shuffle
	}
	for _, step := range []func() error{
		func() error { return update(updates) },
		func() error { return put(inserts) },
		func() error { return put(touches) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return a.readDefaults(inserts)
}

func (a *attempt) put(w *work) error { return a.writer.put(w, a.tx.Incarnation, a.hlc) }

// shuffle writes updates that may take unique values from each other: those that
// fail wait for the others, and what remains trades places, which takes deleting
// all of them and inserting them anew.
func (a *attempt) shuffle(list []*work) error {
	for len(list) > 0 {
		var stuck []*work
		for _, w := range list {
			a.writer.set = false // an undone savepoint takes the origin along
			err := a.batch.tx.Savepoint(func() error { return a.put(w) })
			if ce, ok := errors.AsType[*ConstraintError](err); ok && ce.Kind == "unique" {
				stuck = append(stuck, w)
			} else if err != nil {
				return err
			}
		}
		a.writer.set = false
		if len(stuck) == len(list) {
			return a.trade(list)
		}
		list = stuck
	}
	return nil
}

func (a *attempt) trade(list []*work) error {
	for _, w := range list {
		w.kind = change.Delete
		if err := a.put(w); err != nil {
			return err
		}
	}
	for _, w := range list {
		w.kind = change.Insert
		if err := a.put(w); err != nil {
			return err
		}
		w.kind = change.Update
	}
	return nil
}

// readDefaults reads back inserted rows whose author did not know all columns.
func (a *attempt) readDefaults(list []*work) error {
	for _, w := range list {
		if !w.partial || w.kind != change.Insert {
			continue
		}
		row, err := a.batch.tx.Row(w.t.schema.Name, w.op.Key)
		if err != nil {
			return fmt.Errorf("read row of %s: %w", w.t.schema.Name, err)
		}
		if row != nil {
			w.result = row
		}
	}
	return nil
}
