package hub

import (
	"errors"
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
		some = some || wants[i] >= wanted && b.amount(&t.Ops[i])
	}
	gone, other, hidden := 0, 0, 0
	for i := range t.Ops {
		op := &t.Ops[i]
		if wants[i] < wanted && (wants[i] != had || !some || !b.amount(op)) {
			continue
		}
		rest.Ops, places = append(rest.Ops, *op), append(places, uint32(i))
		switch {
		case wants[i] == outside:
			hidden++
		case op.Kind == change.Insert:
			gone++
		default:
			other++
		}
	}
	if len(rest.Ops) == 0 {
		rec.Status, rec.Reason = Discarded, "nothing was lost"
		return nil
	}
	var which []string
	for _, c := range []struct {
		n    int
		what string
	}{{gone, "that the hub no longer has"}, {other, "that it has with other values"}, {hidden, "outside what the device may read now"}} {
		if c.n > 0 {
			which = append(which, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	v := parkWhole(&rest, &refusal{code: codeSalvage, reason: "the device held these rows when the hub was restored: " + strings.Join(which, ", ") +
		". Retry it to take them over, discard it to let them go"})
	v.park.Places, v.park.Salvage, v.park.Unaware = places, true, true
	rec.Status, rec.Reason = v.status, v.reason
	b.parked++
	return b.park(rec, v)
}

// A want is what the hub makes of an operation that is offered.
type want uint8

const (
	unlost  want = iota // somebody deleted it since
	had                 // the hub has it so, or another salvage offers it
	wanted              // from here on a person decides
	outside             // the device may not read it now
)

// lacks tells whether an operation offers something that the hub does not have, and
// that no other salvage offers. A restore puts grants back, too: what the device may
// not read now it may have been given since the backup, and hold as the only one. So
// that is always wanted, whatever stands at the hub: the answer must not tell.
func (b *batch) lacks(raw *change.Op) (want, error) {
	tab := b.shape.table(raw.Table)
	if tab == nil || len(raw.Key) != len(tab.key) {
		return wanted, nil // it may have been lost with its table
	}
	op := tab.present(raw)
	row, ok, err := b.sees(tab, op)
	if err != nil {
		return 0, err
	}
	if !ok {
		return outside, nil
	}
	if row != nil && len(differing(tab, op, row)) == 0 {
		return had, nil
	}
	if row == nil {
		// Deleted in the present life: then the restored hub had it, and somebody did
		// not want it any more (I3).
		if since, _, err := b.since(tab, op.Key); err != nil || deleted(since) {
			if err != nil {
				return 0, err
			}
			return b.sawGo(tab, op.Key)
		}
	}
	if ok, err := isOffered(b.tx, raw); ok || err != nil {
		return had, err
	}
	return wanted, nil
}

// sees reads the hub's row that an operation is about. ok is false when the device
// may not read that row, or what the operation would make of it.
func (b *batch) sees(tab *table, op *change.Op) (row []change.Value, ok bool, err error) {
	if ok, err = b.mayKnow(tab, op, nil); !ok || err != nil {
		return nil, false, err
	}
	if row, err = b.tx.Row(tab.schema.Name, op.Key); row == nil || err != nil {
		return nil, err == nil, err
	}
	ok, err = b.mayKnow(tab, op, row)
	return row, ok, err
}

// sawGo is lacks of a row that was deleted since.
func (b *batch) sawGo(tab *table, key change.Key) (want, error) {
	t, err := b.tx.Tombstone(tab.schema.Name, key)
	if errors.Is(err, ErrNotFound) {
		return unlost, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read deleted row of %s: %w", tab.schema.Name, err)
	}
	if ok, err := b.mayRead(tab, t.Row); !ok || err != nil {
		return outside, err
	}
	return unlost, nil
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

// mayKnow reports whether the device may read the row that it offers, on top of the
// hub's (nil: of none). One whose parent was lost with it belongs to no scope that is
// known: a person decides.
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
	if ok, err := b.mayRead(tab, img); !ok || err != nil || row == nil {
		return ok, err
	}
	return b.mayRead(tab, row)
}

// mayRead reports whether the device may read a row.
func (b *batch) mayRead(tab *table, row []change.Value) (bool, error) {
	scope, err := b.tx.ScopeOf(tab.schema.Name, row)
	return scope == "" || b.rights[scope]&rule.Read != 0, err
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
