package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
)

// Queue lists what waits in quarantine: of one device, or of all when device is
// zero. By device, then in order of arrival.
func (h *Hub) Queue(ctx context.Context, device change.DeviceID) ([]Parked, error) {
	var out []Parked
	err := h.view(ctx, func(v View) error {
		list, err := parkedOf(v, device)
		for _, p := range list {
			out = append(out, *p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	return out, nil
}

// A Detail is a parked transaction beside what the hub holds now.
type Detail struct {
	Parked Parked             `json:"parked"`
	Tx     change.Transaction `json:"transaction"`
	Rows   []RowDetail        `json:"rows"` // parallel to Tx.Ops
}

// A RowDetail is one operation beside the hub's row.
type RowDetail struct {
	Table   string         `json:"table"`
	Op      string         `json:"op"`
	Key     change.Key     `json:"key"`
	Exists  bool           `json:"exists"` // at the hub
	Columns []ColumnDetail `json:"columns"`
}

// A ColumnDetail is one column of an operation. Only what differs is listed.
type ColumnDetail struct {
	Name string       `json:"name"`
	Base change.Value `json:"base"`
	New  change.Value `json:"new"`
	Hub  change.Value `json:"hub"`
}

// Show returns a parked transaction with a comparison, or ErrNotFound.
func (h *Hub) Show(ctx context.Context, id change.TxID) (*Detail, error) {
	d := &Detail{}
	err := h.view(ctx, func(v View) error {
		p, err := findParked(v, id)
		if err != nil {
			return err
		}
		t, err := p.Transaction()
		if err != nil {
			return err
		}
		d.Parked, d.Tx = *p, *t
		for i := range t.Ops {
			r, err := h.detail(v, &t.Ops[i])
			if err != nil {
				return err
			}
			d.Rows = append(d.Rows, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("show parked transaction %s: %w", id, err)
	}
	return d, nil
}

func (h *Hub) detail(v View, op *change.Op) (RowDetail, error) {
	r := RowDetail{Table: op.Table, Op: op.Kind.String(), Key: op.Key}
	t := h.shape.Load().table(op.Table)
	var row []change.Value
	if t != nil && len(op.Key) == len(t.key) {
		var err error
		if row, err = v.Row(t.schema.Name, op.Key); err != nil {
			return r, err
		}
	}
	r.Exists = row != nil
	for i, name := range op.Columns {
		c := ColumnDetail{Name: name}
		if i < len(op.Base) {
			c.Base = op.Base[i]
		}
		if i < len(op.New) {
			c.New = op.New[i]
		}
		if row != nil {
			if j := t.column(name); j >= 0 {
				c.Hub = row[j]
			}
		}
		if c.Base != c.New || c.Hub != c.New {
			r.Columns = append(r.Columns, c)
		}
	}
	return r, nil
}

// Export renders a parked transaction whole, as JSON, for safekeeping elsewhere.
func (h *Hub) Export(ctx context.Context, id change.TxID) ([]byte, error) {
	d, err := h.Show(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("export parked transaction %s: %w", id, err)
	}
	return b, nil
}

// A Settled is what became of a parked transaction after a person acted: of the
// one they acted on first, then of those that waited for it.
type Settled struct {
	ID     change.TxID `json:"id"`
	Status Status      `json:"status"`
	Reason string      `json:"reason,omitempty"` // why it waits, or was discarded
}

// ErrDepends means that a transaction waits for another parked one.
var ErrDepends = errors.New("it depends on another transaction in quarantine: settle that one first")

// Retry tries a parked transaction again, under the rules, rights and data of
// now, and then those that waited for it, in order.
func (h *Hub) Retry(ctx context.Context, id change.TxID) ([]Settled, error) {
	return h.RetryAt(ctx, id, "")
}

// RetryAt is Retry of the version that somebody saw.
func (h *Hub) RetryAt(ctx context.Context, id change.TxID, v Version) ([]Settled, error) {
	out, err := h.act(ctx, id, v, "tried again", func(b *batch, p *Parked) ([]Settled, error) { return b.retry(p) })
	if err != nil {
		return nil, fmt.Errorf("retry transaction %s: %w", id, err)
	}
	return out, nil
}

// An Edit changes one value of a parked transaction, or drops an operation. One
// that is applied without some of its operations ends as Discarded at the edge,
// which receives what was applied from the hub.
type Edit struct {
	Op     int    // index into its operations
	Drop   bool   // leave the operation out; Column and Value do not count
	Column string // not of the key
	Value  change.Value
}

// Edit changes a parked transaction and retries it. Edits that do not fit it, or
// the schema, change nothing.
func (h *Hub) Edit(ctx context.Context, id change.TxID, edits []Edit) ([]Settled, error) {
	return h.EditAt(ctx, id, edits, "")
}

// EditAt is Edit of the version that somebody saw.
func (h *Hub) EditAt(ctx context.Context, id change.TxID, edits []Edit, v Version) ([]Settled, error) {
	out, err := h.act(ctx, id, v, "edited", func(b *batch, p *Parked) ([]Settled, error) {
		if p.Absent {
			return nil, ErrAbsent
		}
		t, err := p.Transaction()
		if err != nil {
			return nil, err
		}
		given := edited(t, edits)
		dropped, err := apply(t, edits)
		if err != nil {
			return nil, err
		}
		p.leave(len(t.Ops), dropped)
		list, err := b.inspect(t)
		if err != nil {
			return nil, err
		}
		if err := b.choose(p, list, given); err != nil {
			return nil, err
		}
		p.Edited, p.Tx = true, change.AppendTransaction(nil, t)
		return b.retry(p)
	})
	if err != nil {
		return nil, fmt.Errorf("edit transaction %s: %w", id, err)
	}
	return out, nil
}

// apply changes a transaction, and returns the places of the operations it left out.
func apply(t *change.Transaction, edits []Edit) (drop map[int]bool, err error) {
	drop = map[int]bool{}
	for _, e := range edits {
		if e.Op < 0 || e.Op >= len(t.Ops) {
			return nil, fmt.Errorf("it has %d operations, there is no number %d", len(t.Ops), e.Op)
		}
		op := &t.Ops[e.Op]
		if e.Drop {
			drop[e.Op] = true
			continue
		}
		c := op.Column(e.Column)
		if c < 0 || c >= len(op.New) {
			return nil, fmt.Errorf("operation %d does not write column %q of %s", e.Op, e.Column, op.Table)
		}
		op.New = slices.Clone(op.New)
		op.New[c] = e.Value
	}
	var kept []change.Op
	for i := range t.Ops {
		if !drop[i] {
			kept = append(kept, t.Ops[i])
		}
	}
	t.Ops = kept
	return drop, nil
}

// Discard settles a parked transaction as not to be applied. The device returns
// to the hub's state and keeps a rescue copy. Those that waited for it are tried.
func (h *Hub) Discard(ctx context.Context, id change.TxID, reason string) ([]Settled, error) {
	return h.DiscardAt(ctx, id, reason, "")
}

// DiscardAt is Discard of the version that somebody saw.
func (h *Hub) DiscardAt(ctx context.Context, id change.TxID, reason string, v Version) ([]Settled, error) {
	out, err := h.act(ctx, id, v, "discarded", func(b *batch, p *Parked) ([]Settled, error) {
		if err := tell(b.tx, p.ID, Discarded, reason); err != nil {
			return nil, err
		}
		if err := b.resend(p.ID); err != nil {
			return nil, err
		}
		if err := dropParked(b.tx, p); err != nil {
			return nil, err
		}
		rest, err := b.release(p.ID)
		return append([]Settled{{ID: p.ID, Status: Discarded, Reason: reason}}, rest...), err
	})
	if err != nil {
		return nil, fmt.Errorf("discard transaction %s: %w", id, err)
	}
	return out, nil
}

// act runs fn on one parked transaction in one Update, unless it is of another version
// than v, and keeps a deed of it. what is a participle.
func (h *Hub) act(ctx context.Context, id change.TxID, v Version, what string, fn func(*batch, *Parked) ([]Settled, error)) ([]Settled, error) {
	var out []Settled
	err := h.update(ctx, func(tx Tx) error {
		p, err := findParked(tx, id)
		if err != nil {
			return err
		}
		if err := v.check(ParkedVersion(p)); err != nil {
			return err
		}
		b, err := h.batchOf(tx, p)
		if err != nil {
			return err
		}
		if out, err = fn(b, p); err != nil {
			return err
		}
		return addDeed(tx, settledDeed(p, what, out, h.clock.Now()))
	})
	if err != nil {
		return nil, err
	}
	h.bump(change.DeviceID{})
	for _, s := range out {
		h.log.Info("quarantined transaction settled", "transaction", s.ID.String(), "status", s.Status.String())
	}
	return out, nil
}

// batchOf prepares work on behalf of the device whose transaction p is, revoked
// or not: its work is the hub's by now.
func (h *Hub) batchOf(tx Tx, p *Parked) (*batch, error) {
	dev, err := readDevice(tx, p.Device)
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", p.Device, err)
	}
	return h.batchFor(tx, dev)
}

// retry settles p again, and what waited for it.
func (b *batch) retry(p *Parked) ([]Settled, error) {
	if p.Absent {
		return nil, ErrAbsent
	}
	t, err := p.Transaction()
	if err != nil {
		return nil, err
	}
	list, err := parkedWork(b.tx, p.Device)
	if err != nil {
		return nil, err
	}
	b.holds = &holds{} // what came later does not stand in its way
	for _, o := range list {
		if slices.Contains(p.DependsOn, o.ID) {
			return nil, fmt.Errorf("%w: %s", ErrDepends, o.ID)
		}
		// What waits for p came later, though both came in one millisecond.
		if o.record < p.record && !slices.Contains(o.DependsOn, p.ID) {
			if err := b.holds.add(b.shape, o); err != nil {
				return nil, err
			}
		}
	}
	v, err := b.resettle(p, t)
	if err != nil {
		return nil, err
	}
	if v.park != nil {
		return b.parkAgain(p, v)
	}
	done, err := b.conclude(p, v)
	if err != nil {
		return nil, err
	}
	rest, err := b.release(p.ID)
	return append([]Settled{done}, rest...), err
}

// conclude makes a transaction that waited one that was applied.
func (b *batch) conclude(p *Parked, v verdict) (Settled, error) {
	reason := ""
	switch {
	case p.Dropped > 0:
		// The edge must not take its own version for settled: it keeps a rescue copy,
		// and what was applied comes to it as the hub's.
		v.status, reason = Discarded, fmt.Sprintf("applied without %d of its rows, which a person left out", p.Dropped)
	case p.Split, p.Edited:
		v.status = Merged
	}
	done := Settled{ID: p.ID, Status: v.status, Reason: reason}
	if err := tell(b.tx, p.ID, v.status, reason); err != nil {
		return done, err
	}
	if err := b.resend(p.ID); err != nil {
		return done, err
	}
	return done, dropParked(b.tx, p)
}

// parkAgain keeps a transaction that still cannot be applied.
func (b *batch) parkAgain(p *Parked, v verdict) ([]Settled, error) {
	changed := p.Reason != v.reason || v.park.Split
	p.Places = at(p.Places, v.park.Places)
	p.Code, p.Reason, p.DependsOn, p.Tx = v.park.Code, v.reason, v.park.DependsOn, v.park.Tx
	p.Split = p.Split || v.park.Split
	p.Tries++
	if changed {
		if err := tell(b.tx, p.ID, Quarantined, p.Reason); err != nil {
			return nil, err
		}
	}
	if err := keepParked(b.tx, p); err != nil {
		return nil, err
	}
	if err := tellWaits(b.tx, p); err != nil {
		return nil, err
	}
	return []Settled{{ID: p.ID, Status: Quarantined, Reason: p.Reason}}, nil
}

// release tries the transactions that waited for id only.
func (b *batch) release(id change.TxID) ([]Settled, error) {
	all, err := parkedWork(b.tx, change.DeviceID{})
	if err != nil {
		return nil, err
	}
	var free []string
	for _, p := range all {
		i := slices.Index(p.DependsOn, id)
		if i < 0 {
			continue
		}
		p.DependsOn = slices.Delete(p.DependsOn, i, i+1)
		if err := writeRecord(b.tx, kindParked, p.record, p); err != nil {
			return nil, err
		}
		if len(p.DependsOn) == 0 {
			free = append(free, p.record)
		}
	}
	var out []Settled
	for _, record := range free {
		body, err := b.tx.Record(kindParked, record)
		if errors.Is(err, ErrNotFound) { // settled along with another
			continue
		}
		if err != nil {
			return nil, err
		}
		p, err := decodeParked(kindParked, record, body)
		if err != nil {
			return nil, err
		}
		next, err := b.hub.batchOf(b.tx, p)
		if err != nil {
			return nil, err
		}
		got, err := next.retry(p)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}
