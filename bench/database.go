package main

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// create makes an empty workload database at path, in WAL mode.
func create(path string, o sqlite.Options) (*sqlite.Conn, error) {
	o.WAL = true
	c, err := sqlite.Open(path, o)
	if err != nil {
		return nil, err
	}
	for _, s := range schema() {
		if err := sqlite.Exec(c, s); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("create %s: %w", path, err)
		}
	}
	return c, nil
}

// insertSQL is a plain INSERT of all columns of table t.
func insertSQL(t int) string {
	tab := tables[t]
	return "INSERT INTO " + tab.name + " (" + strings.Join(tab.columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(tab.columns)-1) + ")"
}

// upsertSQL is the raw upsert: the least work that puts a state in place.
func upsertSQL(t int) string {
	var set []string
	for _, c := range tables[t].columns[1:] {
		set = append(set, c+"=excluded."+c)
	}
	return insertSQL(t) + " ON CONFLICT (id) DO UPDATE SET " + strings.Join(set, ", ")
}

// fill runs one statement per row for each table of d, within one transaction.
func fill(c *sqlite.Conn, d *dataset, sql func(t int) string) error {
	return sqlite.Immediate(c, func() error {
		for t := range d {
			if err := run(c, sql(t), d[t]); err != nil {
				return fmt.Errorf("write %s: %w", tables[t].name, err)
			}
		}
		return nil
	})
}

// run executes one statement once per row of arguments, with the least overhead
// the driver allows.
func run(c *sqlite.Conn, sql string, rows [][]change.Value) error {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	for _, row := range rows {
		for i, v := range row {
			sqlite.Bind(s, i+1, v)
		}
		if _, err := s.Step(); err != nil {
			_ = s.Reset()
			return err
		}
		if err := s.Reset(); err != nil {
			return err
		}
	}
	return nil
}

// commit runs one step as an application would: one transaction.
func (s *step) commit(c *sqlite.Conn) error {
	return sqlite.Immediate(c, func() error { return s.write(c) })
}

// commitNamed is commit by an application that tells Tidemark where its
// transactions begin.
func (s *step) commitNamed(c *sqlite.Conn) error {
	return sqlite.Immediate(c, func() error {
		if err := sqlite.Exec(c, "UPDATE _tidemark_tx SET id=id+1"); err != nil {
			return err
		}
		return s.write(c)
	})
}

func (s *step) write(c *sqlite.Conn) error {
	if err := sqlite.Exec(c, insertSQL(orders), s.order...); err != nil {
		return err
	}
	for _, l := range s.lines {
		if err := sqlite.Exec(c, insertSQL(lines), l...); err != nil {
			return err
		}
	}
	return sqlite.Exec(c, `UPDATE orders SET status=?, total=? WHERE id=?`,
		change.Text(s.status), change.Int(s.total), change.Text(s.older))
}

// contentHash is a hash of all rows of the workload's tables that does not depend
// on their order, and how many there are.
func contentHash(c *sqlite.Conn) (hash string, rows int64, err error) {
	var hi, lo uint64
	var buf []byte
	err = sqlite.Snapshot(c, func() error {
		for i, t := range tables {
			sql := "SELECT " + strings.Join(t.columns, ", ") + " FROM " + t.name
			err := sqlite.Query(c, sql, func(s *sqlite.Stmt) error {
				buf = append(buf[:0], byte(i))
				for j := range t.columns {
					buf = appendCell(buf, sqlite.Column(s, j))
				}
				h := xxh3.Hash128(buf)
				hi, lo, rows = hi+h.Hi, lo+h.Lo, rows+1
				return nil
			})
			if err != nil {
				return fmt.Errorf("hash %s: %w", t.name, err)
			}
		}
		return nil
	})
	return fmt.Sprintf("%016x%016x", hi, lo), rows, err
}

func appendCell(b []byte, v change.Value) []byte {
	b = append(b, byte(v.Kind()))
	if v.Kind() == change.KindInt {
		return binary.BigEndian.AppendUint64(b, uint64(v.Int()))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(v.Str())))
	return append(b, v.Str()...)
}
