package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/proposal"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
)

// An origin is what a proposal was read from, and how the hub is given it.
type origin struct{ name, flag string }

func propose(ctx context.Context, file, dsn string) (from origin, p *proposal.Proposal, err error) {
	if dsn != "" {
		p, err = readServerProposal(ctx, dsn)
		return origin{config.Redact(dsn), "--database"}, p, err
	}
	p, err = readProposal(ctx, file)
	return origin{file, "--import"}, p, err
}

// readServerProposal looks at a PostgreSQL database's tables as edges would have them.
func readServerProposal(ctx context.Context, dsn string) (_ *proposal.Proposal, err error) {
	list, err := postgresstore.Survey(ctx, dsn, nil)
	if err != nil {
		return nil, err
	}
	c, err := sqlite.Open(":memory:", sqlite.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, f := range list {
		if f.DDL == "" {
			continue
		}
		if err := sqlite.Script(c, f.DDL+";"); err != nil {
			return nil, fmt.Errorf("table %s as edges would have it: %w", f.Table.Name, err)
		}
	}
	p, err := proposal.Read(c)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", config.Redact(dsn), err)
	}
	for _, f := range list {
		for _, why := range f.Refused {
			p.Refused = append(p.Refused, proposal.Refusal{Name: f.Table.Name, Kind: "table", Reason: why, Fix: "change the table, or leave it out"})
		}
		for i := range p.Tables {
			p.Tables[i].Rule.Scope = rule.Scope{All: true}
			if t := &p.Tables[i]; t.Rule.Name == f.Table.Name {
				for _, n := range f.Notes {
					t.Notes = append(t.Notes, proposal.Note{Text: n})
				}
			}
		}
	}
	p.Candidates = nil
	p.Notes = append(p.Notes, proposal.Note{Text: "rows were not looked at: as proposed, every device gets all of them", Fix: "say which column divides them, with scope: kind/{column}"})
	return p, nil
}
