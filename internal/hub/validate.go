package hub

import (
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// A work is one operation on its way into the database.
type work struct {
	op   *change.Op // in the hub's names and types
	raw  *change.Op // as it came
	gone []letGo    // values for columns that were given up
	at   int        // its place in the transaction
	t    *table
	id   rowID          // set for a transaction's own operations
	cols []int          // op.Columns as indices into t.names; -1 in a Delete: a column the hub lacks
	row  []change.Value // the hub's row before; nil when absent
	read bool           // row was read

	kind    change.OpKind  // what to write; 0: nothing
	set     []int          // for Update: columns to write
	result  []change.Value // the row after, nil when gone
	byHub   bool           // the result is not what the edge has: written as the hub's own
	touch   bool           // nothing to write, but the edge must receive the row again
	hlc     change.HLC     // of the write, when byHub
	lost    bool           // a delete that lost: the row stays
	partial bool           // an insert that leaves columns to their defaults
}

// inspect judges a transaction's form against the hub's schema, by names, and
// turns its operations into work (traps D14, D16).
func (b *batch) inspect(t *change.Transaction) ([]*work, error) {
	lim := b.hub.limits
	if len(t.Ops) > lim.Ops {
		return nil, refuse("oversized", "the transaction changes %d rows; this hub takes at most %d in one", len(t.Ops), lim.Ops)
	}
	total := 0
	list := make([]work, len(t.Ops))
	out := make([]*work, 0, len(t.Ops))
	for i := range t.Ops {
		op := &t.Ops[i]
		if op.BaseAt < 0 || op.BaseAt >= len(t.Bases) {
			return nil, refuse("malformed", "operation %d names no base cursor", i)
		}
		size := 0
		for _, v := range op.New {
			size += v.Size()
		}
		for _, v := range op.Base {
			total += v.Size()
		}
		if size > lim.Row {
			return nil, refuse("oversized", "row %s of %s holds %d bytes; this hub takes at most %d in one", op.Key, op.Table, size, lim.Row)
		}
		total += size
		if idle(op) { // it asks for nothing
			continue
		}
		list[i] = work{op: op, raw: op, at: i}
		out = append(out, &list[i])
		if err := b.inspectOp(&list[i]); err != nil {
			return nil, err
		}
	}
	if total > lim.Tx {
		return nil, refuse("oversized", "the transaction holds %d bytes; this hub takes at most %d in one", total, lim.Tx)
	}
	return out, nil
}

func (b *batch) inspectOp(w *work) error {
	op := w.op
	w.t = b.shape.table(op.Table)
	if w.t == nil {
		if why := b.shape.lostReason(op.Table); why != "" {
			return refuse("unknown-table", "the hub cannot serve table %s now: %s; bring the table back, or take it out of tidemark.yaml, then retry", op.Table, why)
		}
		return refuse("unknown-table", "the hub has no synced table %s: bring its schema and rules up to date, or say in tidemark.yaml what it is called now (was), then retry", op.Table)
	}
	if w.t.closed != "" {
		return refuse("rule", "a rule of table %s does not fit the table any more (%s): correct tidemark.yaml, then retry", w.t.schema.Name, w.t.closed)
	}
	if w.t.rule.Reference && b.rights[operator] == 0 {
		return refuse("read-only", "table %s is for reference: only the hub may write it (row %s)", w.t.schema.Name, op.Key)
	}
	if len(op.Key) != len(w.t.key) {
		return refuse("malformed", "row %s of %s: the hub's key has %d columns, this one %d", op.Key, w.t.schema.Name, len(w.t.key), len(op.Key))
	}
	for _, v := range op.Key {
		if v.IsNull() {
			return refuse("malformed", "a row of %s has NULL in its primary key %s", w.t.schema.Name, op.Key)
		}
	}
	if err := b.inspectColumns(w); err != nil {
		return err
	}
	op = w.op
	wantNew, wantBase := len(op.Columns), len(op.Columns)
	switch op.Kind {
	case change.Insert:
		wantBase = 0
	case change.Delete:
		wantNew = 0
	case change.Update:
	default:
		return refuse("malformed", "row %s of %s: unknown operation %d", op.Key, w.t.schema.Name, op.Kind)
	}
	if len(op.New) != wantNew || len(op.Base) != wantBase {
		return refuse("malformed", "row %s of %s: %s carries %d new and %d base values for %d columns", op.Key, w.t.schema.Name, op.Kind, len(op.New), len(op.Base), len(op.Columns))
	}
	w.retype()
	w.id = rowID{w.t, w.op.Key.ID()}
	return w.inspectValues()
}

func (b *batch) inspectColumns(w *work) error {
	if len(w.op.Columns) == 0 {
		return nil
	}
	m, err := b.mapColumns(w.t, w.op)
	if err != nil {
		return err
	}
	w.cols = m.cols
	w.rename(&m)
	return nil
}

func (w *work) inspectValues() error {
	op := w.op
	for i, v := range op.New {
		c := w.cols[i]
		if (v.Kind() == change.KindText || v.Kind() == change.KindBlob) && !takes(w.t.cols[c].affinity, v) {
			return refuse("type", "row %s of %s: column %s is declared %s and cannot hold the %s %s", op.Key, w.t.schema.Name,
				w.t.names[c], w.t.schema.Columns[w.t.schema.Column(w.t.names[c])].Type, v.Kind(), brief(v))
		}
		if w.t.cols[c].inKey && op.Kind == change.Update {
			return refuse("malformed", "row %s of %s: an update may not change key column %s", op.Key, w.t.schema.Name, w.t.names[c])
		}
	}
	if op.Kind != change.Insert {
		return nil
	}
	w.result = make([]change.Value, len(w.t.names))
	for i, c := range w.cols {
		w.result[c] = op.New[i]
	}
	if !w.t.keyOf(w.result).Equal(op.Key) {
		return refuse("malformed", "row %s of %s: the inserted values have another key, %s", op.Key, w.t.schema.Name, w.t.keyOf(w.result))
	}
	w.partial = len(op.Columns) < len(w.t.names)
	return nil
}

// takes reports whether a column of this affinity is declared to hold a text or
// blob. A text that is a number has become one before.
func takes(a change.Affinity, v change.Value) bool {
	return a != change.AffinityInteger && a != change.AffinityReal
}

// brief renders a value for a reason, cut to a bearable length.
func brief(v change.Value) string {
	const most = 40
	s := v.String()
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
