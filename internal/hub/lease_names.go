package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// A formerSeries is a series and what it may still be kept under.
type formerSeries struct{ name, was string }

// formerSeries lists the other names of series. A name that was given again means
// what it means now.
func (s *shape) formerSeries() (out []formerSeries) {
	for name, of := range s.series {
		t := s.table(of.Table)
		if t == nil {
			continue
		}
		for _, n := range t.formerNames(of.Column) {
			if s.table(n.table) == t && t.column(n.column) == t.column(of.Column) {
				out = append(out, formerSeries{name: name, was: n.table + "." + n.column})
			}
		}
	}
	return out
}

// renameSeries brings series, and what is out of them, under the present names of
// their columns, for the same reasons as renameShares.
func (h *Hub) renameSeries(ctx context.Context, s *shape) error {
	var list []formerSeries
	err := h.store.View(ctx, func(v View) error {
		for _, f := range s.formerSeries() {
			_, err := v.Record(kindSeries, f.was)
			if err == nil {
				list = append(list, f)
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err == nil && len(list) > 0 {
		err = h.store.Update(ctx, func(tx Tx) error {
			for _, f := range list {
				if err := errors.Join(f.rename(tx), f.renameRanges(tx)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("rename series of numbers: %w", err)
	}
	return nil
}

// rename merges the record under a former name into the present one. What cannot be
// read stays unread under the present name: nothing is handed out over it.
func (f formerSeries) rename(tx Tx) error {
	body, err := tx.Record(kindSeries, f.was)
	if err != nil {
		return err
	}
	have, err := tx.Record(kindSeries, f.name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil {
		lives, err := tx.Lineage()
		if err != nil {
			return err
		}
		if body, err = joinSeries(body, have, lives); err != nil {
			return err
		}
	}
	return errors.Join(tx.PutRecord(kindSeries, f.name, body), tx.PutRecord(kindSeries, f.was, nil))
}

// joinSeries is how far a series is handed out that went on under two names: to where
// either is, as of the earlier life.
func joinSeries(a, b []byte, lives []change.Branch) ([]byte, error) {
	var x, y series
	if json.Unmarshal(a, &x) != nil {
		return a, nil //nolint:nilerr // what cannot be read stays, and nothing is handed out over it
	}
	if json.Unmarshal(b, &y) != nil {
		return b, nil //nolint:nilerr // likewise
	}
	life := func(e change.Epoch) int {
		return slices.IndexFunc(lives, func(b change.Branch) bool { return b.Epoch == e })
	}
	if life(y.Epoch) < life(x.Epoch) {
		x.Epoch = y.Epoch
	}
	x.Next = max(x.Next, y.Next)
	return json.Marshal(&x)
}

func (f formerSeries) renameRanges(tx Tx) error {
	type record struct {
		id string
		g  NumberGrant
	}
	var list []record
	err := eachUnder(tx, kindRange, f.was+"/", func(id string, body []byte) error {
		r := record{id: id}
		if err := json.Unmarshal(body, &r.g); err != nil {
			return fmt.Errorf("decode range %s: %w", id, err)
		}
		list = append(list, r)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range list {
		g := &list[i].g
		g.Name = f.name
		if err := errors.Join(writeRecord(tx, kindRange, rangeID(g), g), tx.PutRecord(kindRange, list[i].id, nil)); err != nil {
			return err
		}
	}
	return nil
}

// rangeID sorts the ranges of a series by their first number.
func rangeID(g *NumberGrant) string { return fmt.Sprintf("%s/%020d", g.Name, g.First) }
