package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// A Parked is a transaction in quarantine: it was received and is safe, but its
// effects are not in the tables.
type Parked struct {
	ID        change.TxID        `json:"id"`
	Device    change.DeviceID    `json:"device"`
	Inc       change.Incarnation `json:"incarnation"`
	Seq       uint64             `json:"seq"`
	At        time.Time          `json:"at"`
	Code      string             `json:"code"` // stable: unique, missing-parent, rights, rule, depends, …
	Reason    string             `json:"reason"`
	DependsOn []change.TxID      `json:"depends_on,omitempty"`
	Unaware   bool               `json:"unaware,omitempty"`   // grouped by snapshot, not by the application
	Split     bool               `json:"split,omitempty"`     // only these rows of the group wait; the others were applied
	Edited    bool               `json:"edited,omitempty"`    // a person changed its values
	Chosen    []choice           `json:"chosen,omitempty"`    // by that person
	Dropped   int                `json:"dropped,omitempty"`   // operations that a person left out
	Salvage   bool               `json:"salvage,omitempty"`   // rows that the hub lost and the device still had
	Contested bool               `json:"contested,omitempty"` // of a salvage: rows that were written since
	Reoffered bool               `json:"reoffered,omitempty"` // a hub had confirmed it before it was put back
	Tries     int                `json:"tries"`               // retries so far
	Tx        []byte             `json:"tx"`                  // change.AppendTransaction of what waits
	Absent    bool               `json:"absent,omitempty"`    // Tx lacks the values: they are at the device
	// Places tells where the operations of Tx are in the transaction as it was handed
	// in; nil: they are the first ones, in order. Left are those that a person left out.
	Places []uint32 `json:"places,omitempty"`
	Left   []uint32 `json:"left,omitempty"`

	kind, record string // the record's
	was          []byte // Tx as the record has it; nil: there is none yet
}

// Transaction decodes what waits.
func (p *Parked) Transaction() (*change.Transaction, error) {
	t, err := change.DecodeTransaction(p.Tx)
	if err != nil {
		return nil, fmt.Errorf("decode parked transaction %s: %w", p.ID, err)
	}
	return t, nil
}

// park keeps a verdict's transaction.
func (b *batch) park(rec *Received, v verdict) error {
	p := v.park
	p.ID, p.Device, p.Inc, p.Seq, p.At = rec.ID, rec.Device, rec.Inc, rec.Seq, b.now
	p.Reoffered = b.review.reoffered
	p.kind, p.record = kindParked, parkedID(rec)
	if p.Salvage {
		p.kind = kindSalvage
	}
	if err := keepParked(b.tx, p); err != nil {
		return err
	}
	if err := tellWaits(b.tx, p); err != nil {
		return err
	}
	return b.holds.add(b.shape, p)
}

// parkedID is the id of the record of what is parked: by device, then in order of
// arrival. The journal entry tells it.
func parkedID(rec *Received) string {
	return fmt.Sprintf("%s/%015d/%020d/%s", rec.Device, rec.At.UnixMilli(), rec.Seq, rec.ID)
}

func decodeParked(kind, id string, body []byte) (*Parked, error) {
	p := &Parked{}
	if err := json.Unmarshal(body, p); err != nil {
		return nil, fmt.Errorf("decode quarantine record %s: %w", id, err)
	}
	p.kind, p.record, p.was = kind, id, p.Tx
	return p, nil
}

// keepParked writes what waits, and what it offers.
func keepParked(tx Tx, p *Parked) error {
	if err := writeRecord(tx, p.kind, p.record, p); err != nil {
		return err
	}
	err := offer(tx, p, p.was, p.Tx)
	p.was = p.Tx
	return err
}

// dropParked removes the record of what waits no longer.
func dropParked(tx Tx, p *Parked) error {
	if err := tx.PutRecord(p.kind, p.record, nil); err != nil {
		return fmt.Errorf("remove quarantine record %s: %w", p.record, err)
	}
	return offer(tx, p, p.was, nil)
}

// parkedOf lists all that waits of one device (zero: of all), in order of arrival.
func parkedOf(v View, device change.DeviceID) ([]*Parked, error) {
	work, err := parkedWork(v, device)
	if err != nil {
		return nil, err
	}
	rows, err := parkedAs(v, kindSalvage, device)
	if err != nil {
		return nil, err
	}
	out := append(work, rows...)
	slices.SortFunc(out, func(a, b *Parked) int { return strings.Compare(a.record, b.record) })
	return out, nil
}

// parkedWork is parkedOf without the salvages, which may be far more than all else.
func parkedWork(v View, device change.DeviceID) ([]*Parked, error) {
	return parkedAs(v, kindParked, device)
}

func parkedAs(v View, kind string, device change.DeviceID) (out []*Parked, err error) {
	prefix := ""
	if !device.IsZero() {
		prefix = device.String() + "/"
	}
	err = eachUnder(v, kind, prefix, func(id string, body []byte) error {
		p, err := decodeParked(kind, id, body)
		out = append(out, p)
		return err
	})
	return out, err
}

// findParked looks one up by transaction, or returns ErrNotFound.
func findParked(v View, id change.TxID) (*Parked, error) {
	rec, err := v.Known(id)
	if err != nil {
		return nil, err
	}
	record := parkedID(rec)
	for _, kind := range []string{kindParked, kindSalvage} {
		body, err := v.Record(kind, record)
		if err == nil {
			return decodeParked(kind, record, body)
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("read quarantine record %s: %w", record, err)
		}
	}
	return nil, ErrNotFound
}

// tell changes a transaction's outcome, and that of the other journal entries
// that came under its uuid.
func tell(tx Tx, id change.TxID, s Status, reason string) error {
	all, err := alike(tx, id)
	if err != nil {
		return err
	}
	for _, id := range all {
		if err := tx.Decide(id, s, reason); err != nil {
			return fmt.Errorf("decide: %w", err)
		}
		if s == Quarantined {
			continue
		}
		if err := tx.PutRecord(kindWaits, id.String(), nil); err != nil {
			return err
		}
	}
	return nil
}

// alike lists the journal entries that share a transaction's outcome, itself first.
func alike(v View, id change.TxID) ([]change.TxID, error) {
	var echoes []change.TxID
	err := readRecord(v, kindEcho, id.String(), &echoes)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return append([]change.TxID{id}, echoes...), nil
}

// resend makes every row of a transaction that waited come to its readers with the
// outcome. While it waited, parts of a group may have been applied without the
// rest, and others may have written the rows: its device must not take its own
// version for what stands at the hub.
func (b *batch) resend(id change.TxID) error {
	t, err := b.tx.Payload(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range t.Ops {
		op := &t.Ops[i]
		tb := b.shape.table(op.Table)
		if tb == nil || len(op.Key) != len(tb.schema.Key) {
			continue // of another schema: the hub has no such row
		}
		if err := b.tx.Touch(tb.schema.Name, op.Key); err != nil {
			return fmt.Errorf("resend row %s of %s: %w", op.Key, op.Table, err)
		}
	}
	return nil
}
