package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A ref is one foreign key seen from its parent.
type ref struct {
	child    string   // table
	from, to []string // columns, parallel
	onDelete string
	defaults []string // SQL expressions of the columns' defaults, parallel to from
	synced   bool     // the child table syncs: its effects are in the delta
}

// A removal is a row about to leave the file, once its children are known.
type removal struct {
	t    *table
	key  change.Key
	held bool // stays until the outcome of the pending work that needs it
}

// references lists the file's foreign keys by lower-case parent table. It reads every
// table of the file, the application's own included, so it is kept as long as the
// schema stays what loadTables saw.
func (e *Engine) references() (map[string][]ref, error) {
	if e.refs != nil {
		return e.refs, nil
	}
	tables, _, err := sqlite.TableNames(e.conn)
	if err != nil {
		return nil, err
	}
	s, err := sqlite.Describe(e.conn, tables)
	if err != nil {
		return nil, err
	}
	out := map[string][]ref{}
	for i := range s.Tables {
		t := &s.Tables[i]
		for _, fk := range t.ForeignKeys {
			r := ref{child: t.Name, to: fk.To, onDelete: strings.ToUpper(fk.OnDelete), synced: e.tableInFile(t.Name) != nil}
			for _, c := range fk.Columns {
				r.from = append(r.from, t.Columns[c].Name)
				r.defaults = append(r.defaults, t.Columns[c].Default)
			}
			p := strings.ToLower(fk.Parent)
			out[p] = append(out[p], r)
		}
	}
	e.refs = out
	return out, nil
}

// checkParents lets the waiting rows go whose children are gone too, and holds
// the others: an incoming delete of a parent never takes a pending child along
// (trap S20). Then it makes sure that no row of the hub's lost its parent to a
// pending delete.
func (a *applier) checkParents() error {
	if err := a.hold(); err != nil {
		return err
	}
	for _, r := range a.removed {
		rm := a.removal[r]
		if rm == nil {
			continue
		}
		if rm.held {
			if err := a.keepHeld(r, rm); err != nil {
				return err
			}
			continue
		}
		if err := a.orphan(rm); err != nil {
			return err
		}
		if err := a.erase(rm.t, rm.key); err != nil {
			return err
		}
	}
	if err := a.checkDeleted(); err != nil {
		return err
	}
	return a.checkShown()
}

// hold marks the waiting rows that unsettled work needs, and the parents of held
// rows, until no more are found.
func (a *applier) hold() error {
	for again := true; again; {
		again = false
		for _, r := range a.removed {
			rm := a.removal[r]
			if rm == nil || rm.held {
				continue
			}
			if tr := a.track(rm.t, r.id); tr != nil && a.active(tr) {
				continue // the application's own pending delete
			}
			held, err := a.needed(rm)
			if err != nil {
				return err
			}
			if held {
				rm.held, again = true, true
			}
		}
	}
	return nil
}

