package serve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A source is a SQLite schema, and perhaps rows, that tables elsewhere are made from:
// those that sync.
type source struct {
	conn     *sqlite.Conn
	schema   change.Schema
	ddl      []string
	left     []string // tables that do not sync
	done     int64
	total    int64 // bytes
	rows     int64
	progress func(done, total int64) // may be nil
}

func openSource(m making) (_ *source, err error) {
	s := &source{progress: m.progress}
	script, err := readScript(m.from())
	if err != nil {
		return nil, err
	}
	if script != nil && m.rows != "" {
		return nil, fmt.Errorf("import %s: it is no SQLite database", m.rows)
	}
	if script == nil {
		s.conn, err = sqlite.Open(m.from(), sqlite.Options{ReadOnly: true, MustExist: true})
	} else if s.conn, err = sqlite.Open(":memory:", sqlite.Options{NoSync: true}); err == nil {
		err = sqlite.Script(s.conn, script[0])
	}
	if err == nil {
		err = s.read(&m.conf.Tables)
	}
	if err != nil {
		if s.conn != nil {
			s.close()
		}
		return nil, fmt.Errorf("read %s: %w", m.from(), err)
	}
	if err := m.conf.ValidateAgainst(&s.schema); err != nil {
		s.close()
		return nil, fmt.Errorf("configuration for the tables of %s: %w", m.from(), err)
	}
	return s, nil
}

func (s *source) close() { _ = s.conn.Close() } // it was only read

func (s *source) read(rules *rule.Rules) error {
	if err := sqlite.Exec(s.conn, "BEGIN"); err != nil { // one snapshot, until close
		return err
	}
	names, special, err := sqlite.TableNames(s.conn)
	if err != nil {
		return err
	}
	all, err := sqlite.Describe(s.conn, names)
	if err != nil {
		return err
	}
	named := rule.Named(rules, &all)
	sync := func(name string) bool { return named.Table(name) != nil }
	for _, t := range all.Tables {
		if sync(t.Name) {
			s.schema.Tables = append(s.schema.Tables, t)
		} else {
			s.left = append(s.left, t.Name)
		}
	}
	for name, what := range special {
		if what != "shadow" && sync(name) {
			return fmt.Errorf("table %s cannot sync: it is %s", name, what)
		}
	}
	err = sqlite.Query(s.conn, `SELECT tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN ('table', 'index', 'trigger')
		AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END, rowid`, func(q *sqlite.Stmt) error {
		if sync(q.ColumnText(0)) {
			s.ddl = append(s.ddl, q.ColumnText(1))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.measure()
}

// measure finds out how much there is to read.
func (s *source) measure() error {
	for i := range s.schema.Tables {
		n, _, err := sqlite.One(s.conn, "SELECT count(*) FROM "+sqlite.Quote(s.schema.Tables[i].Name))
		if err != nil {
			return err
		}
		s.rows += n.Int()
	}
	n, _, err := sqlite.One(s.conn, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
	s.total = n.Int()
	return err
}

// tellEvery is after how many rows progress is told.
const tellEvery = 5000

// feed is a postgresstore.Feed.
func (s *source) feed(table string, columns []string, emit func([]change.Value) error) error {
	// Names may come folded: SQLite does not mind.
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = sqlite.Quote(c)
	}
	row := make([]change.Value, len(columns))
	return sqlite.Query(s.conn, "SELECT "+strings.Join(quoted, ", ")+" FROM "+sqlite.Quote(table), func(q *sqlite.Stmt) error {
		for i := range row {
			row[i] = sqlite.Column(q, i)
		}
		if s.done++; s.progress != nil && (s.done%tellEvery == 0 || s.done == s.rows) {
			s.progress(s.total*s.done/s.rows, s.total)
		}
		return emit(slices.Clone(row))
	})
}
