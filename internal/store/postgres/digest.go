package postgresstore

import (
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Digest implements hub.View. What a transaction goes on to write is no change since its
// cursor, so that its digests are not remembered.
func (v *view) Digest(name string, scopes []rule.ScopeID) (change.Digest, error) {
	t, err := v.p.table(name)
	if err != nil {
		return change.Digest{}, err
	}
	return v.s.sums.Digest(&ledger.Digesting{Table: t.def.Name, Schema: v.p.hash, Scopes: t.scope.Relevant(scopes), At: v.Cursor,
		Untouched: func(at change.Cursor, scopes []rule.ScopeID) (bool, error) { return v.untouched(t, scopes, at) },
		Take:      func(scopes []rule.ScopeID) (change.Digest, error) { return v.digest(t, scopes) },
		Forget:    v.flush != nil})
}

func (v *view) digest(t *table, scopes []rule.ScopeID) (change.Digest, error) {
	sum := ledger.NewSum(t.newRows())
	err := v.scan(t, nil, scopes, 0, sum.Add)
	return sum.Digest, err
}

// untouched reports that a cursor belongs to this snapshot's past and no row of
// t was touched in the scopes since.
func (v *view) untouched(t *table, scopes []rule.ScopeID, at change.Cursor) (bool, error) {
	m, err := v.check(at)
	if err != nil {
		return false, nil //nolint:nilerr // whatever the reason: take it anew
	}
	now, err := v.now()
	if err != nil || !now.covers(&m) { // the digest was taken in a newer snapshot
		return false, err
	}
	var a args
	touched := false
	err = v.query("SELECT EXISTS (SELECT FROM "+m.entries("scope = ANY("+a.add(scopeTexts(scopes))+"::text[]) AND tbl + 0 = "+a.add(t.id)+"::int4 AND ", &a)+" AS l)",
		func(r *row) error {
			touched = r.bool(0)
			return nil
		}, a.list...)
	return !touched, err
}
