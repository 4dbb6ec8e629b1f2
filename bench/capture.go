package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// The sizes of the capture measurements at scale 1.
const (
	bulkRows   = 50_000
	oneCommits = 2_000
)

// rules let every table of the workload go everywhere.
func rules() rule.Rules {
	var r rule.Rules
	for _, t := range tables {
		r.Tables = append(r.Tables, rule.Table{Name: t.name, Scope: rule.Scope{All: true}})
	}
	return r
}

// names of the workload's tables.
func names() []string {
	var out []string
	for _, t := range tables {
		out = append(out, t.name)
	}
	return out
}

// application opens a workload file as an application would: WAL, no fsync per
// commit, which is where capture costs relatively most. Captured files have the
// triggers of an edge.
func (b *bench) application(captured bool) (*sqlite.Conn, error) {
	path := b.file()
	c, err := create(path, sqlite.Options{})
	if err != nil || !captured {
		return c, err
	}
	return c, install(c, path)
}

// install makes the file an edge's, without a hub.
func install(c *sqlite.Conn, path string) (err error) {
	schema, err := sqlite.Describe(c, names())
	if err != nil {
		return err
	}
	e, err := edge.Open(edge.Config{Path: path, Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	id, err := change.NewDeviceID(rand.Reader)
	if err != nil {
		return err
	}
	_, err = e.Install(&wire.Setup{Schema: schema, Rules: rules()}, id, edge.InstallOptions{})
	return err
}

// capture measures what the triggers cost the application.
func (b *bench) capture() error {
	d := seedRows(b.size(bulkRows))
	n := b.size(oneCommits)
	extra := steps(n, b.size(bulkRows), 1, 1)
	for _, m := range []struct {
		name  string
		limit float64
		seed  bool
		run   func(c *sqlite.Conn) error
	}{
		{fmt.Sprintf("capture: bulk insert of %d rows", b.size(bulkRows)), 1.7, false,
			func(c *sqlite.Conn) error { return fill(c, d, insertSQL) }},
		{"capture: bulk update, by key", 2.0, true,
			func(c *sqlite.Conn) error { return updateByKey(c, d) }},
		{"capture: bulk update, one statement", 0, true, updateAll},
		{fmt.Sprintf("capture: %d one-row commits, insert", n), 1.35, true,
			func(c *sqlite.Conn) error { return oneRowInserts(c, extra) }},
		{fmt.Sprintf("capture: %d one-row commits, update", n), 1.6, true,
			func(c *sqlite.Conn) error { return oneRowUpdates(c, extra) }},
		{"capture: bulk delete, one statement", 0, true,
			func(c *sqlite.Conn) error { return sqlite.Exec(c, "DELETE FROM order_lines") }},
	} {
		side := func(captured bool) func(int) (time.Duration, error) {
			return func(int) (time.Duration, error) { return b.applicationRun(captured, m.seed, d, m.run) }
		}
		l, err := b.duel(line{Name: m.name, Limit: m.limit}, side(false), side(true))
		if err != nil {
			return err
		}
		b.add(l)
	}
	return nil
}

// applicationRun times run on a fresh file.
func (b *bench) applicationRun(captured, seed bool, d *dataset, run func(*sqlite.Conn) error) (t time.Duration, err error) {
	c, err := b.application(captured)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if seed {
		if err := fill(c, d, insertSQL); err != nil {
			return 0, err
		}
		if err := sqlite.Exec(c, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			return 0, err
		}
	}
	return b.stopwatch(func() error { return run(c) })
}

func updateByKey(c *sqlite.Conn, d *dataset) error {
	args := make([][]change.Value, 0, len(d[lines]))
	for i, row := range d[lines] {
		args = append(args, []change.Value{change.Int(int64(i % 7)), change.Int(int64(i)), row[0]})
	}
	return sqlite.Immediate(c, func() error {
		return run(c, "UPDATE order_lines SET quantity=?, price=? WHERE id=?", args)
	})
}

func updateAll(c *sqlite.Conn) error {
	return sqlite.Exec(c, "UPDATE order_lines SET quantity=quantity+1, price=price+10")
}

func oneRowInserts(c *sqlite.Conn, list []step) error {
	for i := range list {
		if err := sqlite.Exec(c, insertSQL(orders), list[i].order...); err != nil {
			return err
		}
	}
	return nil
}

func oneRowUpdates(c *sqlite.Conn, list []step) error {
	for i := range list {
		err := sqlite.Exec(c, "UPDATE orders SET status=?, total=? WHERE id=?",
			change.Text(list[i].status), change.Int(list[i].total), change.Text(list[i].older))
		if err != nil {
			return err
		}
	}
	return nil
}
