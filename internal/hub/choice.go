package hub

import (
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A choice is a column of a parked update whose value a person gave, with the hub's
// before them: Base holds what that was. While it stands there is nothing left to
// decide.
type choice struct {
	Table  string     `json:"table"`
	Key    change.Key `json:"key"`
	Column string     `json:"column"`
}

// edited names what edits give values for, as the transaction calls it.
func edited(t *change.Transaction, edits []Edit) (out []choice) {
	for _, e := range edits {
		if e.Op >= 0 && e.Op < len(t.Ops) && !e.Drop {
			out = append(out, choice{t.Ops[e.Op].Table, t.Ops[e.Op].Key, e.Column})
		}
	}
	return out
}

func holdsChoice(list []choice, table string, key change.Key, column string) bool {
	return slices.ContainsFunc(list, func(c choice) bool {
		return c.Table == table && (column == "" || c.Column == column) && c.Key.ID() == key.ID()
	})
}

// choose notes what a person decided in work that was just edited. Where a row stays
// whole, that is all of the row. A column that is computed goes on from what its author
// had seen: there an edit corrects the amount.
func (b *batch) choose(p *Parked, list []*work, edits []choice) error {
	for _, w := range list {
		if w.op.Kind != change.Update || !holdsChoice(edits, w.raw.Table, w.raw.Key, "") {
			continue
		}
		row, err := b.tx.Row(w.t.schema.Name, w.op.Key)
		if err != nil {
			return fmt.Errorf("read row %s of %s: %w", w.op.Key, w.t.schema.Name, err)
		}
		if row == nil {
			continue
		}
		base := slices.Clone(w.raw.Base)
		for i, name := range w.raw.Columns {
			j := w.column(name)
			if j < 0 || w.t.cols[j].policy.Computed() || !w.t.rule.ByRow && !holdsChoice(edits, w.raw.Table, w.raw.Key, name) {
				continue
			}
			base[i] = row[j]
			p.Chosen = append(p.Chosen, choice{w.t.schema.Name, w.op.Key, w.t.names[j]})
		}
		w.raw.Base = base
	}
	return nil
}

// column is the index of the hub's column that the transaction calls name; -1: none.
func (w *work) column(name string) int {
	i := w.raw.Column(name)
	if i < 0 || i >= len(w.cols) || len(w.cols) != len(w.raw.Columns) { // some were given up
		return -1
	}
	return w.cols[i]
}

// chosen reports whether a person decided the j-th column of an update, and the hub's
// value is still the one that they saw.
func (a *attempt) chosen(w *work, j int) bool {
	c := w.cols[j]
	return len(a.review.choices) > 0 && w.op.Base[j] == w.row[c] && holdsChoice(a.review.choices, w.t.schema.Name, w.op.Key, w.t.names[c])
}

// chosenWhole is chosen for all that an update writes.
func (a *attempt) chosenWhole(w *work) bool {
	for j := range w.cols {
		if !a.chosen(w, j) {
			return false
		}
	}
	return len(w.cols) > 0
}

// The codes of what a policy leaves to a person.
const (
	codeManual   = "manual"   // it says so
	codeConflict = "conflict" // it cannot decide about these values
)

func undecided(p rule.Policy) string {
	if p == rule.Manual {
		return codeManual
	}
	return codeConflict
}
