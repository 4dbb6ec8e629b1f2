package api

import (
	"cmp"
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/merge"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// conflicts is the decisions that were made, and what people make of them.
type conflicts struct{ *Service }

var receiptStates = map[hub.ReceiptState]pb.ReceiptState{
	hub.NewReceipt: pb.ReceiptState_RECEIPT_STATE_NEW, hub.AcceptedReceipt: pb.ReceiptState_RECEIPT_STATE_ACCEPTED, hub.UndoneReceipt: pb.ReceiptState_RECEIPT_STATE_UNDONE,
}

// beforeToken is where a page of something that the hub numbers ends.
type beforeToken struct {
	Before string `json:"b"`
}

func (s conflicts) List(ctx context.Context, req *connect.Request[pb.ListReceiptsRequest]) (*connect.Response[pb.ListReceiptsResponse], error) {
	m := req.Msg
	f := hub.DecisionFilter{Table: m.GetTable(), Search: m.GetSearch(), Limit: pageSize(m.GetPage())}
	var from beforeToken
	if _, err := tokenIn(m.GetPage(), &from); err != nil {
		return nil, err
	}
	if f.Before = from.Before; m.GetOldestFirst() {
		f.Oldest, f.After = true, cmp.Or(from.Before, m.GetAfter())
	}
	for state, out := range receiptStates {
		if out == m.GetState() {
			f.State = state
		}
	}
	if m.GetDevice() != "" {
		var err error
		if f.Device, err = s.deviceOf(ctx, m.GetDevice()); err != nil {
			return nil, err
		}
	}
	list, next, err := s.cfg.Hub.Decisions(ctx, f)
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	out := &pb.ListReceiptsResponse{}
	for i := range list {
		out.Receipts = append(out.Receipts, receiptOut(&list[i]))
	}
	if next != "" {
		out.NextPageToken = tokenOut(beforeToken{next})
	}
	return connect.NewResponse(out), nil
}

func receiptOut(d *hub.Decision) *pb.Receipt {
	out := &pb.Receipt{
		Id: d.ID, At: timeOut(d.At), Table: d.Table, Key: keyOut(d.Key), Kind: d.Kind, Column: d.Column,
		Base: valueOut(d.Base), Hub: valueOut(d.Hub), Edge: valueOut(d.Edge), Result: valueOut(d.Result), Rule: d.Rule,
		Winner: d.Winner.Side, WinnerName: d.WinnerName, LoserName: d.LoserName, Transaction: d.Tx.String(), Device: d.Device.String(),
		DeviceName: d.DeviceName, Undone: d.Undone, By: d.By, State: receiptStates[d.State()],
	}
	out.UndoneBy, out.UndoneAt = d.UndoneBy, timeOut(d.UndoneAt)
	if d.Accepted != nil {
		out.By, out.Note = d.Accepted.By, d.Accepted.Note
	}
	return out
}

func (s conflicts) Get(ctx context.Context, req *connect.Request[pb.GetReceiptRequest]) (*connect.Response[pb.GetReceiptResponse], error) {
	d, err := s.cfg.Hub.Receipt(ctx, req.Msg.GetId())
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	out := &pb.GetReceiptResponse{Receipt: receiptOut(d)}
	if t := s.cfg.Hub.Setup().Schema.Table(d.Table); t != nil {
		out.Columns = t.StoredNames()
	}
	row, err := s.cfg.Hub.Row(ctx, d.Table, d.Key)
	var gone *hub.InputError // the table is no longer served
	switch {
	case err == nil:
		out.Now = valuesOut(row.Rows[0].Values)
	case !errors.Is(err, hub.ErrNotFound) && !errors.As(err, &gone):
		return nil, s.explain(err, "receipt")
	}
	others, _, err := s.cfg.Hub.Decisions(ctx, hub.DecisionFilter{Table: d.Table, Key: d.Key})
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	for i := range others {
		if others[i].ID != d.ID {
			out.Others = append(out.Others, receiptOut(&others[i]))
		}
	}
	return connect.NewResponse(out), nil
}

func (s conflicts) Undo(ctx context.Context, req *connect.Request[pb.UndoRequest]) (*connect.Response[pb.Receipt], error) {
	c, id := callOf(ctx), req.Msg.GetId()
	c.entry.Subject = id
	by, err := byOf(c, req.Msg.GetBy())
	if err != nil {
		return nil, err
	}
	before, err := s.cfg.Hub.Receipt(ctx, id)
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	c.entry.Before = people.JSON(before.Receipt)
	if _, err := s.cfg.Hub.Undo(ctx, id, by); err != nil {
		return nil, s.explain(err, "receipt")
	}
	s.changed("conflicts", id)
	after, err := s.cfg.Hub.Receipt(ctx, id)
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	c.entry.After = people.JSON(after.Receipt)
	return connect.NewResponse(receiptOut(after)), nil
}

// changed tells who watches what was done.
func (s *Service) changed(kind, id string) {
	s.fleet.forget()
	s.news.post(kind, id)
	s.news.post("fleet", "")
	s.news.post("data", "")
}

// mostAccepted is how many decisions one call accepts.
const mostAccepted = 1000

func (s conflicts) Accept(ctx context.Context, req *connect.Request[pb.AcceptRequest]) (*connect.Response[pb.AcceptResponse], error) {
	c, ids := callOf(ctx), req.Msg.GetIds()
	if len(ids) == 0 || len(ids) > mostAccepted {
		return nil, badField("ids", "there must be 1 to 1000", "name the decisions to accept")
	}
	if c.entry.Subject = ids[0]; len(ids) > 1 {
		c.entry.Subject = people.JSON(ids)
	}
	by, err := byOf(c, req.Msg.GetBy())
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.Hub.Accept(ctx, ids, by, req.Msg.GetNote())
	if err != nil {
		return nil, s.explain(err, "receipt")
	}
	c.entry.After = people.JSON(map[string]any{"accepted": n, "note": req.Msg.GetNote()})
	s.changed("conflicts", "")
	return connect.NewResponse(&pb.AcceptResponse{Accepted: count(n)}), nil
}

func (s conflicts) WhatIf(ctx context.Context, req *connect.Request[pb.WhatIfRequest]) (*connect.Response[pb.WhatIfResponse], error) {
	m := req.Msg
	w, err := s.cfg.Hub.WhatIf(ctx, m.GetTable(), m.GetColumn(), rule.Policy(m.GetPolicy()), int(min(m.GetLast(), maxReplay)))
	if err != nil {
		return nil, s.explain(err, "table")
	}
	out := &pb.WhatIfResponse{LookedAt: count(w.Looked), Differ: count(w.Differ), WouldWait: count(w.Wait)}
	for i := range w.Cases {
		k := &w.Cases[i]
		one := &pb.WhatIfCase{Receipt: receiptOut(&k.Decision), Why: k.Why}
		if k.Why == "" {
			one.Would, one.Winner = valueOut(k.Would), side(k.Winner)
		}
		out.Cases = append(out.Cases, one)
	}
	return connect.NewResponse(out), nil
}

// maxReplay is how many conflicts one call replays.
const maxReplay = 10_000

func side(s merge.Side) string {
	if s == merge.Edge {
		return "edge"
	}
	return "hub"
}

// transactionOf reads the id of a transaction.
func transactionOf(text string) (change.TxID, error) {
	id, err := change.ParseTxID(text)
	if err != nil {
		return id, fault(connect.CodeNotFound, "no-such-transaction", "there is no transaction "+text+" in quarantine", "look at the list again")
	}
	return id, nil
}
