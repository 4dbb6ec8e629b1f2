package hub

import (
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A device may have captured work under an older schema, or by another program's
// version: its operations then speak of tables and columns by other names (`was`),
// of columns that were given up (`dropped`), and of values of another type. Here
// they become operations on the tables as they are. What is journalled and parked
// stays as it came: the schema may change once more before it is tried again.

// alias lets tables be found under their other names, too.
func (s *shape) alias() {
	for _, t := range s.tables {
		for _, w := range t.rule.Was {
			if low := strings.ToLower(w); s.byName[low] == nil {
				s.byName[low] = t
			}
		}
	}
}

// alias lets columns be found under their other names, too.
func (t *table) alias() {
	for i, n := range t.names {
		for _, w := range t.rule.Columns[strings.ToLower(n)].Was {
			low := strings.ToLower(w)
			if _, taken := t.at[low]; !taken {
				t.at[low] = i
			}
		}
	}
}

// gaveUp reports whether a column was given up on purpose.
func (t *table) gaveUp(column string) bool {
	return slices.ContainsFunc(t.rule.Dropped, func(d string) bool { return strings.EqualFold(d, column) })
}

// A columnMap remembers what a shared column list means for a table.
type columnMap struct {
	t     *table
	n     int
	cols  []int    // what is left, as indices into t.names; -1 in a Delete: a column the hub lacks
	names []string // of cols, as the hub calls them; nil when the list says just that
	keep  []int    // indices into the list; nil: all
	gone  []int    // indices into the list of columns that were given up
}

// mapColumns looks a list of columns up.
func (b *batch) mapColumns(t *table, op *change.Op) (columnMap, error) {
	id := &op.Columns[0]
	if m, ok := b.cols[id]; ok && m.t == t && m.n == len(op.Columns) {
		return m, nil
	}
	m := columnMap{t: t, n: len(op.Columns)}
	same := true
	for i, name := range op.Columns {
		c := t.column(name)
		if c < 0 && op.Kind != change.Delete {
			if t.gaveUp(name) {
				m.gone = append(m.gone, i)
				continue
			}
			return m, refuse("unknown-column", "the hub's table %s has no column %s: add it there, or say in tidemark.yaml what it is called now (was) or that its values may go (dropped), then retry", t.schema.Name, name)
		}
		if c >= 0 && slices.Contains(m.cols, c) {
			return m, refuse("unknown-column", "column %s of table %s comes under two names at once, one of them %s: rename or drop one at the device, or declare one of them dropped, then retry", t.names[c], t.schema.Name, name)
		}
		present := name
		if c >= 0 && !strings.EqualFold(name, t.names[c]) {
			present, same = t.names[c], false
		}
		m.cols, m.names, m.keep = append(m.cols, c), append(m.names, present), append(m.keep, i)
	}
	if len(m.gone) == 0 {
		m.keep = nil
		if same {
			m.names = nil
		}
	}
	if op.Kind != change.Delete { // a Delete's list may hold -1
		b.cols[id] = m
	}
	return m, nil
}

// A letGo is one value for a column that was given up.
type letGo struct {
	column    string
	base, val change.Value
}

// rename makes w's operation one on the columns that there are.
func (w *work) rename(m *columnMap) {
	if m.names == nil && m.gone == nil {
		return
	}
	op := *w.op
	for _, i := range m.gone {
		g := letGo{column: op.Columns[i]}
		if i < len(op.New) {
			g.val = op.New[i]
		}
		if i < len(op.Base) {
			g.base = op.Base[i]
		}
		w.gone = append(w.gone, g)
	}
	op.Columns = m.names
	if m.gone != nil {
		op.New, op.Base = cut(op.New, m.keep), cut(op.Base, m.keep)
	}
	w.op = &op
}

// cut keeps some values of a list; nil stays nil, and a list that is too short is
// refused later.
func cut(list []change.Value, keep []int) []change.Value {
	if list == nil {
		return nil
	}
	out := make([]change.Value, 0, len(keep))
	for _, i := range keep {
		if i < len(list) {
			out = append(out, list[i])
		}
	}
	return out
}

// retype makes w's values what the hub's columns hold after they are written: its
// columns may be of another type than the device's.
func (w *work) retype() {
	own := w.op == w.raw
	edit := func() *change.Op {
		if own {
			op := *w.op
			w.op, own = &op, false
		}
		return w.op
	}
	for i, v := range w.op.Key {
		if to := w.t.cols[w.t.key[i]].affinity.Store(v); to != v {
			op := edit()
			op.Key = slices.Clone(op.Key)
			op.Key[i] = to
		}
	}
	stored := func(list []change.Value) []change.Value {
		out := list
		for i, v := range list {
			if w.cols[i] < 0 {
				continue
			}
			to := w.t.cols[w.cols[i]].affinity.Store(v)
			if to == v {
				continue
			}
			if &out[0] == &list[0] {
				out = slices.Clone(list)
			}
			out[i] = to
		}
		return out
	}
	if list := stored(w.op.New); len(list) > 0 && &list[0] != &w.op.New[0] {
		edit().New = list
	}
	if list := stored(w.op.Base); len(list) > 0 && &list[0] != &w.op.Base[0] {
		edit().Base = list
	}
}

// emptied reports whether everything that w would update was given up.
func (w *work) emptied() bool {
	return w.op.Kind == change.Update && len(w.cols) == 0 && len(w.gone) > 0
}

// RuleDropped is the rule that a receipt names for a value whose column was given up.
const RuleDropped = "dropped"

// letGo notes the values that nobody keeps.
func (a *attempt) letGo() error {
	for _, w := range a.list {
		for _, g := range w.gone {
			if g.val.IsNull() || w.op.Kind == change.Update && g.val == g.base {
				continue
			}
			a.receipt(w, &Receipt{Kind: "dropped", Column: g.column, Base: g.base, Edge: g.val, Rule: RuleDropped}, merge.Hub, merge.Versioned{})
		}
	}
	return nil
}

// present is an operation as the hub's names and types have it, as far as they are
// known; its own list when it fits as it is.
func (t *table) present(op *change.Op) *change.Op {
	w := &work{op: op, raw: op, t: t}
	if len(op.Columns) > 0 {
		m := &columnMap{t: t}
		for i, name := range op.Columns {
			c := t.column(name)
			if c >= 0 {
				name = t.names[c]
			}
			m.cols, m.names, m.keep = append(m.cols, c), append(m.names, name), append(m.keep, i)
		}
		w.cols = m.cols
	}
	if len(op.Key) == len(t.key) && len(op.New) <= len(w.cols) && len(op.Base) <= len(w.cols) {
		w.retype()
	}
	return w.op
}

// A naming is what a table and a column of it go by, in lower case.
type naming struct{ table, column string }

// formerNames are what a column may have been called together with its table, the
// present names of both left out.
func (t *table) formerNames(column string) (out []naming) {
	now := naming{strings.ToLower(t.schema.Name), strings.ToLower(column)}
	for _, tn := range append([]string{now.table}, t.rule.Was...) {
		for _, cn := range append([]string{now.column}, t.rule.Columns[now.column].Was...) {
			if p := (naming{strings.ToLower(tn), strings.ToLower(cn)}); p != now {
				out = append(out, p)
			}
		}
	}
	return out
}

// Lost lists the tables of the rules that cannot be served: somebody dropped them,
// or what their scope is taken from. Work for them waits in quarantine.
func (h *Hub) Lost() []rule.Misfit { return slices.Clone(h.shape.Load().lost) }

// tellLost logs what was lost since the shape before, and what is back.
func (h *Hub) tellLost(old, now *shape) {
	var had []rule.Misfit
	if old != nil {
		had = old.lost
	}
	for _, m := range now.lost {
		if !slices.Contains(had, m) {
			h.log.Error("a table cannot be served; the others are", "table", m.Table, "reason", m.Reason)
		}
	}
	for _, m := range had {
		if !slices.ContainsFunc(now.lost, func(n rule.Misfit) bool { return n.Table == m.Table }) {
			h.log.Info("a table is served again", "table", m.Table)
		}
	}
	for _, t := range now.tables {
		if t.closed == "" {
			continue
		}
		if old != nil {
			if o := old.table(t.schema.Name); o != nil && o.closed == t.closed {
				continue
			}
		}
		h.log.Error("a rule does not fit its table: what devices write there waits in quarantine", "table", t.schema.Name, "reason", t.closed)
	}
}

// served is the store's schema without the tables that cannot be served.
func (s *shape) served(fit *rule.Rules) change.Schema {
	if len(s.lost) == 0 {
		return s.schema
	}
	var out change.Schema
	for i := range s.schema.Tables {
		if fit.Table(s.schema.Tables[i].Name) != nil {
			out.Tables = append(out.Tables, s.schema.Tables[i])
		}
	}
	return out
}

// lostReason says why there is no such table.
func (s *shape) lostReason(name string) string {
	for _, m := range s.lost {
		if strings.EqualFold(m.Table, name) {
			return m.Reason
		}
	}
	return ""
}
