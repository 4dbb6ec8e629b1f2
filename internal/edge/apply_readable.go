package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// disown lets go of rows that this device wrote, and that are in none of the scopes
// whose rows the file holds: it may have been granted one for a while and never have
// heard of that. The hub has the row, and says nothing of it here (I6).
func (a *applier) disown() error {
	if len(a.applied) == 0 {
		return nil
	}
	grants := a.in.grants
	if !a.in.scoped {
		var err error
		if grants, err = a.e.grants(); err != nil {
			return err
		}
	}
	r := reading{a: a, scopes: map[rule.ScopeID]bool{rule.ScopeAll: true}, of: map[string]bool{}}
	for _, s := range readable(grants) {
		r.scopes[s] = true
	}
	for _, tr := range a.applied {
		if tr.shadow == nil {
			continue
		}
		ok, err := r.may(tr.t, tr.shadow, 0)
		if err != nil {
			return err
		}
		if !ok {
			tr.learn(nil)
		}
	}
	return nil
}

// A reading tells which rows are in scopes that the file holds.
type reading struct {
	a      *applier
	scopes map[rule.ScopeID]bool
	of     map[string]bool // by table and what points at the parent
}

// may reports whether a row, as the hub has it, is in one of the scopes. A row whose
// parent is not here is in none.
func (r *reading) may(t *table, row []change.Value, depth int) (bool, error) {
	rules := r.a.e.rules(t)
	sc := rules.Scope
	switch {
	case sc.All:
		return r.scopes[rule.ScopeAll], nil
	case sc.Column != "":
		i := t.column(sc.Column)
		return i < 0 || r.scopes[rule.Of(sc.Kind, row[i])], nil
	case sc.Via == "" || rules.Reference || depth > len(r.a.e.tables):
		return true, nil // nobody but the hub can tell
	}
	fk, p := r.a.e.via(t, sc.Via)
	if p == nil || p.missing {
		return true, nil
	}
	to := make(change.Key, len(fk.Columns))
	for i, c := range fk.Columns {
		j := t.column(t.schema.Columns[c].Name)
		if j < 0 {
			return true, nil
		}
		if to[i] = row[j]; to[i].IsNull() {
			return false, nil
		}
	}
	id := p.schema.Name + "\x00" + strings.Join(fk.To, "\x00") + "\x00" + to.ID()
	if ok, known := r.of[id]; known {
		return ok, nil
	}
	parent, err := r.parent(p, fk.To, to)
	ok := false
	if err == nil && parent != nil {
		ok, err = r.may(p, parent, depth+1)
	}
	r.of[id] = ok
	return ok, err
}

// parent is the row that others point at by values of some columns, as the hub has
// it; nil when it has not, or does not say so here.
func (r *reading) parent(p *table, to []string, vals change.Key) ([]change.Value, error) {
	key, to := vals, p.locals(to)
	if !slices.EqualFunc(to, p.keyNames(), sameName) {
		key = nil
		err := sqlite.Query(r.a.e.conn, "SELECT "+sqlite.QuoteAll("", p.keyNames())+" FROM "+p.sql()+" WHERE "+matches(to),
			func(s *sqlite.Stmt) error {
				key = change.Key(readRow(s, len(p.key)))
				return nil
			}, vals...)
		if err != nil {
			return nil, fmt.Errorf("parent in table %s: %w", p.schema.Name, err)
		}
		if key == nil {
			return nil, nil
		}
	}
	ref := rowRef{p.schema.Name, key.ID()}
	if tr := r.a.track(p, ref.id); tr != nil {
		err := r.a.load(tr)
		return tr.shadow, err
	}
	if r.a.removal[ref] != nil {
		return nil, nil
	}
	if d := r.a.displ[ref]; d != nil {
		return d.row, nil
	}
	return r.a.e.readRow(p, key)
}
