package config

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

var policyDocs = map[rule.Policy]string{
	rule.Latest:  "The later edit stays, by clocks corrected to the hub's.",
	rule.Arrival: "The edit that reaches the hub last stays.",
	rule.Hub:     "What the hub holds stays.",
	rule.Edge:    "The device's edit stays.",
	rule.Counter: "Adds what each side added: for stock and balances that are changed by amounts. Whole numbers are exact; a sum beyond 64 bits is quarantined.",
	rule.Min:     "The smaller value stays, in SQLite's order. NULL loses.",
	rule.Max:     "The larger value stays, in SQLite's order. NULL loses.",
	rule.Set:     "A JSON array as a set: everything either side added, without what either removed.",
	rule.TextMix: "Merges lines, then words. Words changed on both sides: as `latest`.",
	rule.States:  "The device's state follows the hub's if `states` allows that step; otherwise quarantined.",
	rule.Manual:  "Quarantined until a person decides.",
}

// Reference is the page that explains every key, in Markdown. It is generated
// from the same tables that the file is read with.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# tidemark.yaml

<!-- Generated from internal/config. Do not edit: run its tests with -rewrite. -->

Everything is optional but the scope of each table. Durations are written like
` + "`30d`, `12h`, `1h30m` or `15s`, sizes like `64KiB`, `16MiB` or `1GiB`" + `. Unknown keys are
errors, and every fault in the file is reported at once:
` + "`tidemark config check`" + `.

`)
	var zero Config
	section := ""
	for _, k := range keys() {
		if s, _, _ := strings.Cut(k.path, "."); s != section {
			if section != "" {
				b.WriteString("\n")
			}
			section = s
			fmt.Fprintf(&b, "## %s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", s)
		}
		def, rng := "", ""
		if k.def != nil {
			def = "`" + spelled(k.def) + "`"
		}
		if k.low != nil {
			rng = fmt.Sprintf(" From `%s` to `%s`.", spelled(k.low), spelled(k.high))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s%s |\n", k.path, form(k.field(&zero)), def, k.doc, rng)
	}
	b.WriteString("\n## tables\n\nOne entry for each table that syncs: `tables.<name>.<key>`.\n\n| key | value | meaning |\n|---|---|---|\n")
	for _, k := range tableKeys() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.name, k.form, k.doc)
	}
	b.WriteString("\n## Policies\n\n| policy | when two sides changed the same column |\n|---|---|\n")
	for _, p := range policies {
		fmt.Fprintf(&b, "| `%s` | %s |\n", p, policyDocs[p])
	}
	b.WriteString(`
## Example

` + "```yaml\n" + Example + "```\n")
	return b.String()
}

// Example is a configuration that uses what most need.
const Example = `hub:
  listen: ":8443"
  retention:
    log: 30d

tables:
  branch:
    scope: all
    reference: true
  patient:
    scope: branch/{branch_id}
    columns:
      notes: text
      tags: set
  visit:
    scope: {via: patient_id}
    columns:
      state:
        policy: states
        states:
          booked: [arrived, cancelled]
          arrived: [seen]
  stock:
    scope: branch/{branch_id}
    on_delete: delete-wins
    columns:
      quantity: counter
    checks:
      - name: price is not negative
        expr: row.price >= 0
        message: the price must not be negative
`
