package edge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// lift takes the pending work off the tables, so that they hold the hub's view:
// what is in which scope is judged by that. overlay puts it back.
func (a *applier) lift() error {
	if !a.lifted {
		return nil
	}
	for _, tr := range a.order {
		if err := a.touch(tr); err != nil {
			return err
		}
		if err := a.load(tr); err != nil {
			return err
		}
	}
	for _, tr := range a.order {
		if slices.Equal(tr.shadow, tr.local) && (tr.shadow == nil) == (tr.local == nil) {
			continue
		}
		tr.stands = false
		var err error
		if tr.shadow == nil {
			delete(a.displ, rowRef{tr.t.schema.Name, tr.id})
			err = a.erase(tr.t, tr.key)
		} else {
			err = a.put(tr.t, tr.key, tr.id, tr.shadow)
		}
		if err != nil {
			return fmt.Errorf("table %s row %s: %w", tr.t.schema.Name, tr.key, err)
		}
	}
	return nil
}

// lower learns the hub's version of the rows with pending work from the tables,
// before the overlay goes back on.
func (a *applier) lower() error {
	if !a.lifted {
		return nil
	}
	for _, tr := range a.order {
		if tr.changed {
			continue
		}
		ref := rowRef{tr.t.schema.Name, tr.id}
		var row []change.Value
		if a.removal[ref] != nil {
			// On its way out.
		} else if d := a.displ[ref]; d != nil {
			row = d.row
		} else {
			var err error
			if row, err = a.e.readRow(tr.t, tr.key); err != nil {
				return err
			}
		}
		tr.stands = tr.stands && slices.Equal(row, tr.local) && (row == nil) == (tr.local == nil)
		if row == nil && tr.shadow == nil || row != nil && slices.Equal(row, tr.shadow) {
			continue
		}
		tr.learn(row)
	}
	return nil
}

// evict removes the rows of scopes that this device may no longer read (I6), as
// they were at the file's cursor: before the pull's rows go in. What has moved to
// another scope since comes with the pull.
// Rows with unsettled work are put back by overlay: they are never lost.
func (a *applier) evict() error {
	if len(a.in.evict) == 0 {
		return nil
	}
	type victim struct {
		t   *table
		key change.Key
	}
	var list []victim // found before any goes: children are judged by their parents
	for i := range a.e.tables {
		t := &a.e.tables[i]
		if t.missing || a.e.rules(t).Reference {
			continue
		}
		keys, err := a.e.scopeRows(t, a.in.evict)
		if err != nil {
			return fmt.Errorf("rows of revoked scopes in table %s: %w", t.schema.Name, err)
		}
		for _, k := range keys {
			list = append(list, victim{t, k})
		}
	}
	for _, v := range list {
		a.out.Gone++
		if err := a.remove(v.t, v.key, v.key.ID()); err != nil {
			return err
		}
	}
	return nil
}

// scopeRows lists the keys of a table's rows that belong to one of the scopes.
func (e *Engine) scopeRows(t *table, scopes []rule.ScopeID) (out []change.Key, err error) {
	r := e.rules(t).Scope
	from := t.sql() + " AS t0"
	last := t
	n := 0
	for r.Via != "" {
		fk, p := e.via(last, r.Via)
		if p == nil || n > len(e.tables) {
			return nil, fmt.Errorf("scope via %s.%s: no foreign key to a synced table", last.schema.Name, r.Via)
		}
		n++
		from += fmt.Sprintf(" JOIN %s AS t%d ON ", p.sql(), n)
		for i, c := range fk.Columns {
			if i > 0 {
				from += " AND "
			}
			from += fmt.Sprintf("t%d.%s = t%d.%s", n, sqlite.Quote(p.local(fk.To[i])), n-1, sqlite.Quote(last.local(last.schema.Columns[c].Name)))
		}
		last, r = p, e.rules(p).Scope
	}
	keys := "SELECT " + sqlite.QuoteAll("t0.", t.keyNames()) + " FROM " + from
	add := func(s *sqlite.Stmt) error {
		out = append(out, change.Key(readRow(s, len(t.key))))
		return nil
	}
	if r.All {
		if slices.Contains(scopes, rule.ScopeAll) {
			err = sqlite.Query(e.conn, keys, add)
		}
		return out, err
	}
	if r.Column == "" {
		return nil, nil
	}
	values, err := e.scopeValues(last, r, scopes)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		err := sqlite.Query(e.conn, keys+fmt.Sprintf(" WHERE t%d.%s IS ?", n, sqlite.Quote(last.local(r.Column))), add, v)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scopeValues are the values in a scope column that name one of the scopes.
func (e *Engine) scopeValues(t *table, r rule.Scope, scopes []rule.ScopeID) (out []change.Value, err error) {
	err = sqlite.Query(e.conn, "SELECT DISTINCT "+sqlite.Quote(t.local(r.Column))+" FROM "+t.sql(), func(s *sqlite.Stmt) error {
		if v := sqlite.Column(s, 0); slices.Contains(scopes, rule.Of(r.Kind, v)) {
			out = append(out, v)
		}
		return nil
	})
	return out, err
}

// via is the foreign key on a column, and the table it points at.
func (e *Engine) via(t *table, column string) (*change.ForeignKey, *table) {
	c := t.schema.Column(column)
	for i := range t.schema.ForeignKeys {
		fk := &t.schema.ForeignKeys[i]
		if slices.Contains(fk.Columns, c) {
			return fk, e.tableNamed(fk.Parent)
		}
	}
	return nil, nil
}

// readable are the scopes of grants, sorted.
func readable(grants []rule.Grant) []rule.ScopeID {
	out := make([]rule.ScopeID, 0, len(grants))
	for _, g := range grants {
		out = append(out, g.Scope)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// without is a minus b.
func without(a, b []rule.ScopeID) (out []rule.ScopeID) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// grants reads the grants whose rows the file holds.
func (e *Engine) grants() (out []rule.Grant, err error) {
	v, err := e.meta(metaGrants)
	if err != nil || v.IsNull() {
		return nil, err
	}
	if err := json.Unmarshal([]byte(v.Str()), &out); err != nil {
		return nil, fmt.Errorf("read stored grants: %w", err)
	}
	return out, nil
}

// Grants returns the rights over the rows that the file holds.
func (e *Engine) Grants() ([]rule.Grant, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	return e.grants()
}

// scopeNames joins scopes for a message.
func scopeNames(s []rule.ScopeID) string {
	out := make([]string, len(s))
	for i := range s {
		out[i] = string(s[i])
	}
	return strings.Join(out, ", ")
}
