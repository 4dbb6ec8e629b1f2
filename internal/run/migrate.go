package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tidemark-sync/tidemark/internal/edge"
)

// MigrateConfig says which scripts to run in a file.
type MigrateConfig struct {
	Edge
	Scripts []string  // paths of SQL files, in order; "-" reads Input
	Input   io.Reader // for "-"
	NoData  bool      // every replica runs the same: changed rows are not handed in
	DryRun  bool      // report, and change nothing
}

// Migrated is what a migration did to a file.
type Migrated struct {
	File   string          `json:"file"`
	DryRun bool            `json:"dry_run,omitempty"`
	Tables []MigratedTable `json:"tables"`
	Rows   int             `json:"rows"` // whose change is handed in
	// Missing are synced tables that the file lacks now; their rows stay at the hub.
	Missing []string `json:"missing,omitempty"`
	// Notes say what of the file's tables and the hub's does not sync.
	Notes []string `json:"notes,omitempty"`
}

// MigratedTable is one table's part. Columns have the file's names.
type MigratedTable struct {
	Table    string            `json:"table"`
	Was      string            `json:"was,omitempty"`
	Gone     bool              `json:"gone,omitempty"`
	Added    []string          `json:"added,omitempty"`
	Dropped  []string          `json:"dropped,omitempty"`
	Renamed  map[string]string `json:"renamed,omitempty"`
	Unsynced []string          `json:"unsynced,omitempty"`
	Rows     int               `json:"rows"`
}

// Migrate runs SQL scripts in an enrolled file, all in one transaction, with capture
// handled around it. An agent may be at work on the file: it notices.
func Migrate(ctx context.Context, cfg MigrateConfig) (*Migrated, error) {
	texts := make([]string, len(cfg.Scripts))
	for i, name := range cfg.Scripts {
		var b []byte
		var err error
		if name == "-" && cfg.Input != nil {
			b, err = io.ReadAll(cfg.Input)
		} else {
			b, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("read script: %w", err)
		}
		texts[i] = string(b)
	}
	o := edge.MigrateOptions{NoData: cfg.NoData, DryRun: cfg.DryRun}
	return MigrateWith(ctx, cfg.Edge, o, func(m *edge.Migration) error {
		for i, sql := range texts {
			if err := m.Exec(sql); err != nil {
				return fmt.Errorf("script %s: %w", cfg.Scripts[i], err)
			}
		}
		return nil
	})
}

// MigrateWith is Migrate with a function in place of scripts. When ctx ends, nothing has
// happened, and the error wraps ctx's.
func MigrateWith(ctx context.Context, e Edge, o edge.MigrateOptions, script func(*edge.Migration) error) (*Migrated, error) {
	out := &Migrated{File: e.File, DryRun: o.DryRun, Tables: []MigratedTable{}}
	err := e.Inside(func(eng *edge.Engine) error {
		m, err := eng.Migrate(func(m *edge.Migration) error {
			m.Until(ctx.Done())
			return errors.Join(script(m), ctx.Err())
		}, o)
		if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.File, err)
		}
		for _, t := range m.Tables {
			out.Tables = append(out.Tables, MigratedTable(t))
			out.Rows += t.Rows
		}
		out.Missing, out.Notes = m.Missing, slices.Clone(m.Notes)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
