package edge

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The kinds of events about capture.
const (
	EventLost  = "capture-lost" // a table's triggers were missing, and are made anew
	EventFound = "found"        // work that nobody captured was found by comparison and is handed in
	EventKept  = "kept"         // what may be such work gave way to the hub's rows: there are rescue copies
)

// errMoved tells that a comparison is out of date.
var errMoved = errors.New("the file moved on while its rows were compared; verify again")

// resolve does what a comparison at a cursor decided: what the application wrote
// without capture goes into the outbox first, then rows become the hub's.
func (e *Engine) resolve(list []*finding, r *VerifyReport) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cursor, err := e.meta(metaCursor)
	if err != nil {
		return err
	}
	if cursor.Str() != r.At.String() {
		return errMoved
	}
	counts := map[string]int{}
	lost, late := e.wentWithout(r)
	if len(lost)+len(late) > 0 || slices.ContainsFunc(list, func(f *finding) bool { return len(f.found) > 0 }) {
		err := sqlite.Immediate(e.conn, func() error {
			if _, err := e.export(e.cfg.Clock.Now()); err != nil {
				return err
			}
			return e.handIn(list, lost, late, counts)
		})
		if err != nil {
			return fmt.Errorf("hand in what was not captured: %w", err)
		}
		e.synced = true
	}
	for i := range r.Tables {
		rep := &r.Tables[i]
		rep.Captured = counts[rep.Table]
		j := slices.IndexFunc(list, func(f *finding) bool { return sameName(f.table, rep.Table) })
		if j < 0 || list[j].fix.Len()+list[j].fix.GoneLen() == 0 {
			continue
		}
		if err := e.mend(list[j], r.At); err != nil {
			return err
		}
		rep.Repaired = true
		e.cfg.Logger.Warn("rows repaired", "table", rep.Table, "differing", len(rep.Differ), "missing", len(rep.Missing), "extra", len(rep.Extra))
	}
	return nil
}

// mend makes rows what the hub has.
func (e *Engine) mend(f *finding, at change.Cursor) error {
	mark, err := e.metaInt(metaMark)
	if err != nil {
		return err
	}
	_, err = e.apply(&incoming{
		each: func(fn func(*change.Rows) error) error { return fn(f.fix) },
		keep: f.keep, resolve: true, echo: true, next: at, mark: uint64(mark),
	})
	return err
}

// A handing writes found changes as operations, in two piles: parents come before
// children, and go after them.
type handing struct {
	e          *Engine
	x          *exporter
	bring, rid []foundOp
}

// A foundOp is an operation with the state of the hub that its author knew.
type foundOp struct {
	change.Op
	seen change.Cursor
}

// handIn writes what was found into the outbox. A row that has changed since the
// comparison is left out: that change was captured, or came from the hub.
func (e *Engine) handIn(list []*finding, lost, late []*table, counts map[string]int) error {
	x, err := e.newExporter(e.cfg.Clock.Now())
	if err != nil {
		return err
	}
	h := &handing{e: e, x: x}
	for _, t := range e.parentsFirst() {
		for _, f := range list {
			if e.tableNamed(f.table) != t {
				continue
			}
			start, err := e.startValues(t)
			if err != nil {
				return err
			}
			for i := range f.found {
				n := len(h.bring) + len(h.rid)
				if err := h.row(t, f, &f.found[i], start); err != nil {
					return fmt.Errorf("table %s row %s: %w", t.schema.Name, f.found[i].key, err)
				}
				if len(h.bring)+len(h.rid) > n {
					counts[f.table]++
				}
			}
		}
	}
	if err := h.flush(); err != nil {
		return err
	}
	for _, t := range lost {
		if err := h.beneath(t, counts); err != nil {
			return fmt.Errorf("table %s: %w", t.schema.Name, err)
		}
	}
	for _, t := range late {
		if err := h.parked(t, counts); err != nil {
			return fmt.Errorf("table %s: %w", t.schema.Name, err)
		}
	}
	if err := h.flush(); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(counts)) {
		if err := e.addEvent(EventFound, fmt.Sprintf("%s of %s held work that nobody captured; it is handed in", rowCount(counts[n]), n)); err != nil {
			return err
		}
	}
	return x.finish()
}

