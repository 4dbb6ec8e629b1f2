package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

const configName = "tidemark.yaml"

func configVerb(d *door) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration, or print the reference of all keys",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	c.AddCommand(configCheck(d), configReference(d))
	return c
}

func configCheck(d *door) *cobra.Command {
	var against string
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Report every fault of a configuration, with its place",
		Long: `Check reads a configuration (default: tidemark.yaml) and reports all its faults, each
with its line and its path. With --against it is compared with the tables of a SQLite
file too: unknown tables and columns, scopes that lead nowhere, policies that do not fit
a column's type.`,
		Example: `  tidemark config check
  tidemark config check tidemark.yaml --against shop.db --json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, list []string) error {
			path := configName
			if len(list) > 0 {
				path = list[0]
			}
			var faults config.Faults
			conf, err := config.Load(path)
			if err != nil && !errors.As(err, &faults) {
				return fail(exitUsage, err, "tidemark init APP.db writes one")
			}
			if err == nil && against != "" {
				if err := run.NamesFile(against); err != nil {
					return fail(exitUsage, err, "name a SQLite file with the application's tables")
				}
				if err := serve.CheckConfig(conf, against); err != nil && !errors.As(err, &faults) {
					return fmt.Errorf("compare with %s: %w", against, err)
				}
			}
			if err != nil && against != "" {
				defer d.say("not compared with %s: the faults above come first", against)
			}
			return configReport(d, path, conf, faults)
		},
	}
	c.Flags().StringVar(&against, "against", "", "a SQLite file with the tables")
	_ = c.MarkFlagFilename("against")
	return c
}

func configReport(d *door, path string, conf *config.Config, faults config.Faults) error {
	type fault struct {
		Line    int    `json:"line,omitempty"`
		Path    string `json:"path"`
		Message string `json:"message"`
	}
	out := struct {
		File   string  `json:"file"`
		Tables int     `json:"tables"`
		Faults []fault `json:"faults"`
	}{File: path, Faults: []fault{}}
	if conf != nil {
		out.Tables = len(conf.Tables.Tables)
	}
	for _, f := range faults {
		out.Faults = append(out.Faults, fault{f.Line, f.Path, f.Message})
	}
	err := d.show(out, func(w io.Writer) {
		for _, f := range faults {
			fmt.Fprintf(w, "%s: %s\n", path, f.Error())
		}
		if len(faults) == 0 {
			fmt.Fprintf(w, "%s is good: %s\n", path, plural(int64(out.Tables), "table"))
		}
	})
	if err == nil && len(faults) > 0 {
		err = fail(exitUsage, fmt.Errorf("%s has %s", path, plural(int64(len(faults)), "fault")), "tidemark config reference explains every key")
	}
	return err
}

func configReference(d *door) *cobra.Command {
	return &cobra.Command{
		Use:     "reference",
		Short:   "Print what every key means, with defaults and ranges",
		Example: "  tidemark config reference | less",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return d.show(map[string]string{"reference": config.Reference()}, func(w io.Writer) {
				fmt.Fprint(w, config.Reference())
			})
		},
	}
}
