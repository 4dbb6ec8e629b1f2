package postgresstore

import (
	"errors"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// An Update hurries: transactions whose writes are plain ones are not sent each in a
// savepoint, but together at the end, table by table (bulk.go). Nearly always all of them
// fit. Where the database refuses one, nothing tells whose it was: then the whole Update
// runs again and takes its time, with a savepoint for each.

// errHaste says that an Update must run again without hurry.
var errHaste = errors.New("what was written together does not fit")

// haste is what an Update that hurries keeps.
type haste struct {
	never bool // it runs again
	open  bool // a savepoint is open of which the database does not know
	point savepoint
	ops   []op // of the savepoints that are done
}

// hasty reports whether the next savepoint can do without the database.
func (t *tx) hasty() bool {
	return !t.haste.never && t.depth == 0 && t.seen.calm && !t.p.deferred && len(t.p.run) == 0 && len(t.late) == 0 && t.fault == nil
}

// hurry is Savepoint when nothing may have to be sent.
func (t *tx) hurry(fn func() error) error {
	if len(t.ops) > 0 { // written outside of any
		if err := t.put(); err != nil {
			return err
		}
	}
	t.haste.open, t.haste.point, t.depth = true, t.begin(), 1
	err := fn()
	if err == nil && t.haste.open && !t.plain() {
		err = t.catchUp()
	}
	if !t.haste.open {
		return t.leave(&t.haste.point, err)
	}
	t.haste.open, t.depth = false, 0
	if err != nil {
		t.by, t.ops = t.haste.point.by, nil
		t.unlearn(t.haste.point.undo)
		return err
	}
	t.haste.ops = append(t.haste.ops, t.ops...)
	clear(t.ops)
	t.ops = t.ops[:0] // the next savepoint's
	if len(t.haste.ops) >= opsKept {
		return t.catchUp()
	}
	return nil
}

// catchUp sends what was put off, and sets the savepoint that is open.
func (t *tx) catchUp() error {
	if len(t.haste.ops) > 0 {
		ops := t.haste.ops
		t.haste.ops = nil
		if err := t.bulk(ops); err != nil {
			if !collided(err) {
				err = errors.Join(errHaste, err)
			}
			t.fault = err
			return err
		}
	}
	if !t.haste.open {
		return nil
	}
	if err := t.keep(); err != nil { // as in Savepoint
		return err
	}
	t.haste.open = false
	t.set(&t.haste.point)
	return nil
}

// plain reports whether the writes kept back do just what they say, in any order that has
// parents before their children.
func (t *tx) plain() bool {
	for i := range t.ops {
		if !t.ops[i].plain() {
			return false
		}
	}
	return true
}

func (o *op) plain() bool {
	if o.puts == nil || o.t.dangles || o.t.loose || o.t.rel.amends {
		return false
	}
	switch o.e.Kind {
	case change.Insert:
		return slices.Equal(o.e.Columns, o.t.names)
	case change.Update:
		return o.was != nil && !o.spread && o.defaults == nil && !slices.ContainsFunc(o.e.Columns, o.t.weighty)
	}
	return false
}

// weighty reports whether more than its own row hangs on a column.
func (t *table) weighty(name string) bool {
	c := ledger.IndexFold(t.names, name)
	if c < 0 || t.cols[c].always || slices.Contains(t.key, c) || slices.Contains(t.sources(), c) || slices.Contains(t.targets(), c) {
		return true
	}
	for _, u := range t.def.Unique {
		for _, i := range u.Columns {
			if i < 0 || t.def.Columns[i].Name == t.names[c] {
				return true
			}
		}
	}
	return t.pointedAt(name)
}

// pointedAt reports whether foreign keys point at a column.
func (t *table) pointedAt(name string) bool {
	c := ledger.IndexFold(t.names, name)
	return slices.ContainsFunc(t.pointers, func(p pointer) bool { return slices.Contains(p.to, c) })
}

// learn notes what a write makes of its row.
func (t *tx) learn(o *op) {
	f := &t.seen
	if f.blind || f.rows == nil {
		return
	}
	if len(t.p.run) > 0 || o.t.cascades && o.e.Kind == change.Delete ||
		o.e.Kind == change.Update && slices.ContainsFunc(o.e.Columns, o.t.pointedAt) { // it may change other rows, too
		t.forget()
		return
	}
	if by, ok := f.writers[o.id]; ok && by != o.by.Origin {
		f.writers[o.id] = severalWriters
	} else {
		f.writers[o.id] = o.by.Origin
	}
	old := f.rows[o.id]
	f.undo = append(f.undo, undone{o.id, old})
	delete(f.rows, o.id)
	o.ready()
	if o.puts == nil {
		return
	}
	var now []change.Value
	switch {
	case o.e.Kind == change.Insert && slices.Equal(o.e.Columns, o.t.names):
		now = make([]change.Value, len(o.t.names))
	case o.e.Kind == change.Update && old != nil && old.values != nil && !slices.ContainsFunc(o.e.Columns, o.t.weighty):
		o.was = old.values
		now = slices.Clone(old.values)
	default:
		return
	}
	for i, n := range o.e.Columns {
		now[ledger.IndexFold(o.t.names, n)] = o.puts[i].now
	}
	f.rows[o.id] = &knownRow{now}
}

// ready makes the values ready when it is certain how each will be stored.
func (o *op) ready() {
	if o.e.Kind == change.Delete || o.t.rel.amends || len(o.t.names) != len(o.t.def.Columns) { // generated columns follow the others
		return
	}
	puts := make([]put, len(o.e.Values))
	for i, v := range o.e.Values {
		c := ledger.IndexFold(o.t.names, o.e.Columns[i])
		if c < 0 {
			return
		}
		p, err := o.t.cols[c].put(v)
		if err != nil || !p.sure || p.now != v {
			return
		}
		puts[i] = p
	}
	o.puts = puts
}

// unlearn takes back what the writes since some place taught.
func (t *tx) unlearn(from int) {
	f := &t.seen
	for i := len(f.undo) - 1; i >= from; i-- {
		u := f.undo[i]
		if u.row == nil {
			delete(f.rows, u.id)
		} else {
			f.rows[u.id] = u.row
		}
	}
	f.undo = f.undo[:min(from, len(f.undo))]
}
