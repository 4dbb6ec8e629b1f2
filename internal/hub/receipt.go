package hub

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Receipt tells of one value, or one row, that lost an automatic decision (I7).
type Receipt struct {
	ID     string          `json:"id"` // sorts by time
	At     time.Time       `json:"at"`
	Table  string          `json:"table"`
	Key    change.Key      `json:"key"`
	Kind   string          `json:"kind"`             // "column", "delete", "cascade" or "undo"
	Column string          `json:"column,omitempty"` // "" when the whole row was at stake
	Base   change.Value    `json:"base"`             // what the edge's author had seen
	Hub    change.Value    `json:"hub"`              // what the hub held
	Edge   change.Value    `json:"edge"`             // what the edge wrote
	Result change.Value    `json:"result"`           // what stands now
	Row    []change.Value  `json:"row,omitempty"`    // the hub's row, when the whole row was at stake
	Rule   string          `json:"rule"`
	Winner Party           `json:"winner"`
	Loser  Party           `json:"loser"`
	Tx     change.TxID     `json:"tx"`
	Device change.DeviceID `json:"device"`           // whose transaction brought the decision about
	By     string          `json:"by,omitempty"`     // who undid; Kind "undo" only
	Undone string          `json:"undone,omitempty"` // the receipt of the undo
	// Accepted says that a person looked at it; nil: nobody did.
	Accepted *Acceptance `json:"accepted,omitempty"`
}

// A Party is one side of a decision.
type Party struct {
	Side   string             `json:"side"`          // "hub" or "edge"
	Origin change.Incarnation `json:"origin"`        // who wrote it; zero for the hub itself
	HLC    change.HLC         `json:"hlc,omitempty"` // when, by the hub's clock; 0: not known
}

// receipt notes a decision about w's row. by wrote the hub's side; its value does not
// count.
func (a *attempt) receipt(w *work, r *Receipt, winner merge.Side, by merge.Versioned) {
	r.Table, r.Key = w.t.schema.Name, w.op.Key
	if r.Kind == "" {
		r.Kind = "column"
	}
	hub, edge := Party{Side: "hub", Origin: by.Origin, HLC: by.HLC}, Party{Side: "edge", Origin: a.tx.Incarnation, HLC: a.hlc}
	r.Winner, r.Loser = hub, edge
	if winner == merge.Edge {
		r.Winner, r.Loser = edge, hub
	}
	r.Tx, r.Device, r.At = a.id, a.tx.Device, a.now
	a.receipts = append(a.receipts, r)
}

