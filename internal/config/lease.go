package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// maxLease is the most numbers in one range.
const maxLease = 1_000_000_000

// lease reads how a column's numbers are handed out; nothing at all takes the
// defaults.
func (d *decoder) lease(path string, n *yaml.Node) *rule.Lease {
	l := &rule.Lease{}
	fields := []struct {
		name string
		to   *int64
		high int64
	}{{"size", &l.Size, maxLease}, {"low", &l.Low, maxLease}, {"start", &l.Start, rule.MaxNumber}}
	d.mapping(n, path, func(name, at string, v *yaml.Node) {
		for _, f := range fields {
			if f.name != name {
				continue
			}
			if x := d.whole(at, v); x != nil {
				if *f.to = *x; *x < 1 || *x > f.high {
					d.fault(v, at, "%d is out of range; want 1 to %d", *x, f.high)
				}
			}
			return
		}
		d.unknown(v, path, at, name, []string{"size", "low", "start"})
	})
	return l
}

// whole reads a whole number; nil when there is none.
func (d *decoder) whole(path string, n *yaml.Node) *int64 {
	s, ok := d.scalar(n, path)
	if !ok {
		return nil
	}
	x, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.fault(n, path, "want a whole number, not %q", s)
		return nil
	}
	return &x
}

// validateLeases judges a table's leases and floors by themselves.
func (c *Config) validateLeases(f *Faults, path string, t *rule.Table) {
	for _, name := range sortedColumns(t) {
		col := t.Columns[name]
		at := join(join(path, "columns"), name)
		if l := col.Lease; l != nil {
			if t.Reference {
				c.add(f, join(at, "lease"), "devices only read the table (reference: true), and need no numbers of their own")
			}
			if full := l.WithDefaults(); full.Low > full.Size {
				c.add(f, join(at, "lease.low"), "%d is more than a whole range has (size: %d): devices would never have enough", full.Low, full.Size)
			}
			if col.Floor != nil {
				c.add(f, at, "a column is a number from ranges (lease) or an amount (floor), not both")
			}
		}
		if col.Floor == nil {
			continue
		}
		switch {
		case t.Reference:
			c.add(f, join(at, "floor"), "devices only read the table (reference: true), and need no shares")
		case t.ByRow:
			c.add(f, join(at, "floor"), "whole rows are decided about (by_row), so amounts cannot be added up; declare the policy per column")
		case t.PolicyOf(name) != rule.Counter:
			c.add(f, join(at, "floor"), "only a counter can have a floor; add policy: counter")
		}
	}
}

func sortedColumns(t *rule.Table) []string {
	return slices.Sorted(maps.Keys(t.Columns))
}

// leases judges leases and floors against the table.
func (a *against) leases(path string, r *rule.Table, t *change.Table) {
	if r.Keys == rule.KeysLeased {
		switch {
		case r.Reference:
			a.fault(join(path, "keys"), "devices only read the table (reference: true), and choose no keys")
		case !IntegerKey(t):
			a.fault(join(path, "keys"), "leased keys are for a key of one integer column that no foreign key is on; this one is (%s)", strings.Join(t.KeyNames(), ", "))
		}
	}
	for _, name := range sortedColumns(r) {
		col := r.Columns[name]
		i := t.Column(name)
		if i < 0 {
			continue // said already
		}
		at := join(join(path, "columns"), name)
		c := &t.Columns[i]
		if col.Lease != nil {
			switch {
			case change.AffinityOf(c.Type) != change.AffinityInteger:
				a.fault(join(at, "lease"), "leased numbers are integers, and the column is declared %s", declared(c))
			case t.InKey(i) && r.Keys != rule.KeysLeased:
				a.fault(join(at, "lease"), "the column is the key; add keys: leased to the table")
			}
		}
		if col.Floor == nil {
			continue
		}
		if change.AffinityOf(c.Type) != change.AffinityInteger {
			a.fault(join(at, "floor"), "a counter with a floor counts whole things, and the column is declared %s", declared(c))
		}
		for _, k := range t.Key {
			if change.AffinityOf(t.Columns[k].Type) == change.AffinityReal {
				a.fault(join(at, "floor"), "shares go by key, and a key of floating point numbers (%s) cannot be told apart exactly", t.Columns[k].Name)
			}
		}
	}
}

// leasedKey reports whether rules on a key column say only where its numbers come from.
func leasedKey(r *rule.Table, c rule.Column) bool {
	return r.Keys == rule.KeysLeased && c.Lease != nil && c.Policy == "" && c.States == nil && c.Floor == nil
}

func declared(c *change.Column) string {
	if c.Type == "" {
		return "without a type"
	}
	return c.Type
}
