package tidemark

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A Migration is a schema migration under way. It belongs to the function it was given
// to, and to one goroutine.
type Migration struct{ m *edge.Migration }

// Exec runs statements of any kind, several when there are no parameters. BEGIN,
// COMMIT, SAVEPOINT and ATTACH are refused: a migration is one transaction, on one file.
func (m *Migration) Exec(sql string, args ...any) error { return m.Query(sql, nil, args...) }

// Query is Exec that calls row for each row of the results. row may not run other
// statements.
func (m *Migration) Query(sql string, row func(Row) error, args ...any) error {
	vals := make([]change.Value, len(args))
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		vals[i] = v
	}
	if row == nil {
		return m.m.Query(sql, nil, vals...)
	}
	return m.m.Query(sql, func(s *sqlite.Stmt) error { return row(Row{s}) }, vals...)
}

// A MigrateReport tells what a migration did to the tables that sync.
type MigrateReport = run.Migrated

// MigrateOptions say how to migrate.
type MigrateOptions struct {
	// NoData says that every replica runs the same migration: what it does to rows is
	// not handed in.
	NoData bool
	DryRun bool // change nothing, and report what would have been
}

// Migrate runs an application's schema migration. Capture is taken out of the way, so
// that every kind of ALTER TABLE and rebuild works, and is made anew for the tables as
// they then are; what fn does to synced rows is found by comparison and travels as one
// transaction. When fn fails, ctx ends, or a foreign key is broken at the end, nothing
// has happened. Foreign keys are not enforced while fn runs.
//
// Columns that the hub does not have yet do not sync until it does; then the values
// here reach it. Write waits meanwhile, and fn must not call it; Read goes on as beside
// a Write.
func (db *DB) Migrate(ctx context.Context, fn func(*Migration) error, o MigrateOptions) (*MigrateReport, error) {
	c, err := db.take(ctx, db.writer) // this process's writes wait here, and do not run into the file's lock
	if err != nil {
		return nil, err
	}
	defer func() { db.writer <- c }()
	out, err := run.MigrateWith(ctx, db.edge, edge.MigrateOptions(o), func(m *edge.Migration) error {
		return fn(&Migration{m})
	})
	if err == nil {
		db.nudge()
	}
	return out, err
}
