package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/page"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// edge is what working on one file takes.
func (d *door) edge(file string) run.Edge {
	return run.Edge{File: file, Agent: "tidemark " + buildVersion(), Clock: d.clock, Rand: d.rand, Logger: d.quiet()}
}

func edgeVerb(d *door) *cobra.Command {
	cfg := run.AgentConfig{}
	var file, at string
	var redo config.Size
	var age time.Duration
	c := &cobra.Command{
		Use:   "edge [FILE...]",
		Short: "Keep files in sync: the agent beside the application",
		Long: `Edge is the agent. It runs beside the application, in any language, and keeps one or
more enrolled files in sync: what the application writes goes to the hub, what others
wrote comes in, in well under a second while the network is there. Without it, work
waits in the file for as long as it takes.

It goes on when the application restarts, the file is locked, missing or replaced for a
while, the disk is full, the clock jumps, or the hub is away for weeks.`,
		Example: `  tidemark edge till.db
  tidemark edge --json /srv/branch7/*.db
  tidemark edge till.db --page 127.0.0.1:8441
  tidemark edge --config tidemark.yaml`,
		RunE: func(cmd *cobra.Command, list []string) error {
			cfg.Edge, cfg.Files = d.edge(""), list
			cfg.Logger, cfg.RedoBytes, cfg.RedoAge = d.logger(), int64(redo), age
			if err := configureEdge(&cfg, &at, file); err != nil {
				return err
			}
			sheet, err := d.page(cmd.Context(), cfg, at)
			if err != nil {
				return err
			}
			a, err := run.NewAgent(cfg)
			if err != nil {
				return err
			}
			list = cfg.Files
			if err := a.Start(cmd.Context()); err != nil {
				return err
			}
			d.event(map[string]any{"event": "started", "files": list}, "keeping %s in sync; Ctrl-C stops, nothing is lost", names(list))
			sheet.start(cmd.Context(), d)
			<-cmd.Context().Done()
			sheet.stop()
			if err := a.Stop(); err != nil {
				return err
			}
			d.farewell(list)
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", "", "a configuration whose edge section names the files and settings")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	c.Flags().Var((*sizeFlag)(&redo), "redo-bytes", "confirmed work kept in each file for a hub that is restored, as 64MiB (default edge.redo, or 64MiB)")
	c.Flags().Var((*ageFlag)(&age), "redo-age", "how long it is kept, as 30d (default edge.redo_age, or 30d)")
	c.Flags().StringVar(&at, "page", "", "serve a small page to this machine at HOST:PORT, as "+page.Default+": is the work safe, what waits, what was refused; off: none (default edge.page, or none)")
	c.Flags().DurationVar(&cfg.Poll, "poll", run.DefaultPoll, "how often to ask a file for changes where the file system does not tell")
	return c
}

// configureEdge takes the edge section of a configuration; files named on the
// command line replace its files.
func configureEdge(cfg *run.AgentConfig, at *string, file string) error {
	if file != "" {
		c, err := config.Load(file)
		if err != nil {
			return err
		}
		e := c.WithDefaults().Edge
		cfg.URL, cfg.Heartbeat, cfg.RetryMost = e.Hub, e.Heartbeat, e.RetryMax
		*at = cmp.Or(*at, e.Page)
		cfg.RedoBytes, cfg.RedoAge = cmp.Or(cfg.RedoBytes, int64(e.Redo)), cmp.Or(cfg.RedoAge, e.RedoAge)
		if len(cfg.Files) == 0 {
			cfg.Files = e.Files
		}
	}
	if len(cfg.Files) == 0 {
		return fail(exitUsage, errors.New("no file to keep in sync"), "the form is: tidemark edge FILE..., or --config with edge.files")
	}
	return nil
}

// farewell says what is still waiting in the files when an agent stops.
func (d *door) farewell(files []string) {
	for _, f := range files {
		s, err := run.FileStatus(context.Background(), d.edge(f))
		if err != nil {
			d.event(map[string]any{"event": "stopped", "file": f, "error": err.Error()},
				"stopped: what waits in %s cannot be read now: %v", f, err)
			continue
		}
		d.event(map[string]any{"event": "stopped", "file": f, "outbox_depth": s.OutboxDepth},
			"stopped: %s", safety(f, s))
	}
}

func safety(file string, s *run.EdgeStatus) string {
	if s.OutboxDepth == 0 {
		return "all work of " + file + " is at the hub"
	}
	return fmt.Sprintf("unsent work of %s is kept in the file and goes out with the next sync", file)
}

func names(files []string) string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = filepath.Base(f)
	}
	return strings.Join(out, ", ")
}
