package postgresstore

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// arrange puts writes in an order that the database's foreign keys allow, which act
// at once. Whoever wrote them had keys that are checked at the end: children may
// come before their parents, and a parent may go and come back under the children.
//
// The order stays as it is but for parents inserted before children and children
// deleted before parents; only where a row goes that others may be made to point
// away from, or comes that others are made to point to, inserts come first and
// deletes last. A row whose unique values another one is to have cannot go last: it
// is made that one.
func (t *tx) arrange(ops []op) ([]op, error) {
	if len(ops)+len(t.late) < 2 {
		return ops, nil
	}
	number(ops)
	ops, err := t.rejoin(ops)
	if err == nil {
		ops, err = t.replace(ops)
	}
	if err != nil {
		return nil, err
	}
	if crossed(ops) {
		if ops, err = t.rekey(ops); err != nil {
			return nil, err
		}
		slices.SortStableFunc(ops, func(a, b op) int { return cmp.Compare(a.stage(), b.stage()) })
	}
	slots(ops, change.Insert, func(a, b op) int { return cmp.Compare(a.t.rank, b.t.rank) })
	slots(ops, change.Delete, func(a, b op) int { return cmp.Compare(b.t.rank, a.t.rank) })
	return inTurn(ops), nil
}

// stage is when a write comes where rows cross.
func (o *op) stage() int {
	switch {
	case o.e.Kind == change.Insert || o.spread:
		return 0
	case o.e.Kind == change.Update:
		return 1
	}
	return 2 // deletes
}

// slots sorts the writes of one kind among the places that they have.
func slots(ops []op, kind change.OpKind, less func(a, b op) int) {
	var at []int
	var list []op
	for i, o := range ops {
		if o.e.Kind == kind {
			at, list = append(at, i), append(list, o)
		}
	}
	if slices.IsSortedFunc(list, less) {
		return
	}
	slices.SortStableFunc(list, less)
	for i, o := range list {
		ops[at[i]] = o
	}
}

// crossed reports whether a row is deleted, or inserted, in a table that another
// write of the same lot may have rows point at.
func crossed(ops []op) bool {
	var goes, comes []*table
	for _, o := range ops {
		switch {
		case len(o.t.pointers) == 0:
		case o.e.Kind == change.Delete:
			goes = append(goes, o.t)
		case o.e.Kind == change.Insert || o.spread:
			comes = append(comes, o.t)
		}
	}
	for _, o := range ops {
		if o.e.Kind != change.Update {
			continue
		}
		for _, p := range o.t.pointing(o.e.Columns) {
			if slices.Contains(goes, p) || slices.Contains(comes, p) {
				return true
			}
		}
	}
	return false
}

// pointing are the tables at which foreign keys over some of the columns point.
func (t *table) pointing(columns []string) []*table {
	var out []*table
	for _, l := range t.parents {
		if slices.ContainsFunc(l.columns, func(c string) bool { return ledger.ContainsFold(columns, c) }) {
			out = append(out, l.to)
		}
	}
	return out
}

// rejoin makes one update of a row that is deleted and inserted again while others
// point at it: they stay, as they would with keys checked at the end.
func (t *tx) rejoin(ops []op) ([]op, error) {
	gone, pairs := map[string]int{}, map[int]int{} // insert to delete
	for i, o := range ops {
		if len(o.t.pointers) == 0 {
			continue
		}
		at, ok := gone[o.id]
		switch {
		case o.e.Kind == change.Delete:
			gone[o.id] = i
		case o.e.Kind == change.Insert && ok:
			delete(gone, o.id)
			held, err := t.held(&o)
			if err != nil {
				return nil, err
			}
			if held {
				pairs[i] = at
			}
		}
	}
	return join(ops, pairs, func(_, in op) op { return in.asUpdate() }), nil
}

// join puts one write in the place of each pair of an insert and a delete.
func join(ops []op, pairs map[int]int, one func(del, in op) op) []op {
	if len(pairs) == 0 {
		return ops
	}
	dead := map[int]bool{}
	for _, d := range pairs {
		dead[d] = true
	}
	out := make([]op, 0, len(ops))
	for i, o := range ops {
		if dead[i] {
			continue
		}
		if d, ok := pairs[i]; ok {
			o = one(ops[d], o)
		}
		out = append(out, o)
	}
	return out
}

// held reports whether rows point at the one that a write is about.
func (t *tx) held(o *op) (held bool, err error) {
	return t.heldBy(o, func(*pointer) bool { return true })
}

// heldBy is held for some of the foreign keys.
func (t *tx) heldBy(o *op, which func(*pointer) bool) (held bool, err error) {
	key, err := o.t.keyArgs(o.e.Key)
	if err != nil || key == nil {
		return false, err
	}
	var parts []string
	for i := range o.t.pointers {
		if p := &o.t.pointers[i]; which(p) {
			parts = append(parts, "EXISTS (SELECT FROM "+p.child.name+" AS c WHERE "+equals(p.child.pick("c.", p.from), o.t.pick("t.", p.to))+")")
		}
	}
	if len(parts) == 0 {
		return false, nil
	}
	err = query(t.ctx, t.c, "SELECT "+strings.Join(parts, " OR ")+" FROM "+o.t.name+" AS t WHERE "+o.t.where(1), func(r *row) error {
		held = r.bool(0)
		return nil
	}, key...)
	if err != nil {
		return false, fmt.Errorf("look for rows that point at one of %s: %w", o.t.def.Name, err)
	}
	return held, nil
}

