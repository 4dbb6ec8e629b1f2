package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
)

func verifyVerb(d *door) *cobra.Command {
	var tables []string
	var repair bool
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Compare a file with the hub, down to the row, and repair it",
		Long: `Verify syncs a file, compares digests of every table with the hub's at one place in
history, and names each row that differs. With --repair those rows become the hub's, and
what stood in the file is kept as a rescue copy. Differences end it with code 6.

Stop the agent of the file first.`,
		Example: `  tidemark verify till.db
  tidemark verify till.db --table patient --repair`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			v, err := run.Verify(cmd.Context(), run.VerifyConfig{Edge: d.edge(list[0]), Tables: tables, Repair: repair})
			if err != nil {
				return err
			}
			err = d.show(v, func(w io.Writer) { verifiedText(w, v) })
			if err == nil && !v.InSync {
				err = fail(exitNotInSync, fmt.Errorf("%s differs from the hub in %s", v.File, plural(int64(v.Differs), "row")),
					"tidemark verify %s --repair takes the hub's rows, and keeps copies of these", word(v.File))
			}
			return err
		},
	}
	c.Flags().StringSliceVar(&tables, "table", nil, "only these tables")
	c.Flags().BoolVar(&repair, "repair", false, "take the hub's rows where they differ")
	return c
}

func verifiedText(w io.Writer, v *run.Verified) {
	rows := make([][]string, len(v.Tables))
	for i, t := range v.Tables {
		state := "equal"
		if n := len(t.Differ) + len(t.Missing) + len(t.Extra); n > 0 {
			state = fmt.Sprintf("%d differ, %d missing, %d extra", len(t.Differ), len(t.Missing), len(t.Extra))
			if t.Repaired {
				state += ", repaired"
			}
			if t.Captured > 0 {
				state += fmt.Sprintf(", %d written here without capture and handed in", t.Captured)
			}
		}
		rows[i] = []string{t.Table, count(t.Rows), state}
	}
	grid(w, []string{"TABLE", "ROWS AT THE HUB", "HERE"}, rows)
	for _, t := range v.Tables {
		for _, k := range t.Differ {
			fmt.Fprintf(w, "  %s %s differs\n", t.Table, k)
		}
		for _, k := range t.Missing {
			fmt.Fprintf(w, "  %s %s is missing here\n", t.Table, k)
		}
		for _, k := range t.Extra {
			fmt.Fprintf(w, "  %s %s is not at the hub\n", t.Table, k)
		}
	}
}
