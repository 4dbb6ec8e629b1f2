package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/run"
)

func migrateVerb(d *door) *cobra.Command {
	var noData, dry bool
	c := &cobra.Command{
		Use:   "migrate FILE SCRIPT.sql…",
		Short: "Run an application's schema migration in a synced file",
		Long: `Migrate runs SQL scripts in a file that syncs: all of them in one transaction, or
nothing. Capture is taken out of the way meanwhile, so that ALTER TABLE … DROP COLUMN and
table rebuilds work, and made anew for the tables as they then are. What the scripts do to
synced rows is found by comparison and handed in as one transaction.

BEGIN, COMMIT and ATTACH have no place in the scripts. Foreign keys are not enforced while
they run, and checked at the end. With - a script is read from standard input.

The agent may be running. A migration done without this verb is noticed, too: see
docs/guide/schema.md for what the plain sqlite3 shell can and cannot do.`,
		Example: `  tidemark migrate till.db 0042-email.sql
  tidemark migrate till.db 0042-email.sql --dry-run
  tidemark migrate till.db 0043-upper.sql --no-data`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, list []string) error {
			m, err := run.Migrate(cmd.Context(), run.MigrateConfig{
				Edge: d.edge(list[0]), Scripts: list[1:], Input: cmd.InOrStdin(), NoData: noData, DryRun: dry,
			})
			if err != nil {
				if errors.Is(err, context.Canceled) {
					return fail(exitInterrupted, errors.New("interrupted"), "nothing was changed: run it again")
				}
				if explainRoom(err) == nil {
					err = fail(exitFailed, err, "nothing was changed: mend the script and run it again; --dry-run tries it without changing anything")
				}
				return err
			}
			return d.show(m, func(w io.Writer) { migratedText(w, m) })
		},
	}
	c.Flags().BoolVar(&noData, "no-data", false, "every replica runs the same scripts: do not hand in what they do to rows")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would happen, and change nothing")
	return c
}

func migratedText(w io.Writer, m *run.Migrated) {
	if m.DryRun {
		fmt.Fprintln(w, "dry run: nothing was changed")
	}
	if len(m.Tables) == 0 {
		fmt.Fprintln(w, "no synced table changed")
	}
	for _, t := range m.Tables {
		fmt.Fprintf(w, "%s: %s\n", t.Table, strings.Join(migratedTable(&t), ", "))
	}
	if m.Rows > 0 {
		fmt.Fprintf(w, "%s handed in as one transaction\n", plural(int64(m.Rows), "changed row"))
	}
	for _, t := range m.Missing {
		fmt.Fprintf(w, "note: table %s is not in the file; its rows stay at the hub\n", t)
	}
	for _, n := range m.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

func migratedTable(t *run.MigratedTable) (out []string) {
	if t.Gone {
		out = append(out, "dropped")
	}
	if t.Was != "" && !t.Gone {
		out = append(out, "renamed from "+t.Was)
	}
	for _, c := range []struct {
		what string
		list []string
	}{{"added", t.Added}, {"dropped", t.Dropped}} {
		if len(c.list) > 0 {
			out = append(out, c.what+" "+strings.Join(c.list, ", "))
		}
	}
	for _, from := range slices.Sorted(maps.Keys(t.Renamed)) {
		out = append(out, "renamed "+from+" to "+t.Renamed[from])
	}
	if t.Rows > 0 {
		out = append(out, plural(int64(t.Rows), "row")+" changed")
	}
	if len(t.Unsynced) > 0 {
		out = append(out, "not synced until the hub has it: "+strings.Join(t.Unsynced, ", "))
	}
	if len(out) == 0 {
		out = append(out, "no difference to the hub")
	}
	return out
}
