package postgresstore

import (
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// A row that others point at does not go at once when the hub deletes it: the foreign
// keys' actions would be done without the hub's knowing of them, which decides about
// the rows below by itself, and tells their authors. Until the savepoint ends such a
// row is hidden; what then still points at it meets the database's own action.

// hide takes those deletes out of a lot of writes.
func (t *tx) hide(ops []op) ([]op, error) {
	out := ops[:0:0]
	for _, o := range ops {
		if o.e.Kind == change.Delete && o.t.cascades {
			held, err := t.held(&o)
			if err != nil {
				return nil, err
			}
			if held {
				t.late = append(t.late, o)
				continue
			}
		}
		out = append(out, o)
	}
	t.see()
	return out, nil
}

// revive looks for writes to hidden rows: one that is inserted again was changed.
func (t *tx) revive(ops []op) []op {
	if len(t.late) == 0 {
		return ops
	}
	out := ops[:0:0]
	for _, o := range ops {
		at := slices.IndexFunc(t.late, func(l op) bool { return l.id == o.id })
		switch {
		case at < 0:
		case o.e.Kind == change.Delete:
			continue
		case o.e.Kind == change.Insert:
			t.late = slices.Delete(slices.Clone(t.late), at, at+1)
			o = o.asUpdate()
		}
		out = append(out, o)
	}
	t.see()
	return out
}

// see makes reads agree with what is hidden.
func (t *tx) see() {
	t.hidden = nil
	for _, o := range t.late {
		if t.hidden == nil {
			t.hidden = map[string]bool{}
		}
		t.hidden[o.id] = true
	}
}

// finish sends what is kept back, and lets go the rows hidden since there were from of
// them.
func (t *tx) finish(from int) error {
	if err := t.put(); err != nil {
		return err
	}
	if len(t.late) <= from {
		return nil
	}
	ops := slices.Clone(t.late[from:])
	t.late = t.late[:from]
	t.see()
	return t.send(ops)
}
