package sqlitestore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Write implements hub.Tx. Deleting a row that is not there does nothing;
// updating one is ErrNotFound.
func (t *tx) Write(e hub.Effect) error {
	tb, err := t.p.table(e.Table)
	if err != nil {
		return err
	}
	if err := ledger.CheckEffect(&e, len(tb.key)); err != nil {
		return err
	}
	if err := t.ready(); err != nil {
		return err
	}
	switch e.Kind {
	case change.Insert:
		err = t.insert(tb, &e)
	case change.Update:
		err = t.update(tb, &e)
	case change.Delete:
		err = t.remove(tb, e.Key)
	}
	if err != nil {
		return constraint(tb.def.Name, err)
	}
	return t.settle()
}

func (t *tx) insert(tb *table, e *hub.Effect) error {
	q := tb.insert
	if !slices.Equal(e.Columns, tb.names) {
		q = tb.insertSQL(e.Columns)
	}
	if err := sqlite.Exec(t.c, q, e.Values...); err != nil {
		return err
	}
	if t.c.Changes() == 0 {
		return &hub.ConstraintError{Kind: "trigger", Table: tb.def.Name, Detail: "a trigger ignored the row"}
	}
	scope, err := t.scopeOf(tb, e.Columns, e.Values, e.Key)
	if err != nil {
		return err
	}
	if _, err := t.log(tb, e.Key, ledger.Insert, 0, scope); err != nil {
		return err
	}
	if len(tb.below) == 0 {
		return nil
	}
	t.remember(tb, e, scope)
	return t.arrived(tb, e.Key, scope)
}

// update writes the columns and learns from the same statement what the scope
// depends on.
func (t *tx) update(tb *table, e *hub.Effect) error {
	if len(e.Columns) == 0 {
		return nil
	}
	mask, moves := tb.changes(e.Columns)
	if moves {
		return t.move(tb, e, mask)
	}
	values, err := t.set(tb, e)
	if err != nil {
		return err
	}
	scope, err := t.scopeOf(tb, tb.src, values, e.Key)
	if err != nil {
		return err
	}
	_, err = t.log(tb, e.Key, ledger.Update, mask, scope)
	return err
}

// set runs the UPDATE and returns the values of the columns that scope depends on.
func (t *tx) set(tb *table, e *hub.Effect) ([]change.Value, error) {
	var room [24]change.Value
	var values []change.Value
	args := append(append(room[:0], e.Values...), e.Key...)
	found := false
	err := sqlite.Query(t.c, t.updateSQL(tb, e.Columns), func(s *sqlite.Stmt) error {
		found, values = true, readRow(s, 0, len(tb.src))
		return nil
	}, args...)
	if err == nil && len(tb.src) == 0 {
		found = t.c.Changes() > 0
	}
	if err == nil && !found {
		err = fmt.Errorf("update row of %s: %w", tb.def.Name, hub.ErrNotFound)
	}
	return values, err
}

// changes is the mask of some columns, and whether the row's scope, or that of
// rows that hang on it, depends on one of them.
func (t *table) changes(columns []string) (mask int64, moves bool) {
	mask = ledger.MaskSeen
	for _, c := range columns {
		i := slices.Index(t.names, c)
		if i < 0 {
			i = ledger.IndexFold(t.names, c)
		}
		if i >= 0 && i < ledger.MaskBits && mask != 0 {
			mask |= 1 << i
		} else {
			mask = 0
		}
		moves = moves || ledger.ContainsFold(t.src, c) || ledger.ContainsFold(t.to, c)
	}
	return mask, moves
}

// move is update where a scope may change with the row.
func (t *tx) move(tb *table, e *hub.Effect, mask int64) error {
	if err := t.put(); err != nil {
		return err
	}
	defer t.logged()
	old, err := t.scopeAt(tb, e.Key)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(e.Columns, func(c string) bool { return ledger.ContainsFold(tb.to, c) }) {
		if err := t.follow(tb, e.Key, t.by, old); err != nil {
			return err
		}
	}
	if _, err := t.set(tb, e); err != nil {
		return err
	}
	clear(t.scopes)
	now, err := t.scopeAt(tb, e.Key)
	if err != nil {
		return err
	}
	t.logged()
	if _, err := t.log(tb, e.Key, ledger.Update, mask, now); err != nil {
		return err
	}
	if old == now {
		return nil
	}
	if _, err := t.log(tb, e.Key, ledger.Leave, 0, old); err != nil {
		return err
	}
	if err := t.follow(tb, e.Key, t.by, old); err != nil {
		return err
	}
	return t.follow(tb, e.Key, ledger.Author{Origin: ledger.Hub, HLC: t.by.HLC}, now)
}

// remove deletes a row and keeps its image.
func (t *tx) remove(tb *table, key change.Key) error {
	if len(tb.below) > 0 {
		scope, err := t.scopeAt(tb, key)
		if err != nil {
			return err
		}
		if err := t.follow(tb, key, t.by, scope); err != nil {
			return err
		}
		clear(t.scopes)
		t.gone[tb.number()+key.ID()] = true
	}
	var row []change.Value
	err := sqlite.Query(t.c, tb.remove, func(s *sqlite.Stmt) error {
		row = readRow(s, 0, len(tb.names))
		return nil
	}, key...)
	if err != nil || row == nil {
		return err
	}
	scope, err := t.scopeOf(tb, tb.names, row, nil)
	if err != nil {
		return err
	}
	pos, err := t.log(tb, key, ledger.Delete, 0, scope)
	if err != nil {
		return err
	}
	if err := sqlite.Exec(t.c, tb.bury, append([]change.Value{change.Int(pos)}, row...)...); err != nil {
		return fmt.Errorf("keep the image of a row of %s: %w", tb.def.Name, err)
	}
	return nil
}

