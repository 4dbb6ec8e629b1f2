package postgresstore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// fit lays the rules over the schema, and leaves out of it what they do not name. A
// table that was served before and cannot be now is left out: whoever dropped it
// did not mean to stop the others. One that never was served is the rules' fault.
func (r *refreshing) fit(rules *rule.Rules, schema *change.Schema) (*rule.Rules, error) {
	fit, misfits := rule.Fit(rules, schema)
	r.lost = map[string]bool{}
	for _, m := range misfits {
		if why := r.refused[strings.ToLower(m.Table)]; why != "" {
			m.Reason = why
		}
		asked := rules.Table(m.Table)
		name := r.served(asked)
		if name == "" || r.anew(asked) {
			return nil, fmt.Errorf("table %s: %s", m.Table, m.Reason)
		}
		r.lost[strings.ToLower(name)] = true
	}
	var kept change.Schema
	for i := range schema.Tables {
		if n := schema.Tables[i].Name; fit.Table(n) != nil || rules.Table(n) != nil {
			kept.Tables = append(kept.Tables, schema.Tables[i])
		}
	}
	*schema = kept
	return &fit, nil
}

// served is the name under which a table was served before, or "".
func (r *refreshing) served(t *rule.Table) string {
	for name, e := range r.had {
		if e.columns != "" && (strings.EqualFold(name, t.Name) || foldContains(t.Was, name)) {
			return name
		}
	}
	return ""
}

// anew reports whether a rule is another one than that in force.
func (r *refreshing) anew(t *rule.Table) bool {
	old := r.s.plan.Load()
	if old == nil {
		return false
	}
	was := old.rules.Table(t.Name)
	return was == nil || !sameJSON(was, t)
}

// listed finds what is known of a table, under its name or, when it was renamed,
// under the one before.
func (r *refreshing) listed(t *table) (e listing, ok bool, err error) {
	if e, ok = r.had[t.def.Name]; ok && e.columns != "" {
		delete(r.had, t.def.Name)
		return e, true, nil
	}
	for _, w := range t.rule.Was {
		for name, old := range r.had {
			if !strings.EqualFold(name, w) || old.columns == "" {
				continue
			}
			delete(r.had, name)
			delete(r.had, t.def.Name)
			// A retired table of that name keeps its number: the log may hold it still.
			err := r.exec(`UPDATE tidemark.tbl SET name = name || ' (' || id || ')' WHERE name = $1::text`, t.def.Name)
			if err == nil {
				err = r.exec(`UPDATE tidemark.tbl SET name = $1::text WHERE id = $2::int4`, t.def.Name, old.id)
			}
			if err != nil {
				return e, false, fmt.Errorf("rename table %s to %s: %w", name, t.def.Name, err)
			}
			return old, true, nil
		}
	}
	delete(r.had, t.def.Name)
	return e, ok, nil
}

// former is the place of a column in an earlier list: under its name, or under one
// of its others that no column has now.
func (t *table) former(names []string, column string) int {
	if i := slices.Index(names, column); i >= 0 {
		return i
	}
	for _, w := range t.rule.Columns[strings.ToLower(column)].Was {
		if foldContains(t.names, w) {
			continue
		}
		if i := indexFold(names, w); i >= 0 {
			return i
		}
	}
	return -1
}

// goesOn reports whether an earlier list of columns is the beginning of the present
// one, renamed ones included.
func (t *table) goesOn(names []string) bool {
	for i := range names {
		if t.former(names, t.names[i]) != i {
			return false
		}
	}
	return true
}

// moved reports whether key or scope are made of other columns than those that the
// log was written under. Other names of the same ones do not count.
func (r *refreshing) moved(t *table, was, now *listing) bool {
	if was.key == now.key && was.scope == now.scope {
		return false
	}
	key, scope := was.key, was.scope
	for _, o := range r.p.tables {
		for _, w := range o.rule.Was {
			scope = strings.ReplaceAll(scope, "->"+quote(o.rel.Schema)+"."+quote(w)+"(", "->"+o.name+"(")
		}
		for _, n := range o.names {
			for _, w := range o.rule.Columns[strings.ToLower(n)].Was {
				if foldContains(o.names, w) {
					continue
				}
				scope = strings.ReplaceAll(scope, quote(w), quote(n))
				if o == t {
					key = strings.ReplaceAll(key, strings.Trim(toJSON([]string{w}), "[]"), strings.Trim(toJSON([]string{n}), "[]"))
				}
			}
		}
	}
	return key != now.key || scope != now.scope
}
