package sqlitestore

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Highest implements hub.View. An index on the column serves it.
func (v *view) Highest(name, column string, most int64) (change.Value, error) {
	t, err := v.p.table(name)
	if err != nil {
		return change.Null, err
	}
	i := ledger.IndexFold(t.names, column)
	if i < 0 {
		return change.Null, fmt.Errorf("highest %s of %s: no such column", column, name)
	}
	q := sqlite.Quote(t.names[i])
	out, _, err := sqlite.One(v.c, "SELECT "+q+" FROM "+t.name+" WHERE "+q+" <= ? AND typeof("+q+") = 'integer' ORDER BY "+q+" DESC LIMIT 1", change.Int(most))
	if err != nil {
		return change.Null, fmt.Errorf("highest %s of %s: %w", column, name, err)
	}
	return out, nil
}
