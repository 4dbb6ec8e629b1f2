package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
)

func syncVerb(d *door) *cobra.Command {
	var once bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "sync --once FILE...",
		Short: "Sync files once and end, for cron",
		Long: `Sync hands in what the files hold, takes what the hub has, and ends. It waits for no
network: when the hub is away it ends with code 4, and --wait says how long to try. Work
that the hub parked (see tidemark queue) ends it with code 6.`,
		Example: `  tidemark sync --once till.db
  */5 * * * *  tidemark sync --once --wait 1m /srv/till.db`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if !once {
				return fail(exitUsage, errors.New("say --once"), "tidemark edge %s keeps files in sync all the time", word(list[0]))
			}
			return d.syncAll(cmd.Context(), list, wait)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "sync once and end")
	c.Flags().DurationVar(&wait, "wait", 0, "how long to go on trying when the hub cannot be reached")
	return c
}

// syncAll syncs each file; one that fails does not keep the others.
func (d *door) syncAll(ctx context.Context, files []string, wait time.Duration) error {
	var errs []error
	var out []*run.Synced
	for _, f := range files {
		s, err := d.syncOnce(ctx, f, wait)
		if err != nil {
			errs = append(errs, err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		out = append(out, s)
		if s.Quarantined > 0 {
			errs = append(errs, fail(exitNotInSync, fmt.Errorf("%s: the hub parked %s", f, plural(s.Quarantined, "transaction")),
				"tidemark queue list %s shows why; the rest is in sync", word(f)))
		}
	}
	if !d.json || len(out) > 0 {
		err := d.show(map[string]any{"files": out}, func(w io.Writer) {
			for _, s := range out {
				syncedText(w, s)
			}
		})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (d *door) syncOnce(ctx context.Context, file string, wait time.Duration) (*run.Synced, error) {
	m := d.meter("fill "+file, "rows")
	defer m.end()
	return run.Once(ctx, run.OnceConfig{Edge: d.edge(file), Wait: wait, Progress: m.set})
}

func syncedText(w io.Writer, s *run.Synced) {
	fmt.Fprintf(w, "%s is in sync with %s, in %s\n", s.File, s.URL, span(s.Took))
	if s.Quarantined > 0 {
		fmt.Fprintf(w, "  %s parked at the hub: tidemark queue list %s\n", plural(s.Quarantined, "transaction"), word(s.File))
	}
}
