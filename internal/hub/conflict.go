package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A standing says what the hub can know about what came after a base cursor.
type standing uint8

const (
	logged  standing = iota // the log tells
	fresh                   // nothing came after it but this batch's own work
	unknown                 // below the floor, or nothing seen at all (trap D21)
	astray                  // of another history: unknown, too, and what was seen may come back
)

func (b *batch) standingOf(c change.Cursor) (standing, error) {
	if c.IsZero() {
		return unknown, nil
	}
	if c == b.start {
		return fresh, nil
	}
	if s, ok := b.stands[c]; ok {
		return s, nil
	}
	s := logged
	switch err := b.tx.Check(c); {
	case errors.Is(err, ErrBelowFloor):
		s = unknown
	case errors.Is(err, ErrOtherHistory):
		s = astray
	case err != nil:
		return 0, fmt.Errorf("check base cursor: %w", err)
	}
	b.stands[c] = s
	return s, nil
}

// A history is what others did to a row since the author of an operation saw it.
type history struct {
	touches []Touch
	unknown bool                 // the log does not reach back: compare values
	own     []change.Incarnation // other lives of the author's file, whose writes it may have seen
}

// history reads what others did to w's row.
func (a *attempt) history(w *work) (history, error) {
	base := a.tx.Bases[w.op.BaseAt]
	st, err := a.standingOf(base)
	if err != nil || st == fresh || a.born[w.id] {
		return history{}, err
	}
	h := history{unknown: st == unknown || st == astray, own: a.dev.Incarnations}
	if len(a.lives) > 0 {
		h.own = slices.Concat(h.own, a.lives)
	}
	if h.unknown {
		base = change.Cursor{} // for the clocks of what the log still has
	}
	h.touches, err = a.batch.tx.Touched(w.t.schema.Name, w.op.Key, base, a.tx.Incarnation)
	if h.unknown && (errors.Is(err, ErrBelowFloor) || errors.Is(err, ErrOtherHistory)) {
		return h, nil // nothing at all is left to tell their clocks by
	}
	if err != nil {
		return h, fmt.Errorf("read log of a row of %s: %w", w.t.schema.Name, err)
	}
	return h, nil
}

// echo reports whether an entry may stand for nothing but what the author had
// seen: the result of a merge, or the work of another life of the file.
func (h *history) echo(e *Touch) bool {
	return e.Merged || slices.Contains(h.own, e.Origin)
}

// last is the newest entry that touched the column, and whether some entry is
// more than an echo. Deletions do not count: the caller
// asks about a row that is there.
func (h *history) last(column string) (t *Touch, foreign bool) {
	for i := range h.touches {
		e := &h.touches[i]
		if e.Kind == change.Delete || e.Columns != nil && !slices.ContainsFunc(e.Columns, func(c string) bool { return strings.EqualFold(c, column) }) {
			continue
		}
		t = e
		foreign = foreign || !h.echo(e)
	}
	return t, foreign
}

// conflict reports whether the author of an edit from base did not see what the
// hub's value hub came from, and its version.
func (h *history) conflict(column string, hub, base change.Value) (merge.Versioned, bool) {
	out := merge.Versioned{Value: hub}
	t, foreign := h.last(column)
	if t != nil {
		out.HLC, out.Origin = t.HLC, t.Origin
	}
	if h.unknown {
		return out, hub != base
	}
	// An echo that left the author's own earlier value stands for nothing new.
	return out, t != nil && (foreign || hub != base)
}

// resolveUpdates decides each update's columns.
func (a *attempt) resolveUpdates() error {
	for _, w := range a.list {
		if w.op.Kind != change.Update || w.emptied() {
			continue
		}
		h, err := a.history(w)
		if err != nil {
			return err
		}
		if w.row == nil {
			back, err := a.missing(w, &h)
			if err != nil {
				return err
			}
			if !back {
				continue
			}
		}
		if err := a.mergeRow(w, &h); err != nil {
			return err
		}
	}
	return nil
}

// mergeRow decides an update of a row that is there.
func (a *attempt) mergeRow(w *work, h *history) error {
	w.result = slices.Clone(w.row)
	before := len(a.receipts)
	var err error
	if w.t.rule.ByRow {
		err = a.mergeWhole(w, h)
	} else {
		err = a.mergeColumns(w, h)
	}
	if err != nil {
		return err
	}
	if len(a.receipts) > before {
		w.byHub = true
	}
	w.close()
	a.merged = a.merged || w.byHub
	return nil
}

// close turns the columns to set into something to write.
func (w *work) close() {
	if len(w.set) > 0 {
		w.kind = change.Update
	} else if w.byHub {
		w.touch = true
	}
}

