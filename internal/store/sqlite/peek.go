package sqlitestore

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Peek reads one record of a hub's database without opening it as a store, so that
// nothing of the file is brought up to date: for looking at it only. hub.ErrNotFound
// says that there is no such record, or no table of records.
func Peek(path, kind, id string) (body []byte, err error) {
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	_, ok, err := sqlite.One(c, `SELECT 1 FROM sqlite_schema WHERE name='_tidemark_record'`)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if !ok {
		return nil, hub.ErrNotFound
	}
	v := &view{c: c}
	return v.Record(kind, id)
}
