package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
)

func joinVerb(d *door) *cobra.Command {
	var sync, anew bool
	c := &cobra.Command{
		Use:   "join TOKEN FILE",
		Short: "Enrol a SQLite file with a hub, and fill it",
		Long: `Join proves a one-time token to the hub, makes a key for this device, prepares the
file for capture, and fills it. A file that does not exist is made from a snapshot that the
hub prepared, if it can, and stands at its path only when it is complete. Rows that an
existing file already holds are kept: those the hub lacks are handed in, those that
differ become the hub's, with the local image kept in the rescue table.

A copy of an enrolled file joins as a device of its own, with a token of its own: what it
has not handed in yet goes along. When the directory FILE-tidemark/ was copied with it, say
--anew.

The device's key and the hub's address are kept in FILE-tidemark/, for the owner only.
With - as TOKEN it is read from standard input, which keeps it out of the process list.`,
		Example: `  tidemark join tdm1_... till.db
  tidemark join - till.db < token.txt
  tidemark join tdm1_... till.db --sync=false`,
		Args: args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			token := list[0]
			if token == "-" {
				line, err := bufio.NewReader(d.in).ReadString('\n')
				if err != nil && line == "" {
					return fail(exitUsage, fmt.Errorf("read the token from standard input: %w", err), "echo TOKEN | tidemark join - FILE")
				}
				token = line
			}
			m := d.meter("receive "+list[1], "bytes")
			j, err := run.Join(cmd.Context(), run.JoinConfig{Edge: d.edge(list[1]), Token: strings.TrimSpace(token), Fill: sync, Progress: m.set, Anew: anew})
			m.end()
			if err != nil {
				return err
			}
			out := joinResult{Joined: j}
			if sync {
				done, err := d.syncOnce(cmd.Context(), list[1], 0)
				if errors.Is(err, context.Canceled) { // the token is used: join would not go on
					return fail(exitInterrupted, fmt.Errorf("interrupted: %s is enrolled, but not filled yet", list[1]), "tidemark sync --once %s goes on", word(list[1]))
				}
				if err != nil {
					return fmt.Errorf("%s is enrolled, but not filled yet: %w", list[1], err)
				}
				out.Sync = done
			}
			return d.show(out, out.human)
		},
	}
	c.Flags().BoolVar(&sync, "sync", true, "fill the file at once; otherwise the agent does")
	c.Flags().BoolVar(&anew, "anew", false, "the file is a copy of one that is enrolled: make it a device of its own")
	return c
}

type joinResult struct {
	*run.Joined
	Sync *run.Synced `json:"sync,omitempty"`
}

func (r joinResult) human(w io.Writer) {
	fmt.Fprintf(w, "%s is enrolled with %s as %s (%s)\n", r.File, r.URL, r.Name, r.Device)
	if n := len(r.Created); n > 0 {
		fmt.Fprintf(w, "created %s: %s\n", plural(int64(n), "table"), strings.Join(r.Created, ", "))
	}
	for _, g := range r.Guarded {
		fmt.Fprintf(w, "trigger %s is silent while Tidemark applies: it writes synced tables (detach restores it)\n", g)
	}
	for _, t := range r.Left {
		fmt.Fprintf(w, "trigger %s keeps running while Tidemark applies: it keeps local tables only\n", t)
	}
	if r.Sync != nil {
		syncedText(w, r.Sync)
	}
	fmt.Fprintf(w, "keep it in sync: tidemark edge %s\n", word(r.File))
}
