package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/zeebo/xxh3"

	"github.com/tidemark-sync/tidemark/change"
)

// createServed makes the workload's tables in an empty PostgreSQL database and fills
// them. The statements are those of the SQLite files.
func createServed(ctx context.Context, dsn string, d *dataset) (err error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	for _, s := range schema() {
		if _, err := c.Exec(ctx, s); err != nil {
			return fmt.Errorf("create the workload's tables: %w", err)
		}
	}
	for t := range d {
		if err := copyRows(ctx, c, tables[t].name, t, d[t]); err != nil {
			return err
		}
	}
	_, err = c.Exec(ctx, "ANALYZE")
	return err
}

// copyRows fills a table that has the columns of table t.
func copyRows(ctx context.Context, c *pgx.Conn, into string, t int, rows [][]change.Value) error {
	_, err := c.CopyFrom(ctx, pgx.Identifier{into}, tables[t].columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		return native(rows[i]), nil
	}))
	if err != nil {
		return fmt.Errorf("copy rows of %s: %w", tables[t].name, err)
	}
	return nil
}

// native are a row's values as the driver takes them.
func native(row []change.Value) []any {
	out := make([]any, len(row))
	for i, v := range row {
		if v.Kind() == change.KindInt {
			out[i] = v.Int()
		} else {
			out[i] = v.Str()
		}
	}
	return out
}

// commitServed runs one step as an application of the database would.
func (s *step) commitServed(ctx context.Context, c *pgx.Conn) error {
	b := &pgx.Batch{} // sent together, it is one transaction
	b.Queue(insertServed(orders), native(s.order)...)
	for _, l := range s.lines {
		b.Queue(insertServed(lines), native(l)...)
	}
	b.Queue("UPDATE orders SET status=$1, total=$2 WHERE id=$3", s.status, s.total, s.older)
	return c.SendBatch(ctx, b).Close()
}

// insertServed is insertSQL with PostgreSQL's placeholders.
func insertServed(t int) string {
	sql := insertSQL(t)
	for i := range tables[t].columns {
		sql = strings.Replace(sql, "?", fmt.Sprint("$", i+1), 1)
	}
	return sql
}

// hashServed is contentHash of a PostgreSQL database.
func hashServed(ctx context.Context, dsn string) (hash string, rows int64, err error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return "", 0, err
	}
	var hi, lo uint64
	var buf []byte
	for i, t := range tables {
		list, err := tx.Query(ctx, "SELECT "+strings.Join(t.columns, ", ")+" FROM "+t.name)
		if err != nil {
			return "", 0, err
		}
		for list.Next() {
			cells, err := list.Values()
			if err != nil {
				return "", 0, err
			}
			buf = append(buf[:0], byte(i))
			for _, v := range cells {
				buf = appendCell(buf, plainValue(v))
			}
			h := xxh3.Hash128(buf)
			hi, lo, rows = hi+h.Hi, lo+h.Lo, rows+1
		}
		if err := list.Err(); err != nil {
			return "", 0, fmt.Errorf("hash %s: %w", t.name, err)
		}
	}
	return fmt.Sprintf("%016x%016x", hi, lo), rows, tx.Commit(ctx)
}

func plainValue(v any) change.Value {
	switch v := v.(type) {
	case string:
		return change.Text(v)
	case int32:
		return change.Int(int64(v))
	}
	return change.Null
}
