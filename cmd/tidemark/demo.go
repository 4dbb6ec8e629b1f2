package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemark-sync/tidemark/internal/demo"
)

func demoVerb(d *door) *cobra.Command {
	cfg := demo.Config{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "The whole story on this machine, in under a minute",
		Long: `Demo starts a hub and two branches of a clinic chain as processes on this machine, cuts
the network between them, lets plain SQL applications work on at both, brings the network
back, and shows what becomes of it: the outboxes, the conflict and its receipt, the
counter, the digests. Everything is real, and every claim on the screen was checked.

Then the hub and the agents go on until Ctrl-C, with suggestions what to try. With --quick
it ends by itself: code 0 says that every claim was true.`,
		Example: `  tidemark demo
  tidemark demo --quick
  tidemark demo --dir /tmp/look-inside
  tidemark demo --quick --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program's own file: %w", err)
			}
			cfg.Program, cfg.Clock, cfg.Out, cfg.Stay = program, d.clock, d.out, !cfg.Quick
			cfg.Style = screenStyle(d.out, os.Getenv)
			if f, ok := d.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				cfg.In = f
			}
			if d.json {
				cfg.Out, cfg.Style = io.Discard, demo.Style{}
				cfg.Told = func(r *demo.Report) error { return d.document(r) }
			}
			err = demo.Run(cmd.Context(), cfg)
			switch {
			case errors.Is(err, demo.ErrNotEmpty):
				return fail(exitUsage, err, "name a directory that is empty or not there yet")
			case errors.Is(err, context.Canceled):
				return fail(exitInterrupted, errors.New("interrupted: the demo's processes are stopped"), "")
			}
			return err
		},
	}
	c.Flags().BoolVar(&cfg.Quick, "quick", false, "short pauses, and an end by itself, for CI")
	c.Flags().StringVar(&cfg.Dir, "dir", "", "where to make everything, kept afterwards (default: a temporary directory, removed afterwards)")
	_ = c.MarkFlagDirname("dir")
	return c
}

// screenStyle says what a stream can show.
func screenStyle(w io.Writer, env func(string) string) demo.Style {
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd())) && env("TERM") != "dumb"
	locale := env("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = env(name)
		}
	}
	locale = strings.ToUpper(locale)
	return demo.Style{
		Live:   live,
		Colour: live && env("NO_COLOR") == "",
		UTF8:   strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8"),
	}
}