func (a *attempt) mergeColumns(w *work, h *history) error {
	for j, c := range w.cols {
		base, val := w.op.Base[j], w.op.New[j]
		if base == val || a.keptLink(w, c) {
			continue
		}
		out, err := a.mergeColumn(w, h, j, base, val)
		if err != nil {
			return err
		}
		if out != val {
			w.byHub = true
		}
		if out != w.row[c] {
			w.set = append(w.set, c)
			w.result[c] = out
		}
	}
	return nil
}

// mergeColumn decides one column, the j-th of the update.
func (a *attempt) mergeColumn(w *work, h *history, j int, base, val change.Value) (change.Value, error) {
	c := w.cols[j]
	col, name, hub := &w.t.cols[c], w.t.names[c], w.row[c]
	ver, conflict := h.conflict(name, hub, base)
	conflict = conflict && !a.chosen(w, j)
	edge := merge.Versioned{Value: val, HLC: a.hlc, Origin: a.tx.Incarnation}
	switch {
	case conflict:
		out := merge.Column(col.policy, col.rule, base, ver, edge)
		if out.Park != "" {
			return val, refuse(undecided(col.policy), "row %s of %s, column %s: %s", w.op.Key, w.t.schema.Name, name, out.Park)
		}
		if out.Winner != merge.Edge {
			w.hlc = max(w.hlc, ver.HLC)
		}
		// The edge replacing a value its author had seen is no loss.
		if out.Lost != nil && (out.Winner != merge.Edge || hub != base) {
			a.receipt(w, &Receipt{Column: name, Base: base, Hub: hub, Edge: val, Result: out.Value, Rule: string(col.policy)},
				out.Winner, ver)
		}
		return out.Value, nil
	case col.policy.Computed() && hub != base:
		out := merge.Column(col.policy, col.rule, base, ver, edge)
		if out.Park != "" {
			return val, refuse(undecided(col.policy), "row %s of %s, column %s: %s", w.op.Key, w.t.schema.Name, name, out.Park)
		}
		return out.Value, nil
	case col.policy == rule.States && hub != val && !merge.Allowed(col.rule, hub, val):
		return val, refuse("transition", "row %s of %s: column %s may not go from %s to %s", w.op.Key, w.t.schema.Name, name, brief(hub), brief(val))
	}
	return val, nil
}

// mergeWhole decides a row under a by-row rule: one side's version stays, so that
// invariants which span columns hold. An edge's version is the columns it sent,
// which for such tables includes the unchanged ones.
func (a *attempt) mergeWhole(w *work, h *history) error {
	var ver merge.Versioned
	conflict := false
	for j, c := range w.cols {
		v, yes := h.conflict(w.t.names[c], w.row[c], w.op.Base[j])
		conflict = conflict || yes
		if v.HLC >= ver.HLC {
			ver.HLC, ver.Origin = v.HLC, v.Origin
		}
	}
	for i := range h.touches { // any column counts, also those the edge left alone
		if e := &h.touches[i]; e.Kind != change.Delete && !h.echo(e) {
			conflict = true
			ver.HLC, ver.Origin = max(ver.HLC, e.HLC), e.Origin
		}
	}
	policy := w.t.rule.Policy
	if policy == "" {
		policy = rule.Latest
	}
	winner := merge.Edge
	if conflict = conflict && !a.chosenWhole(w); conflict {
		out := merge.Row(policy, ver, merge.Versioned{HLC: a.hlc, Origin: a.tx.Incarnation})
		if out.Park != "" {
			return refuse(undecided(policy), "row %s of %s: %s", w.op.Key, w.t.schema.Name, out.Park)
		}
		winner = out.Winner
	}
	for j, c := range w.cols {
		base, val, hub := w.op.Base[j], w.op.New[j], w.row[c]
		if hub == val || !conflict && base == val {
			continue
		}
		result := val
		if winner == merge.Hub {
			result = hub
			w.hlc = max(w.hlc, ver.HLC)
		} else {
			w.set = append(w.set, c)
			w.result[c] = val
		}
		if conflict && (winner == merge.Hub && base != val || winner == merge.Edge && hub != base) {
			a.receipt(w, &Receipt{Column: w.t.names[c], Base: base, Hub: hub, Edge: val, Result: result, Rule: string(policy) + " by row"}, winner, ver)
		}
	}
	return nil
}

// resolveInserts finds out, when asked to be careful, what stands on the keys.
func (a *attempt) resolveInserts() error {
	for _, w := range a.list {
		if w.op.Kind != change.Insert {
			continue
		}
		w.kind = change.Insert
		a.merged = a.merged || w.byHub
		if w.row == nil || a.gone[w.id] {
			continue
		}
		for j, c := range w.cols {
			if w.row[c] != w.op.New[j] {
				return refuse("identity", "another row already stands in %s under key %s: two devices chose one key, and column %s differs", w.t.schema.Name, w.op.Key, w.t.names[c])
			}
		}
		w.kind, w.result = 0, w.row // the same row twice is no conflict
	}
	return nil
}
