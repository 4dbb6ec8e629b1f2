package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A raw is a database without Tidemark that the ceilings are measured on.
type raw struct {
	conn *sqlite.Conn
	rows int
}

// newRaw makes one with seed rows, durable at each commit.
func (b *bench) newRaw(rows int) (*raw, error) {
	c, err := create(b.file(), sqlite.Options{Full: true})
	if err != nil {
		return nil, err
	}
	return &raw{c, rows}, fill(c, seedRows(rows), insertSQL)
}

func (r *raw) close() error { return r.conn.Close() }

// upsert puts the states that steps lead to in place, each row once, and returns
// how long the write lock was held: the ceiling of any apply. It runs on top of
// what earlier calls left, as the measured side does.
func (b *bench) upsert(r *raw, list []step) (time.Duration, error) {
	d, err := r.states(list)
	if err != nil {
		return 0, err
	}
	return b.stopwatch(func() error { return fill(r.conn, d, upsertSQL) })
}

// states are the rows that steps touch, as they are after them.
func (r *raw) states(list []step) (*dataset, error) {
	var d dataset
	place := map[string]int{}
	for _, s := range list {
		d[orders] = append(d[orders], s.order)
		d[lines] = append(d[lines], s.lines[:]...)
		i, ok := place[s.older]
		if !ok {
			row, err := readOrder(r.conn, s.older)
			if err != nil {
				return nil, err
			}
			i = len(d[orders])
			d[orders], place[s.older] = append(d[orders], row), i
		}
		row := slices.Clone(d[orders][i])
		row[2], row[3] = change.Text(s.status), change.Int(s.total)
		d[orders][i] = row
	}
	return &d, nil
}

func readOrder(c *sqlite.Conn, id string) (row []change.Value, err error) {
	err = sqlite.Query(c, "SELECT * FROM orders WHERE id=?", func(s *sqlite.Stmt) error {
		for i := range tables[orders].columns {
			row = append(row, sqlite.Column(s, i))
		}
		return nil
	}, change.Text(id))
	if err == nil && row == nil {
		err = fmt.Errorf("no order %s", id)
	}
	return row, err
}

// bulkInsert times the creation of a database and the insertion of rows, in the
// order of their keys, in one durable commit: the ceiling of a bootstrap.
func (b *bench) bulkInsert(d *dataset) (time.Duration, error) {
	path := b.file()
	return b.stopwatch(func() error {
		c, err := create(path, sqlite.Options{Full: true})
		if err != nil {
			return err
		}
		if err := fill(c, d, insertSQL); err != nil {
			return err
		}
		return c.Close()
	})
}

// keyOrder sorts each table's rows by key.
func (d *dataset) keyOrder() *dataset {
	for t := range d {
		slices.SortFunc(d[t], func(a, b []change.Value) int { return cmp.Compare(a[0].Str(), b[0].Str()) })
	}
	return d
}

// file is a new path in the scratch directory.
func (b *bench) file() string {
	b.files++
	return filepath.Join(b.dir, fmt.Sprintf("file%d.db", b.files))
}

// A duel fills in a line's two sides, which take turns: medians of the times, and
// the CPU they burn, which says more on a machine that has other things to do.
func (b *bench) duel(l line, ceiling, ours func(round int) (time.Duration, error)) (line, error) {
	var took, burnt [2][]time.Duration
	for round := range b.rounds {
		for i, side := range []func(int) (time.Duration, error){ceiling, ours} {
			debug.FreeOSMemory() // the other side's garbage
			b.lap = 0
			d, err := side(round)
			if err != nil {
				return l, fmt.Errorf("%s: %w", l.Name, err)
			}
			took[i], burnt[i] = append(took[i], d), append(burnt[i], b.lap)
		}
	}
	l.Ceiling, l.Measured = quantile(took[0], 0.5).Seconds(), quantile(took[1], 0.5).Seconds()
	c, o := quantile(burnt[0], 0.5), quantile(burnt[1], 0.5)
	l.CPU = fmt.Sprintf("%.3f → %.3f", c.Seconds(), o.Seconds())
	if c > 0 {
		l.CPURatio = o.Seconds() / c.Seconds()
		l.CPU += fmt.Sprintf(" (%.2f×)", l.CPURatio)
	}
	return l, nil
}

// stopwatch times fn, and keeps in b.lap the CPU that this process burnt, and the
// database server's when there is one.
func (b *bench) stopwatch(fn func() error) (time.Duration, error) {
	base := b.serverCPU()
	before, _ := usage()
	from := time.Now()
	err := fn()
	took := time.Since(from)
	after, _ := usage()
	b.lap = time.Duration(after-before) + b.serverCPU() - base
	return took, err
}
