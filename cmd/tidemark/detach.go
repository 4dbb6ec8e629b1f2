package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
)

func detachVerb(d *door) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "detach FILE",
		Short: "Take Tidemark out of a file again, without a trace",
		Long: `Detach removes Tidemark's tables and triggers from a file, gives the application's own
triggers back as they were, and removes FILE-tidemark/. The rows stay.

It refuses while the file holds work that is not safe at the hub, with code 3. With
--force that work is first written to FILE-rescue.json, with every old and new value.`,
		Example: `  tidemark detach till.db
  tidemark detach till.db --force`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			r, err := run.Detach(cmd.Context(), d.edge(list[0]), force)
			if err != nil {
				return err
			}
			return d.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is an ordinary SQLite file again\n", r.File)
				if r.Rescue != "" {
					fmt.Fprintf(w, "%s that never became safe at the hub: kept in %s\n", plural(int64(r.Rescued), "transaction"), r.Rescue)
				}
				fmt.Fprintf(w, "at the hub: tidemark device revoke %s\n", r.Device)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "detach although work would be lost; it is exported first")
	return c
}