// keepReceipts writes the decisions down, in the transaction that carries them out.
func (a *attempt) keepReceipts() error {
	for _, r := range a.receipts {
		if err := a.hub.writeReceipt(a.batch.tx, r); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) writeReceipt(tx Tx, r *Receipt) error {
	isNew := r.ID == ""
	if isNew {
		var b [8]byte
		if err := h.draw(b[:]); err != nil {
			return err
		}
		// The clock's counter keeps receipts of one millisecond in order.
		r.ID = fmt.Sprintf("%016x-%08x", uint64(h.hlc.Now()), binary.BigEndian.Uint32(b[:]))
	}
	if err := writeRecord(tx, kindReceipt, r.ID, r); err != nil {
		return err
	}
	return h.markReceipt(tx, r, isNew)
}

func decodeReceipt(id string, body []byte) (*Receipt, error) {
	r := &Receipt{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("decode receipt %s: %w", id, err)
	}
	return r, nil
}

// A ReceiptFilter narrows a list of receipts. Zero fields do not narrow.
type ReceiptFilter struct {
	After  string // an id: older ones are left out
	Table  string
	Device change.DeviceID
	Limit  int // 0: all
}

// Receipts lists decisions, oldest first.
func (h *Hub) Receipts(ctx context.Context, f ReceiptFilter) ([]Receipt, error) {
	var out []Receipt
	err := h.view(ctx, func(v View) error {
		return eachRecord(v, kindReceipt, f.After, func(id string, body []byte) error {
			r, err := decodeReceipt(id, body)
			if err != nil {
				return err
			}
			if f.Table != "" && r.Table != f.Table || !f.Device.IsZero() && r.Device != f.Device {
				return nil
			}
			out = append(out, *r)
			if f.Limit > 0 && len(out) == f.Limit {
				return errStop
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return out, nil
}

// ErrUndone means that a receipt was undone before.
var ErrUndone = errors.New("already undone")

// Undo writes the loser's side of a decision back, as a new change by the hub
// that has a receipt of its own, which it returns. by names the person.
func (h *Hub) Undo(ctx context.Context, id, by string) (*Receipt, error) {
	var back *Receipt
	err := h.update(ctx, func(tx Tx) error {
		var r Receipt
		if err := readRecord(tx, kindReceipt, id, &r); err != nil {
			return err
		}
		if r.Undone != "" {
			return fmt.Errorf("%w by %s", ErrUndone, r.Undone)
		}
		u := &attempt{batch: &batch{hub: h, shape: h.shape.Load(), tx: tx, now: h.clock.Now()}, id: r.Tx,
			tx: &change.Transaction{Device: r.Device}, hlc: h.hlc.Now()}
		var err error
		if back, err = u.undo(&r, by); err != nil {
			return err
		}
		r.Undone = back.ID
		return h.writeReceipt(tx, &r)
	})
	if err != nil {
		return nil, fmt.Errorf("undo receipt %s: %w", id, err)
	}
	h.bump(change.DeviceID{})
	h.log.Info("conflict decision undone", "receipt", id, "table", back.Table)
	return back, nil
}

// undo turns a decision round.
func (a *attempt) undo(r *Receipt, by string) (*Receipt, error) {
	a.writer = writer{tx: a.batch.tx, scopes: a.scopes}
	a.alive = map[rowID]bool{}
	t := a.shape.table(r.Table)
	if t == nil {
		return nil, refuse("unknown-table", "the hub has no synced table %s any more", r.Table)
	}
	row, err := a.batch.tx.Row(t.schema.Name, r.Key)
	if err != nil {
		return nil, err
	}
	w := &work{op: &change.Op{Key: r.Key}, t: t, row: row, byHub: true, hlc: a.hlc}
	back := &Receipt{Kind: kindUndo, Column: r.Column, Table: t.schema.Name, Key: r.Key, Row: row, Rule: "undo of " + r.ID,
		Winner: r.Loser, Loser: r.Winner, Tx: r.Tx, Device: r.Device, At: a.now, By: by}
	if err := a.planUndo(w, r, back); err != nil {
		return nil, err
	}
	a.list = []*work{w}
	if err := a.put(w); err != nil {
		if ce, ok := errors.AsType[*ConstraintError](err); ok {
			return nil, constraintRefusal(ce)
		}
		return nil, err
	}
	if err := a.foreign(); err != nil {
		return nil, err
	}
	if w.result != nil {
		if err := t.obeys(r.Key, w.result, w.row); err != nil {
			return nil, err
		}
	}
	a.receipts = append(a.receipts, back)
	return back, a.keepReceipts()
}

// planUndo says what the row must become for the loser to have won.
func (a *attempt) planUndo(w *work, r, back *Receipt) error {
	row := w.row
	switch {
	case r.Column != "":
		c := w.t.column(r.Column)
		if c < 0 || row == nil {
			return refuse("missing", "row %s of %s, or its column %s, is no longer there", r.Key, r.Table, r.Column)
		}
		want := r.Hub
		if r.Loser.Side == "edge" {
			want = r.Edge
		}
		back.Base, back.Hub, back.Edge, back.Result = r.Result, row[c], want, want
		w.kind, w.set, w.result = change.Update, []int{c}, slices.Clone(row)
		w.result[c] = want
	case r.Kind == kindUndo:
		return refuse("undo", "an undone row decision cannot be turned round again")
	case r.Kind == "delete" && r.Rule == string(rule.UpdateWins):
		if row == nil { // the delete lost, whoever's it was
			return refuse("missing", "row %s of %s is already gone", r.Key, r.Table)
		}
		w.kind = change.Delete
	default: // the row itself lost
		if row != nil {
			return refuse("identity", "row %s of %s is there again", r.Key, r.Table)
		}
		if len(r.Row) != len(w.t.names) {
			return refuse("missing", "the image of row %s of %s no longer fits the table", r.Key, r.Table)
		}
		w.kind, w.result = change.Insert, r.Row
	}
	return nil
}
