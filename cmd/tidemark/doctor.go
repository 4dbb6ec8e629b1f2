package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

func doctorVerb(d *door) *cobra.Command {
	var o officeFlags
	c := &cobra.Command{
		Use:   "doctor [FILE...]",
		Short: "Look for what is wrong, or will be: a file's, or with --data a hub's",
		Long: `Doctor looks, and changes none of your data: the file's health, its journal mode, the
SQLite versions of this machine, free disk space, the clock, the way to the hub, and whether
the tables still are what capture was built for.

Without FILE it looks at the hub's data directory. Something bad ends it with code 1.`,
		Example: `  tidemark doctor till.db
  tidemark doctor --data /var/lib/tidemark --json`,
		RunE: func(cmd *cobra.Command, list []string) error {
			type report struct {
				Subject  string            `json:"subject"`
				Findings []checkup.Finding `json:"findings"`
			}
			var out []report
			if len(list) == 0 {
				out = append(out, report{o.data, serve.CheckHub(cmd.Context(), serve.HubDir(o.data), d.clock)})
			}
			for _, f := range list {
				out = append(out, report{f, run.CheckFile(cmd.Context(), d.edge(f))})
			}
			bad := 0
			for _, r := range out {
				for _, f := range r.Findings {
					if f.Level == checkup.Bad {
						bad++
					}
				}
			}
			err := d.show(map[string]any{"reports": out}, func(w io.Writer) {
				for _, r := range out {
					fmt.Fprintln(w, r.Subject)
					findings(w, r.Findings)
				}
			})
			if err == nil && bad > 0 {
				err = fail(exitFailed, errors.New(plural(int64(bad), "thing")+" must be seen to"), "the lines marked BAD say what to do")
			}
			return err
		},
	}
	o.bind(c)
	return c
}

var levelMark = map[checkup.Level]string{checkup.Good: "ok  ", checkup.Note: "note", checkup.Warn: "WARN", checkup.Bad: "BAD "}

func findings(w io.Writer, list []checkup.Finding) {
	for _, f := range list {
		fmt.Fprintf(w, "  %s  %-12s  %s\n", levelMark[f.Level], f.Check, f.Text)
		if f.Hint != "" && f.Level != checkup.Good {
			fmt.Fprintf(w, "        %-12s  -> %s\n", "", f.Hint)
		}
	}
}
