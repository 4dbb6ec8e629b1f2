package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/internal/proposal"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func initVerb(d *door) *cobra.Command {
	var out, database string
	var force bool
	c := &cobra.Command{
		Use:   "init [APP.db]",
		Short: "Propose a tidemark.yaml from an existing SQLite file or PostgreSQL database",
		Long: `Init reads an application's SQLite file, and changes nothing in it. It proposes which
tables sync, which rows go where, and who wins a conflict; and it says what cannot sync
as it is, and how to fix each. With --database it looks at the tables of a PostgreSQL database
instead, and not at their rows. The proposal is a starting point: read it.`,
		Example: `  tidemark init shop.db
  tidemark init shop.db -o rules.yaml
  tidemark init --database postgres://tidemark@db.example.org/shop
  tidemark init shop.db -o - --json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if (len(list) == 1) == (database != "") {
				return fail(exitUsage, errors.New("init reads one thing: a SQLite file, or a PostgreSQL database"), "tidemark init APP.db, or tidemark init --database postgres://user@host/name")
			}
			from, p, err := propose(cmd.Context(), append(list, "")[0], database)
			if err != nil {
				return err
			}
			if out == "-" && !d.json {
				fmt.Fprint(d.out, p.YAML())
				return nil
			}
			if out != "-" {
				if err := writeProposal(out, p.YAML(), force); err != nil {
					return err
				}
			}
			result := struct {
				File   string `json:"file"`
				Config string `json:"config"`
				YAML   string `json:"yaml"`
				*proposal.Proposal
			}{from.name, out, p.YAML(), p}
			return d.show(result, func(w io.Writer) {
				fmt.Fprint(w, p.Report())
				fmt.Fprintf(w, "\nwrote %s; read it, then: tidemark hub --config %s %s %s\n", word(out), word(out), from.flag, word(from.name))
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", configName, "the file to write; - for standard output")
	c.Flags().StringVar(&database, "database", "", "a PostgreSQL database to look at, like postgres://user@host/name")
	c.Flags().BoolVar(&force, "force", false, "replace the file when it exists")
	_ = c.MarkFlagFilename("output", "yaml", "yml")
	return c
}

func readProposal(_ context.Context, file string) (_ *proposal.Proposal, err error) {
	if err := run.NamesFile(file); err != nil {
		return nil, fail(exitUsage, err, "name the SQLite file of the application")
	}
	c, err := sqlite.Open(file, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p, err := proposal.Read(c)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return p, nil
}

func writeProposal(path, text string, force bool) error {
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if force {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, os.ErrExist) {
		return fail(exitUsage, fmt.Errorf("%s exists", path), "--force replaces it; -o names another file")
	}
	if err != nil {
		return fmt.Errorf("write proposal: %w", err)
	}
	_, err = f.WriteString(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
