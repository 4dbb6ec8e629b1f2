package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A formerCounter is a bounded counter and what its shares may still be kept under.
type formerCounter struct {
	t     *table
	c     int
	group string // of the IDs
}

// formerCounters lists the other names of bounded counters. A name that was given
// again means what it means now.
func (s *shape) formerCounters() (out []formerCounter) {
	for _, t := range s.tables {
		for _, c := range t.bounded {
			for _, n := range t.formerNames(t.names[c]) {
				if s.table(n.table) == t && t.column(n.column) == c {
					out = append(out, formerCounter{t, c, shareGroup(n.table, n.column)})
				}
			}
		}
	}
	return out
}

// renameShares brings shares under the present names of their counters, before
// anything is decided by these names: what a device holds of a counter does not end
// when the counter is called something else. All of them move at once, for the
// former name may be given to another counter next.
func (h *Hub) renameShares(ctx context.Context, s *shape) error {
	list, some := s.formerCounters(), false
	err := h.store.View(ctx, func(v View) error {
		for i := range list {
			err := eachUnder(v, kindShare, list[i].group, func(string, []byte) error {
				some = true
				return errStop
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && some {
		err = h.store.Update(ctx, func(tx Tx) error {
			for i := range list {
				if err := h.renameSharesOf(tx, &list[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("rename shares: %w", err)
	}
	return nil
}

func (h *Hub) renameSharesOf(tx Tx, f *formerCounter) error {
	type record struct {
		id string
		s  share
	}
	var list []record
	err := eachUnder(tx, kindShare, f.group, func(id string, body []byte) error {
		r := record{id: id}
		if err := json.Unmarshal(body, &r.s); err != nil { // the hub serves everything else
			h.log.Error("a device's share is not readable", "share", id, "error", err)
			return nil
		}
		list = append(list, r)
		return nil
	})
	if err != nil {
		return err
	}
	k := newBook(tx)
	for i := range list {
		old := &list[i].s
		s, err := k.read(f.t, f.c, old.Key)
		if err != nil {
			return err
		}
		for device, x := range old.Held {
			if _, ok := s.Held[device]; !ok { // what it got since counts
				s.Held[device] = x
			}
		}
		if err := errors.Join(k.write(f.t, f.c, old.Key, s), tx.PutRecord(kindShare, list[i].id, nil)); err != nil {
			return err
		}
	}
	return nil
}
