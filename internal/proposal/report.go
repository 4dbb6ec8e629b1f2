package proposal

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/tidemark-sync/tidemark/internal/config"
)

// Report is the proposal for a person at a terminal.
func (p *Proposal) Report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s can sync.\n\n", plural(int64(len(p.Tables)), "1 table", "%d tables"))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(p.Tables) > 0 {
		_, _ = fmt.Fprintln(w, "TABLE\tROWS\tKEY\tSCOPE\tPARENTS")
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		scope := config.FormatScope(t.Rule.Scope)
		if t.Rule.Reference {
			scope += ", reference"
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", clean(t.Rule.Name), t.Rows, clean(strings.Join(t.Key, ", ")), clean(scope), clean(strings.Join(t.Parents, ", ")))
	}
	_ = w.Flush() // into memory: cannot fail
	p.reportRefused(&b)
	p.reportNotes(&b)
	if len(p.Triggers) > 0 {
		b.WriteString("\nThe application's triggers:\n")
		for _, t := range p.Triggers {
			fmt.Fprintf(&b, "  %s on %s: %s\n", clean(t.Name), clean(t.Table), clean(t.fate()))
		}
	}
	return b.String()
}

func (p *Proposal) reportRefused(b *strings.Builder) {
	if len(p.Refused) == 0 {
		return
	}
	b.WriteString("\nCannot sync as they are:\n")
	for _, r := range p.Refused {
		fmt.Fprintf(b, "  %s (%s): %s\n    fix: %s\n", clean(r.Name), r.Kind, clean(r.Reason), clean(r.Fix))
	}
}

// reportNotes lists warnings before information.
func (p *Proposal) reportNotes(b *strings.Builder) {
	for _, warning := range []bool{true, false} {
		title := map[bool]string{true: "\nWarnings:\n", false: "\nGood to know:\n"}[warning]
		put := func(where string, list []Note) {
			for _, n := range list {
				if n.Warning != warning {
					continue
				}
				n.Warning = false // the title says it
				b.WriteString(title)
				title = ""
				fmt.Fprintf(b, "  %s%s\n", where, clean(n.String()))
			}
		}
		put("", p.Notes)
		for i := range p.Tables {
			put(clean(p.Tables[i].Rule.Name)+": ", p.Tables[i].Notes)
		}
	}
}
