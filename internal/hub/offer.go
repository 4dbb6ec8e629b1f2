package hub

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// Devices that held the same lost rows offer them in transactions that are not the
// same. So that a person sees each row once, there is a record of every operation
// that some salvage in quarantine holds; it is written and removed with that, by
// keepParked and dropParked only. A push then looks up what it offers, however much
// waits.

// kindOffer is the kind of records of operations that salvages hold, by their hash.
const kindOffer = "offer"

// An offering is one operation that salvages in quarantine hold.
type offering struct {
	Table string     `json:"table"` // as they call it
	Key   change.Key `json:"key"`
	By    []string   `json:"by"` // ids of their records
}

func offerID(op *change.Op) string {
	t := change.Transaction{Ops: []change.Op{{Table: op.Table, Kind: op.Kind, Key: op.Key, Columns: op.Columns, New: op.New}}}
	return t.Content().String()
}

// offer notes that p, which held the operations of was, holds those of now. Either
// is a transaction, or nil.
func offer(tx Tx, p *Parked, was, now []byte) error {
	if p.kind != kindSalvage || bytes.Equal(was, now) {
		return nil
	}
	old, err := offersIn(was)
	if err != nil {
		return fmt.Errorf("what transaction %s offered: %w", p.ID, err)
	}
	list, err := offersIn(now)
	if err != nil {
		return fmt.Errorf("what transaction %s offers: %w", p.ID, err)
	}
	for _, o := range old.list {
		if _, ok := list.ops[o]; !ok {
			if err := withdraw(tx, o, p.record); err != nil {
				return err
			}
		}
	}
	for _, o := range list.list {
		if _, ok := old.ops[o]; ok {
			continue
		}
		rec := offering{Table: list.ops[o].Table, Key: list.ops[o].Key}
		if err := readRecord(tx, kindOffer, o, &rec); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		rec.By = append(rec.By, p.record)
		if err := writeRecord(tx, kindOffer, o, &rec); err != nil {
			return err
		}
	}
	return nil
}

func withdraw(tx Tx, id, record string) error {
	var rec offering
	err := readRecord(tx, kindOffer, id, &rec)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	rec.By = slices.DeleteFunc(rec.By, func(r string) bool { return r == record })
	if len(rec.By) == 0 {
		return tx.PutRecord(kindOffer, id, nil)
	}
	return writeRecord(tx, kindOffer, id, &rec)
}

// offers are the operations of a transaction by what they offer.
type offers struct {
	list []string // their ids, each once
	ops  map[string]*change.Op
}

func offersIn(body []byte) (o offers, err error) {
	if body == nil {
		return o, nil
	}
	t, err := change.DecodeTransaction(body)
	if err != nil {
		return o, err
	}
	o.ops = make(map[string]*change.Op, len(t.Ops))
	for i := range t.Ops {
		id := offerID(&t.Ops[i])
		if o.ops[id] == nil {
			o.list = append(o.list, id)
		}
		o.ops[id] = &t.Ops[i]
	}
	return o, nil
}

// isOffered reports whether a salvage in quarantine holds the very operation.
func isOffered(v View, op *change.Op) (bool, error) {
	var rec offering
	err := readRecord(v, kindOffer, offerID(op), &rec)
	if err == nil && len(rec.By) > 0 {
		_, err = v.Record(kindSalvage, rec.By[0])
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && len(rec.By) > 0, err
}
