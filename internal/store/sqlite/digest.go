package sqlitestore

import (
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Digest implements hub.View.
func (v *view) Digest(name string, scopes []rule.ScopeID) (change.Digest, error) {
	t, err := v.p.table(name)
	if err != nil {
		return change.Digest{}, err
	}
	return v.s.sums.Digest(&ledger.Digesting{Table: t.def.Name, Schema: v.p.hash, Scopes: t.scope.Relevant(scopes), At: v.Cursor,
		Untouched: func(at change.Cursor, scopes []rule.ScopeID) (bool, error) { return v.untouched(t, scopes, at) },
		Take:      func(scopes []rule.ScopeID) (change.Digest, error) { return v.digest(t, scopes) }})
}

func (v *view) digest(t *table, scopes []rule.ScopeID) (change.Digest, error) {
	sum, row := ledger.NewSum(t.newRows()), make([]change.Value, len(t.names))
	err := v.scan(t, nil, scopes, func(s *sqlite.Stmt) error { return sum.Add(readInto(row, s, 0)) })
	return sum.Digest, err
}

// untouched reports that a cursor belongs to this snapshot's past and no row of
// t was touched in the scopes since.
func (v *view) untouched(t *table, scopes []rule.ScopeID, at change.Cursor) (bool, error) {
	pos, err := v.check(at)
	if err != nil {
		return false, nil //nolint:nilerr // whatever the reason: take it anew
	}
	list := pad(scopes)
	_, touched, err := sqlite.One(v.c, `SELECT 1 FROM _tidemark_log WHERE pos > ? AND tbl = ? AND scope IN (`+marks(len(list))+`) LIMIT 1`,
		append([]change.Value{change.Int(pos), change.Int(t.id)}, list...)...)
	return !touched, err
}
