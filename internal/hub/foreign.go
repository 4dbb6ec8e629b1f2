package hub

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
)

// foreign does, set by set, what the database's own foreign keys would do if they
// were on: actions on the children of rows that went, then a check that no row
// hangs in the air. It runs before the savepoint is released, so that one
// device's violation is its own affair (trap D23).
func (a *attempt) foreign() error {
	for _, w := range a.list {
		if err := a.orphans(w); err != nil {
			return err
		}
	}
	for _, w := range a.list {
		if w.kind == change.Insert && len(w.t.children) > 0 {
			a.alive[w.id] = true
		}
	}
	for _, list := range [][]*work{a.list, a.extra} {
		for _, w := range list {
			if err := a.hangs(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// hangs refuses a row whose parent is missing.
func (a *attempt) hangs(w *work) error {
	if w.kind != change.Insert && w.kind != change.Update {
		return nil
	}
	for _, l := range w.t.parents {
		if w.kind == change.Update && !slices.ContainsFunc(w.set, func(c int) bool { return slices.Contains(l.from, c) }) {
			continue
		}
		vals, null := pick(w.result, l.from)
		if null {
			continue
		}
		ok, err := a.exists(l, vals)
		if err != nil {
			return err
		}
		if !ok {
			return refuse("missing-parent", "row %s of %s refers to row %s of %s, which is not at the hub", w.op.Key, w.t.schema.Name, change.Key(vals), l.parent.schema.Name)
		}
	}
	return nil
}

// exists reports whether a parent row with these referenced values is there.
func (a *attempt) exists(l *link, vals []change.Value) (bool, error) {
	id := rowID{l.parent, change.Key(vals).ID()}
	if l.byKey && a.alive[id] {
		return true, nil
	}
	ok, err := a.standsNow(l, vals)
	if err == nil && ok && l.byKey {
		a.alive[id] = true
	}
	return ok, err
}

func (a *attempt) standsNow(l *link, vals []change.Value) (bool, error) {
	if l.byKey {
		row, err := a.batch.tx.Row(l.parent.schema.Name, change.Key(vals))
		if err != nil {
			return false, fmt.Errorf("read parent in %s: %w", l.parent.schema.Name, err)
		}
		return row != nil, nil
	}
	keys, err := a.batch.tx.Children(l.parent.schema.Name, l.reverse, vals, 1)
	if err != nil {
		return false, fmt.Errorf("find parent in %s: %w", l.parent.schema.Name, err)
	}
	return len(keys) > 0, nil
}

// orphans performs the foreign keys' actions on rows whose parent values w took
// away: children the author did not know of, or may not see.
func (a *attempt) orphans(w *work) error {
	if w.row == nil || w.kind != change.Delete && w.kind != change.Update {
		return nil
	}
	for _, l := range w.t.children {
		old, null := pick(w.row, l.to)
		if null {
			continue
		}
		action, to := l.fk.OnDelete, []change.Value(nil)
		if now := a.becomes(w); now != nil {
			action = l.fk.OnUpdate
			to, _ = pick(now, l.to)
			if slices.Equal(old, to) {
				continue
			}
		}
		if err := a.act(w, l, old, to, action); err != nil {
			return err
		}
	}
	return nil
}

// becomes is the row that w's row turned into, under the same or another key, or nil.
func (a *attempt) becomes(w *work) []change.Value {
	if w.kind == change.Update {
		return w.result
	}
	if w.op.Move == 0 {
		return nil
	}
	for _, o := range a.list {
		if o.op.Kind == change.Insert && o.op.Move == w.op.Move && o.t == w.t {
			return o.result
		}
	}
	return nil
}

func (a *attempt) act(w *work, l *link, old, to []change.Value, action string) error {
	const page = 512
	for {
		keys, err := a.batch.tx.Children(l.child.schema.Name, l.fk, old, page)
		if err != nil {
			return fmt.Errorf("find children in %s: %w", l.child.schema.Name, err)
		}
		if len(keys) == 0 {
			return nil
		}
		// Another row may have taken the values over.
		if again, err := a.standsNow(l, old); err != nil || again {
			return err
		}
		for _, k := range keys {
			if err := a.actOn(w, l, k, to, action); err != nil {
				return err
			}
		}
	}
}

// actOn performs a foreign key's action on one child.
func (a *attempt) actOn(w *work, l *link, key change.Key, to []change.Value, action string) error {
	row, err := a.batch.tx.Row(l.child.schema.Name, key)
	if err != nil || row == nil {
		return err
	}
	c := &work{op: &change.Op{Key: key}, t: l.child, row: row, byHub: true, hlc: a.hlc}
	switch strings.ToUpper(action) {
	case "CASCADE":
		if to == nil {
			c.kind = change.Delete
			a.receipt(c, &Receipt{Kind: "cascade", Row: row, Rule: "on delete cascade"}, merge.Edge, merge.Versioned{})
		}
	case "SET NULL":
		to = make([]change.Value, len(l.from))
	case "SET DEFAULT":
		if to, err = defaults(l); err != nil {
			return err
		}
	default:
		return refuse("restrict", "row %s of %s is still needed at the hub: row %s of %s refers to it", w.op.Key, w.t.schema.Name, key, l.child.schema.Name)
	}
	if c.kind == 0 {
		c.kind, c.set, c.result = change.Update, l.from, slices.Clone(row)
		for i, f := range l.from {
			c.result[f] = to[i]
		}
	}
	a.merged = true
	a.extra = append(a.extra, c)
	if err := a.put(c); err != nil {
		return err
	}
	return a.orphans(c)
}

// defaults evaluates the default values of a foreign key's columns. Only
// literals can be evaluated here.
func defaults(l *link) ([]change.Value, error) {
	out := make([]change.Value, len(l.from))
	for i, c := range l.from {
		col := l.child.schema.Columns[l.child.schema.Column(l.child.names[c])]
		v, ok := literal(col.Default)
		if !ok {
			return nil, refuse("restrict", "column %s of %s has the default %s, which only its database can evaluate", col.Name, l.child.schema.Name, col.Default)
		}
		out[i] = v
	}
	return out, nil
}

func literal(s string) (change.Value, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.EqualFold(s, "null") {
		return change.Null, true
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return change.Int(n), true
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return change.Float(f), true
	}
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return change.Text(strings.ReplaceAll(s[1:len(s)-1], "''", "'")), true
	}
	return change.Null, false
}
