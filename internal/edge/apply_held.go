package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A held row was taken out of the file while columns of its table are still to be
// compared with the hub's. When it comes back in this apply, in whatever version, it has
// the values in them that it had: neither the hub's rows nor pending work from before
// the columns were shared know them.
type held struct {
	cols []string // as the file calls them
	vals []change.Value
}

// setBy remembers a row's values in the columns that are to be compared, before the row
// is taken out. The first version counts: it is the application's.
func (a *applier) setBy(t *table, key change.Key) error {
	if len(t.gap.Columns) == 0 || a.in.resolve {
		return nil
	}
	ref := rowRef{t.schema.Name, key.ID()}
	if _, ok := a.held[ref]; ok {
		return nil
	}
	row, err := a.e.readRow(t, key)
	if err != nil || row == nil {
		return err
	}
	var h held
	for i, n := range t.names {
		if t.gap.holds(n) {
			h.cols, h.vals = append(h.cols, t.cols[i]), append(h.vals, row[i])
		}
	}
	if len(h.cols) == 0 {
		return nil
	}
	if a.held == nil {
		a.held = map[rowRef]held{}
	}
	a.held[ref] = h
	return nil
}

// giveBack gives a row that was brought back the values that setBy remembered.
func (a *applier) giveBack(t *table, key change.Key, id string) error {
	h, ok := a.held[rowRef{t.schema.Name, id}]
	if !ok {
		return nil
	}
	set := make([]string, len(h.cols))
	for i, c := range h.cols { // the key's parameters come first, as whereKey has them
		set[i] = fmt.Sprintf("%s=?%d", sqlite.Quote(c), len(key)+i+1)
	}
	return sqlite.Exec(a.e.conn, "UPDATE "+t.sql()+" SET "+strings.Join(set, ", ")+" WHERE "+t.whereKey(), slices.Concat(key, h.vals)...)
}

// takeUntaken reports whether rows came since it was last called whose values in columns
// that are to be compared were not taken.
func (e *Engine) takeUntaken() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.untaken
	e.untaken = false
	return was
}
