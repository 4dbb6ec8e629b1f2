package edge

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// checkShown looks whether the rows that pending work puts back have their parents.
// One may be missing for good: the application had deleted it, the hub refused the
// delete and took the row out of this device's scopes, and a pending update alone
// does not say what the row was. The child's transaction then waits outside the
// tables, whole, until its outcome.
func (a *applier) checkShown() error {
	for _, tr := range a.order {
		if !tr.done || !a.active(tr) || len(tr.t.schema.ForeignKeys) == 0 {
			continue
		}
		row, err := a.e.readRow(tr.t, tr.key)
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		for i := range tr.t.schema.ForeignKeys {
			fk := &tr.t.schema.ForeignKeys[i]
			ok, err := a.hasParent(tr.t, row, fk)
			if err != nil {
				return fmt.Errorf("parent of table %s row %s: %w", tr.t.schema.Name, tr.key, err)
			}
			if !ok {
				return &collision{seqs: tr.seqs, why: fmt.Sprintf("table %s row %s has no parent in %s here", tr.t.schema.Name, tr.key, fk.Parent)}
			}
		}
	}
	return nil
}

// hasParent reports whether the row that a foreign key points at is in the file.
// One that points at nothing, or at a table that does not sync, counts as having.
func (a *applier) hasParent(t *table, row []change.Value, fk *change.ForeignKey) (bool, error) {
	parent := a.e.tableNamed(fk.Parent)
	if parent == nil || parent.missing {
		return true, nil
	}
	args := make([]change.Value, len(fk.Columns))
	for i, c := range fk.Columns {
		j := t.column(t.schema.Columns[c].Name)
		if j < 0 || row[j].IsNull() {
			return true, nil
		}
		args[i] = row[j]
	}
	if strings.EqualFold(parent.schema.Name, t.schema.Name) && change.Key(args).Equal(t.keyOf(row)) {
		return true, nil // it is its own parent
	}
	_, ok, err := sqlite.One(a.e.conn, "SELECT 1 FROM "+parent.sql()+" WHERE "+matches(parent.locals(fk.To)), args...)
	return ok, err
}
