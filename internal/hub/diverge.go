package hub

import (
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Two copies of a file may each have gone on with the same waiting work before either
// handed it in. Their transactions begin alike, and neither holds the other: what the
// common beginning did to a row is in both, and nowhere by itself.

// within reports whether op did all that prev did to the row, and went on from there.
func within(prev, op *change.Op) bool {
	for _, r := range prev.Rows {
		if !slices.Contains(op.Rows, r) {
			return false
		}
	}
	return true
}

// forked reports whether op updated a row that prev updated or deleted, and both went
// different ways. Then op is decided on with its own base, like any two edits that did
// not know of each other.
func forked(prev, op *change.Op) bool {
	return prev != nil && prev.Kind != change.Insert && op.Kind == change.Update && !within(prev, op)
}

// diverged refuses a copy's transaction when a column that adds up went two ways: how
// much of it was counted with the other copy cannot be told any more.
func (b *batch) diverged(t *change.Transaction, ops []change.Op, places []uint32, earlier []*change.Transaction) error {
	for i := range ops {
		op := &t.Ops[places[i]]
		tb := b.shape.table(op.Table)
		prev := overlap(op, earlier)
		if tb == nil || prev == nil || within(prev, op) {
			continue
		}
		for _, name := range slices.Concat(op.Columns, prev.Columns) {
			c := tb.column(name)
			if c < 0 || tb.cols[c].policy != rule.Counter || op.Kind == change.Delete {
				continue
			}
			return refuse("diverged", "row %s of %s: the file was copied while this work waited in it, and both copies went on with it before they called; how much of %s the other copy has handed in already cannot be told: compare, set the value with queue edit, then retry, or discard",
				op.Key, tb.schema.Name, strings.ToLower(name))
		}
	}
	return nil
}
