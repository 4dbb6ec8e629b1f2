package postgresstore

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// config reads the DSN of a hub's database: of several servers the one that takes writes.
func config(dsn string) (*pgx.ConnConfig, error) {
	pc, err := anyServer(dsn)
	if err == nil {
		onPrimary(pc)
	}
	return pc, err
}

// anyServer reads a DSN. Whatever the database and the role set, we speak UTF-8, and SQL as
// the standard has it. A pgbouncer passes these settings on, and hardly any other.
func anyServer(dsn string) (*pgx.ConnConfig, error) {
	pc, err := pgx.ParseConfig(dsn)
	if err == nil {
		pc.RuntimeParams["client_encoding"] = "UTF8"
		pc.RuntimeParams["standard_conforming_strings"] = "on"
		pc.RuntimeParams["timezone"] = "UTC"
		pc.RuntimeParams["datestyle"] = "ISO, YMD"
	}
	return pc, err
}

// calmly keeps the server from compiling plans: what the hub asks takes milliseconds, and
// compiling it takes seconds. The planner thinks otherwise of a log whose newest part it
// knows little of.
const calmly = "; SET LOCAL jit = off"

// settings follow a BEGIN. Without prepared statements answers come as texts, and those of
// doubles and bytes depend on settings that a pgbouncer does not keep for a client.
func (s *Store) settings() string {
	if !s.cfg.Pooled {
		return calmly
	}
	return calmly + "; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'"
}

// reach connects to a database for a single job.
func reach(ctx context.Context, dsn string) (*pgx.Conn, error) {
	pc, err := config(dsn)
	if err != nil {
		return nil, err
	}
	c, err := pgx.ConnectConfig(ctx, pc)
	return c, away(err)
}
