package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// pushServed measures the hub alone over PostgreSQL: from transactions in memory until
// they are durable, beside the rows that they lead to through COPY and INSERT … ON
// CONFLICT into the same tables, without Tidemark.
func (b *bench) pushServed() (err error) {
	ctx, rows, n := context.Background(), b.size(seedSize), b.size(batch)
	model, err := b.newRaw(rows) // knows the states that steps lead to
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.close()) }()
	plain, err := b.database()
	if err != nil {
		return err
	}
	if err := createServed(ctx, plain, seedRows(rows).keyOrder()); err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, plain)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	for _, t := range tables {
		if _, err := c.Exec(ctx, "CREATE TEMP TABLE staged_"+t.name+" (LIKE "+t.name+") ON COMMIT DELETE ROWS"); err != nil {
			return err
		}
	}
	dsn, err := b.database()
	if err != nil {
		return err
	}
	l := line{Name: fmt.Sprintf("push: hub ingests %d transactions, %d row changes", n, n*stepRows), Limit: 2.5, LimitCPU: 2.5,
		Note: "ceiling is COPY and INSERT … ON CONFLICT of the resulting rows, one commit"}
	return b.pushInto(dsn, l, func() (string, error) { h, _, err := hashServed(ctx, plain); return h, err },
		func(list []step) (time.Duration, error) {
			d, err := model.states(list)
			if err != nil {
				return 0, err
			}
			if err := fill(model.conn, d, upsertSQL); err != nil {
				return 0, err
			}
			d.keyOrder()
			return b.stopwatch(func() error { return upsertServed(ctx, c, d) })
		})
}

// upsertServed is the least work that puts rows in place, in one durable commit.
func upsertServed(ctx context.Context, c *pgx.Conn, d *dataset) error {
	return pgx.BeginFunc(ctx, c, func(pgx.Tx) error {
		for t := range d {
			if len(d[t]) == 0 {
				continue
			}
			if err := copyRows(ctx, c, "staged_"+tables[t].name, t, d[t]); err != nil {
				return err
			}
			_, conflict, _ := strings.Cut(upsertSQL(t), "ON CONFLICT")
			if _, err := c.Exec(ctx, "INSERT INTO "+tables[t].name+" SELECT * FROM staged_"+tables[t].name+" ON CONFLICT"+conflict); err != nil {
				return err
			}
		}
		return nil
	})
}
