package edge

import (
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// show computes what the application sees of a row: the hub's version with the
// pending operations on top, oldest first. shadow is the hub's version, local the
// row as it stands in the file; nil is an absent row. The arguments are not
// modified.
//
// A row that is gone at the hub while edits to it are pending stays as it stands
// locally until their outcome: work in progress never vanishes by itself.
func show(t *table, rules *rule.Table, shadow, local []change.Value, ops []*change.Op) []change.Value {
	cur := slices.Clone(shadow)
	asLocal := false // cur is the local row: it holds the edits already
	for _, op := range ops {
		switch op.Kind {
		case change.Insert:
			if cur == nil {
				cur = make([]change.Value, len(t.names))
			}
			asLocal = false
			assign(t, cur, op.Columns, op.New)
		case change.Update:
			if !asLocal && local != nil && (cur == nil || rules.ByRow) {
				cur, asLocal = slices.Clone(local), true
			}
			if cur == nil || asLocal {
				continue
			}
			for i, c := range op.Columns {
				if j := t.column(c); j >= 0 {
					cur[j] = merge.Overlay(rules.PolicyOf(t.names[j]), cur[j], op.Base[i], op.New[i])
				}
			}
		case change.Delete:
			cur, asLocal = nil, false
		}
	}
	return cur
}

// advance is the hub's version after it applied an operation as it was.
func advance(t *table, shadow []change.Value, op *change.Op) []change.Value {
	switch op.Kind {
	case change.Insert:
		out := make([]change.Value, len(t.names))
		assign(t, out, op.Columns, op.New)
		return out
	case change.Update:
		if shadow == nil {
			return nil
		}
		out := slices.Clone(shadow)
		assign(t, out, op.Columns, op.New)
		return out
	}
	return nil
}

// assign sets columns of a row in table order by name. Columns that this file
// does not have are left out (trap D16).
func assign(t *table, row []change.Value, cols []string, vals []change.Value) {
	for i, c := range cols {
		if j := t.column(c); j >= 0 {
			row[j] = vals[i]
		}
	}
}

// ops returns what a transaction does to one row.
func (a *applier) ops(seq uint64, tr *track) ([]*change.Op, error) {
	x, err := a.tx(seq)
	if err != nil {
		return nil, err
	}
	return x.ops[rowRef{tr.t.schema.Name, tr.id}], nil
}

// An outgoing is an exported transaction, its operations found by row.
type outgoing struct {
	tx  *change.Transaction
	ops map[rowRef][]*change.Op
}

// tx reads an exported transaction, once per attempt.
func (a *applier) tx(seq uint64) (*outgoing, error) {
	if x := a.txs[seq]; x != nil {
		return x, nil
	}
	tx, err := a.e.transaction(seq)
	if err != nil {
		return nil, err
	}
	x := &outgoing{tx: tx, ops: make(map[rowRef][]*change.Op, len(tx.Ops))}
	for i := range tx.Ops {
		op := &tx.Ops[i]
		if t := a.e.tableNamed(op.Table); t != nil {
			r := rowRef{t.schema.Name, op.Key.ID()}
			x.ops[r] = append(x.ops[r], op)
		}
	}
	a.txs[seq] = x
	return x, nil
}

// target computes what a tracked row becomes in the file.
func (a *applier) target(tr *track) ([]change.Value, error) {
	if err := a.load(tr); err != nil {
		return nil, err
	}
	var ops []*change.Op
	for _, seq := range tr.seqs {
		if a.aside[seq] {
			continue
		}
		list, err := a.ops(seq, tr)
		if err != nil {
			return nil, err
		}
		ops = append(ops, list...)
	}
	return show(tr.t, a.e.rules(tr.t), tr.shadow, tr.local, ops), nil
}

// active reports whether unsettled work is shown on top of the hub's version.
func (a *applier) active(tr *track) bool {
	for _, seq := range tr.seqs {
		if !a.aside[seq] {
			return true
		}
	}
	return false
}

// overlay writes the tracked rows that the pull or an outcome touched, and those
// that had to make room for one of them: they may stand before it in the order.
func (a *applier) overlay() error {
	for again := true; again; {
		again = false
		for _, tr := range a.order {
			if tr.done || !tr.dirty && len(tr.seqs) > 0 {
				continue
			}
			again = true
			if err := a.overlayRow(tr); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applier) overlayRow(tr *track) error {
	if err := a.touch(tr); err != nil {
		return err
	}
	want, err := a.target(tr)
	if err != nil {
		return err
	}
	tr.done = true
	if tr.stands && !a.gone(tr) && slices.Equal(want, tr.local) && (want == nil) == (tr.local == nil) {
		return nil
	}
	if want == nil {
		return a.remove(tr.t, tr.key, tr.id)
	}
	// A refusal may bring back a child whose parent was deleted here meanwhile.
	a.wrote[strings.ToLower(tr.t.schema.Name)] = true
	return a.put(tr.t, tr.key, tr.id, want)
}

// gone reports whether a row was taken out of the way for a moment.
func (a *applier) gone(tr *track) bool {
	_, ok := a.displ[rowRef{tr.t.schema.Name, tr.id}]
	return ok
}

// touch marks a tracked row for recomputing, and reads it before anything writes it.
func (a *applier) touch(tr *track) (err error) {
	tr.dirty = true
	if tr.read {
		return nil
	}
	tr.read, tr.stands = true, true
	tr.local, err = a.e.readRow(tr.t, tr.key)
	return err
}

// load reads the hub's version of a tracked row.
func (a *applier) load(tr *track) error {
	if tr.loaded {
		return nil
	}
	row, _, err := a.e.shadow(tr.t, tr.id)
	tr.shadow, tr.loaded = row, err == nil
	return err
}

// learn makes a row the hub's version of a tracked row.
func (tr *track) learn(row []change.Value) { tr.shadow, tr.loaded, tr.changed = row, true, true }

// storeShadows writes the hub's versions that changed, and forgets those of rows
// without pending work.
func (a *applier) storeShadows() error {
	for _, tr := range a.order {
		var err error
		r := a.removal[rowRef{tr.t.schema.Name, tr.id}]
		switch {
		case len(tr.seqs) == 0 && (r == nil || !r.held):
			err = sqlite.Exec(a.e.conn, "DELETE FROM _tidemark_shadow WHERE tbl=? AND key=?",
				change.Text(tr.t.schema.Name), change.BlobString(tr.id))
		case tr.changed:
			err = a.e.setShadow(tr.t, tr.id, tr.shadow)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shadow reads the hub's version of a row with pending work, in table order; ok
// is false when the row has none.
func (e *Engine) shadow(t *table, id string) (row []change.Value, ok bool, err error) {
	v, ok, err := sqlite.One(e.conn, "SELECT row FROM _tidemark_shadow WHERE tbl=? AND key=?",
		change.Text(t.schema.Name), change.BlobString(id))
	if err != nil || !ok || v.IsNull() {
		return nil, ok, err
	}
	row, err = t.decodeRow(v.Str())
	return row, true, err
}

func (t *table) decodeRow(body string) ([]change.Value, error) {
	cols, vals, err := change.DecodeRow([]byte(body))
	if err != nil {
		return nil, err
	}
	row := make([]change.Value, len(t.names))
	assign(t, row, cols, vals)
	return row, nil
}

func (e *Engine) setShadow(t *table, id string, row []change.Value) error {
	body := change.Null
	if row != nil {
		body = change.Blob(change.AppendRow(nil, t.names, row))
	}
	return sqlite.Exec(e.conn, "INSERT INTO _tidemark_shadow (tbl, key, row) VALUES (?,?,?) ON CONFLICT (tbl, key) DO UPDATE SET row=excluded.row",
		change.Text(t.schema.Name), change.BlobString(id), body)
}

// rules returns a table's rules; the zero Table when there are none.
func (e *Engine) rules(t *table) *rule.Table {
	if e.setup != nil {
		if r := e.setup.Rules.Table(t.schema.Name); r != nil {
			return r
		}
	}
	return &rule.Table{Name: t.schema.Name}
}
