package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// quarantine is what waits, and what people do about it.
type quarantine struct{ *Service }

// parkedToken is where a page of what waits ends.
type parkedToken struct {
	At int64  `json:"t"`
	ID string `json:"i"`
}

func (s quarantine) List(ctx context.Context, req *connect.Request[pb.ListParkedRequest]) (*connect.Response[pb.ListParkedResponse], error) {
	m := req.Msg
	var device change.DeviceID
	if m.GetDevice() != "" {
		var err error
		if device, err = s.deviceOf(ctx, m.GetDevice()); err != nil {
			return nil, err
		}
	}
	var from parkedToken
	more, err := tokenIn(m.GetPage(), &from)
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Hub.Queue(ctx, device)
	if err != nil {
		return nil, s.explain(err, "transaction")
	}
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(x, y hub.Parked) int { return parkedPlace(&x).compare(parkedPlace(&y)) })
	by := dependants(all)
	out := &pb.ListParkedResponse{Codes: map[string]uint32{}}
	last := parkedToken{}
	for i := range all {
		p := &all[i]
		if m.GetSearch() != "" && !parkedHolds(p, names[p.Device], m.GetSearch()) {
			continue
		}
		out.Codes[p.Code]++
		if m.GetCode() != "" && p.Code != m.GetCode() {
			continue
		}
		out.Total++
		switch at := parkedPlace(p); {
		case more && at.compare(from) <= 0:
		case len(out.Parked) < pageSize(m.GetPage()):
			out.Parked = append(out.Parked, parkedOut(p, names, by))
			last = at
		default:
			out.NextPageToken = tokenOut(last)
		}
	}
	return connect.NewResponse(out), nil
}

// parkedPlace puts the newest first.
func parkedPlace(p *hub.Parked) parkedToken { return parkedToken{-p.At.UnixNano(), p.ID.String()} }

func (t parkedToken) compare(o parkedToken) int {
	return cmp.Or(cmp.Compare(t.At, o.At), strings.Compare(t.ID, o.ID))
}

// names are those of all devices.
func (s *Service) names(ctx context.Context) (map[change.DeviceID]string, error) {
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[change.DeviceID]string, len(v.devices))
	for i := range v.devices {
		out[v.devices[i].ID] = v.devices[i].Name
	}
	return out, nil
}

// dependants says what waits for what.
func dependants(all []hub.Parked) map[change.TxID][]string {
	out := map[change.TxID][]string{}
	for i := range all {
		for _, on := range all[i].DependsOn {
			out[on] = append(out[on], all[i].ID.String())
		}
	}
	return out
}