// flush writes what was found so far.
func (h *handing) flush() error {
	slices.Reverse(h.rid)
	ops := slices.Concat(h.bring, h.rid)
	h.bring, h.rid = nil, nil
	for len(ops) > 0 {
		n := min(adoptOps, len(ops))
		if err := h.write(ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

// wentWithout lists the tables of a comparison that were without capture, and those
// with columns that are shared only now.
func (e *Engine) wentWithout(r *VerifyReport) (lost, late []*table) {
	for i := range r.Tables {
		t := e.tableNamed(r.Tables[i].Table)
		if t == nil || t.missing {
			continue
		}
		if t.gap.Lost && !t.gap.Behind {
			lost = append(lost, t)
		}
		if len(t.gap.Columns) > 0 {
			late = append(late, t)
		}
	}
	return lost, late
}

// beneath finds what was written without capture to rows that have pending work: they
// stand otherwise than the hub's version with that work on top.
func (h *handing) beneath(t *table, counts map[string]int) error {
	return h.pendingRows(t, func(tr *track, want []change.Value) error {
		ops, err := h.uncaptured(tr, want)
		for _, op := range ops {
			f := foundOp{op, h.x.bases[op.BaseAt]}
			if op.Kind == change.Delete {
				h.rid = append(h.rid, f)
			} else {
				h.bring = append(h.bring, f)
			}
		}
		if len(ops) > 0 {
			counts[t.schema.Name]++
		}
		return err
	})
}

// parked hands in what rows that wait at the hub have in columns which it has only now:
// it knows no such row yet, so no comparison finds it.
func (h *handing) parked(t *table, counts map[string]int) error {
	start, err := h.e.startValues(t)
	if err != nil {
		return err
	}
	return h.pendingRows(t, func(tr *track, want []change.Value) error {
		if tr.shadow != nil || want == nil || tr.local == nil {
			return nil
		}
		op := change.Op{Table: t.schema.Name, Key: tr.key, Kind: change.Update}
		for i, n := range t.names {
			if t.gap.holds(n) && tr.local[i] != start[i] && !t.sameValue(i, want[i], tr.local[i]) {
				op.Columns, op.New, op.Base = append(op.Columns, n), append(op.New, tr.local[i]), append(op.Base, start[i])
			}
		}
		if len(op.Columns) > 0 {
			h.bring = append(h.bring, foundOp{op, h.x.cursor})
			counts[t.schema.Name]++
		}
		return nil
	})
}

// pendingRows visits the rows of a table that have pending work, with what they should
// be: the hub's version with that work on top.
func (h *handing) pendingRows(t *table, fn func(tr *track, want []change.Value) error) error {
	a := &applier{e: h.e, in: &incoming{}, now: h.e.cfg.Clock.Now(), fresh: map[uint64]bool{}, txs: map[uint64]*outgoing{}}
	if err := a.loadTracks(); err != nil {
		return err
	}
	empty, err := h.e.emptyTable(t)
	if err != nil {
		return err
	}
	for _, tr := range a.order {
		if tr.t != t || len(tr.seqs) == 0 {
			continue
		}
		if err := a.touch(tr); err != nil {
			return err
		}
		if tr.local == nil && empty {
			continue // a table without a row was made anew, not emptied
		}
		want, err := a.target(tr)
		if err != nil {
			return err
		}
		if err := fn(tr, want); err != nil {
			return err
		}
	}
	return nil
}

// uncaptured are the operations that lead from a row as it should stand to how it does.
// Their author saw no more of the hub's row than that of the work beneath.
func (h *handing) uncaptured(tr *track, want []change.Value) ([]change.Op, error) {
	t, after := tr.t, tr.local
	if want != nil && after != nil {
		after = slices.Clone(after)
		for i, n := range t.names {
			if t.gap.holds(n) || t.sameValue(i, want[i], after[i]) || t.retyped(i, want[i], after[i]) {
				after[i] = want[i]
			}
		}
	}
	if sameImage(want, after) {
		return nil, nil
	}
	c := &touch{id: rowID{int(t.id) - 1, tr.id}, key: tr.key, before: want, after: after}
	return h.x.rowOps(nil, t, c, change.Op{Table: t.schema.Name, Key: tr.key})
}

func (h *handing) row(t *table, f *finding, d *foundRow, start []change.Value) error {
	id := d.key.ID()
	now, pending, err := h.e.shadow(t, id)
	if err == nil && !pending {
		now, err = h.e.readRow(t, d.key)
	}
	if err != nil || !slices.Equal(now, d.own) || (now == nil) != (d.own == nil) {
		return err
	}
	op := change.Op{Table: t.schema.Name, Key: d.key}
	switch {
	case d.hub == nil:
		op.Kind, op.Columns, op.New = change.Insert, t.names, d.own
		h.bring = append(h.bring, foundOp{op, h.x.cursor})
	case d.own == nil:
		room, err := h.e.hasRoom(t, d.hub)
		if err != nil {
			return err
		}
		if !room { // it never stood here: another row has its unique value
			f.fix.Values = append(f.fix.Values, d.hub...)
			return nil
		}
		op.Kind, op.Columns, op.Base = change.Delete, t.names, d.hub
		h.rid = append(h.rid, foundOp{op, h.x.cursor})
	default:
		if err := h.update(t, d, op, start, pending); err != nil {
			return err
		}
	}
	return h.e.setShadow(t, id, d.hub)
}

// update hands in columns. One that pending work writes is left to it. What both
// sides have set by themselves counts as written over the column's start, without
// having seen the hub's.
func (h *handing) update(t *table, d *foundRow, op change.Op, start []change.Value, pending bool) error {
	var work edits
	if pending {
		var err error
		if work, err = h.x.pending(t, d.key.ID()); err != nil {
			return err
		}
	}
	op.Kind = change.Update
	known, late := foundOp{op, h.x.cursor}, foundOp{Op: op}
	for i, n := range t.names {
		busy := slices.ContainsFunc(work, func(x edit) bool { return t.opColumn(x.op, i) >= 0 })
		if !d.send[i] || busy {
			continue
		}
		to, base := &known, d.hub[i]
		if d.late[i] {
			to, base = &late, start[i]
		}
		to.Columns, to.New, to.Base = append(to.Columns, n), append(to.New, d.own[i]), append(to.Base, base)
	}
	for _, o := range []foundOp{known, late} {
		if len(o.Columns) > 0 {
			h.bring = append(h.bring, o)
		}
	}
	return nil
}

func (h *handing) write(found []foundOp) error {
	ops := make([]change.Op, len(found))
	h.x.takeBases() // those of other batches are in found
	for i := range found {
		ops[i] = found[i].Op
		ops[i].BaseAt = h.x.baseAt(found[i].seen)
	}
	id, err := change.NewTxID(h.e.cfg.Rand)
	if err != nil {
		return err
	}
	_, err = h.x.write(&change.Transaction{ID: id, Unaware: true, Bases: h.x.takeBases(), Ops: ops}, h.x.now, h.x.now)
	return err
}

// hasRoom reports whether a row could stand in the file beside the others.
func (e *Engine) hasRoom(t *table, row []change.Value) (bool, error) {
	if err := sqlite.Exec(e.conn, "SAVEPOINT tidemark_fits"); err != nil {
		return false, err
	}
	err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_applying VALUES (1)")
	if err == nil {
		err = sqlite.Exec(e.conn, "INSERT INTO "+t.sql()+" ("+sqlite.QuoteAll("", t.cols)+") VALUES (?"+strings.Repeat(",?", len(row)-1)+")", row...)
	}
	room := !unique(err)
	if !room {
		err = nil
	}
	for _, sql := range []string{"ROLLBACK TO tidemark_fits", "RELEASE tidemark_fits"} {
		if e2 := sqlite.Exec(e.conn, sql); err == nil {
			err = e2
		}
	}
	return room, err
}
