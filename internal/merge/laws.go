package merge

import "github.com/tidemark-sync/tidemark/internal/rule"

// Laws are the algebraic properties of a policy, seen as edits applied to the
// hub's value one after another. Each holds for edits that do not park.
type Laws struct {
	// Commutative: two edits give one value in either order.
	Commutative bool
	// Associative: merging a merged pair is merging its parts.
	Associative bool
	// Idempotent: an edit merged a second time changes nothing.
	Idempotent bool
	// AnyBase: Commutative holds for edits made from different bases too.
	AnyBase bool
	// Lossless: no value is dropped, so nothing needs a person's second look.
	Lossless bool
}

// LawsOf returns the laws p obeys; the tests check that it obeys exactly these.
func LawsOf(p rule.Policy) Laws {
	switch p {
	case rule.Latest, "", rule.Min, rule.Max:
		return Laws{Commutative: true, Associative: true, Idempotent: true, AnyBase: true}
	case rule.Set: // the author of a removal must have seen the element
		return Laws{Commutative: true, Associative: true, Idempotent: true, Lossless: true}
	case rule.Counter: // exact on integers; doubles round
		return Laws{Commutative: true, AnyBase: true, Lossless: true}
	case rule.Arrival, rule.Edge, rule.Hub:
		return Laws{Associative: true, Idempotent: true}
	case rule.TextMix:
		return Laws{Idempotent: true}
	case rule.States, rule.Manual:
		return Laws{Idempotent: true}
	}
	return Laws{}
}
