package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// siftGroup is how many salvages are sifted in one Update, so that pushes get
// between: each holds some hundreds of rows.
const siftGroup = 4

// A sifting is how far the hub has sifted.
type sifting struct {
	at    change.Cursor
	setup change.Hash // of the tables then
}

// Sift takes out of what was salvaged what the hub has by now, because whoever wrote
// it handed it in again: nobody needs to look at that. After the first time it looks
// only at rows that were written since the last one. What the device may not read
// stays: its outcome would tell what the hub has.
func (h *Hub) Sift(ctx context.Context) error {
	if h.Behind() != nil {
		return nil
	}
	last := h.past.sifted.Load()
	var now sifting
	var list []*Parked
	err := h.view(ctx, func(v View) (err error) {
		s := h.shape.Load()
		now.setup = s.setup.Hash
		if now.at, err = v.Cursor(); err != nil || last != nil && *last == now {
			return err
		}
		list, err = moved(v, s, last)
		return err
	})
	for group := range slices.Chunk(list, siftGroup) {
		if err == nil {
			err = h.update(ctx, func(tx Tx) error { return h.sift(tx, group) })
		}
	}
	if err != nil {
		return fmt.Errorf("sift what was salvaged: %w", err)
	}
	h.past.sifted.Store(&now)
	return nil
}

// moved lists the salvages, by kind and record, with rows that were written since
// the last sifting; all when nobody can tell.
func moved(v View, s *shape, last *sifting) (out []*Parked, err error) {
	known := last != nil && last.setup == s.setup.Hash
	if known {
		switch err := v.Check(last.at); {
		case errors.Is(err, ErrBelowFloor), errors.Is(err, ErrOtherHistory):
			known = false
		case err != nil:
			return nil, err
		}
	}
	if !known {
		list, err := parkedOf(v, change.DeviceID{})
		return slices.DeleteFunc(list, func(p *Parked) bool { return !p.Salvage }), err
	}
	seen := map[string]bool{}
	err = eachRecord(v, kindOffer, "", func(id string, body []byte) error {
		var o offering
		if err := json.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("decode offer %s: %w", id, err)
		}
		tab := s.table(o.Table)
		if tab == nil || len(o.Key) != len(tab.key) {
			return nil
		}
		op := tab.present(&change.Op{Table: o.Table, Key: o.Key})
		list, err := v.Touched(tab.schema.Name, op.Key, last.at, change.Incarnation{})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, r := range o.By {
			if !seen[r] {
				seen[r] = true
				out = append(out, &Parked{kind: kindSalvage, record: r})
			}
		}
		return nil
	})
	return out, err
}

func (h *Hub) sift(tx Tx, list []*Parked) error {
	for _, p := range list {
		body, err := tx.Record(p.kind, p.record)
		if errors.Is(err, ErrNotFound) { // somebody settled it
			continue
		}
		if err != nil {
			return err
		}
		p, err := decodeParked(p.kind, p.record, body)
		if err != nil {
			return err
		}
		b, err := h.batchOf(tx, p)
		if err != nil {
			return err
		}
		if err := b.siftOne(p); err != nil {
			return fmt.Errorf("transaction %s: %w", p.ID, err)
		}
	}
	return nil
}

func (b *batch) siftOne(p *Parked) error {
	t, err := p.Transaction()
	if err != nil {
		return err
	}
	var kept []change.Op
	var places []uint32
	wait := make([]bool, len(t.Ops))
	some := false
	for i := range t.Ops {
		if wait[i], err = b.waits(&t.Ops[i]); err != nil {
			return err
		}
		some = some || wait[i] && b.amount(&t.Ops[i])
	}
	for i := range t.Ops {
		if wait[i] || some && b.amount(&t.Ops[i]) {
			kept, places = append(kept, t.Ops[i]), append(places, uint32(i))
		}
	}
	switch len(kept) {
	case len(t.Ops):
		return nil
	case 0:
		if err := tell(b.tx, p.ID, Discarded, "nothing was lost: the hub has it all by now"); err != nil {
			return err
		}
		return dropParked(b.tx, p)
	}
	t.Ops = kept
	p.Tx, p.Places = change.AppendTransaction(nil, t), at(p.Places, places)
	return keepParked(b.tx, p)
}

// waits reports whether an operation of a salvage still waits for a person.
func (b *batch) waits(raw *change.Op) (bool, error) {
	op, _, err := b.takeOne(raw)
	if err != nil || op != nil {
		return true, err
	}
	if idle(raw) {
		return false, nil
	}
	tab := b.shape.table(raw.Table) // takeOne found it
	_, ok, err := b.sees(tab, tab.present(raw))
	return !ok, err
}
