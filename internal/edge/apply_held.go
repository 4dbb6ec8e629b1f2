package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A held row was taken out of the file. When it comes back in this apply, in whatever
// version, it has the values that nobody else knows: in columns that only the file has,
// and in those that are still to be compared with the hub's, for pending work from before
// they were shared does not know them either.
type held struct {
	cols []string // as the file calls them
	vals []change.Value
}

// own lists the stored columns that only the file has, by its names.
func (t *table) own() (out []string) {
	for i := range t.have.Columns {
		if c := &t.have.Columns[i]; !c.Generated && !slices.Contains(t.cols, c.Name) {
			out = append(out, c.Name)
		}
	}
	return out
}

// setBy remembers a row's values that nobody else knows, before the row is taken out.
// The first version counts: it is the application's.
func (a *applier) setBy(t *table, key change.Key) error {
	cols := t.own()
	if !a.in.resolve && len(t.gap.Columns) > 0 {
		for i, n := range t.names {
			if t.gap.holds(n) {
				cols = append(cols, t.cols[i])
			}
		}
	}
	ref := rowRef{t.schema.Name, key.ID()}
	if _, ok := a.held[ref]; ok || len(cols) == 0 {
		return nil
	}
	h := held{cols: cols}
	err := sqlite.Query(a.e.conn, "SELECT "+sqlite.QuoteAll("", cols)+" FROM "+t.sql()+" WHERE "+t.whereKey(), func(s *sqlite.Stmt) error {
		h.vals = make([]change.Value, len(cols))
		for i := range cols {
			h.vals[i] = sqlite.Column(s, i)
		}
		return nil
	}, key...)
	if err != nil || h.vals == nil {
		return err
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
