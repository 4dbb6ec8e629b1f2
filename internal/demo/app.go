package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// An app is a program that knows nothing of Tidemark: it runs plain SQL on a
// SQLite file. It is the sqlite3 shell, one process for each call, or a
// connection of our own where there is no such shell.
type app struct {
	dir   string
	file  string
	shell string // path of the sqlite3 shell; "" for none
}

// findShell returns the path of the sqlite3 shell, or "".
func findShell() string {
	path, err := exec.LookPath("sqlite3")
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	return path
}

// sh runs SQL in the shell; people's own start-up file is left out.
func (a *app) sh(ctx context.Context, sql string) (string, error) {
	out, err := run(ctx, a.dir, "", a.shell, "-batch", "-bail", "-init", "/dev/null", "-cmd", ".timeout 5000", a.file, sql)
	return string(out), err
}

// write runs statements.
func (a *app) write(ctx context.Context, sql string) error {
	if a.shell != "" {
		_, err := a.sh(ctx, sql)
		return err
	}
	return a.own(func(c *sqlite.Conn) error { return each(c, sql) })
}

// each runs statements one by one, as the shell does: BEGIN and COMMIT are the
// caller's.
func each(c *sqlite.Conn, sql string) error {
	for sql = strings.TrimSpace(sql); sql != ""; {
		s, rest, err := c.PrepareTransient(sql)
		if err != nil {
			return err
		}
		_, err = s.Step()
		if err = errors.Join(err, s.Finalize()); err != nil {
			return err
		}
		sql = strings.TrimSpace(sql[len(sql)-rest:])
	}
	return nil
}

// read returns the first column of each row of a query, as text.
func (a *app) read(ctx context.Context, sql string) (rows []string, err error) {
	if a.shell != "" {
		out, err := a.sh(ctx, sql)
		if err != nil || out == "" {
			return nil, err
		}
		return strings.Split(strings.TrimSuffix(out, "\n"), "\n"), nil
	}
	err = a.own(func(c *sqlite.Conn) error {
		return sqlite.Query(c, sql, func(s *sqlite.Stmt) error {
			rows = append(rows, s.ColumnText(0))
			return nil
		})
	})
	return rows, err
}

// text returns what a query finds in one row.
func (a *app) text(ctx context.Context, sql string) (string, error) {
	rows, err := a.read(ctx, sql)
	if err == nil && len(rows) != 1 {
		err = fmt.Errorf("%s: %s: %d rows instead of one", a.file, sql, len(rows))
	}
	if err != nil {
		return "", err
	}
	return rows[0], nil
}

// number is text as a whole number.
func (a *app) number(ctx context.Context, sql string) (int64, error) {
	s, err := a.text(ctx, sql)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %w", a.file, sql, err)
	}
	return n, nil
}

func (a *app) own(fn func(*sqlite.Conn) error) (err error) {
	c, err := sqlite.Open(filepath.Join(a.dir, a.file), sqlite.Options{MustExist: true})
	if err != nil {
		return err
	}
	defer func() {
		if e := c.Close(); err == nil && e != nil {
			err = fmt.Errorf("close %s: %w", a.file, e)
		}
	}()
	if err := fn(c); err != nil {
		return fmt.Errorf("%s: %w", a.file, err)
	}
	return nil
}
