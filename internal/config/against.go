package config

import (
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/check"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/spell"
)

// ValidateAgainst judges the rules against the tables they are for: s is the
// shape of all ordinary tables of the database, synced or not. The error is
// Faults.
func (c *Config) ValidateAgainst(s *change.Schema) error {
	a := against{c: c, rules: rule.Named(&c.Tables, s), schema: s}
	for i := range a.rules.Tables {
		r := &a.rules.Tables[i]
		path := join("tables", c.Tables.Tables[i].Name)
		t := s.Table(r.Name)
		if t == nil {
			a.fault(path, "the database has no table %q%s", r.Name, spell.Hint(r.Name, tableNames(s)))
			continue
		}
		a.keys(path, r, t)
		a.scope(path, r, t)
		a.parents(path, r, t)
		a.columns(path, r, t)
		a.leases(path, r, t)
		a.names(path, r, t)
		_, err := check.Compile(r.Checks, t)
		c.addChecks(&a.faults, join(path, "checks"), r.Checks, err)
	}
	return a.faults.err()
}

type against struct {
	c      *Config
	rules  rule.Rules // the configuration's, with the names that the database has
	schema *change.Schema
	faults Faults
}

func (a *against) fault(path, format string, args ...any) { a.c.add(&a.faults, path, format, args...) }

func tableNames(s *change.Schema) []string {
	out := make([]string, len(s.Tables))
	for i := range s.Tables {
		out[i] = s.Tables[i].Name
	}
	return out
}

func columnNames(t *change.Table) []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		out[i] = t.Columns[i].Name
	}
	return out
}

func (a *against) keys(path string, r *rule.Table, t *change.Table) {
	if len(t.Key) == 0 {
		a.fault(path, "the table has no primary key, so its rows cannot be told apart between devices; give it one")
		return
	}
	if IntegerKey(t) && r.Keys == rule.KeysGlobal && !r.Reference {
		a.fault(join(path, "keys"), "the key %s is an integer, which devices offline choose without knowing of each other; set keys: leased to give each device numbers of its own, keys: app-assigned to have collisions quarantined, or use UUIDs", t.KeyNames()[0])
	}
}

// IntegerKey reports whether a table's key is one integer column that is no
// reference to another table's row: two devices may then choose the same one.
func IntegerKey(t *change.Table) bool {
	if len(t.Key) != 1 || t.Affinity(t.Key[0]) != change.AffinityInteger {
		return false
	}
	for _, fk := range t.ForeignKeys {
		if len(fk.Columns) == 1 && fk.Columns[0] == t.Key[0] {
			return false
		}
	}
	return true
}

func (a *against) scope(path string, r *rule.Table, t *change.Table) {
	path = join(path, "scope")
	switch {
	case r.Scope.Column != "":
		if i := t.Column(r.Scope.Column); i < 0 {
			a.fault(path, "the table has no column %q%s", r.Scope.Column, spell.Hint(r.Scope.Column, columnNames(t)))
		} else if t.Columns[i].Generated {
			a.fault(path, "the column %q is generated; a scope needs a stored one", r.Scope.Column)
		}
	case r.Scope.Via != "":
		a.via(join(path, "via"), r, t)
	}
}

func (a *against) via(path string, r *rule.Table, t *change.Table) {
	i := t.Column(r.Scope.Via)
	if i < 0 {
		a.fault(path, "the table has no column %q%s", r.Scope.Via, spell.Hint(r.Scope.Via, columnNames(t)))
		return
	}
	fks := Through(t, r.Scope.Via)
	switch {
	case len(fks) == 0:
		a.fault(path, "the column %q has no foreign key to a parent", r.Scope.Via)
		return
	case len(fks) > 1:
		a.fault(path, "the column %q has %d foreign keys, to %s and %s: which parent is meant cannot be told", r.Scope.Via, len(fks), fks[0].Parent, fks[1].Parent)
		return
	}
	if _, chain := a.root(r); chain != nil {
		a.fault(path, "the scope goes round in a circle: %s", strings.Join(chain, " → "))
	}
}

// Through returns the foreign keys of t that a column is part of.
func Through(t *change.Table, column string) (out []*change.ForeignKey) {
	c := t.Column(column)
	for i := range t.ForeignKeys {
		for _, k := range t.ForeignKeys[i].Columns {
			if k == c && c >= 0 {
				out = append(out, &t.ForeignKeys[i])
				break
			}
		}
	}
	return out
}