// needed reports whether a child keeps a waiting row from going.
func (a *applier) needed(rm *removal) (bool, error) {
	for _, r := range a.refs[strings.ToLower(rm.t.file)] {
		if !r.synced || len(a.order) == 0 && len(a.removal) == 0 {
			continue
		}
		held := false
		err := a.children(rm, r, func(child *table, key change.Key) {
			tr := a.track(child, key.ID())
			other := a.removal[rowRef{child.schema.Name, key.ID()}]
			held = held || tr != nil && a.active(tr) || other != nil && other.held
		})
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}

// children visits the rows of a synced table that point at a row by one foreign key.
func (a *applier) children(rm *removal, r ref, visit func(*table, change.Key)) error {
	child := a.e.tableInFile(r.child)
	if child == nil || child.missing {
		return nil
	}
	parent, err := a.parentValues(rm, r)
	if err != nil || parent == nil {
		return err
	}
	var keys []change.Key
	sql := "SELECT " + sqlite.QuoteAll("", child.keyNames()) + " FROM " + sqlite.Quote(r.child) + " WHERE " + matches(r.from)
	err = sqlite.Query(a.e.conn, sql, func(s *sqlite.Stmt) error {
		keys = append(keys, change.Key(readRow(s, len(child.key))))
		return nil
	}, parent...)
	if err != nil {
		return fmt.Errorf("children of table %s in %s: %w", rm.t.schema.Name, r.child, err)
	}
	for _, k := range keys {
		if child == rm.t && k.Equal(rm.key) {
			continue // a row that points at itself
		}
		visit(child, k)
	}
	return nil
}

// parentValues are the values that children of a row hold; nil when none can.
func (a *applier) parentValues(rm *removal, r ref) ([]change.Value, error) {
	if slices.EqualFunc(r.to, rm.t.keyNames(), sameName) {
		return rm.key, nil
	}
	row, err := a.e.readRow(rm.t, rm.key)
	if err != nil {
		return nil, err
	}
	if d := a.displ[rowRef{rm.t.schema.Name, rm.key.ID()}]; row == nil && d != nil {
		row = d.row
	}
	if tr := a.track(rm.t, rm.key.ID()); row == nil && tr != nil {
		row = tr.local // the lift took it off the table
	}
	if row == nil {
		return nil, nil
	}
	out := make([]change.Value, len(r.to))
	for i, c := range r.to {
		j := rm.t.column(c)
		if j < 0 || row[j].IsNull() {
			return nil, nil
		}
		out[i] = row[j]
	}
	return out, nil
}

func matches(cols []string) string {
	parts := make([]string, len(cols))
	for i, c := range cols {
		parts[i] = fmt.Sprintf("%s=?%d", sqlite.Quote(c), i+1)
	}
	return strings.Join(parts, " AND ")
}

// keepHeld keeps a row that the hub no longer has, noting that it has not.
func (a *applier) keepHeld(r rowRef, rm *removal) error {
	tr := a.track(rm.t, r.id)
	var row []change.Value
	if d := a.displ[r]; d != nil {
		row = d.row
	} else if tr != nil && !tr.stands {
		row = tr.local // the lift took it off the table: it was held before, and still is
	}
	if row != nil {
		p, err := a.plan(rm.t, rm.t.names)
		if err != nil {
			return err
		}
		if err = exec(p.upsert, row); unique(err) {
			seqs, err := a.childSeqs(rm)
			if err != nil {
				return err
			}
			return &collision{seqs: seqs, why: fmt.Sprintf("table %s row %s is gone, its place is taken", rm.t.schema.Name, rm.key)}
		}
		if err == nil {
			err = a.giveBack(rm.t, rm.key, r.id)
		}
		if err != nil {
			return err
		}
	}
	if tr == nil {
		return a.e.setShadow(rm.t, r.id, nil)
	}
	return nil
}

// childSeqs are the unsettled transactions behind the children of a row.
func (a *applier) childSeqs(rm *removal) (seqs []uint64, err error) {
	for _, r := range a.refs[strings.ToLower(rm.t.file)] {
		err := a.children(rm, r, func(child *table, key change.Key) {
			if tr := a.track(child, key.ID()); tr != nil {
				seqs = append(seqs, tr.seqs...)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return seqs, nil
}

// wroteFile reports whether the pull or an outcome wrote a table of the file.
func (a *applier) wroteFile(name string) bool {
	t := a.e.tableInFile(name)
	return t != nil && a.wrote[strings.ToLower(t.schema.Name)]
}

// checkDeleted finds rows that the application deleted, with the delete still
// pending, and that rows of the hub's point at now: the delete steps aside until
// the hub has decided.
func (a *applier) checkDeleted() error {
	for _, tr := range a.order {
		refs := a.refs[strings.ToLower(tr.t.file)]
		if len(refs) == 0 || !a.active(tr) {
			continue
		}
		wrote := slices.ContainsFunc(refs, func(r ref) bool { return r.synced && a.wroteFile(r.child) })
		if !wrote {
			continue
		}
		if err := a.load(tr); err != nil {
			return err
		}
		if tr.shadow == nil {
			continue
		}
		now, err := a.e.readRow(tr.t, tr.key)
		if err != nil {
			return err
		}
		if now != nil {
			continue
		}
		if err := a.checkDeletedChildren(tr, refs); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) checkDeletedChildren(tr *track, refs []ref) error {
	for _, r := range refs {
		if !r.synced || !slices.EqualFunc(r.to, tr.t.keyNames(), sameName) {
			continue
		}
		found := false
		err := a.children(&removal{t: tr.t, key: tr.key}, r, func(*table, change.Key) { found = true })
		if err != nil {
			return err
		}
		if found {
			return &collision{seqs: tr.seqs, why: fmt.Sprintf("table %s row %s was deleted here and has new children at the hub", tr.t.schema.Name, tr.key)}
		}
	}
	return nil
}

// widen adds to a collision everything pending that builds on its transactions:
// they step aside together, whole (I4), and stay in the outbox, marked, until
// their outcome.
func (a *applier) widen(c *collision) error {
	queue := slices.Clone(c.seqs)
	wide := &collision{why: c.why}
	for len(queue) > 0 {
		seq := queue[0]
		queue = queue[1:]
		if a.aside[seq] || slices.Contains(wide.seqs, seq) {
			continue
		}
		wide.seqs = append(wide.seqs, seq)
		more, err := a.dependants(seq)
		if err != nil {
			return err
		}
		queue = append(queue, more...)
	}
	return wide
}

// stepAside takes the transactions of a collision out of the next attempt; it is
// false when that is no help.
func (a *applier) stepAside(c *collision) bool {
	before := len(a.fresh)
	for _, seq := range c.seqs {
		a.fresh[seq] = true
	}
	if len(a.fresh) == before {
		return false
	}
	a.e.cfg.Logger.Warn("pending transactions step aside", "reason", c.why, "transactions", len(a.fresh)-before)
	return true
}

// dependants are the later transactions that touch a row of seq, or a child of a
// row that seq inserted.
func (a *applier) dependants(seq uint64) (out []uint64, err error) {
	tx, err := a.e.transaction(seq)
	if err != nil {
		return nil, err
	}
	for i := range tx.Ops {
		op := &tx.Ops[i]
		t := a.e.tableNamed(op.Table)
		if t == nil || t.missing {
			continue
		}
		if tr := a.track(t, op.Key.ID()); tr != nil {
			for _, s := range tr.seqs {
				if s > seq {
					out = append(out, s)
				}
			}
		}
		if op.Kind != change.Insert {
			continue
		}
		seqs, err := a.childSeqs(&removal{t: t, key: op.Key})
		if err != nil {
			return nil, err
		}
		out = append(out, seqs...)
	}
	return out, nil
}