// arrived logs the rows that were there before the row their scope hangs on.
func (t *tx) arrived(tb *table, key change.Key, scope string) error {
	id := tb.number() + key.ID()
	if t.gone[id] {
		delete(t.gone, id)
		if err := t.follow(tb, key, ledger.Author{Origin: ledger.Hub, HLC: t.by.HLC}, scope); err != nil {
			return err
		}
	}
	if t.orphans == unknown {
		if err := t.put(); err != nil {
			return err
		}
		some, _, err := sqlite.One(t.c, "SELECT "+hasOrphans)
		if err != nil {
			return fmt.Errorf("look for orphans: %w", err)
		}
		t.orphans = no
		if some.Int() != 0 {
			t.orphans = yes
		}
	}
	if t.orphans == no {
		return nil
	}
	return t.descend(tb, key, ledger.Author{Origin: ledger.Hub, HLC: t.by.HLC}, scope, tb.adoptions)
}

// follow logs every row whose scope hangs on a row, under a scope.
func (t *tx) follow(tb *table, key change.Key, by ledger.Author, scope string) error {
	return t.descend(tb, key, by, scope, tb.follows)
}

func (t *tx) descend(tb *table, key change.Key, by ledger.Author, scope string, list []string) error {
	if len(list) == 0 {
		return nil
	}
	if err := t.put(); err != nil {
		return err
	}
	defer t.logged()
	args := append([]change.Value{change.Int(by.Origin), change.Int(int64(by.HLC)), change.Text(scope)}, key...)
	for _, q := range list {
		if err := sqlite.Exec(t.c, q, args...); err != nil {
			return fmt.Errorf("log the rows below one of %s: %w", tb.def.Name, err)
		}
	}
	return nil
}

// updateKey names an UPDATE statement by what it sets.
type updateKey struct {
	plan  *plan
	table int64
	mask  uint64
}

const maxUpdates = 4096 // statements remembered

// updateSQL is the statement for a list of columns; kept when the list is in the
// table's order and fits a word, as nearly all do.
func (t *tx) updateSQL(tb *table, columns []string) string {
	k, last := updateKey{plan: t.p, table: tb.id}, -1
	for _, c := range columns {
		i := slices.Index(tb.names, c)
		if i <= last || i >= 64 {
			return tb.updateSQL(columns)
		}
		k.mask |= 1 << i
		last = i
	}
	q, ok := t.s.updates[k]
	if !ok {
		q = tb.updateSQL(columns)
		if len(t.s.updates) >= maxUpdates {
			clear(t.s.updates)
		}
		t.s.updates[k] = q
	}
	return q
}

func (t *table) updateSQL(columns []string) string {
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = sqlite.Quote(c) + " = ?"
	}
	q := "UPDATE OR FAIL " + t.name + " AS t SET " + strings.Join(set, ", ") + " WHERE " + t.where
	if len(t.src) > 0 {
		q += " RETURNING " + sqlite.QuoteAll("", t.src)
	}
	return q
}

// Touch implements hub.Tx. For a row that is gone it tells every scope that the
// log saw it in, or everybody when the log saw it nowhere.
func (t *tx) Touch(name string, key change.Key) error {
	tb, err := t.p.table(name)
	if err != nil {
		return err
	}
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.put(); err != nil {
		return err
	}
	defer t.logged()
	hlc := change.Int(int64(t.by.HLC))
	q := tb.logInto() + sqlite.QuoteAll("t.", tb.keyNames) + ", 4, 0, 1, ?, " + tb.expr("t.") + " FROM " + tb.name + " AS t WHERE " + tb.where
	if err := sqlite.Exec(t.c, q, append([]change.Value{hlc}, key...)...); err != nil {
		return fmt.Errorf("touch row of %s: %w", name, err)
	}
	if t.c.Changes() > 0 {
		return nil
	}
	keys := strings.Join(logKeys("", len(tb.key)), ", ")
	q = tb.logInto() + keys + ", 4, 0, 1, ?, scope FROM (SELECT DISTINCT " + keys + ", scope FROM _tidemark_log WHERE tbl = ? AND " +
		logKeyIs("", params(len(tb.key))) + ")"
	if err := sqlite.Exec(t.c, q, append([]change.Value{hlc, change.Int(tb.id)}, key...)...); err != nil {
		return fmt.Errorf("touch row of %s: %w", name, err)
	}
	if t.c.Changes() > 0 {
		return nil
	}
	// The log forgot where the row was: everybody may hear that it is gone.
	q = tb.logInto() + strings.Join(params(len(tb.key)), ", ") + ", 4, 0, 1, ?, ?"
	args := append(slices.Clone(key), hlc, change.Text(string(rule.ScopeAll)))
	if err := sqlite.Exec(t.c, q, args...); err != nil {
		return fmt.Errorf("touch row of %s: %w", name, err)
	}
	return nil
}
