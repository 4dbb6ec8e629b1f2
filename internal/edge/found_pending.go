package edge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// pendingWrites hands in what was written without capture to rows that have pending
// work, in tables that were found without their triggers. Of other rows a comparison
// with the hub tells; these are computed anew when the hub sends them, or an outcome,
// and what they hold beside that work would be gone by then. It must run inside a
// write transaction, after the log was exported.
func (e *Engine) pendingWrites(lost []string) (n int, err error) {
	if len(lost) == 0 {
		return 0, nil
	}
	x, err := e.newExporter(e.cfg.Clock.Now())
	if err != nil || !x.work {
		return 0, err
	}
	h := &handing{e: e, x: x}
	counts := map[string]int{}
	for _, t := range e.parentsFirst() {
		if t.missing || t.gap.Behind || !slices.Contains(lost, t.schema.Name) {
			continue
		}
		if err := h.beneath(t, counts); err != nil {
			return 0, fmt.Errorf("table %s: %w", t.schema.Name, err)
		}
	}
	if err := h.flush(); err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		n += counts[name]
		if err := e.addEvent(EventFound, fmt.Sprintf("%s of %s with pending work held more that nobody captured; it is handed in", rowCount(counts[name]), name)); err != nil {
			return 0, err
		}
	}
	return n, x.finish()
}

// retyped reports whether two values of a column are what its type, and the one it
// had before, made of the same.
func (t *table) retyped(i int, a, b change.Value) bool {
	was, ok := t.gap.Kinds[t.names[i]]
	return ok && was.Store(a) == was.Store(b)
}
