package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/check"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/spell"
)

var policies = []rule.Policy{
	rule.Latest, rule.Arrival, rule.Hub, rule.Edge, rule.Counter, rule.Min,
	rule.Max, rule.Set, rule.TextMix, rule.States, rule.Manual,
}

// Validate judges a configuration by itself. The error is Faults.
func (c *Config) Validate() error {
	var f Faults
	c.validate(&f)
	return f.err()
}

func (c *Config) validate(f *Faults) {
	c.validateKeys(f)
	seen := map[string]string{}
	for i := range c.Tables.Tables {
		t := &c.Tables.Tables[i]
		path := join("tables", t.Name)
		if other, ok := seen[strings.ToLower(t.Name)]; ok {
			c.add(f, path, "SQLite takes this for the same table as %q: names differ in case only", other)
		}
		seen[strings.ToLower(t.Name)] = t.Name
		c.validateTable(f, path, t)
	}
	c.validateNames(f)
}

func (c *Config) validateKeys(f *Faults) {
	for _, k := range keys() {
		p := k.field(c)
		if isZero(p) {
			continue
		}
		if k.low != nil && (rank(p) < rank(k.low) || rank(p) > rank(k.high)) {
			c.add(f, k.path, "out of range; want %s to %s", spelled(k.low), spelled(k.high))
		}
		if k.check == nil {
			continue
		}
		switch p := p.(type) {
		case *string:
			if err := k.check(*p); err != nil {
				c.add(f, k.path, "%v", err)
			}
		case *[]string:
			for i, s := range *p {
				if err := k.check(s); err != nil {
					c.add(f, fmt.Sprintf("%s[%d]", k.path, i), "%v", err)
				}
			}
		}
	}
	full := c.WithDefaults()
	if c.Hub.Limits.Row != 0 && full.Hub.Limits.Row > full.Hub.Limits.Transaction {
		c.add(f, "hub.limits.row", "%s is more than a whole transaction may have (hub.limits.transaction: %s)", full.Hub.Limits.Row, full.Hub.Limits.Transaction)
	}
	for i, name := range c.Edge.Files {
		path := fmt.Sprintf("edge.files[%d]", i)
		if name == "" {
			c.add(f, path, "want the path of an SQLite file")
		} else if slices.Index(c.Edge.Files, name) < i {
			c.add(f, path, "%q is listed twice", name)
		}
	}
}

func (c *Config) validateTable(f *Faults, path string, t *rule.Table) {
	low := strings.ToLower(t.Name)
	if t.Name == "" || strings.HasPrefix(low, "sqlite_") || strings.HasPrefix(low, "_tidemark_") {
		c.add(f, path, "%q cannot be the name of a table that syncs", t.Name)
	}
	c.validateScope(f, join(path, "scope"), t)
	c.validatePolicy(f, join(path, "policy"), t.Policy)
	if t.Policy == rule.States {
		c.add(f, join(path, "policy"), "states are declared per column: columns.<name>.states")
	}
	if t.ByRow && !decidesRows(t.Policy) {
		c.add(f, join(path, "policy"), "%s looks at single values, and cannot decide about whole rows (by_row)", t.Policy)
	}
	for _, name := range sortedColumns(t) {
		c.validateColumn(f, join(join(path, "columns"), name), t, t.Columns[name])
	}
	c.oneOf(f, join(path, "on_delete"), "delete policy", string(t.OnDelete), string(rule.UpdateWins), string(rule.DeleteWins))
	c.oneOf(f, join(path, "keys"), "kind of keys", string(t.Keys), string(rule.KeysAppAssigned), string(rule.KeysLeased))
	c.validateLeases(f, path, t)
	c.validateChecks(f, join(path, "checks"), t)
}

func (c *Config) validateScope(f *Faults, path string, t *rule.Table) {
	s := t.Scope
	forms := 0
	for _, set := range []bool{s.All, s.Kind != "" || s.Column != "", s.Via != ""} {
		if set {
			forms++
		}
	}
	switch {
	case forms == 0 && !t.Reference:
		c.add(f, path, "missing; %s", scopeForms)
	case forms > 1:
		c.add(f, path, "more than one form at once; %s", scopeForms)
	case s.Kind != "" || s.Column != "":
		if !isKind(s.Kind) || s.Column == "" {
			c.add(f, path, "%s", scopeForms)
		}
	}
}

func (c *Config) validateColumn(f *Faults, path string, t *rule.Table, col rule.Column) {
	c.validatePolicy(f, join(path, "policy"), col.Policy)
	switch {
	case col.Policy == rule.States && len(col.States) == 0:
		c.add(f, join(path, "states"), "missing; the policy states needs the states that may follow each one, such as {new: [open], open: [done]}")
	case col.Policy != rule.States && len(col.States) > 0:
		c.add(f, join(path, "states"), "only the policy states looks at this; set policy: states")
	}
	if t.ByRow && col.Policy != "" {
		c.add(f, join(path, "policy"), "the table decides about whole rows (by_row); remove one of the two")
	}
}

// decidesRows reports whether a policy can pick between whole rows.
func decidesRows(p rule.Policy) bool {
	switch p {
	case "", rule.Latest, rule.Arrival, rule.Hub, rule.Edge, rule.Manual:
		return true
	}
	return !slices.Contains(policies, p) // an unknown one has its own fault
}

func (c *Config) validatePolicy(f *Faults, path string, p rule.Policy) {
	names := make([]string, len(policies))
	for i, k := range policies {
		names[i] = string(k)
	}
	c.oneOf(f, path, "policy", string(p), names...)
}

// oneOf notes a fault when a value is set and none of the known ones.
func (c *Config) oneOf(f *Faults, path, what, value string, known ...string) {
	if value == "" || slices.Contains(known, value) {
		return
	}
	hint := spell.Hint(value, known)
	if hint == "" {
		hint = "; want " + strings.Join(known, ", ")
	}
	c.add(f, path, "unknown %s %q%s", what, value, hint)
}

func (c *Config) validateChecks(f *Faults, path string, t *rule.Table) {
	seen := map[string]bool{}
	for i, k := range t.Checks {
		at := fmt.Sprintf("%s[%d]", path, i)
		if k.Name == "" {
			c.add(f, at+".name", "missing; refusals name the check")
		} else if seen[k.Name] {
			c.add(f, at+".name", "%q is the name of another check of this table", k.Name)
		}
		seen[k.Name] = true
		if k.Expr == "" {
			c.add(f, at+".expr", "missing; want a CEL expression such as row.price >= 0")
		}
	}
	_, err := check.Compile(t.Checks, nil)
	c.addChecks(f, path, t.Checks, err)
}

// addChecks notes the faults of check.Compile.
func (c *Config) addChecks(f *Faults, path string, checks []rule.Check, err error) {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return
	}
	for _, e := range many.Unwrap() {
		var one *check.Fault
		if errors.As(e, &one) && checks[one.Index].Expr != "" {
			c.add(f, fmt.Sprintf("%s[%d].expr", path, one.Index), "%s", strings.ReplaceAll(one.Err.Error(), "\n", "; "))
		}
	}
}