// rekey finds the inserts that take the unique values of rows to be deleted, and makes
// of both an update of the key, where the database then carries it on to whoever points
// at the row.
func (t *tx) rekey(ops []op) ([]op, error) {
	pairs := map[int]int{}
	for i, in := range ops {
		if in.e.Kind != change.Insert || len(in.t.pointers) == 0 || len(in.t.def.Unique) == 0 {
			continue
		}
		for j, del := range ops {
			if del.e.Kind != change.Delete || del.t != in.t {
				continue
			}
			same, err := t.gives(&del, &in)
			if err != nil {
				return nil, err
			}
			if same {
				pairs[i] = j
				break
			}
		}
	}
	return join(ops, pairs, asRekey), nil
}

// replace is rekey for rows that are hidden.
func (t *tx) replace(ops []op) ([]op, error) {
	for i, in := range ops {
		if in.e.Kind != change.Insert || len(in.t.def.Unique) == 0 {
			continue
		}
		for j := range t.late {
			if t.late[j].t != in.t {
				continue
			}
			same, err := t.gives(&t.late[j], &in)
			if err != nil {
				return nil, err
			}
			if same {
				ops[i] = asRekey(t.late[j], in)
				t.late = slices.Delete(slices.Clone(t.late), j, j+1)
				t.see()
				break
			}
		}
	}
	return ops, nil
}

// asRekey is an insert over the row that a delete is about.
func asRekey(del, in op) op {
	in.e.Kind, in.e.Key, in.id = change.Update, del.e.Key, del.id
	in.spread = true
	in.turns = slices.Concat(in.turns, del.turns)
	return in
}

// gives reports whether a row about to be deleted has a unique value of one about to
// come, and the database carries its key on to all who point at it.
func (t *tx) gives(del, in *op) (bool, error) {
	same, err := t.clash(del, in)
	if err != nil || !same {
		return false, err
	}
	return t.carries(del)
}

// carries reports whether a changed key is carried on to all who point at a row.
func (t *tx) carries(o *op) (bool, error) {
	held, err := t.heldBy(o, func(p *pointer) bool { return p.onUpdate != "CASCADE" })
	return !held, err
}

// clash reports whether a row about to be deleted has a unique value of one about to
// come.
func (t *tx) clash(del, in *op) (same bool, err error) {
	key, err := del.t.keyArgs(del.e.Key)
	if err != nil || key == nil {
		return false, err
	}
	list := args{list: key}
	var parts []string
	for _, u := range in.t.def.Unique {
		var conds []string
		for _, c := range u.Columns {
			at := -1
			if c >= 0 {
				at = ledger.IndexFold(in.e.Columns, in.t.def.Columns[c].Name)
			}
			if at < 0 {
				conds = nil
				break
			}
			col := &in.t.cols[ledger.IndexFold(in.t.names, in.e.Columns[at])]
			p, err := col.put(in.e.Values[at])
			if err != nil {
				return false, nil //nolint:nilerr // it will be said when it is written
			}
			list.add(p.arg)
			conds = append(conds, "t."+col.quoted+" = "+col.match(len(list.list)))
		}
		if len(conds) > 0 {
			parts = append(parts, "("+strings.Join(conds, " AND ")+")")
		}
	}
	if len(parts) == 0 {
		return false, nil
	}
	err = query(t.ctx, t.c, "SELECT FROM "+del.t.name+" AS t WHERE "+del.t.where(1)+" AND ("+strings.Join(parts, " OR ")+")", func(*row) error {
		same = true
		return nil
	}, list.list...)
	if err != nil {
		return false, fmt.Errorf("compare unique values of %s: %w", del.t.def.Name, err)
	}
	return same, nil
}

// asUpdate is an insert over the row that is still there.
func (o op) asUpdate() op {
	o.e.Kind = change.Update
	var cols []string
	var vals []change.Value
	for i, c := range o.e.Columns {
		if !ledger.ContainsFold(o.t.keyNames, c) {
			cols, vals = append(cols, c), append(vals, o.e.Values[i])
		}
	}
	for i, c := range o.t.names { // what is left out would have become its default
		if !ledger.ContainsFold(o.e.Columns, c) && !slices.Contains(o.t.key, i) {
			o.defaults = append(o.defaults, c)
		}
	}
	o.e.Columns, o.e.Values = cols, vals
	return o
}

// A link is a foreign key between synced tables.
type link struct {
	columns []string
	to      *table
	byKey   bool // it names the other table's key
}

// A pointer is a foreign key from its other end.
type pointer struct {
	child    *table
	from, to []int // stored columns of the child, and of the table it points at
	onUpdate string
}

// relate finds how tables point at each other. The tables are in their order.
func (p *plan) relate() {
	for _, t := range p.tables {
		for _, fk := range t.def.ForeignKeys {
			at := p.list.Index(fk.Parent)
			if at < 0 {
				continue
			}
			up := p.tables[at]
			l, back := link{to: up, byKey: slices.EqualFunc(fk.To, up.keyNames, strings.EqualFold)}, pointer{child: t, onUpdate: fk.OnUpdate}
			for i, c := range fk.Columns {
				l.columns = append(l.columns, t.def.Columns[c].Name)
				back.from = append(back.from, ledger.IndexFold(t.names, t.def.Columns[c].Name))
				back.to = append(back.to, ledger.IndexFold(up.names, fk.To[i]))
			}
			t.parents = append(t.parents, l)
			if !slices.Contains(back.from, -1) && !slices.Contains(back.to, -1) {
				up.pointers = append(up.pointers, back)
			}
		}
	}
}
