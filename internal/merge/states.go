package merge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// states lets the edge's new state follow the hub's present one when the rule
// allows that step, and parks otherwise: nobody may ship a cancelled order.
func states(col rule.Column, hub, edge Versioned) Outcome {
	if Allowed(col, hub.Value, edge.Value) {
		return won(Edge, hub, edge)
	}
	from, to := stateName(hub.Value), stateName(edge.Value)
	next := "none"
	if n := col.States[from]; len(n) > 0 {
		next = strings.Join(n, ", ")
	}
	return Outcome{Park: fmt.Sprintf("states: from %q to %q is not allowed (allowed next: %s)", from, to, next)}
}

// Allowed reports whether the rule lets a column go from one state to another.
// Staying is always allowed.
func Allowed(col rule.Column, from, to change.Value) bool {
	return from == to || slices.Contains(col.States[stateName(from)], stateName(to))
}

// stateName is how tidemark.yaml spells a state: text as it is, a number in
// digits, NULL as the empty string.
func stateName(v change.Value) string {
	switch v.Kind() {
	case change.KindNull:
		return ""
	case change.KindText, change.KindBlob:
		return v.Str()
	}
	return v.String()
}
