package postgresstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Import makes the tables of an SQLite schema, as Create does, and fills them, as Load
// does, in one transaction: all or nothing. feed may be nil: the tables stay empty. It
// returns how many rows there are.
func Import(ctx context.Context, dsn string, src Source, feed Feed) (rows int64, notes []Note, err error) {
	err = glance(ctx, dsn, func(c *pgx.Conn) error {
		m := &making{ctx: ctx, c: c, src: src}
		return inTx(ctx, c, "BEGIN", func() error {
			if _, err := exec(ctx, c, "SELECT pg_advisory_xact_lock($1::int8)", int64(layoutLock)); err != nil {
				return fmt.Errorf("wait for another process: %w", err)
			}
			if err := m.all(); err != nil {
				return fmt.Errorf("create tables: %w", err)
			}
			notes = m.notes
			if feed == nil {
				return nil
			}
			if err := script(ctx, c, "SET CONSTRAINTS ALL DEFERRED"); err != nil {
				return err
			}
			rows, err = fill(ctx, c, src.names(), feed)
			return err
		})
	})
	if err != nil {
		return 0, nil, err
	}
	return rows, notes, nil
}

func (s *Source) names() []string {
	out := make([]string, len(s.Schema.Tables))
	for i := range s.Schema.Tables {
		out[i] = s.Schema.Tables[i].Name
	}
	return out
}

// fill loads tables within a transaction.
func fill(ctx context.Context, c *pgx.Conn, tables []string, feed Feed) (rows int64, err error) {
	list, err := relations(ctx, c, tables)
	if err != nil {
		return 0, err
	}
	for i := range list {
		if len(list[i].refused) > 0 {
			return 0, fmt.Errorf("table %s cannot sync: %s", list[i].Name, list[i].refused[0])
		}
		n, err := load(ctx, c, &list[i], feed)
		if err != nil {
			return 0, fmt.Errorf("load table %s: %w", list[i].Name, constraint(list[i].Name, err))
		}
		rows += n
	}
	return rows, nil
}
