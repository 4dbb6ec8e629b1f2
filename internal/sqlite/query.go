package sqlite

import (
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/tidemark-sync/tidemark/change"
)

// Quote returns an identifier quoted for SQL, whatever it contains.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteAll quotes each name and joins them with ", ", each behind prefix.
func QuoteAll(prefix string, names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix)
		b.WriteString(Quote(n))
	}
	return b.String()
}

// Literal returns a text as an SQL string literal. It must not hold NUL.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Bind sets parameter i (from 1) to v, bit for bit.
func Bind(s *Stmt, i int, v change.Value) {
	switch v.Kind() {
	case change.KindInt:
		s.BindInt64(i, v.Int())
	case change.KindFloat:
		s.BindFloat(i, v.Float())
	case change.KindText:
		s.BindText(i, v.Str())
	case change.KindBlob:
		if v.Str() == "" {
			s.BindZeroBlob(i, 0)
		} else {
			s.BindBytes(i, []byte(v.Str()))
		}
	default:
		s.BindNull(i)
	}
}

// Column reads result column i (from 0), bit for bit.
func Column(s *Stmt, i int) change.Value {
	switch s.ColumnType(i) {
	case sqlite.TypeInteger:
		return change.Int(s.ColumnInt64(i))
	case sqlite.TypeFloat:
		return change.Float(s.ColumnFloat(i))
	case sqlite.TypeText:
		return change.Text(s.ColumnText(i))
	case sqlite.TypeBlob:
		n := s.ColumnLen(i)
		if n == 0 {
			return change.BlobString("")
		}
		b := make([]byte, n)
		s.ColumnBytes(i, b)
		return change.BlobString(string(b))
	}
	return change.Null
}

// Exec runs one statement with args, discarding rows. The statement is cached on
// the connection.
func Exec(c *Conn, sql string, args ...change.Value) error {
	return Query(c, sql, nil, args...)
}

// Script runs several statements, all or none. It may hold comments, and empty
// statements, which the engine by itself refuses to run.
func Script(c *Conn, sql string) (err error) {
	defer sqlitex.Save(c)(&err)
	for sql = skipBlank(sql); sql != ""; sql = skipBlank(sql) {
		s, rest, e := c.PrepareTransient(sql)
		if e != nil {
			return e
		}
		sql = sql[len(sql)-rest:]
		for more := true; more && e == nil; {
			more, e = s.Step()
		}
		if err := s.Finalize(); e == nil {
			e = err
		}
		if e != nil {
			return e
		}
	}
	return nil
}

// Blank reports whether a text holds no statement. The driver does not survive
// being asked to run one that is not there.
func Blank(sql string) bool { return skipBlank(sql) == "" }

// skipBlank leaves out what stands before a statement: white space, comments and
// semicolons.
func skipBlank(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n\f;")
		var end string
		switch {
		case strings.HasPrefix(sql, "--"):
			end = "\n"
		case strings.HasPrefix(sql, "/*"):
			end = "*/"
		default:
			return sql
		}
		_, sql, _ = strings.Cut(sql[2:], end) // one that does not end reaches to the end
	}
}

// Query runs one statement with args and calls row for each result row. The
// statement is cached on the connection. An error from row stops the query.
func Query(c *Conn, sql string, row func(*Stmt) error, args ...change.Value) (err error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	defer func() {
		if e := s.Reset(); err == nil {
			err = e
		}
		if e := s.ClearBindings(); err == nil {
			err = e
		}
	}()
	for i, v := range args {
		Bind(s, i+1, v)
	}
	for {
		more, err := s.Step()
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		if row != nil {
			if err := row(s); err != nil {
				return err
			}
		}
	}
}

// One runs a query and returns the first column of its first row; ok is false
// when there is no row.
func One(c *Conn, sql string, args ...change.Value) (v change.Value, ok bool, err error) {
	err = Query(c, sql, func(s *Stmt) error {
		if !ok {
			v, ok = Column(s, 0), true
		}
		return nil
	}, args...)
	return v, ok, err
}

// Immediate runs fn in BEGIN IMMEDIATE … COMMIT, rolling back on error or panic.
func Immediate(c *Conn, fn func() error) (err error) { return within(c, "BEGIN IMMEDIATE", fn) }

// Snapshot runs fn in one read transaction.
func Snapshot(c *Conn, fn func() error) (err error) { return within(c, "BEGIN", fn) }

func within(c *Conn, begin string, fn func() error) (err error) {
	if err := Exec(c, begin); err != nil {
		return fmt.Errorf("%s: %w", strings.ToLower(begin), err)
	}
	done := false
	defer func() {
		if done && err == nil {
			return
		}
		// The engine may have rolled back by itself (disk full, I/O error).
		if !c.AutocommitEnabled() {
			if e := Exec(c, "ROLLBACK"); e != nil && err == nil {
				err = e
			}
		}
	}()
	if err = fn(); err != nil {
		return err
	}
	if err = Exec(c, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done = true
	return nil
}

// Trim leaves out what stands before the first statement of a text: white space,
// comments and semicolons.
func Trim(sql string) string { return skipBlank(sql) }
