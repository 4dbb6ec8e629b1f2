package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/config"
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
Each has a key, a session over TLS and a chain of transactions, and no file.

With --database the rows are on a PostgreSQL server. The run makes a database of its own
there, which is dropped at the end, and only connects to the one in the address; the role
may make databases (ALTER ROLE name CREATEDB). ${NAME} in it stands for an environment
variable. With --hubs several processes serve that database, and the devices are dealt
out among them.`,
		Example: `  tidemark bench fleet --devices 200
  tidemark bench fleet --devices 10000 --database postgres://tidemark@db.example.org/postgres --hubs 2`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Hubs < 1 {
				return usage("--hubs is %d: want 1 or more", cfg.Hubs)
			}
			if cfg.Database, err = config.Expand(cfg.Database, os.LookupEnv); err != nil {
				return usage("--database: %w", err)
			}
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
			if r != nil {
				err = errors.Join(err, d.show(r, func(w io.Writer) { fleetFacts(w, r) }))
			}
			return fleetFault(r, err)
		},
	}
	c.Flags().IntVar(&cfg.Devices, "devices", 200, "how many devices")
	c.Flags().IntVar(&cfg.Changes, "changes", 20, "how many transactions each has to hand in")
	c.Flags().StringVar(&cfg.Database, "database", "", "a PostgreSQL server to make the run's database on, like postgres://user@host/postgres (default: a SQLite file)")
	c.Flags().IntVar(&cfg.Hubs, "hubs", 1, "how many processes serve the database")
	c.Flags().StringVar(&cfg.Redis, "redis", "", "a Redis that the hubs share, like redis://localhost:6379/0 (default: none)")
	return c
}

// fleetFault is what a run ends with: one that lost something did not go well.
func fleetFault(r *fleet.Report, err error) error {
	switch {
	case errors.Is(err, fleet.ErrOneFile):
		return fail(exitUsage, err, "leave --hubs out to measure a hub on SQLite")
	case err != nil || r.Whole():
		return err
	}
	return fmt.Errorf("%d of %d devices are not done, %d changes are lost and %d rows are wrong", r.Devices-r.Done, r.Devices, r.Lost, r.Wrong)
}

func fleetFacts(w io.Writer, r *fleet.Report) {
	ms := func(t time.Duration) string { return t.Round(time.Millisecond).String() }
	memory := fmt.Sprintf("%d MiB at most", r.Memory>>20)
	if r.Hubs > 1 {
		memory = fmt.Sprintf("%d MiB at most, of each of %d processes", r.Memory>>20, r.Hubs)
	}
	facts(w, [][2]string{
		{"devices done", fmt.Sprintf("%d of %d", r.Done, r.Devices)},
		{"changes lost", fmt.Sprintf("%d of %d", r.Lost, r.Changes)},
		{"rows wrong", fmt.Sprint(r.Wrong)},
		{"took", ms(r.Took)},
		{"until safe", fmt.Sprintf("p50 %s, p99 %s", ms(r.P50), ms(r.P99))},
		{"one answer", fmt.Sprintf("p50 %s, p99 %s", ms(r.Answer50), ms(r.Answer99))},
		{"asked to come back", fmt.Sprint(r.Refused)},
		{"connections cut", fmt.Sprint(r.Cut)},
		{"went to another hub", fmt.Sprint(r.Moved)},
		{"database", r.Database},
		{"hub memory", memory},
	})
	for _, e := range r.Errors {
		fmt.Fprintln(w, e)
	}
}
