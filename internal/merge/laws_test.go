package merge

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// policies are all there are. A policy missing here would go unproven.
var policies = []rule.Policy{
	rule.Latest, rule.Arrival, rule.Hub, rule.Edge, rule.Counter, rule.Min,
	rule.Max, rule.Set, rule.TextMix, rule.States, rule.Manual,
}

// The rule for States that the laws are tried on: a line with one short cut.
var steps = rule.Column{States: map[string][]string{
	"new": {"open", "void"}, "open": {"done"}, "done": {"paid"}, "paid": {"new"},
}}

// A result is a merged version, or parked: parking absorbs whatever follows.
type result struct {
	Versioned
	parked bool
}

// merged is M(base, x, y) of the laws. The result carries the later stamp.
func merged(p rule.Policy, base change.Value, x, y result) result {
	if x.parked || y.parked {
		return result{parked: true}
	}
	out := Column(p, steps, base, x.Versioned, y.Versioned)
	if out.Park != "" {
		return result{parked: true}
	}
	switch out.Winner {
	case Hub:
		return result{Versioned: Versioned{out.Value, x.HLC, x.Origin}}
	case Edge:
		return result{Versioned: Versioned{out.Value, y.HLC, y.Origin}}
	}
	if Later(x.Versioned, y.Versioned) {
		y = x
	}
	y.Value = out.Value
	return y
}

// same compares what a merge decided, not when.
func same(x, y result) bool { return x.parked == y.parked && (x.parked || x.Value == y.Value) }

// valueFor draws values that make a policy work: bounded numbers for counters
// (overflow parks, see TestCounterParks), arrays for sets, short texts for text.
func valueFor(p rule.Policy) *rapid.Generator[change.Value] {
	switch p {
	case rule.Counter:
		return rapid.OneOf(rapid.Just(change.Null),
			rapid.Map(rapid.Int64Range(-1<<40, 1<<40), change.Int))
	case rule.Set:
		return rapid.OneOf(rapid.Just(change.Null), rapid.Map(
			rapid.SliceOfN(rapid.SampledFrom([]string{`1`, `2`, `10`, `"a"`, `null`, `{"k":1}`}), 0, 4),
			func(list []string) change.Value {
				s := "["
				for i, e := range list {
					if i > 0 {
						s += ", "
					}
					s += e
				}
				return change.Text(s + "]")
			}))
	case rule.TextMix:
		return rapid.Map(rapid.StringMatching(`[ab]( [abc])?(\n[abc]( [ab])?){0,3}`), change.Text)
	case rule.States:
		return rapid.Map(rapid.SampledFrom([]string{"new", "open", "done", "paid", "void"}), change.Text)
	}
	return anyValue()
}

func anyValue() *rapid.Generator[change.Value] {
	return rapid.OneOf(
		rapid.Just(change.Null),
		rapid.Map(rapid.Int64Range(-3, 3), change.Int),
		rapid.Map(rapid.Int64(), change.Int),
		rapid.Map(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, 1.5, -2, 1 << 53, 1 << 63, math.Inf(-1)}), change.Float),
		rapid.Map(rapid.StringN(0, 3, -1), change.Text),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 2), change.Blob),
	)
}

func versionFor(p rule.Policy) *rapid.Generator[result] {
	return rapid.Custom(func(t *rapid.T) result {
		v := Versioned{Value: valueFor(p).Draw(t, "value"), HLC: change.HLC(rapid.Uint64Range(1, 4).Draw(t, "hlc"))}
		v.Origin[0] = rapid.Byte().Draw(t, "origin") % 3
		return result{Versioned: v}
	})
}

// A law is a property of three versions made from one base (and, for AnyBase,
// from two).
type law struct {
	name  string
	holds func(l Laws) bool
	check func(p rule.Policy, bases [2]change.Value, x, y, z result) bool
}

var laws = []law{
	{"commutative", func(l Laws) bool { return l.Commutative },
		func(p rule.Policy, b [2]change.Value, x, y, _ result) bool {
			return same(merged(p, b[0], x, y), merged(p, b[0], y, x))
		}},
	{"associative", func(l Laws) bool { return l.Associative },
		func(p rule.Policy, b [2]change.Value, x, y, z result) bool {
			return same(merged(p, b[0], merged(p, b[0], x, y), z), merged(p, b[0], x, merged(p, b[0], y, z)))
		}},
	{"idempotent", func(l Laws) bool { return l.Idempotent },
		func(p rule.Policy, b [2]change.Value, x, _, _ result) bool {
			return same(merged(p, b[0], x, x), x)
		}},
	{"any base", func(l Laws) bool { return l.AnyBase },
		func(p rule.Policy, b [2]change.Value, x, y, z result) bool {
			return same(merged(p, b[1], merged(p, b[0], x, y), z), merged(p, b[0], merged(p, b[1], x, z), y))
		}},
	{"lossless", func(l Laws) bool { return l.Lossless },
		func(p rule.Policy, b [2]change.Value, x, y, _ result) bool {
			out := Column(p, steps, b[0], x.Versioned, y.Versioned)
			return out.Park != "" || out.Lost == nil
		}},
}

// Every law a policy claims holds, and every law it does not claim fails
// somewhere: the table in laws.go is exact.
func TestLawsAreExact(t *testing.T) {
	for _, p := range policies {
		for _, l := range laws {
			t.Run(string(p)+"/"+l.name, func(t *testing.T) {
				draw := func(r *rapid.T) bool {
					g, v := versionFor(p), valueFor(p)
					return l.check(p, [2]change.Value{v.Draw(r, "base"), v.Draw(r, "other base")},
						g.Draw(r, "x"), g.Draw(r, "y"), g.Draw(r, "z"))
				}
				if l.holds(LawsOf(p)) {
					rapid.Check(t, func(r *rapid.T) {
						if !draw(r) {
							r.Fatalf("%s is not %s", p, l.name)
						}
					})
					return
				}
				gen := rapid.Custom(draw)
				for seed := range 5000 {
					if !gen.Example(seed) {
						return
					}
				}
				t.Errorf("%s obeys %q in 5000 tries: claim it in LawsOf or show where it fails", p, l.name)
			})
		}
	}
}

func TestLawsOfUnknownPolicyAreNone(t *testing.T) {
	if l := LawsOf("lates"); l != (Laws{}) {
		t.Errorf("LawsOf(unknown) = %+v", l)
	}
}

// The rule room says which policies need no quarantine of dependants; that is
// sound only where edits from any base commute, or nearly so for sets, whose
// removals must have seen what they remove.
func TestCommutingPoliciesCommute(t *testing.T) {
	for _, p := range policies {
		if p.Commutes() && !LawsOf(p).Commutative {
			t.Errorf("rule.Policy(%s).Commutes() but LawsOf says it does not", p)
		}
	}
}

// While the hub still holds what the author saw, the screen shows exactly what
// the author wrote, bit for bit.
func TestOverlayOnUnchangedHubIsTheEdit(t *testing.T) {
	for _, p := range policies {
		rapid.Check(t, func(r *rapid.T) {
			base, edit := anyValue().Draw(r, "base"), anyValue().Draw(r, "edit")
			if got := Overlay(p, base, base, edit); got != edit {
				r.Fatalf("%s: Overlay(%v, %v, %v) = %v", p, base, base, edit, got)
			}
		})
	}
}
