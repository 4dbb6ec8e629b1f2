package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// receive writes the rows of the pull.
func (a *applier) receive() error {
	return a.in.each(func(rows *change.Rows) error {
		t := a.e.tableNamed(rows.Table)
		if t == nil {
			return nil // a table this setup does not sync
		}
		if t.missing { // the others go on; this one is compared when it is back
			return a.e.widenGap(t, gap{Behind: true})
		}
		p, err := a.plan(t, rows.Columns)
		if err != nil {
			return err
		}
		a.wrote[strings.ToLower(t.schema.Name)] = true
		for i := range rows.GoneLen() {
			if err := a.receiveGone(p, rows.GoneKey(i)); err != nil {
				return fmt.Errorf("table %s row %s: %w", rows.Table, rows.GoneKey(i), err)
			}
		}
		for i := range rows.Len() {
			if err := a.receiveRow(p, rows.Row(i)); err != nil {
				return fmt.Errorf("table %s row %s: %w", rows.Table, rows.KeyOf(i), err)
			}
		}
		return nil
	})
}

func (a *applier) receiveGone(p *plan, key change.Key) error {
	t := p.t
	if len(a.order) == 0 && a.seen == nil && a.in.keep == "" && !t.gap.unsure() {
		a.out.Gone++
		return a.remove(t, key, "")
	}
	id := key.ID()
	if a.seen != nil {
		a.seen.drop(t, id)
		a.noteGone(t, id)
	}
	a.out.Gone++
	if tr := a.track(t, id); tr != nil {
		tr.came = true
		if !a.lifted {
			if err := a.keepUnsure(p, key, nil); err != nil {
				return err
			}
			tr.learn(nil)
			return a.touch(tr)
		}
	}
	if a.in.keep != "" || t.gap.unsure() {
		if err := a.keepLocal(p, key, nil); err != nil {
			return err
		}
	}
	return a.remove(t, key, id)
}

func (a *applier) receiveRow(p *plan, in []change.Value) error {
	a.out.Rows++
	a.e.untaken = a.e.untaken || len(p.t.gap.Columns) > 0 && !a.in.resolve
	row := in
	if !p.same {
		row = make([]change.Value, len(p.from))
		for i, c := range p.from {
			row[i] = in[c]
		}
	}
	if len(a.order) == 0 && !a.looks(p.t) && len(a.removal) == 0 && len(a.displ) == 0 && a.in.keep == "" && !p.t.gap.unsure() {
		return a.write(p, row, nil, "")
	}
	key := make(change.Key, len(p.key))
	for i, c := range p.key {
		key[i] = in[c]
	}
	id := key.ID()
	if a.seen != nil {
		if err := a.noteDiffers(p, id, key, row); err != nil {
			return err
		}
		a.seen.add(p.t, id)
	}
	if tr := a.track(p.t, id); tr != nil {
		tr.came = true
		if !a.lifted {
			if err := a.keepUnsure(p, key, row); err != nil {
				return err
			}
			if err := a.touch(tr); err != nil {
				return err
			}
			return a.learnRow(tr, p, row)
		}
	}
	if err := a.keepLocal(p, key, row); err != nil {
		return err
	}
	a.unremove(rowRef{p.t.schema.Name, id})
	return a.write(p, row, key, id)
}

// looks reports whether it matters which rows of a table came: a full fetch compares
// them with what is here, where something is.
func (a *applier) looks(t *table) bool {
	return a.seen != nil && (a.lost != nil || !a.empty[strings.ToLower(t.schema.Name)])
}

// keepUnsure keeps a copy of a row with pending work on top, whose other values may be
// the application's: its table is new to capture. What was written while triggers were
// lost is pending work itself by now (see pendingWrites).
func (a *applier) keepUnsure(p *plan, key change.Key, row []change.Value) error {
	if !p.t.gap.Behind {
		return nil
	}
	return a.keepLocal(p, key, row)
}

