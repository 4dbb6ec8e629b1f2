package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A keySet remembers which rows a full fetch brought, as 128-bit hashes: a
// million rows take some 40 MB, and that two of them meet is as likely as a
// wrong page from disk.
type keySet struct{ m map[xxh3.Uint128]struct{} }

func newKeySet() *keySet { return &keySet{m: map[xxh3.Uint128]struct{}{}} }

func (k *keySet) hash(t *table, id string) xxh3.Uint128 {
	return xxh3.HashString128Seed(id, uint64(t.id))
}
func (k *keySet) add(t *table, id string)      { k.m[k.hash(t, id)] = struct{}{} }
func (k *keySet) drop(t *table, id string)     { delete(k.m, k.hash(t, id)) }
func (k *keySet) has(t *table, id string) bool { _, ok := k.m[k.hash(t, id)]; return ok }

// emptyTables tells which synced tables have no row.
func (e *Engine) emptyTables() (map[string]bool, error) {
	out := map[string]bool{}
	for i := range e.tables {
		t := &e.tables[i]
		if t.missing {
			continue
		}
		empty, err := e.emptyTable(t)
		if err != nil {
			return nil, err
		}
		out[strings.ToLower(t.schema.Name)] = empty
	}
	return out, nil
}

func (e *Engine) emptyTable(t *table) (bool, error) {
	_, some, err := sqlite.One(e.conn, "SELECT 1 FROM "+t.sql()+" LIMIT 1")
	return !some, err
}

// look notes which tables a full fetch fills from nothing. It comes after the
// lift, which brings rows back that only a pending delete took away.
func (a *applier) look() (err error) {
	if a.in.full {
		a.empty, err = a.e.emptyTables()
	}
	return err
}

// sweep ends a full fetch: what is in the file and was not fetched is gone at
// the hub (trap D7: absence is a delete). At the first bootstrap nothing was
// there to be deleted, so it is the application's own data that the hub has never
// seen, and becomes pending inserts.
func (a *applier) sweep() error {
	if !a.in.full {
		return nil
	}
	var own []change.Op
	for _, t := range a.e.parentsFirst() {
		if t.missing || a.empty[strings.ToLower(t.schema.Name)] {
			continue
		}
		keys, err := a.e.keys(t)
		if err != nil {
			return err
		}
		for _, key := range keys {
			id := key.ID()
			if a.seen.has(t, id) {
				continue
			}
			if a.first {
				op, err := a.existing(t, key, id)
				if err != nil {
					return err
				}
				own = append(own, op)
				continue
			}
			a.out.Gone++
			if t.gap.unsure() && a.track(t, id) == nil { // it may never have been at the hub
				if err := a.keepLocal(&plan{t: t}, key, nil); err != nil {
					return err
				}
			}
			if err := a.noteMissing(t, key, id); err != nil {
				return err
			}
			if err := a.remove(t, key, id); err != nil {
				return err
			}
		}
	}
	if err := a.sweepDisplaced(); err != nil {
		return err
	}
	if len(own) == 0 {
		return nil
	}
	a.out.Existing = len(own)
	return a.adopt(own)
}

// existing is the insert that hands in a row that was here before Tidemark.
func (a *applier) existing(t *table, key change.Key, id string) (change.Op, error) {
	row, err := a.e.readRow(t, key)
	if err != nil {
		return change.Op{}, err
	}
	if tr := a.track(t, id); tr != nil { // edited while the bootstrap ran
		tr.learn(nil)
	}
	return change.Op{Table: t.schema.Name, Kind: change.Insert, Key: key, Columns: t.names, New: row}, nil
}

// adoptOps is how many rows one transaction of adopted rows holds at most.
const adoptOps = 2000

// adopt writes the application's existing rows into the outbox, ahead of what it
// did to them while the bootstrap ran. Nothing was handed in yet, so the chain
// may be laid anew.
func (a *applier) adopt(own []change.Op) error {
	before, err := a.e.unsettled()
	if err != nil {
		return err
	}
	var order []uint64
	for len(own) > 0 {
		n := min(adoptOps, len(own))
		seq, err := a.e.exportOps(own[:n], true, a.now)
		if err != nil {
			return fmt.Errorf("hand in existing rows: %w", err)
		}
		order = append(order, seq)
		own = own[n:]
	}
	if len(before) > 0 {
		if err := a.e.rechain(append(order, before...)); err != nil {
			return err
		}
	}
	return a.reload()
}

// reload reads the pending work again after the chain was laid anew, keeping what
// this apply learnt so far.
func (a *applier) reload() error {
	old := a.tracks
	a.txs = map[uint64]*outgoing{}
	if err := a.loadTracks(); err != nil {
		return err
	}
	for _, tr := range a.order {
		tr.dirty, tr.read = true, true
		if was := old[strings.ToLower(tr.t.schema.Name)][tr.id]; was != nil {
			seqs := tr.seqs
			*tr = *was
			tr.seqs = seqs
			continue
		}
		// An adopted row: it stands in the file already, and the hub has none.
		tr.learn(nil)
		row, err := a.e.readRow(tr.t, tr.key)
		if err != nil {
			return err
		}
		tr.local, tr.stands = row, true
	}
	return nil
}

// keepLocal keeps a rescue copy of a row that differs from the hub's and was not
// captured: at the first bootstrap, when it was here before Tidemark, and when a
// comparison is repaired. row is nil when the hub has none.
func (a *applier) keepLocal(p *plan, key change.Key, row []change.Value) error {
	if !a.first && a.in.keep == "" && !p.t.gap.unsure() || a.empty[strings.ToLower(p.t.schema.Name)] {
		return nil
	}
	local, err := a.e.readRow(p.t, key)
	if err != nil || local == nil {
		return err
	}
	if row != nil {
		hub := slices.Clone(local)
		assign(p.t, hub, p.names, row)
		if slices.Equal(hub, local) {
			return nil
		}
	}
	reason := a.in.keep
	if reason == "" {
		reason = unsureReason
	}
	if a.first {
		reason = "differed from the hub's row at the first sync"
	} else if p.t.gap.unsure() {
		a.kept[p.t.schema.Name]++
	}
	return a.rescueRow(p.t, key, local, reason)
}

// parentsFirst orders the synced tables so that a foreign key's parent comes
// before its children, as far as there are no cycles.
func (e *Engine) parentsFirst() []*table {
	var out []*table
	placed := map[string]int{} // 1: on the way, 2: placed
	var place func(t *table)
	place = func(t *table) {
		name := strings.ToLower(t.schema.Name)
		if placed[name] != 0 {
			return
		}
		placed[name] = 1
		for _, fk := range t.schema.ForeignKeys {
			if p := e.tableNamed(fk.Parent); p != nil {
				place(p)
			}
		}
		placed[name] = 2
		out = append(out, t)
	}
	for i := range e.tables {
		place(&e.tables[i])
	}
	return out
}
