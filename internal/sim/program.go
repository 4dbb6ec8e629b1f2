package sim

import (
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	tsqlite "github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A program is some other program's own connection to a database, which knows nothing
// of Tidemark. Statements have ? for their arguments.
type program interface {
	exec(sql string, args ...change.Value) error
	query(sql string, row func([]change.Value) error, args ...change.Value) error
	// atomic runs fn in a transaction, and undoes it when fn fails.
	atomic(fn func() error) error
	// columns lists a table's columns.
	columns(table string) ([]string, error)
	// broken lists rows whose foreign key points nowhere.
	broken() ([]string, error)
	// refused reports whether the database's own schema, or a declared limit, refused a write.
	refused(err error) bool
	words() *words
	Close() error
}

// words are what is said otherwise to each kind of database.
type words struct {
	migrations [lastVersion][]string // of table once, see onceDDL
	replace    string                // a row of stock, by itself and one more of it
	journal    string                // the hub's table of received transactions
}

// one returns the first column of a query's first row; ok is false when there is none.
func one(p program, sql string, args ...change.Value) (v change.Value, ok bool, err error) {
	err = p.query(sql, func(row []change.Value) error {
		if !ok {
			v, ok = row[0], true
		}
		return nil
	}, args...)
	return v, ok, err
}

// rows reads a query as text lines, for comparing.
func rows(p program, sql string) ([]string, error) {
	var out []string
	err := p.query(sql, func(row []change.Value) error {
		out = append(out, change.Key(row).String())
		return nil
	})
	return out, err
}

// A file is a connection to a SQLite file.
type file struct{ *tsqlite.Conn }

// openFile opens a file with foreign keys on, as applications do, and with
// SQLite's clock replaced by the virtual one: capture triggers ask it for the time.
func openFile(path string, wall clock.Clock) (program, error) {
	c, err := tsqlite.Open(path, tsqlite.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	err = c.CreateFunction("julianday", &sqlite.FunctionImpl{
		NArgs: -1, AllowIndirect: true,
		Scalar: func(sqlite.Context, []sqlite.Value) (sqlite.Value, error) {
			return sqlite.FloatValue(float64(wall.Now().UnixMilli())/86400000 + 2440587.5), nil
		},
	})
	if err == nil {
		err = tsqlite.Exec(c, `PRAGMA foreign_keys=ON`)
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return file{c}, nil
}

func (f file) exec(sql string, args ...change.Value) error { return tsqlite.Exec(f.Conn, sql, args...) }

func (f file) query(sql string, row func([]change.Value) error, args ...change.Value) error {
	return tsqlite.Query(f.Conn, sql, func(s *tsqlite.Stmt) error {
		vals := make([]change.Value, s.ColumnCount())
		for i := range vals {
			vals[i] = tsqlite.Column(s, i)
		}
		return row(vals)
	}, args...)
}

func (f file) atomic(fn func() error) error { return tsqlite.Immediate(f.Conn, fn) }

func (f file) columns(table string) (out []string, err error) {
	err = f.query(`SELECT name FROM pragma_table_info(?)`, func(row []change.Value) error {
		out = append(out, row[0].Str())
		return nil
	}, change.Text(table))
	return out, err
}

func (f file) broken() ([]string, error) { return rows(f, `PRAGMA foreign_key_check`) }

func (f file) refused(err error) bool {
	return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultConstraint
}

func (f file) words() *words { return &fileWords }

var fileWords = words{
	migrations: [lastVersion][]string{
		{`ALTER TABLE once ADD COLUMN extra TEXT`},
		{`ALTER TABLE once RENAME COLUMN body TO content`},
		{`CREATE TABLE once2 (id TEXT PRIMARY KEY, content TEXT)`, `INSERT INTO once2 SELECT id, content FROM once`,
			`DROP TABLE once`, `ALTER TABLE once2 RENAME TO once`},
	},
	replace: `INSERT OR REPLACE INTO stock (id, item, qty, low) SELECT id, item, qty+1, low FROM stock WHERE id=?`,
	journal: `_tidemark_tx`,
}

// migrate takes a database's table once to its next version, behind Tidemark's back,
// as people do it with the plain shell.
func migrate(p program, version int) error {
	return p.atomic(func() error {
		for _, sql := range p.words().migrations[version] {
			if err := p.exec(sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
}
