package config

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A tableKey is one setting of a table, for the decoder and the reference page.
type tableKey struct {
	name, form, doc string
	read            func(d *decoder, t *rule.Table, path string, n *yaml.Node)
}

func tableKeys() []tableKey {
	return []tableKey{
		{"scope", "`all`, `kind/{column}` or `{via: column}`",
			"Which devices get a row: all of them; those with a grant for the kind and the row's value in the column; or those that get the parent row the foreign key on the column points at.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Scope = d.scope(path, n) }},
		{"policy", "policy", "Who wins a conflict, for columns without their own. Default: `latest`.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Policy = d.policy(path, n) }},
		{"by_row", "`true` or `false`", "Conflicts concern whole rows instead of columns: for rows whose columns only make sense together.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.ByRow = d.boolean(n, path) }},
		{"columns", "column → `{policy, states, lease, floor, was}`", "Policies of single columns. `states` lists, for the policy `states`, the states that may follow each one; `\"\"` stands for NULL. `lease: {size, low, start}` gives each device ranges of numbers of its own (1000 at a time, asked for when a fifth is left, from 1); `floor` keeps a counter from going below it, whoever is offline: see the guide on numbers. `was` lists other names of the column: earlier ones, or one that some files have already.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { d.columns(t, path, n) }},
		{"on_delete", "`update-wins` or `delete-wins`", "What happens when one side deletes a row that the other changes. Default: `update-wins`, the row and what was deleted along with it come back.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) {
				s, _ := d.scalar(n, path)
				t.OnDelete = rule.DeletePolicy(s)
			}},
		{"keys", "`app-assigned` or `leased`", "`app-assigned` says that integer keys are chosen by the app on each device. Two devices choosing the same key is then possible, and quarantines the later one. `leased`: each device has ranges of its own, and the app reads the next key from `tidemark_number`.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) {
				s, _ := d.scalar(n, path)
				t.Keys = rule.KeyKind(s)
			}},
		{"reference", "`true` or `false`", "Read-only at devices, and sent to every one whose rows may refer to it, whatever its scopes.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Reference = d.boolean(n, path) }},
		{"was", "list of names", "Other names of the table: earlier ones, or one that some files have already. Work captured under them is taken as this table's.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Was = d.list(n, path) }},
		{"dropped", "list of columns", "Columns that were given up. Values that devices still send for them are let go, each with a receipt, instead of quarantining the transaction.",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Dropped = d.list(n, path) }},
		{"checks", "list of `{name, expr, message}`", "CEL rules that each inserted or updated row must satisfy, over `row` and `old` (null on insert).",
			func(d *decoder, t *rule.Table, path string, n *yaml.Node) { t.Checks = d.checks(path, n) }},
	}
}

func (d *decoder) tables(path string, n *yaml.Node) {
	all := tableKeys()
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = k.name
	}
	d.mapping(n, path, func(name, at string, v *yaml.Node) {
		t := rule.Table{Name: name}
		d.mapping(v, at, func(key, keyAt string, v *yaml.Node) {
			for _, k := range all {
				if k.name == key {
					k.read(d, &t, keyAt, v)
					return
				}
			}
			d.unknown(v, at, keyAt, key, names)
		})
		if t.Reference && t.Scope == (rule.Scope{}) {
			t.Scope.All = true
		}
		d.c.Tables.Tables = append(d.c.Tables.Tables, t)
	})
}

func (d *decoder) policy(path string, n *yaml.Node) rule.Policy {
	s, _ := d.scalar(n, path)
	return rule.Policy(s)
}

func (d *decoder) scope(path string, n *yaml.Node) rule.Scope {
	if n.Kind == yaml.MappingNode {
		var s rule.Scope
		d.mapping(n, path, func(name, at string, v *yaml.Node) {
			if name == "via" {
				s.Via, _ = d.scalar(v, at)
				return
			}
			d.unknown(v, path, at, name, []string{"via"})
		})
		return s
	}
	text, ok := d.scalar(n, path)
	if !ok {
		return rule.Scope{All: !isNull(n)} // one fault is enough
	}
	s, err := ParseScope(text)
	if err != nil {
		d.fault(n, path, "%v", err)
		return rule.Scope{All: true} // as above
	}
	return s
}

func (d *decoder) columns(t *rule.Table, path string, n *yaml.Node) {
	d.mapping(n, path, func(name, _ string, v *yaml.Node) {
		low := strings.ToLower(name)
		at := join(path, low)
		if _, ok := t.Columns[low]; ok {
			d.fault(v, at, "given twice: names differ in case only")
			return
		}
		d.c.lines[at] = v.Line
		var c rule.Column
		if v.Kind == yaml.ScalarNode { // stock: counter
			c.Policy = d.policy(at, v)
		} else {
			d.mapping(v, at, func(key, keyAt string, v *yaml.Node) {
				switch key {
				case "policy":
					c.Policy = d.policy(keyAt, v)
				case "states":
					c.States = map[string][]string{}
					d.mapping(v, keyAt, func(from, fromAt string, v *yaml.Node) { c.States[from] = d.list(v, fromAt) })
				case "lease":
					c.Lease = d.lease(keyAt, v)
				case "floor":
					c.Floor = d.whole(keyAt, v)
				case "was":
					c.Was = d.list(v, keyAt)
				default:
					d.unknown(v, at, keyAt, key, []string{"policy", "states", "lease", "floor", "was"})
				}
			})
		}
		if t.Columns == nil {
			t.Columns = map[string]rule.Column{}
		}
		t.Columns[low] = c
	})
}

func (d *decoder) checks(path string, n *yaml.Node) (out []rule.Check) {
	d.sequence(n, path, func(at string, v *yaml.Node) {
		var c rule.Check
		d.mapping(v, at, func(key, keyAt string, v *yaml.Node) {
			s, _ := d.scalar(v, keyAt)
			switch key {
			case "name":
				c.Name = s
			case "expr":
				c.Expr = s
			case "message":
				c.Message = s
			default:
				d.unknown(v, at, keyAt, key, []string{"name", "expr", "message"})
			}
		})
		out = append(out, c)
	})
	return out
}
