package hub

import (
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// A taking is what retrying a salvage does. Who held a lost row offered it, perhaps,
// before whoever wrote it came by and handed it in again: what was written since is
// worth more than what was held, and is only written over when a person says so
// twice. Amounts are taken all at once or not at all.
type taking struct {
	ops        []change.Op // as they have to be on top of what stands now
	places     []uint32    // theirs in what waits
	rest       []change.Op // of rows that were written since they were offered
	restPlaces []uint32
	with       int // of rest: amounts that only belong to those
}

// takeOver sorts the operations of a salvage by what the hub's rows are now. force
// writes over what was written since.
func (b *batch) takeOver(t *change.Transaction, force bool) (taking, error) {
	var k taking
	now := make([]*change.Op, len(t.Ops))
	contested := make([]bool, len(t.Ops))
	torn, open := false, false // amounts written since, and not as they were offered
	for i := range t.Ops {
		var err error
		if now[i], contested[i], err = b.takeOne(&t.Ops[i]); err != nil {
			return k, err
		}
		if b.amount(&t.Ops[i]) {
			// One that is as it was offered makes the others complete, whoever wrote it.
			torn, open = torn || contested[i] && now[i] != nil, open || now[i] != nil
		}
	}
	for i, op := range now {
		together := torn && open && b.amount(&t.Ops[i])
		switch {
		case !force && (together || contested[i] && op != nil):
			k.rest, k.restPlaces = append(k.rest, t.Ops[i]), append(k.restPlaces, uint32(i))
			if !contested[i] || op == nil {
				k.with++
			}
		case op != nil:
			op.BaseAt = 0
			k.ops, k.places = append(k.ops, *op), append(k.places, uint32(i))
		}
	}
	return k, nil
}

// takeOne is an operation on top of the hub's row as it is; nil when the row is so
// already. contested says that it was written since it was offered.
func (b *batch) takeOne(raw *change.Op) (op *change.Op, contested bool, err error) {
	if idle(raw) {
		return nil, false, nil
	}
	tab := b.shape.table(raw.Table)
	if tab == nil || len(raw.Key) != len(tab.key) {
		op := *raw
		return &op, false, nil // settling it says what is wrong
	}
	now := *tab.present(raw)
	row, err := b.tx.Row(tab.schema.Name, now.Key)
	if err != nil {
		return nil, false, err
	}
	since, known, err := b.since(tab, now.Key)
	if err != nil {
		return nil, false, err
	}
	if row == nil {
		return &now, now.Kind == change.Update || deleted(since), nil
	}
	diff := differing(tab, &now, row)
	if len(diff) == 0 {
		return nil, len(since) > 0, nil
	}
	out := change.Op{Table: now.Table, Kind: change.Update, Key: now.Key, Rows: now.Rows}
	for _, i := range diff {
		c := tab.column(now.Columns[i])
		if c < 0 {
			return &now, false, nil // likewise
		}
		contested = contested || !known || i >= len(now.Base) || now.Base[i] != row[c] || wrote(since, tab.names[c])
		out.Columns, out.New, out.Base = append(out.Columns, now.Columns[i]), append(out.New, now.New[i]), append(out.Base, row[c])
	}
	return &out, contested, nil
}

// wrote reports whether one of the changes was to a column.
func wrote(list []Touch, column string) bool {
	return slices.ContainsFunc(list, func(t Touch) bool {
		return t.Kind != change.Update || t.Columns == nil || slices.Contains(t.Columns, column)
	})
}

// resettle decides again on what waits.
func (b *batch) resettle(p *Parked, t *change.Transaction) (verdict, error) {
	if b.review.choices = p.Chosen; !p.Salvage {
		return b.settle(p.ID, t, p.Edited || p.Split)
	}
	// A person's own write, which no right of the device's bounds.
	b.rights, b.holds = operatorRights(), &holds{}
	b.book().operator = true
	offered := *t
	t.Bases = []change.Cursor{b.start}
	k, err := b.takeOver(t, p.Contested)
	if err != nil {
		return verdict{}, err
	}
	v := verdict{status: Applied} // the hub has it all by now
	if t.Ops = k.ops; len(t.Ops) > 0 {
		if v, err = b.settle(p.ID, t, true); err != nil {
			return v, err
		}
	}
	switch {
	case v.park != nil && !v.park.Split: // as it was offered: next time the hub's rows may be others
		v.park.Code, v.park.Tx, v.park.Places = codeSalvage, p.Tx, nil
		return v, nil
	case v.park == nil && len(k.rest) == 0:
		return v, nil
	}
	return k.leftOver(p, &offered, v), nil
}

// leftOver parks what was not taken over of what was offered, as that was: next time
// the hub's rows may be others.
func (k *taking) leftOver(p *Parked, t *change.Transaction, v verdict) verdict {
	rest := *t
	rest.Ops, rest.Unaware = nil, true
	var places []uint32
	reason := ""
	if v.park != nil {
		reason = v.reason
		for _, place := range at(k.places, v.park.Places) {
			rest.Ops, places = append(rest.Ops, t.Ops[place]), append(places, place)
		}
	}
	if len(k.rest) > 0 {
		if reason != "" {
			reason += "; "
		}
		reason += fmt.Sprintf("rows that were written at the hub since they were offered: %d", len(k.rest)-k.with)
		if k.with > 0 {
			reason += fmt.Sprintf(", amounts that may belong to them: %d", k.with)
		}
		reason += ". Compare them; retry again to write over them, discard to keep the hub's"
	}
	p.Contested = len(k.rest) > 0
	rest.Ops, places = append(rest.Ops, k.rest...), append(places, k.restPlaces...)
	return verdict{status: Quarantined, reason: reason, receipts: v.receipts,
		park: &Parked{Code: codeSalvage, Reason: reason, Unaware: true, Split: true, Places: places, Tx: change.AppendTransaction(nil, &rest)}}
}
