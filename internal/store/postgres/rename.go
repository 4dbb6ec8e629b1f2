package postgresstore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// listed finds what is known of a table, and renames it where it had another name.
func (r *refreshing) listed(t *table) (e ledger.Listing, ok bool, err error) {
	e, from, ok := r.had.Take(t.def.Name, t.rule.Was)
	if from == "" {
		return e, ok, nil
	}
	err = r.exec(`UPDATE tidemark.tbl SET name = name || ' (' || id || ')' WHERE name = $1::text`, t.def.Name)
	if err == nil {
		err = r.exec(`UPDATE tidemark.tbl SET name = $1::text WHERE id = $2::int4`, t.def.Name, e.ID)
	}
	if err != nil {
		return e, false, fmt.Errorf("rename table %s to %s: %w", from, t.def.Name, err)
	}
	return e, true, nil
}

// moved reports whether key or scope are made of other columns than those that the
// log was written under. Other names of the same ones do not count.
func (r *refreshing) moved(t *table, was, now *ledger.Listing) bool {
	if was.Key == now.Key && was.Scope == now.Scope {
		return false
	}
	key, scope := was.Key, was.Scope
	for _, o := range r.p.tables {
		for _, w := range o.rule.Was {
			scope = strings.ReplaceAll(scope, "->"+quote(o.rel.Schema)+"."+quote(w)+"(", "->"+o.name+"(")
		}
		for _, n := range ledger.Renames(o.rule, o.names) {
			scope = strings.ReplaceAll(scope, quote(n.Was), quote(n.Now))
			if o == t {
				key = n.In(key)
			}
		}
	}
	return key != now.Key || scope != now.Scope
}
