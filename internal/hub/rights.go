package hub

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// rights is what a device may do, per scope, now.
type rights map[rule.ScopeID]rule.Verb

func rightsOf(grants []rule.Grant) rights {
	r := rights{rule.ScopeAll: rule.Read}
	for _, g := range grants {
		r[g.Scope] |= g.Verbs | rule.Read
	}
	return r
}

// operator is no scope: who holds it may do everything, in every scope.
const operator rule.ScopeID = "*"

// operatorRights are those of the person who runs the hub.
func operatorRights() rights {
	return rights{operator: rule.Read | rule.Insert | rule.Update | rule.Delete}
}

// scopes lists what may be read, in order. Rows of scope all are for everyone.
func (r rights) scopes() []rule.ScopeID {
	out := make([]rule.ScopeID, 0, len(r))
	for s, v := range r {
		if v&rule.Read != 0 {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// grants is r as the wire carries it, in scope order.
func (r rights) grants() []rule.Grant {
	out := make([]rule.Grant, 0, len(r))
	for _, s := range r.scopes() {
		out = append(out, rule.Grant{Scope: s, Verbs: r[s]})
	}
	return out
}

// hashScopes names a set of scopes.
func hashScopes(list []rule.ScopeID) change.Hash {
	h := sha256.New()
	for _, s := range list {
		fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	var out change.Hash
	h.Sum(out[:0])
	return out
}

var verbNames = []struct {
	verb rule.Verb
	name string
}{{rule.Read, "read"}, {rule.Insert, "insert"}, {rule.Update, "update"}, {rule.Delete, "delete"}}

func verbString(v rule.Verb) string {
	var out []string
	for _, n := range verbNames {
		if v&n.verb != 0 {
			out = append(out, n.name)
		}
	}
	return strings.Join(out, "+")
}

// need refuses when the device lacks a verb over the scope of a row.
func (r rights) need(t *table, key change.Key, s rule.ScopeID, v rule.Verb) error {
	if s == "" {
		return refuse("scope", "row %s of %s belongs to no scope: its scope column is NULL or its parent is missing", key, t.schema.Name)
	}
	if (r[s]|r[operator])&v == v {
		return nil
	}
	have := verbString(r[s])
	if have == "" {
		have = "nothing"
	}
	return refuse("rights", "the device may not %s rows of %s in scope %s (row %s); it may %s there now", verbString(v), t.schema.Name, s, key, have)
}
