package rule

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// A Misfit is a table that the rules name and that cannot be served as it is.
type Misfit struct {
	Table  string // as the rules call it
	Reason string // for people: what it lacks
}

// Fit lays rules over the tables that there are. Names in the result are those of
// the schema: where a table or a column goes by one of its Was names, the two trade
// places, so that Was is "other names of this". Tables that cannot be served
// are left out, with the reasons, and so are those whose scope hangs on them.
// The arguments stay as they are.
func Fit(rules *Rules, schema *change.Schema) (fit Rules, lost []Misfit) {
	f := &fitting{schema: schema, bad: map[string]string{}, of: map[string]*Table{}}
	list := Named(rules, schema).Tables
	for i := range list {
		t := &list[i]
		if def := schema.Table(t.Name); def == nil {
			f.bad[t.Name] = "the database has no such table"
		} else {
			f.of[strings.ToLower(def.Name)] = t
			if why := unfit(t, def); why != "" {
				f.bad[t.Name] = why
			}
		}
	}
	for more := true; more; { // what hangs on a table that is left out, goes too
		more = false
		for i := range list {
			t := &list[i]
			if f.bad[t.Name] != "" {
				continue
			}
			if why := f.way(t); why != "" {
				f.bad[t.Name], more = why, true
			}
		}
	}
	for i := range list {
		if why := f.bad[list[i].Name]; why != "" {
			lost = append(lost, Misfit{Table: rules.Tables[i].Name, Reason: why})
			continue
		}
		fit.Tables = append(fit.Tables, list[i])
	}
	return fit, lost
}

// Named is the rules with the names that tables and columns have, one by one, see
// Fit. What has none of its names is left as it is.
func Named(rules *Rules, schema *change.Schema) Rules {
	out := Rules{Tables: slices.Clone(rules.Tables)}
	for i := range out.Tables {
		if def := find(rules, schema, &out.Tables[i]); def != nil {
			named(&out.Tables[i], def)
		}
	}
	return out
}

type fitting struct {
	schema *change.Schema
	bad    map[string]string // by Table.Name: why not
	of     map[string]*Table // by the schema's name in lower case
}

// find is the table that a rule is about, under its name or one of its others that
// no other rule claims.
func find(rules *Rules, schema *change.Schema, t *Table) *change.Table {
	if def := schema.Table(t.Name); def != nil {
		return def
	}
	for _, w := range t.Was {
		if def := schema.Table(w); def != nil && rules.Table(w) == nil {
			return def
		}
	}
	return nil
}

// named gives a rule the names that the table has.
func named(t *Table, def *change.Table) {
	t.Was = swap(t.Was, def.Name, t.Name)
	t.Name = def.Name
	if len(t.Columns) == 0 {
		return
	}
	renamed := map[string]string{}
	cols := make(map[string]Column, len(t.Columns))
	for name, c := range t.Columns {
		now := presentName(def, name, c.Was)
		if now != name {
			renamed[name] = now
			c.Was = swap(c.Was, now, name)
		}
		for _, w := range c.Was {
			renamed[strings.ToLower(w)] = now
		}
		if _, taken := t.Columns[now]; taken && now != name {
			continue // it has an entry of its own
		}
		cols[now] = c
	}
	t.Columns = cols
	t.Scope.Column, t.Scope.Via = present(def, renamed, t.Scope.Column), present(def, renamed, t.Scope.Via)
	checks := slices.Clone(t.Checks)
	for i := range checks {
		checks[i].Expr = reworded(def, renamed, checks[i].Expr)
	}
	t.Checks = checks
}

// swap takes now out of a list of other names, and puts name there instead.
func swap(was []string, now, name string) []string {
	if strings.EqualFold(now, name) {
		return was
	}
	out := []string{name}
	for _, w := range was {
		if !strings.EqualFold(w, now) {
			out = append(out, w)
		}
	}
	return out
}

// presentName is the lower-case name that a column goes by.
func presentName(def *change.Table, name string, was []string) string {
	if def.Column(name) >= 0 {
		return name
	}
	for _, w := range was {
		if def.Column(w) >= 0 {
			return strings.ToLower(w)
		}
	}
	return name
}

// present is the name that a column which some part of the rule names goes by.
func present(def *change.Table, renamed map[string]string, name string) string {
	if name == "" || def.Column(name) >= 0 {
		return name
	}
	if now, ok := renamed[strings.ToLower(name)]; ok {
		if i := def.Column(now); i >= 0 {
			return def.Columns[i].Name
		}
	}
	return name
}

var field = regexp.MustCompile(`\b(row|old)\.([A-Za-z_][A-Za-z0-9_]*)`)

// reworded is a check's expression over the columns as they are called.
func reworded(def *change.Table, renamed map[string]string, expr string) string {
	if len(renamed) == 0 {
		return expr
	}
	return field.ReplaceAllStringFunc(expr, func(s string) string {
		of, name, _ := strings.Cut(s, ".")
		return of + "." + present(def, renamed, name)
	})
}

// unfit says what a table lacks, or "".
func unfit(t *Table, def *change.Table) string {
	switch {
	case len(def.Key) == 0:
		return "a table without a primary key cannot sync"
	case t.Scope.All || t.Reference:
	case t.Scope.Column != "":
		if def.Column(t.Scope.Column) < 0 {
			return "scope column " + t.Scope.Column + " does not exist"
		}
	case t.Scope.Via == "":
		return "no scope is given"
	}
	return ""
}

// way says why the way from a table's rows to their scope is blocked, or "".
func (f *fitting) way(t *Table) string {
	seen := []*Table{}
	for !t.Scope.All && !t.Reference && t.Scope.Column == "" {
		if slices.Contains(seen, t) {
			return "its scope leads back to itself via column " + t.Scope.Via
		}
		seen = append(seen, t)
		up := f.parent(t)
		if up == nil && len(seen) > 1 {
			return "" // the one above goes first, and this one with it
		}
		if up == nil {
			return "scope via " + t.Scope.Via + " needs a foreign key on that column to a synced table"
		}
		t = up
	}
	return ""
}

// parent is the rule of the table that the narrowest foreign key on the via column
// points at.
func (f *fitting) parent(t *Table) (best *Table) {
	def := f.schema.Table(t.Name)
	at, width := def.Column(t.Scope.Via), 0
	for i := range def.ForeignKeys {
		fk := &def.ForeignKeys[i]
		up := f.of[strings.ToLower(fk.Parent)]
		if up == nil || f.bad[up.Name] != "" || !slices.Contains(fk.Columns, at) {
			continue
		}
		if best == nil || len(fk.Columns) < width {
			best, width = up, len(fk.Columns)
		}
	}
	return best
}

// Names are all names that the rules have for tables, for reading a schema.
func (r *Rules) Names() []string {
	var out []string
	for i := range r.Tables {
		for _, n := range append([]string{r.Tables[i].Name}, r.Tables[i].Was...) {
			if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, n) }) {
				out = append(out, n)
			}
		}
	}
	return out
}