func parkedHolds(p *hub.Parked, name, search string) bool {
	sum, _ := summary(p)
	text := strings.ToLower(strings.Join([]string{p.ID.String(), name, p.Device.String(), p.Code, p.Reason, sum}, "\n"))
	for _, word := range strings.Fields(strings.ToLower(search)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// summary is what a transaction does, for people: "insert order 'o-1', 3 of line".
func summary(p *hub.Parked) (text string, operations int) {
	t, err := p.Transaction()
	if err != nil || len(t.Ops) == 0 {
		return "", 0
	}
	first := &t.Ops[0]
	text = first.Kind.String() + " " + first.Table + " " + first.Key.String()
	n := map[string]int{}
	var order []string
	for i := range t.Ops[1:] {
		name := t.Ops[i+1].Table
		if n[name]++; n[name] == 1 {
			order = append(order, name)
		}
	}
	for _, name := range order {
		text += fmt.Sprintf(", %d of %s", n[name], name)
	}
	return text, len(t.Ops)
}

func parkedOut(p *hub.Parked, names map[change.DeviceID]string, by map[change.TxID][]string) *pb.Parked {
	out := &pb.Parked{
		Id: p.ID.String(), Device: p.Device.String(), DeviceName: names[p.Device], At: timeOut(p.At), Code: p.Code, Reason: p.Reason,
		Dependants: by[p.ID], Tries: count(p.Tries), Salvage: p.Salvage, Edited: p.Edited, Absent: p.Absent, Split: p.Split,
		Version: string(hub.ParkedVersion(p)), Reoffered: p.Reoffered, Contested: p.Contested,
		Seq: p.Seq, Unaware: p.Unaware,
	}
	for _, id := range p.DependsOn {
		out.DependsOn = append(out.DependsOn, id.String())
	}
	text, n := summary(p)
	out.Summary, out.Operations = text, count(n)
	return out
}

func (s quarantine) Get(ctx context.Context, req *connect.Request[pb.GetParkedRequest]) (*connect.Response[pb.GetParkedResponse], error) {
	id, err := transactionOf(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	d, err := s.cfg.Hub.Show(ctx, id)
	if err != nil {
		return nil, s.explain(err, "transaction")
	}
	on, by, err := s.cfg.Hub.Related(ctx, id)
	if err != nil {
		return nil, s.explain(err, "transaction")
	}
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	deps := dependants(slices.Concat([]hub.Parked{d.Parked}, on, by))
	out := &pb.GetParkedResponse{Parked: parkedOut(&d.Parked, names, deps)}
	for i := range d.Rows {
		out.Operations = append(out.Operations, s.operationOut(i, &d.Rows[i]))
	}
	for _, list := range [][]hub.Parked{on, by} {
		for i := range list {
			out.Related = append(out.Related, parkedOut(&list[i], names, deps))
		}
	}
	return connect.NewResponse(out), nil
}

func (s *Service) operationOut(place int, r *hub.RowDetail) *pb.Operation {
	out := &pb.Operation{Place: count(place), Table: r.Table, Kind: r.Op, Key: keyOut(r.Key), Exists: r.Exists}
	t := s.cfg.Hub.Setup().Schema.Table(r.Table)
	for _, c := range r.Columns {
		one := &pb.OperationColumn{Name: c.Name, Base: valueOut(c.Base), New: valueOut(c.New), Hub: valueOut(c.Hub)}
		if t != nil {
			if i := t.Column(c.Name); i >= 0 {
				one.Type = t.Columns[i].Type
			}
		}
		out.Columns = append(out.Columns, one)
	}
	return out
}

// settle does something about a transaction, and answers with what came of it.
func (s *Service) settle(ctx context.Context, text string, do func(change.TxID) ([]hub.Settled, error)) (*connect.Response[pb.SettleResponse], error) {
	c := callOf(ctx)
	c.entry.Subject = text
	id, err := transactionOf(text)
	if err != nil {
		return nil, err
	}
	d, err := s.cfg.Hub.Show(ctx, id)
	if err != nil {
		return nil, s.explain(err, "transaction")
	}
	c.entry.Before = people.JSON(parkedNote{d.Parked.Device.String(), d.Parked.Code, d.Parked.Reason, d.Tx.Ops})
	list, err := do(id)
	if err != nil {
		return nil, s.staleBy(ctx, err, text, "transaction")
	}
	out := &pb.SettleResponse{}
	for _, one := range list {
		out.Settled = append(out.Settled, &pb.Settled{Id: one.ID.String(), Status: one.Status.String(), Reason: one.Reason})
	}
	c.entry.After = people.JSON(list)
	s.changed("quarantine", text)
	return connect.NewResponse(out), nil
}

// parkedNote is what the audit keeps of a transaction.
type parkedNote struct {
	Device string      `json:"device"`
	Code   string      `json:"code"`
	Reason string      `json:"reason"`
	Ops    []change.Op `json:"operations"`
}

func (s quarantine) Retry(ctx context.Context, req *connect.Request[pb.RetryRequest]) (*connect.Response[pb.SettleResponse], error) {
	return s.settle(ctx, req.Msg.GetId(), func(id change.TxID) ([]hub.Settled, error) {
		return s.cfg.Hub.RetryAt(ctx, id, hub.Version(req.Msg.GetVersion()))
	})
}

func (s quarantine) Discard(ctx context.Context, req *connect.Request[pb.DiscardRequest]) (*connect.Response[pb.SettleResponse], error) {
	reason := strings.TrimSpace(req.Msg.GetReason())
	return s.settle(ctx, req.Msg.GetId(), func(id change.TxID) ([]hub.Settled, error) {
		if reason == "" {
			return nil, badField("reason", "it is missing", "say why: the person at the device reads it")
		}
		return s.cfg.Hub.DiscardAt(ctx, id, reason, hub.Version(req.Msg.GetVersion()))
	})
}

func (s quarantine) Edit(ctx context.Context, req *connect.Request[pb.EditRequest]) (*connect.Response[pb.SettleResponse], error) {
	return s.settle(ctx, req.Msg.GetId(), func(id change.TxID) ([]hub.Settled, error) {
		d, err := s.cfg.Hub.Show(ctx, id)
		if err != nil {
			return nil, err
		}
		edits, err := editsIn(&d.Tx, req.Msg.GetEdits())
		if err != nil {
			return nil, err
		}
		return s.cfg.Hub.EditAt(ctx, id, edits, hub.Version(req.Msg.GetVersion()))
	})
}

// editsIn reads what a person changed, and refuses what the transaction does not have.
func editsIn(t *change.Transaction, list []*pb.OperationEdit) (out []hub.Edit, err error) {
	if len(list) == 0 {
		return nil, badField("edits", "there are none", "to try it as it is, retry it")
	}
	for i, e := range list {
		field := fmt.Sprintf("edits[%d]", i)
		place := int(e.GetPlace())
		if place >= len(t.Ops) {
			return nil, badField(field+".place", fmt.Sprintf("the transaction has %d operations, there is no number %d", len(t.Ops), place), "look at the transaction again")
		}
		if e.GetLeaveOut() {
			out = append(out, hub.Edit{Op: place, Drop: true})
			continue
		}
		op := &t.Ops[place]
		for _, name := range sortedKeys(e.GetSet()) {
			if c := op.Column(name); c < 0 || c >= len(op.New) {
				return nil, badField(field+".set", "operation "+fmt.Sprint(place)+" does not write column "+name+" of "+op.Table, "change one of those that it writes")
			}
			out = append(out, hub.Edit{Op: place, Column: name, Value: valueIn(e.GetSet()[name])})
		}
	}
	return out, nil
}

func sortedKeys(m map[string]*pb.Value) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
