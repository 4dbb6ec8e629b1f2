package proposal

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/config"
)

// YAML is the proposal as a tidemark.yaml, with what a person should know as
// comments beside what it is about.
func (p *Proposal) YAML() string {
	var b strings.Builder
	b.WriteString("# Proposed by tidemark init. Read it, change it, then: tidemark config check\n")
	for _, n := range p.Notes {
		comment(&b, "", n)
	}
	b.WriteString("\nhub:\n  listen: \"" + config.DefaultListen + "\"\n")
	p.yamlCandidates(&b)
	if len(p.Tables) == 0 {
		b.WriteString("\ntables: {}\n")
	} else {
		b.WriteString("\ntables:\n")
	}
	for i := range p.Tables {
		p.Tables[i].yaml(&b)
	}
	if len(p.Refused) > 0 {
		b.WriteString("\n# These cannot sync as they are:\n")
		for _, r := range p.Refused {
			fmt.Fprintf(&b, "#   %s (%s): %s\n#     fix: %s\n", clean(r.Name), r.Kind, clean(r.Reason), clean(r.Fix))
		}
	}
	if len(p.Triggers) > 0 {
		b.WriteString("\n# The application's triggers:\n")
		for _, t := range p.Triggers {
			fmt.Fprintf(&b, "#   %s on %s: %s\n", clean(t.Name), clean(t.Table), clean(t.fate()))
		}
	}
	return b.String()
}

func (p *Proposal) yamlCandidates(b *strings.Builder) {
	if len(p.Candidates) == 0 {
		return
	}
	b.WriteString("\n# Columns that could divide the rows into scopes:\n")
	for _, c := range p.Candidates {
		chosen := ""
		if c.Chosen {
			chosen = " (chosen)"
		}
		fmt.Fprintf(b, "#   %s/{%s} on %s: %s%s\n", c.Kind, clean(c.Column), clean(c.Table), clean(c.values()), chosen)
	}
}

func (c Candidate) values() string {
	s := plural(c.Distinct, "1 value", "%d values")
	if c.Nulls > 0 {
		s += plural(c.Nulls, " and 1 row without", " and %d rows without")
	}
	if len(c.Samples) > 0 {
		s += ", such as " + strings.Join(c.Samples, ", ")
	}
	return s
}

func (t *Table) yaml(b *strings.Builder) {
	fmt.Fprintf(b, "  %s: # %s\n", config.Scalar(t.Rule.Name), plural(t.Rows, "1 row", "%d rows"))
	for _, n := range t.Notes {
		comment(b, "    ", n)
	}
	fmt.Fprintf(b, "    scope: %s\n", config.FormatScope(t.Rule.Scope))
	if t.Rule.Reference {
		b.WriteString("    reference: true\n")
	}
	if t.Rule.Keys != "" {
		fmt.Fprintf(b, "    keys: %s\n", t.Rule.Keys)
	}
}

func (t Trigger) fate() string {
	if t.Guarded {
		return t.Why + ", so it will not run while Tidemark applies changes (tidemark detach restores it)"
	}
	return t.Why + ", so it goes on running for every change"
}

// comment writes a note as YAML comment lines.
func comment(b *strings.Builder, indent string, n Note) {
	fmt.Fprintf(b, "%s# %s\n", indent, clean(n.String()))
}

func (n Note) String() string {
	var b strings.Builder
	if n.Warning {
		b.WriteString("WARNING ")
	}
	if n.Column != "" {
		b.WriteString(n.Column + ": ")
	}
	b.WriteString(n.Text)
	if n.Fix != "" {
		b.WriteString(" → " + n.Fix)
	}
	return b.String()
}

// clean makes any text fit into one comment line: YAML allows no control
// characters and no broken UTF-8 even there.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == 0xfffd || r == 0xfffe || r == 0xffff {
			return '?'
		}
		return r
	}, s)
}
