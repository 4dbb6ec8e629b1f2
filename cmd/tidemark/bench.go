package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/fleet"
)

// benchVerb is for whoever sizes a machine. It is not part of daily work, and hidden.
func benchVerb(d *door) *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure what this machine does", Hidden: true, Args: args(cobra.NoArgs)}
	c.AddCommand(benchFleetVerb(d))
	return c
}

func benchFleetVerb(d *door) *cobra.Command {
	cfg := fleet.Config{}
	c := &cobra.Command{
		Use:   "fleet",
		Short: "Let many devices come back to a hub at once",
		Long: `Fleet starts a hub on this machine, in a directory that is removed afterwards, and lets
devices come back to it all at the same moment, with work that they did without a network.
Each has a key, a session over TLS and a chain of transactions, and no file.`,
		Example: "  tidemark bench fleet --devices 200",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Program, err = os.Executable(); err != nil {
				return err
			}
			if cfg.Dir, err = os.MkdirTemp("", "tidemark-fleet"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
			cfg.Clock, cfg.Rand = d.clock, d.rand
			cfg.Tell = func(format string, list ...any) { fmt.Fprintf(d.err, format+"\n", list...) }
			r, err := fleet.Run(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return d.show(r, func(w io.Writer) { fleetFacts(w, r) })
		},
	}
	c.Flags().IntVar(&cfg.Devices, "devices", 200, "how many devices")
	c.Flags().IntVar(&cfg.Changes, "changes", 20, "how many transactions each has to hand in")
	return c
}

func fleetFacts(w io.Writer, r *fleet.Report) {
	ms := func(t time.Duration) string { return t.Round(time.Millisecond).String() }
	facts(w, [][2]string{
		{"devices done", fmt.Sprintf("%d of %d", r.Done, r.Devices)},
		{"changes lost", fmt.Sprintf("%d of %d", r.Lost, r.Changes)},
		{"took", ms(r.Took)},
		{"until safe", fmt.Sprintf("p50 %s, p99 %s", ms(r.P50), ms(r.P99))},
		{"one answer", fmt.Sprintf("p50 %s, p99 %s", ms(r.Answer50), ms(r.Answer99))},
		{"asked to come back", fmt.Sprint(r.Refused)},
		{"hub memory", fmt.Sprintf("%d MiB at most", r.Memory>>20)},
	})
	for _, e := range r.Errors {
		fmt.Fprintln(w, e)
	}
}