// learnRow makes an incoming row the hub's version of a tracked one. Columns
// that the hub does not send keep what the file has.
func (a *applier) learnRow(tr *track, p *plan, row []change.Value) error {
	if p.same {
		tr.learn(slices.Clone(row))
		return nil
	}
	full := make([]change.Value, len(tr.t.names))
	if tr.local != nil {
		copy(full, tr.local)
	}
	assign(tr.t, full, p.names, row)
	tr.learn(full)
	return nil
}

// write brings one row into the file, in the plan's columns, moving whatever
// stands in its way.
func (a *applier) write(p *plan, row []change.Value, key change.Key, id string) error {
	var err error
	if a.seen != nil && a.empty[strings.ToLower(p.t.schema.Name)] {
		err = exec(p.insert, row)
		if unique(err) { // a later chunk, or the delta, has it again
			err = exec(p.upsert, row)
		}
	} else {
		err = p.bring(a.e.conn, row)
	}
	crowded := unique(err)
	if err != nil && !crowded || err == nil && len(a.held) == 0 {
		return err
	}
	if key == nil {
		full := make([]change.Value, len(p.t.names))
		assign(p.t, full, p.names, row)
		key = p.t.keyOf(full)
		id = key.ID()
	}
	if crowded {
		if err := a.makeRoom(p, row, key, id); err != nil {
			return err
		}
	}
	return a.giveBack(p.t, key, id)
}

// put writes a whole row in table order.
func (a *applier) put(t *table, key change.Key, id string, row []change.Value) error {
	p, err := a.plan(t, t.names)
	if err != nil {
		return err
	}
	a.unremove(rowRef{t.schema.Name, id})
	return a.write(p, row, key, id)
}

// remove takes a row out of the file because the hub's view, with the pending
// work on top, does not have it. Parents of foreign keys wait until the end, when
// their children are known.
func (a *applier) remove(t *table, key change.Key, id string) error {
	refs := a.refs[strings.ToLower(t.file)]
	wait := false
	for _, r := range refs {
		wait = wait || !r.synced || len(a.order) > 0
	}
	if !wait {
		if len(a.displ) > 0 {
			delete(a.displ, rowRef{t.schema.Name, key.ID()})
		}
		return a.erase(t, key)
	}
	if id == "" {
		id = key.ID()
	}
	ref := rowRef{t.schema.Name, id}
	if a.removal[ref] == nil {
		a.removal[ref] = &removal{t: t, key: key}
		a.removed = append(a.removed, ref)
	}
	return nil
}

func (a *applier) unremove(ref rowRef) {
	if len(a.removal) > 0 {
		delete(a.removal, ref)
	}
	if len(a.displ) > 0 {
		delete(a.displ, ref)
	}
}

func (a *applier) erase(t *table, key change.Key) error {
	if err := a.setBy(t, key); err != nil {
		return err
	}
	return sqlite.Exec(a.e.conn, "DELETE FROM "+t.sql()+" WHERE "+t.whereKey(), key...)
}

func readRow(s *sqlite.Stmt, n int) []change.Value {
	row := make([]change.Value, n)
	for i := range row {
		row[i] = sqlite.Column(s, i)
	}
	return row
}

// keyNames are the key's columns as the file calls them.
func (t *table) keyNames() []string {
	out := make([]string, len(t.key))
	for i, k := range t.key {
		out[i] = t.cols[k]
	}
	return out
}

func (t *table) keyOf(row []change.Value) change.Key {
	k := make(change.Key, len(t.key))
	for i, c := range t.key {
		k[i] = row[c]
	}
	return k
}

// keys lists the keys of a table in key order.
func (e *Engine) keys(t *table) (out []change.Key, err error) {
	names := sqlite.QuoteAll("", t.keyNames())
	err = sqlite.Query(e.conn, "SELECT "+names+" FROM "+t.sql()+" ORDER BY "+names, func(s *sqlite.Stmt) error {
		out = append(out, change.Key(readRow(s, len(t.key))))
		return nil
	})
	return out, err
}
