package hub

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Rows that the hub lost, and that a device still held when it read its data anew,
// come back as transactions of their own. Nobody knows any more what became of
// them at the hub after the backup, so none is applied: a person looks at them, and
// retrying one is that person's own write (takeover.go).

// codeSalvage is Parked.Code of such a transaction.
const codeSalvage = "salvage"

// salvage parks the part of t that the hub really lacks.
func (b *batch) salvage(rec *Received, t *change.Transaction) error {
	if p, err := b.present(); err != nil || p.at.IsZero() { // a first life lost nothing
		rec.Status, rec.Reason = Discarded, "nothing was lost: the hub was never put back"
		return err
	}
	rest := *t
	rest.Ops, rest.Unaware = nil, true // rows that one device held, not one piece of work
	var places []uint32
	wants := make([]want, len(t.Ops))
	some := false
	for i := range t.Ops {
		var err error
		if wants[i], err = b.lacks(&t.Ops[i]); err != nil {
			return fmt.Errorf("salvage: %w", err)
		}
		some = some || wants[i] == wanted && b.amount(&t.Ops[i])
	}
	for i := range t.Ops {
		if wants[i] == wanted || wants[i] == had && some && b.amount(&t.Ops[i]) {
			rest.Ops, places = append(rest.Ops, t.Ops[i]), append(places, uint32(i))
		}
	}
	if len(rest.Ops) == 0 {
		rec.Status, rec.Reason = Discarded, "nothing was lost"
		return nil
	}
	gone, other := 0, 0
	for i := range rest.Ops {
		if rest.Ops[i].Kind == change.Insert {
			gone++
		} else {
			other++
		}
	}
	var which []string
	if gone > 0 {
		which = append(which, fmt.Sprintf("%d that the hub no longer has", gone))
	}
	if other > 0 {
		which = append(which, fmt.Sprintf("%d that it has with other values", other))
	}
	v := parkWhole(&rest, &refusal{code: codeSalvage, reason: "the device held these rows when the hub was restored: " + strings.Join(which, ", ") +
		". Retry it to take them over, discard it to let them go"})
	v.park.Places, v.park.Salvage, v.park.Unaware = places, true, true
	rec.Status, rec.Reason = v.status, v.reason
	b.parked++
	if err := b.park(rec, v); err != nil {
		return err
	}
	for i := range rest.Ops {
		b.offers(&rest.Ops[i])
	}
	return nil
}

// A want is what the hub makes of an operation that is offered.
type want uint8

const (
	barred want = iota // the device may not know it, or it was not lost
	had                // the hub has it so, or another salvage offers it
	wanted
)

// lacks tells whether an operation offers something that the hub does not have,
// that the device may know, and that no other salvage offers.
func (b *batch) lacks(op *change.Op) (want, error) {
	tab := b.shape.table(op.Table)
	if tab == nil || len(op.Key) != len(tab.key) {
		return wanted, nil // it may have been lost with its table
	}
	op = tab.present(op)
	row, err := b.tx.Row(tab.schema.Name, op.Key)
	if err != nil {
		return barred, err
	}
	if ok, err := b.mayKnow(tab, op, row); !ok || err != nil {
		return barred, err
	}
	if row != nil && len(differing(tab, op, row)) == 0 {
		return had, nil
	}
	if row == nil {
		// Deleted in the present life: then the restored hub had it, and somebody did
		// not want it any more (I3).
		if since, _, err := b.since(tab, op.Key); err != nil || deleted(since) {
			return barred, err
		}
	}
	if err := b.loadOffers(); err != nil {
		return barred, err
	}
	if b.isOffered(tab, op) {
		return had, nil
	}
	return wanted, nil
}

// amount reports whether an operation sets what adds up. One piece of work often
// moves an amount from row to row: taken over, let go of or held back one without the
// other they would add up to something that never was. So all amounts of one salvage
// stay together.
func (b *batch) amount(op *change.Op) bool {
	tab := b.shape.table(op.Table)
	return tab != nil && slices.ContainsFunc(tab.present(op).Columns, func(name string) bool {
		c := tab.column(name)
		return c >= 0 && tab.cols[c].policy == rule.Counter
	})
}

// differing lists the operation's columns whose values are not the row's.
func differing(tab *table, op *change.Op, row []change.Value) []int {
	var out []int
	for i, name := range op.Columns {
		if c := tab.column(name); i < len(op.New) && (c < 0 || row[c] != op.New[i]) {
			out = append(out, i)
		}
	}
	return out
}

// mayKnow reports whether the device may read the row that it offers. One whose
// parent was lost with it belongs to no scope that is known: a person decides.
func (b *batch) mayKnow(tab *table, op *change.Op, row []change.Value) (bool, error) {
	img := slices.Clone(row)
	if img == nil {
		img = make([]change.Value, len(tab.names))
		for i := range img {
			img[i] = change.Null
		}
	}
	for i, name := range op.Columns {
		if c := tab.column(name); c >= 0 && i < len(op.New) {
			img[c] = op.New[i]
		}
	}
	for i, c := range tab.key {
		img[c] = op.Key[i]
	}
	for _, vals := range [][]change.Value{row, img} {
		if vals == nil {
			continue
		}
		scope, err := b.tx.ScopeOf(tab.schema.Name, vals)
		if err != nil {
			return false, err
		}
		if scope != "" && b.rights[scope]&rule.Read == 0 {
			return false, nil
		}
	}
	return true, nil
}

// since is what was done to a row in the present life; known is false when the log
// does not reach back to its beginning.
func (b *batch) since(tab *table, key change.Key) (list []Touch, known bool, err error) {
	p, err := b.present()
	if err != nil || !p.known {
		return nil, false, err
	}
	list, err = b.tx.Touched(tab.schema.Name, key, p.at, change.Incarnation{})
	return list, true, err
}

func deleted(list []Touch) bool {
	return slices.ContainsFunc(list, func(t Touch) bool { return t.Kind == change.Delete })
}

// loadOffers reads what salvages in quarantine offer, once for each batch.
func (b *batch) loadOffers() error {
	if b.review.offered != nil {
		return nil
	}
	b.review.offered = map[rowID][]*change.Op{}
	list, err := parkedOf(b.tx, change.DeviceID{})
	if err != nil {
		return fmt.Errorf("read quarantine: %w", err)
	}
	for _, p := range list {
		if !p.Salvage {
			continue
		}
		t, err := p.Transaction()
		if err != nil {
			return err
		}
		for i := range t.Ops {
			b.offers(&t.Ops[i])
		}
	}
	return nil
}

func (b *batch) offers(op *change.Op) {
	if tab := b.shape.table(op.Table); tab != nil {
		op = tab.present(op)
		id := rowID{tab, op.Key.ID()}
		b.review.offered[id] = append(b.review.offered[id], op)
	}
}

func (b *batch) isOffered(tab *table, op *change.Op) bool {
	return slices.ContainsFunc(b.review.offered[rowID{tab, op.Key.ID()}], func(o *change.Op) bool {
		return o.Kind == op.Kind && slices.Equal(o.Columns, op.Columns) && slices.Equal(o.New, op.New)
	})
}
