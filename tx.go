package tidemark

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A Tx is a transaction under way. It belongs to the function it was given to,
// and to one goroutine: it must not be used when that function has returned.
type Tx struct {
	conn   *sqlite.Conn    // nil when it has ended
	active map[string]bool // texts of the queries whose rows are being read
}

// errEnded says that a Tx was used too late.
var errEnded = errors.New("the transaction has ended")

// Write runs fn in a transaction that may write (BEGIN IMMEDIATE … COMMIT), which
// travels as one transaction. When fn returns an error, panics, or ctx ends,
// everything is undone and the error returned. When Write returns nil, the work is
// on this machine's disk; [Status] tells when it is at the hub.
//
// Writes proceed one at a time, and wait for other processes that write for as
// long as Config.Busy says. fn must not call Write, nor wait for the network or a
// person: everyone else waits meanwhile.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	c, err := db.take(ctx, db.writer)
	if err != nil {
		return err
	}
	defer func() { db.writer <- c }()
	err = within(ctx, c.Conn, "BEGIN IMMEDIATE", func(tx *Tx) error {
		if err := tx.Exec(Stamp); err != nil {
			return fmt.Errorf("mark the transaction's begin in %s: %w", db.cfg.Path, err)
		}
		return fn(tx)
	})
	if err == nil {
		db.nudge()
	}
	return err
}

// Read runs fn in a transaction that sees one snapshot of the file: no write that
// is committed meanwhile shows. Reads run beside each other and, in WAL mode,
// beside a Write. A statement that writes is refused.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	c, err := db.take(ctx, db.readers)
	if err != nil {
		return err
	}
	defer func() { db.readers <- c }()
	return within(ctx, c.Conn, "BEGIN", fn)
}

// within runs fn between begin and COMMIT, or ROLLBACK on error, panic, or when
// ctx ends.
func within(ctx context.Context, c *sqlite.Conn, begin string, fn func(*Tx) error) (err error) {
	tx := &Tx{conn: c, active: map[string]bool{}}
	done := false
	c.SetInterrupt(ctx.Done())
	defer func() {
		tx.conn = nil
		c.SetInterrupt(nil) // or ROLLBACK would be interrupted, too
		if !done && !c.AutocommitEnabled() {
			err = errors.Join(err, sqlite.Exec(c, "ROLLBACK"))
		}
		if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}()
	if err := sqlite.Exec(c, begin); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.AutocommitEnabled() {
		return fmt.Errorf("commit: %w: a statement of its own ended it", errEnded)
	}
	c.SetInterrupt(nil)
	if err := sqlite.Exec(c, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	done = true
	return nil
}

// Exec runs one statement with its parameters, ? or ?1 in the text. A failed
// statement changes nothing, and the transaction may go on.
func (tx *Tx) Exec(sql string, args ...any) error { return tx.Query(sql, nil, args...) }

// Changes is how many rows the last statement changed, without those that its
// triggers changed.
func (tx *Tx) Changes() int64 {
	if tx.conn == nil {
		return 0
	}
	return int64(tx.conn.Changes())
}

// Query runs one statement and calls row for each result row. An error from row
// ends the query and is returned. row may run other statements.
func (tx *Tx) Query(sql string, row func(Row) error, args ...any) error {
	if tx.conn == nil {
		return errEnded
	}
	s, done, err := tx.prepare(sql)
	if err != nil {
		return err
	}
	defer done()
	if n := s.BindParamCount(); n != len(args) {
		return fmt.Errorf("%d parameters for a statement that takes %d: %s", len(args), n, sql)
	}
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		sqlite.Bind(s, i+1, v)
	}
	for {
		more, err := s.Step()
		if err != nil || !more {
			return err
		}
		if row == nil {
			continue
		}
		if err := row(Row{s}); err != nil {
			return err
		}
	}
}

// prepare returns a statement and how to give it back. The connection keeps each
// text's statement; a text whose rows are being read gets another one. Giving a
// statement back repeats the error of its last step, which was returned already.
func (tx *Tx) prepare(sql string) (*sqlite.Stmt, func(), error) {
	if sqlite.Blank(sql) {
		return nil, nil, errors.New("no statement given")
	}
	if tx.active[sql] {
		s, _, err := tx.conn.PrepareTransient(sql)
		if err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Finalize() }, nil
	}
	s, err := tx.conn.Prepare(sql)
	if err != nil {
		return nil, nil, err
	}
	tx.active[sql] = true
	return s, func() {
		delete(tx.active, sql)
		_, _ = s.Reset(), s.ClearBindings()
	}, nil
}

// A Row is one row of a result. It is valid until the function it was given to
// returns; the values read from it stay valid.
type Row struct{ s *sqlite.Stmt }

// Len is the number of columns.
func (r Row) Len() int { return r.s.ColumnCount() }

// Name is the name of column i, from 0.
func (r Row) Name(i int) string { return r.s.ColumnName(i) }

// Value is column i as SQLite stores it, bit for bit.
func (r Row) Value(i int) change.Value { return sqlite.Column(r.s, i) }

// Scan reads the first columns into dest, one each: *int64, *int, *float64,
// *string, *[]byte, *bool, *time.Time, *any (nil, int64, float64, string or
// []byte) or *change.Value. Nothing is converted silently: a value of another
// storage class is an error, and so is NULL for anything but *any, *change.Value
// and *[]byte. An INTEGER is accepted for *float64 when it fits exactly.
func (r Row) Scan(dest ...any) error {
	if len(dest) > r.Len() {
		return fmt.Errorf("scan: %d destinations for %d columns", len(dest), r.Len())
	}
	for i, d := range dest {
		if err := assign(d, r.Value(i)); err != nil {
			return fmt.Errorf("scan column %s: %w", r.Name(i), err)
		}
	}
	return nil
}
