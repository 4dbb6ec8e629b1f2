package merge

import "github.com/tidemark-sync/tidemark/internal/rule"

// Laws are the algebraic properties of a policy, read as a binary operation on
// versions made from one base: hub ⊕ edge. A merge that parks has the result
// "parked", which absorbs whatever is merged with it.
type Laws struct {
	// Commutative: x ⊕ y = y ⊕ x.
	Commutative bool
	// Associative: (x ⊕ y) ⊕ z = x ⊕ (y ⊕ z).
	Associative bool
	// Idempotent: x ⊕ x = x.
	Idempotent bool
	// AnyBase: two edits made from different bases can be applied to the hub in
	// either order.
	AnyBase bool
	// Lossless: no version is ever dropped.
	Lossless bool
}

// LawsOf returns the laws p obeys; the tests check that it obeys exactly these.
func LawsOf(p rule.Policy) Laws {
	switch p {
	case rule.Latest, "", rule.Min, rule.Max:
		return Laws{Commutative: true, Associative: true, Idempotent: true, AnyBase: true}
	case rule.Set: // not from any base: who removes an element must have seen it
		return Laws{Commutative: true, Associative: true, Idempotent: true, Lossless: true}
	case rule.Counter: // exact on integers; doubles round
		return Laws{Commutative: true, Associative: true, AnyBase: true, Lossless: true}
	case rule.Hub:
		return Laws{Associative: true, Idempotent: true, AnyBase: true}
	case rule.Arrival, rule.Edge:
		return Laws{Associative: true, Idempotent: true}
	case rule.TextMix:
		return Laws{Commutative: true, Idempotent: true}
	case rule.States:
		return Laws{Idempotent: true}
	case rule.Manual: // parking absorbs whatever follows
		return Laws{Commutative: true, Associative: true, Idempotent: true, AnyBase: true, Lossless: true}
	}
	return Laws{}
}
