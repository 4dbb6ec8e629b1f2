package sqlitestore

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Scan implements hub.View.
func (v *view) Scan(name string, after change.Key, scopes []rule.ScopeID, limit int) (*change.Rows, change.Key, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, nil, err
	}
	if after != nil && len(after) != len(t.key) {
		return nil, nil, fmt.Errorf("scan %s: the key has %d values, not %d", name, len(after), len(t.key))
	}
	page, row := ledger.NewPage(t.newRows(), limit), make([]change.Value, len(t.names))
	err = v.scan(t, after, scopes, func(s *sqlite.Stmt) error { return page.Add(readInto(row, s, 0)) })
	if err != nil {
		return nil, nil, fmt.Errorf("scan %s: %w", name, err)
	}
	rows, last := page.End()
	return rows, last, nil
}

// scan calls row for each row of t in the scopes, in key order, after a key, until
// that says ledger.ErrEnough.
func (v *view) scan(t *table, after change.Key, scopes []rule.ScopeID, row func(*sqlite.Stmt) error) error {
	where, args := t.within(scopes)
	if args == nil {
		return nil
	}
	if t.scope.All {
		args = nil
	}
	q := "SELECT " + t.columns + " FROM " + t.name + " AS t WHERE " + where
	if after != nil {
		q += " AND (" + sqlite.QuoteAll("t.", t.keyNames) + ") > (" + marks(len(t.key)) + ")"
		args = append(args, after...)
	}
	q += " ORDER BY " + sqlite.QuoteAll("t.", t.keyNames)
	err := sqlite.Query(v.c, q, row, args...)
	if errors.Is(err, ledger.ErrEnough) {
		return nil
	}
	return err
}

// within is the condition that a row t is in the scopes, and its arguments; nil
// arguments when no row can be.
func (t *table) within(scopes []rule.ScopeID) (where string, args []change.Value) {
	rel := t.scope.Relevant(scopes)
	if len(rel) == 0 {
		return "0", nil
	}
	args = pad(rel)
	return t.inScopes("t.", len(args)), args
}

// Count implements hub.View. It counts, so that the estimate is exact.
func (v *view) Count(scopes []rule.ScopeID) (map[string]int64, error) {
	out := make(map[string]int64, len(v.p.tables))
	for _, t := range v.p.tables {
		where, args := t.within(scopes)
		if args == nil {
			out[t.def.Name] = 0
			continue
		}
		if t.scope.All {
			args = nil
		}
		n, _, err := sqlite.One(v.c, "SELECT count(*) FROM "+t.name+" AS t WHERE "+where, args...)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", t.def.Name, err)
		}
		out[t.def.Name] = n.Int()
	}
	return out, nil
}

// Bucket implements hub.View.
func (v *view) Bucket(name string, scopes []rule.ScopeID, buckets []int) (*change.Rows, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	wanted, err := ledger.Wanted(name, buckets)
	if err != nil {
		return nil, err
	}
	rows, key := t.newRows(), make(change.Key, len(t.key))
	err = v.scan(t, nil, scopes, func(s *sqlite.Stmt) error {
		for i, c := range t.key {
			key[i] = sqlite.Column(s, c)
		}
		if !wanted[change.Bucket(key)] {
			return nil
		}
		for i := range t.names {
			rows.Values = append(rows.Values, sqlite.Column(s, i))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rows of %s: %w", name, err)
	}
	return rows, nil
}
