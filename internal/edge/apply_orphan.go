package edge

import (
	"fmt"
	"slices"
	"strings"

	zs "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// EventDangling tells that rows which do not sync point at a row that is gone.
const EventDangling = "dangling"

// orphan does to the children of a row that goes, in tables which do not sync, what
// their foreign key says, since foreign keys are off on this connection. The row goes
// in any case: the hub has decided that, or that this device may no longer read it.
// Where the foreign key would have forbidden it, the child stays as it is.
func (a *applier) orphan(rm *removal) error {
	for _, r := range a.refs[strings.ToLower(rm.t.file)] {
		if r.synced {
			continue
		}
		parent, err := a.parentValues(rm, r)
		if err != nil {
			return err
		}
		if parent == nil {
			continue
		}
		if err := a.orphanBy(rm.t.file, r, parent); err != nil {
			return fmt.Errorf("children of table %s in %s: %w", rm.t.schema.Name, r.child, err)
		}
	}
	return nil
}

// orphanBy is orphan for one foreign key and what it points at. What goes with its
// parent leaves children in its turn.
func (a *applier) orphanBy(parent string, r ref, vals []change.Value) error {
	table, where := sqlite.Quote(r.child), " WHERE "+matches(r.from)
	_, some, err := sqlite.One(a.e.conn, "SELECT 1 FROM "+table+where+" LIMIT 1", vals...)
	if err != nil || !some {
		return err
	}
	switch r.onDelete {
	case "SET NULL", "SET DEFAULT":
		set := make([]string, len(r.from))
		for i, c := range r.from {
			set[i] = sqlite.Quote(c) + "=NULL"
			if r.onDelete == "SET DEFAULT" && r.defaults[i] != "" {
				set[i] = sqlite.Quote(c) + "=(" + r.defaults[i] + ")"
			}
		}
		err = sqlite.Exec(a.e.conn, "UPDATE "+table+" SET "+strings.Join(set, ", ")+where, vals...)
	case "CASCADE":
		err = a.orphanCascade(r, table+where, vals)
	default:
		return a.dangle(parent, r, "its foreign key has no ON DELETE action")
	}
	if zs.ErrCode(err).ToPrimary() == zs.ResultConstraint {
		return a.dangle(parent, r, err.Error())
	}
	return err
}

// orphanCascade deletes children, and then orphans theirs.
func (a *applier) orphanCascade(r ref, from string, vals []change.Value) error {
	type below struct {
		r    ref
		vals []change.Value
	}
	var next []below
	for _, c := range a.refs[strings.ToLower(r.child)] {
		if c.synced {
			continue
		}
		err := sqlite.Query(a.e.conn, "SELECT "+sqlite.QuoteAll("", c.to)+" FROM "+from, func(s *sqlite.Stmt) error {
			row := readRow(s, len(c.to))
			if !slices.ContainsFunc(row, change.Value.IsNull) {
				next = append(next, below{c, row})
			}
			return nil
		}, vals...)
		if err != nil {
			return err
		}
	}
	if err := sqlite.Exec(a.e.conn, "DELETE FROM "+from, vals...); err != nil {
		return err
	}
	for _, b := range next {
		if err := a.orphanBy(r.child, b.r, b.vals); err != nil {
			return err
		}
	}
	return nil
}

// dangle notes that children stay whose parent goes.
func (a *applier) dangle(parent string, r ref, why string) error {
	return a.e.addEvent(EventDangling, fmt.Sprintf("a row of %s is gone that rows of %s point at; they do not sync, and stay as they are: %s", parent, r.child, why))
}
