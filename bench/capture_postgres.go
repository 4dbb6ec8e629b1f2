package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"

	"github.com/tidemark-sync/tidemark/change"
)

// The targets of capture on PostgreSQL, of the backend's CPU.
const (
	insertLimit = 2.0
	updateLimit = 2.4
	deleteLimit = 2.5
)

// captureServed measures what the triggers cost the backend of whoever writes: its CPU
// time with them beside that without, each on a fresh copy of the same database.
func (b *bench) captureServed() error {
	rows, n := b.size(bulkRows), b.size(oneCommits)
	sides, err := b.captureTemplates(rows)
	if err != nil {
		return err
	}
	more := freshRows(rows)
	extra := steps(n, rows, 1, 1)
	for _, m := range []struct {
		name  string
		limit float64
		stage *dataset // what is in temporary tables before
		run   func(ctx context.Context, c *pgx.Conn) error
		alone string // the least that capturing it takes: nothing but the log's rows
	}{
		{fmt.Sprintf("capture: bulk insert of %d rows, backend CPU", rows), insertLimit, more, insertStaged, ""},
		{"capture: bulk update, one statement", updateLimit, nil, statement("UPDATE order_lines SET quantity=quantity+1, price=price+10"),
			logAlone(2, "24", "")},
		{"capture: bulk delete, one statement", deleteLimit, nil, statement("DELETE FROM order_lines"),
			logAlone(3, "0", "ARRAY[id, order_id, product, quantity::text, price::text, note]")},
		// A leaf's rows are marked, no more. Those that others point to are looked for there.
		{"capture: bulk delete of whole orders", deleteLimit, nil, statement("BEGIN; DELETE FROM order_lines; DELETE FROM orders; COMMIT"), ""},
		{fmt.Sprintf("capture: %d one-row commits, insert", n), insertLimit, nil, oneByOne(insertServed(orders), n, func(i int) []any { return native(extra[i].order) }), ""},
		{fmt.Sprintf("capture: %d one-row commits, update", n), updateLimit, nil, oneByOne("UPDATE orders SET status=$1, total=$2 WHERE id=$3", n,
			func(i int) []any { return []any{extra[i].status, extra[i].total, extra[i].older} }), ""},
		{fmt.Sprintf("capture: %d one-row commits, delete", n), deleteLimit, nil, oneByOne("DELETE FROM order_lines WHERE id=$1", n,
			func(i int) []any { return []any{uuidOf(lines, 0, i)} }), ""},
	} {
		var took [2][]time.Duration
		side := func(i int) func(int) (time.Duration, error) {
			return func(int) (time.Duration, error) {
				cpu, t, err := b.captureRun(sides[i], m.stage, m.run)
				took[i] = append(took[i], t)
				return cpu, err
			}
		}
		l, err := b.duel(line{Name: m.name, Limit: m.limit}, side(0), side(1))
		if err != nil {
			return err
		}
		l.CPU, l.CPURatio = "", 0 // the columns before are CPU already
		l.Note = fmt.Sprintf("elapsed %.0f → %.0f ms", quantile(took[0], 0.5).Seconds()*1e3, quantile(took[1], 0.5).Seconds()*1e3)
		if m.alone != "" {
			alone, err := b.captureLeast(sides[1], m.alone)
			if err != nil {
				return err
			}
			l.Note += fmt.Sprintf("; the log's rows alone %.0f ms: %.2f× of both", alone*1e3, l.Measured/(l.Ceiling+alone))
		}
		b.add(l)
	}
	return nil
}

// logAlone writes to the log what capture writes of each order line.
func logAlone(op int, mask, image string) string {
	cols := ""
	if image != "" {
		cols, image = ", image", ", "+image
	}
	return fmt.Sprintf("INSERT INTO tidemark.log (tbl, key, op, mask, origin, hlc, scope%s) SELECT (SELECT id FROM tidemark.tbl WHERE name = 'order_lines'), ARRAY[id], %d, %s, 0, 1, 'all'%s FROM order_lines",
		cols, op, mask, image)
}

// captureLeast is the median of the backend's CPU for a statement, in seconds.
func (b *bench) captureLeast(template, sql string) (float64, error) {
	var list []time.Duration
	for range b.rounds {
		cpu, _, err := b.captureRun(template, nil, statement(sql))
		if err != nil {
			return 0, err
		}
		list = append(list, cpu)
	}
	return quantile(list, 0.5).Seconds(), nil
}

// captureTemplates makes a database of seed rows without triggers, and one with.
func (b *bench) captureTemplates(rows int) (names [2]string, err error) {
	ctx := context.Background()
	for i := range names {
		dsn, err := b.database()
		if err != nil {
			return names, err
		}
		names[i] = fmt.Sprint("bench", b.files)
		if err := createServed(ctx, dsn, seedRows(rows)); err != nil {
			return names, err
		}
	}
	r := rules()
	s, err := postgresstore.Open(ctx, postgresstore.Config{DSN: b.server.DSN(names[1]), Rules: &r})
	if err != nil {
		return names, err
	}
	return names, s.Close()
}

// captureRun runs on a copy of a database, and returns what the backend burnt and how
// long it took.
func (b *bench) captureRun(template string, stage *dataset, run func(context.Context, *pgx.Conn) error) (cpu, took time.Duration, err error) {
	ctx := context.Background()
	b.files++
	name := fmt.Sprint("bench", b.files)
	if err := b.server.Copy(ctx, template, name); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, b.server.Drop(ctx, name)) }()
	c, err := pgx.Connect(ctx, b.server.DSN(name))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	if stage != nil {
		if err := stageRows(ctx, c, stage); err != nil {
			return 0, 0, err
		}
	}
	if _, err := c.Exec(ctx, "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT count(*) FROM order_lines)"); err != nil {
		return 0, 0, err
	}
	pid := int(c.PgConn().PID())
	before, err := processCPU(pid)
	if err != nil {
		return 0, 0, err
	}
	took, err = b.stopwatch(func() error { return run(ctx, c) })
	if err != nil {
		return 0, 0, err
	}
	after, err := processCPU(pid)
	return after - before, took, err
}

// stageRows fills temporary tables.
func stageRows(ctx context.Context, c *pgx.Conn, d *dataset) error {
	for t := range d {
		if _, err := c.Exec(ctx, "CREATE TEMP TABLE staged_"+tables[t].name+" (LIKE "+tables[t].name+")"); err != nil {
			return err
		}
		if err := copyRows(ctx, c, "staged_"+tables[t].name, t, d[t]); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, "ANALYZE staged_customers, staged_orders, staged_order_lines")
	return err
}

func insertStaged(ctx context.Context, c *pgx.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		for t := range tables {
			if _, err := tx.Exec(ctx, "INSERT INTO "+tables[t].name+" SELECT * FROM staged_"+tables[t].name); err != nil {
				return err
			}
		}
		return nil
	})
}

func statement(sql string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql)
		return err
	}
}

// oneByOne runs a prepared statement n times, each a commit of its own.
func oneByOne(sql string, n int, args func(i int) []any) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		for i := range n {
			if _, err := c.Exec(ctx, sql, args(i)...); err != nil {
				return err
			}
		}
		return nil
	}
}

// freshRows are seed rows under other keys, which hang together as those do.
func freshRows(n int) *dataset {
	d := seedRows(n)
	fresh := func(v change.Value) change.Value { return change.Text("x" + v.Str()[1:]) }
	for t := range d {
		for _, row := range d[t] {
			row[0] = fresh(row[0])
			if t != customers {
				row[1] = fresh(row[1])
			}
		}
	}
	return d
}
