package serve

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

// createTables makes a hub's database with the tables of another one, or of an
// SQL script, and no rows.
func createTables(path, from string) error {
	ddl, err := readScript(from)
	if ddl == nil && err == nil {
		ddl, err = readTables(from)
	}
	if err == nil {
		err = sqlitestore.Create(path, ddl)
	}
	if err != nil {
		return fmt.Errorf("create tables of %s: %w", from, err)
	}
	return nil
}

const magic = "SQLite format 3\x00"

// readScript reads an SQL script; nil when the file is a SQLite database.
func readScript(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len(magic))
	if n, _ := io.ReadFull(f, head); n == len(magic) && string(head) == magic {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return []string{string(b)}, nil
}

// readTables reads the statements that define what is in a database: tables
// first, then what stands on them. Shadow tables come with their virtual table.
func readTables(path string) (ddl []string, err error) {
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	_, special, err := sqlite.TableNames(c)
	if err != nil {
		return nil, err
	}
	err = sqlite.Query(c, `SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
		ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END, rowid`, func(s *sqlite.Stmt) error {
		if name := s.ColumnText(0); !sqlite.Ours(name) && special[name] != "shadow" {
			ddl = append(ddl, s.ColumnText(1))
		}
		return nil
	})
	return ddl, err
}
