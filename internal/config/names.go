package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// validateNames demands that a name leads to one table, and within a table to one
// column: work that devices captured under it could go to either.
func (c *Config) validateNames(f *Faults) {
	tables := claims{}
	for i := range c.Tables.Tables {
		t := &c.Tables.Tables[i]
		tables[strings.ToLower(t.Name)] = join("tables", t.Name)
	}
	for i := range c.Tables.Tables {
		t := &c.Tables.Tables[i]
		path := join("tables", t.Name)
		c.claim(f, tables, path, "was", t.Was)
		columns := claims{}
		names := sortedColumns(t)
		for _, name := range names {
			columns[name] = join(join(path, "columns"), name)
		}
		for _, name := range names {
			c.claim(f, columns, join(join(path, "columns"), name), "was", t.Columns[name].Was)
		}
		c.claim(f, columns, path, "dropped", t.Dropped)
	}
}

// claims are names in lower case, each with the path of who has it.
type claims map[string]string

func (c *Config) claim(f *Faults, by claims, path, key string, names []string) {
	for i, n := range names {
		at := join(path, key)
		if c.lines[fmt.Sprintf("%s[%d]", at, i)] > 0 {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		low := strings.ToLower(n)
		switch who, taken := by[low]; {
		case n == "":
			c.add(f, at, "want a name")
		case taken && who == path:
			c.add(f, at, "%q is its own name, or is listed twice", n)
		case taken:
			c.add(f, at, "%q is a name of %s too: which one is meant cannot be told", n, who)
		default:
			by[low] = path
		}
	}
}

// names demands that other names are not those of columns that are there.
func (a *against) names(path string, r *rule.Table, t *change.Table) {
	for _, w := range r.Was {
		if a.schema.Table(w) != nil {
			a.fault(join(path, "was"), "the database has a table %q, too: work captured under that name would go astray; drop it or rename it first", w)
		}
	}
	for _, name := range sortedColumns(r) {
		for _, w := range r.Columns[name].Was {
			if t.Column(w) >= 0 && t.Column(name) >= 0 {
				a.fault(join(join(join(path, "columns"), name), "was"), "the table has a column %q, too: work captured under that name would go astray; drop it or rename it first", w)
			}
		}
	}
}

// onlyNames reports whether an entry says nothing but what a column is also called.
func onlyNames(c rule.Column) bool {
	c.Was = nil
	return reflect.ValueOf(c).IsZero()
}
