package edge

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// renameShares brings shares under the names of the setup in force: what the hub
// gave of a counter does not end when the counter is called something else. Shares
// of what is no bounded counter any more end. It must run inside a write
// transaction, before the triggers are made.
func (e *Engine) renameShares() error {
	has, err := e.hasLeases()
	if err != nil || !has {
		return err
	}
	keep, args := "0", []change.Value(nil)
	for _, b := range e.bounds() {
		for _, n := range e.namesOfBound(&b) {
			err := sqlite.Exec(e.conn, `UPDATE OR IGNORE _tidemark_share SET tbl=?1, col=?2
				WHERE tbl=?3 COLLATE NOCASE AND col=?4 COLLATE NOCASE AND (tbl<>?1 OR col<>?2)`,
				change.Text(b.Table), change.Text(b.Column), change.Text(n[0]), change.Text(n[1]))
			if err != nil {
				return fmt.Errorf("rename shares of %s.%s: %w", n[0], n[1], err)
			}
		}
		keep += " OR tbl=? AND col=?"
		args = append(args, change.Text(b.Table), change.Text(b.Column))
	}
	return sqlite.Exec(e.conn, "DELETE FROM _tidemark_share WHERE NOT ("+keep+")", args...)
}

// namesOfBound lists what a bounded counter may be called: its names in the setup,
// and the other ones of its rules that do not mean something else now.
func (e *Engine) namesOfBound(b *rule.Bound) (out [][2]string) {
	schema, r := &e.setup.Schema, e.setup.Rules.Table(b.Table)
	for _, tn := range append([]string{b.Table}, r.Was...) {
		if !sameName(tn, b.Table) && schema.Table(tn) != nil {
			continue
		}
		for _, cn := range append([]string{b.Column}, r.Columns[strings.ToLower(b.Column)].Was...) {
			if sameName(cn, b.Column) || schema.Table(b.Table).Column(cn) < 0 {
				out = append(out, [2]string{tn, cn})
			}
		}
	}
	return out
}

// liveBounds are the counters, by table and column, that the rules bound and the file
// has. Of any other one nothing is to be asked, and nothing can be granted.
func (e *Engine) liveBounds() map[[2]string]bool {
	out := map[[2]string]bool{}
	for _, b := range e.bounds() {
		if t := e.tableNamed(b.Table); t != nil && !t.missing && columnAt(t, b.Column) >= 0 {
			out[[2]string{b.Table, b.Column}] = true
		}
	}
	return out
}
