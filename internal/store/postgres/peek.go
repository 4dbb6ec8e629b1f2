package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Founded reports whether a database holds a hub. Nothing is changed.
func Founded(ctx context.Context, dsn string) (yes bool, err error) {
	err = glance(ctx, dsn, func(c *pgx.Conn) error {
		there := false
		err := query(ctx, c, `SELECT to_regclass('tidemark.epoch') IS NOT NULL`, func(r *row) error {
			there = r.bool(0)
			return nil
		})
		if err != nil || !there {
			return err
		}
		return query(ctx, c, `SELECT EXISTS (SELECT FROM tidemark.epoch)`, func(r *row) error {
			yes = r.bool(0)
			return nil
		})
	})
	if err != nil {
		return false, fmt.Errorf("look for a hub: %w", err)
	}
	return yes, nil
}

// Peek reads one record of a hub's database without opening it as a store, so that
// nothing is brought up to date: for looking at it only. hub.ErrNotFound says that
// there is no such record, or no hub.
func Peek(ctx context.Context, dsn, kind, id string) (body []byte, err error) {
	yes, err := Founded(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if !yes {
		return nil, hub.ErrNotFound
	}
	err = glance(ctx, dsn, func(c *pgx.Conn) (err error) {
		v := &view{ctx: ctx, c: c}
		body, err = v.Record(kind, id)
		return err
	})
	return body, err
}

// Server says which server answers, in its own words, and how far this database is from
// running out of transaction numbers: their age, in transactions.
func Server(ctx context.Context, dsn string) (version string, age int64, err error) {
	err = glance(ctx, dsn, func(c *pgx.Conn) error {
		return query(ctx, c, `SELECT current_setting('server_version'), age(datfrozenxid)::int8 FROM pg_database WHERE datname = current_database()`, func(r *row) error {
			version, age = r.text(0), r.int(1)
			return nil
		})
	})
	return version, age, err
}

// glance runs fn on a connection of its own.
func glance(ctx context.Context, dsn string, fn func(*pgx.Conn) error) (err error) {
	c, err := reach(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	return fn(c)
}

// Replica looks at a standby of a database, and says how far behind it is. An error says
// why none of its rows can be used.
func Replica(ctx context.Context, primary, dsn string) (lag time.Duration, err error) {
	system, written := "", ""
	const identity = `SELECT system_identifier::text, `
	err = glance(ctx, primary, func(c *pgx.Conn) error {
		return query(ctx, c, identity+`pg_current_wal_lsn()::text FROM pg_control_system()`, func(r *row) error {
			system, written = r.text(0), r.text(1)
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	pc, err := anyServer(dsn)
	if err != nil {
		return 0, errors.New("its address is not understood")
	}
	pc.ConnectTimeout = replicaConnect
	c, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return 0, fmt.Errorf("connect to PostgreSQL: %w", away(err))
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	if err := following(ctx, c); err != nil {
		return 0, err
	}
	err = query(ctx, c, identity+`CASE WHEN pg_last_wal_replay_lsn() >= $1::text::pg_lsn THEN 0
		ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0) END::float8 FROM pg_control_system()`, func(r *row) error {
		if other := r.text(0); other != system {
			return fmt.Errorf("it is of another cluster: %s, not %s", other, system)
		}
		lag = time.Duration(r.value(1).Float() * float64(time.Second))
		return nil
	}, written)
	return lag, err
}
