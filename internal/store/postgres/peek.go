package postgresstore

import (
	"context"
	"errors"
	"fmt"

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
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	return fn(c)
}
