package hub

import (
	"errors"

	"github.com/tidemark-sync/tidemark/change"
)

// Of a group that was split, the device must know what waits: the rest is in the
// tables, and a device that kept showing its own version on top would count twice
// what adds up. The places of what waits are kept in a record of their own, beside
// the transaction in quarantine: a pull finds them by journal id, under each id
// that the same work was handed in.

// at finds places in the whole of places in a part of it; nil means all, in order.
func at(part, places []uint32) []uint32 {
	if part == nil {
		return places
	}
	if places == nil {
		return part
	}
	out := make([]uint32, len(places))
	for i, n := range places {
		out[i] = part[n]
	}
	return out
}

// leave notes that a person left operations out, by their places in p.Tx. n is how
// many remain.
func (p *Parked) leave(n int, dropped map[int]bool) {
	p.Dropped += len(dropped)
	if len(dropped) == 0 {
		return
	}
	kept := make([]uint32, 0, n)
	for i := range n + len(dropped) {
		place := at(p.Places, []uint32{uint32(i)})[0]
		if dropped[i] {
			p.Left = append(p.Left, place)
		} else {
			kept = append(kept, place)
		}
	}
	p.Places = kept
}

// tellWaits keeps for the pulls which operations wait, when others do not. What a
// person left out waits with them: its device keeps it until the outcome, and a
// rescue copy of it then.
func tellWaits(tx Tx, p *Parked) error {
	if !p.Split {
		return nil
	}
	all, err := alike(tx, p.ID)
	if err != nil {
		return err
	}
	list := append(append([]uint32{}, p.Places...), p.Left...)
	for _, id := range all {
		if err := writeRecord(tx, kindWaits, id.String(), list); err != nil {
			return err
		}
	}
	return nil
}

// waitsOf tells which operations of a quarantined transaction wait; nil: all.
func waitsOf(v View, id change.TxID) (list []uint32, err error) {
	err = readRecord(v, kindWaits, id.String(), &list)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return list, err
}
