package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/serve"
)

func hubVerb(d *door) *cobra.Command {
	cfg := serve.HubConfig{Console: newConsole()}
	var word reviveFlags
	c := &cobra.Command{
		Use:   "hub",
		Short: "Serve a hub: create it when it is new, then sync with every device",
		Long: `Hub serves the data directory. The first start takes its rules from --config (else from
./tidemark.yaml), and its tables and rows from --import, an existing SQLite file, which
is read and left alone. With --schema in place of --import a new hub has the tables and
no rows; devices bring them. The configuration in force is kept in the directory;
--config replaces it.

Other programs may read and write hub.db in the directory with plain SQL: that syncs.

With hub.database, or --database, the tables are in a PostgreSQL database: those that are
there are served as they are, or --import makes them. Any number of hubs may serve one
database, each with a directory of its own; keys are copied from the first one's.

A hub whose hub.db was put back from a backup notices, serves nothing and says so, until
it is started with --restored: devices hand in again what they had handed in since the
backup, and it is applied. With --undo it waits for review instead (tidemark queue): for
a restore that was meant to undo something.

Interrupting (Ctrl-C) ends sessions between two messages; devices go on when it is back.`,
		Example: `  tidemark hub --config tidemark.yaml --import shop.db
  tidemark hub --listen 0.0.0.0:7443 --url https://hub.example.org:7443
  tidemark hub --config tidemark.yaml --database postgres://tidemark@db.example.org/shop
  tidemark hub --data /var/lib/tidemark --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if cfg.Revive, err = word.mode(); err != nil {
				return err
			}
			m := d.meter("import", "bytes")
			cfg.Clock, cfg.Rand, cfg.Logger = d.clock, d.rand, d.logger()
			cfg.Progress = m.set
			if _, err := os.Stat(configName); err == nil && cfg.ConfigFile == "" && !cfg.Dir.Configured() {
				cfg.ConfigFile = configName
			}
			h, err := serve.NewHub(cfg)
			if err != nil {
				return err
			}
			err = h.Start(cmd.Context())
			m.end()
			if err != nil {
				return err
			}
			return serveHub(cmd.Context(), d, h)
		},
	}
	bindHub(c, &cfg)
	word.bind(c)
	return c
}

func bindHub(c *cobra.Command, cfg *serve.HubConfig) {
	c.Flags().StringVar((*string)(&cfg.Dir), "data", serve.DefaultData, "the hub's data directory")
	c.Flags().StringVar(&cfg.ConfigFile, "config", "", "a configuration to put in force (default: the one in the data directory, at first ./tidemark.yaml)")
	c.Flags().StringVar(&cfg.Import, "import", "", "a SQLite file whose tables and rows a new hub starts with")
	c.Flags().StringVar(&cfg.Schema, "schema", "", "a SQLite file, or an SQL script, whose tables alone a new hub starts with")
	c.Flags().StringVar(&cfg.Database, "database", "", "a PostgreSQL database to serve, like postgres://user@host/name (default: $"+serve.EnvDatabase+", else hub.database, else SQLite in the data directory)")
	c.Flags().StringVar(&cfg.Listen, "listen", "", "address to listen on (default: hub.listen of the configuration)")
	c.Flags().StringVar(&cfg.URL, "url", "", "how devices reach this hub, for join tokens (default: hub.url, else the address)")
	c.Flags().StringVar(&cfg.Console.Listen, "console", "", "address of the console, for people, or off (default: hub.console.listen of the configuration, else "+serve.ConsoleListen+")")
	_ = c.MarkFlagDirname("data")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
}

func serveHub(ctx context.Context, d *door, h *serve.Hub) error {
	at := h.Endpoint()
	for _, n := range h.Notes() {
		d.event(map[string]any{"event": "note", "text": n}, "note: %s", n)
	}
	tellPast(d, h)
	d.event(map[string]any{"event": "listening", "url": at.URL, "pin": at.Pin, "data": string(h.Dir()), "database": h.Database()},
		"serving %s at %s\nadd a device: tidemark device add NAME --scope KIND/VALUE --data %s", string(h.Dir()), at.URL, word(string(h.Dir())))
	tellConsole(d, h)
	err := h.Wait(ctx)
	if e := h.Stop(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", string(h.Dir()), err)
	}
	d.event(map[string]any{"event": "stopped"}, "stopped: everything that was acknowledged is on disk")
	return nil
}