// root follows via to the table whose own scope decides. circle names the tables
// on the way when there is no such table; an incomplete chain gives nil, nil.
func (a *against) root(r *rule.Table) (root *rule.Table, circle []string) {
	seen := map[string]bool{}
	for r != nil && r.Scope.Via != "" && !r.Reference {
		circle = append(circle, r.Name)
		if seen[strings.ToLower(r.Name)] {
			return nil, circle
		}
		seen[strings.ToLower(r.Name)] = true
		t := a.schema.Table(r.Name)
		if t == nil {
			return nil, nil
		}
		fks := Through(t, r.Scope.Via)
		if len(fks) != 1 {
			return nil, nil
		}
		r = a.rules.Table(fks[0].Parent)
	}
	return r, nil
}

// parents demands that scopes are closed under foreign keys: a device that gets a
// row must get the rows it points at.
func (a *against) parents(path string, r *rule.Table, t *change.Table) {
	mine, _ := a.root(r)
	for i := range t.ForeignKeys {
		fk := &t.ForeignKeys[i]
		p := a.rules.Table(fk.Parent)
		if p == nil {
			a.fault(path, "rows point at table %s, which does not sync; add it to tables, as reference: true if devices only read it", fk.Parent)
			continue
		}
		theirs, _ := a.root(p)
		if mine == nil || theirs == nil || theirs.Scope.All || theirs.Reference {
			continue
		}
		switch {
		case mine.Scope.All || mine.Reference:
			a.fault(join(path, "scope"), "rows go to every device but point at table %s, whose rows go to some (%s); give this table a scope, or make %s all or reference: true", p.Name, FormatScope(p.Scope), p.Name)
		case mine.Scope.Kind != theirs.Scope.Kind:
			a.fault(join(path, "scope"), "rows go by %s but point at table %s, whose rows go by %s: a device may get one without the other; make %s all or reference: true", mine.Scope.Kind, p.Name, theirs.Scope.Kind, p.Name)
		}
	}
}

func (a *against) columns(path string, r *rule.Table, t *change.Table) {
	if r.Policy != "" && !decidesRows(r.Policy) {
		for _, i := range t.Stored() {
			name := t.Columns[i].Name
			if t.InKey(i) || r.Columns[strings.ToLower(name)].Policy != "" {
				continue
			}
			if why := mismatch(r.Policy, &t.Columns[i]); why != "" {
				a.fault(join(path, "policy"), "does not fit the column %s: %s", name, why)
			}
		}
	}
	for _, name := range sortedColumns(r) {
		at := join(join(path, "columns"), name)
		i := t.Column(name)
		switch {
		case i < 0:
			a.fault(at, "the table has no column %q%s", name, spell.Hint(name, columnNames(t)))
		case onlyNames(r.Columns[name]):
		case t.Columns[i].Generated:
			a.fault(at, "the column is generated: it has no conflicts of its own")
		case t.InKey(i) && leasedKey(r, r.Columns[name]):
		case t.InKey(i):
			a.fault(at, "the column is part of the key: it has no conflicts of its own")
		default:
			if why := mismatch(r.Columns[name].Policy, &t.Columns[i]); why != "" {
				a.fault(join(at, "policy"), "%s", why)
			}
		}
	}
}

// mismatch says why a policy cannot work on a column, or "".
func mismatch(p rule.Policy, c *change.Column) string {
	aff := change.AffinityOf(c.Type)
	switch p {
	case rule.Counter:
		if aff == change.AffinityText || strings.Contains(strings.ToUpper(c.Type), "BLOB") {
			return "counter adds numbers, and the column is declared " + c.Type
		}
	case rule.TextMix:
		if aff != change.AffinityText && c.Type != "" && !strings.EqualFold(c.Type, "any") {
			return "text merges words, and the column is declared " + c.Type
		}
	case rule.Set:
		if (aff != change.AffinityText && c.Type != "" && !strings.EqualFold(c.Type, "any")) && !strings.EqualFold(c.Type, "json") {
			return "set merges JSON arrays, and the column is declared " + c.Type
		}
	}
	return ""
}
