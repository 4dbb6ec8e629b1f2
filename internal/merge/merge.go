package merge

import (
	"bytes"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Versioned is one side's value of a column, with when and where it was
// written. The HLC is corrected to the hub's clock. Origin is zero for values
// written at the hub itself.
type Versioned struct {
	Value  change.Value
	HLC    change.HLC
	Origin change.Incarnation
}

// A Side says whose value an Outcome kept.
type Side uint8

// The sides.
const (
	Both Side = iota // the values were equal, or the result holds the work of both
	Hub
	Edge
)

func (s Side) String() string {
	switch s {
	case Both:
		return "both"
	case Hub:
		return "hub"
	case Edge:
		return "edge"
	}
	return "side?"
}

// An Outcome is a decision about one column. When Park is not empty there is no
// decision: the transaction must be quarantined with Park as its reason, and
// the other fields mean nothing.
type Outcome struct {
	Value  change.Value
	Winner Side
	Lost   *Versioned // what the decision dropped, whole; nil when nothing was
	Park   string
}

// Column decides what a column becomes. base is what the edge's author had seen,
// hub what the hub holds now, edge what the author wrote. An unknown policy parks.
func Column(p rule.Policy, col rule.Column, base change.Value, hub, edge Versioned) Outcome {
	switch p {
	case rule.Counter:
		return counter(base, hub, edge)
	case rule.Set:
		return set(base, hub, edge)
	}
	if hub.Value == edge.Value { // the same thought twice is no conflict
		return Outcome{Value: hub.Value, Winner: Both}
	}
	switch p {
	case rule.Min:
		return extreme(hub, edge, -1)
	case rule.Max:
		return extreme(hub, edge, +1)
	case rule.TextMix:
		return text(base, hub, edge)
	case rule.States:
		return states(col, hub, edge)
	}
	return Row(p, hub, edge)
}

// Row decides whose version of a whole row stays: the policies that look at who
// wrote and when, not at the values. Policies that compute a value from both
// sides make no sense for a row and park, as unknown ones do.
func Row(p rule.Policy, hub, edge Versioned) Outcome {
	switch p {
	case rule.Latest, "":
		if Later(edge, hub) {
			return won(Edge, hub, edge)
		}
		return won(Hub, hub, edge)
	case rule.Arrival, rule.Edge: // the edge's transaction is the one arriving now
		return won(Edge, hub, edge)
	case rule.Hub:
		return won(Hub, hub, edge)
	case rule.Manual:
		return Outcome{Park: "manual: the rule asks for a person to decide between " + show(hub.Value) + " at the hub and " + show(edge.Value) + " from the edge"}
	}
	return Outcome{Park: fmt.Sprintf("policy %q cannot decide here", p)}
}

// Overlay is what an edge shows for a column with a pending edit from base to
// new, when the hub holds hub: the hub's value with the edit applied to it where
// the policy computes, else the edit's own value. When the hub still holds the
// base it is always new, exactly. An edit that cannot be applied shows as new;
// the hub is the one to park it.
func Overlay(p rule.Policy, hub, base, new change.Value) change.Value {
	if !p.Computed() || hub == base {
		return new
	}
	out := Column(p, rule.Column{}, base, Versioned{Value: hub}, Versioned{Value: new})
	if out.Park != "" {
		return new
	}
	return out.Value
}

// Later reports whether a was written after b: by HLC, then by origin, then by
// value, so that every replica breaks a tie in the same way.
func Later(a, b Versioned) bool {
	if a.HLC != b.HLC {
		return a.HLC > b.HLC
	}
	if c := bytes.Compare(a.Origin[:], b.Origin[:]); c != 0 {
		return c > 0
	}
	return Compare(a.Value, b.Value) > 0
}

// won is the outcome in which one side's value stays and the other's is lost.
func won(side Side, hub, edge Versioned) Outcome {
	if side == Edge {
		return Outcome{Value: edge.Value, Winner: Edge, Lost: &hub}
	}
	return Outcome{Value: hub.Value, Winner: Hub, Lost: &edge}
}

// show renders a value for a reason that a person reads, cut to a bearable length.
func show(v change.Value) string {
	const most = 60
	s := v.String()
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xc0 == 0x80 { // not inside a UTF-8 sequence
		cut--
	}
	return s[:cut] + "…"
}
