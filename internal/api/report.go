package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// addPast adds what is known of the hub's own lives, and of those of devices' files.
func addPast(out *pb.OverviewResponse, h *hub.Health) {
	out.Cursor, out.Tables = h.Cursor.String(), count(h.Tables)
	out.Restored, out.Copied = count(h.Histories.Restored), count(h.Histories.Copied)
	for _, b := range h.Lineage {
		out.Lineage = append(out.Lineage, &pb.Branch{Epoch: b.Epoch.String(), Mode: string(b.Mode), Fork: b.Fork.String(), At: timeOut(b.At)})
	}
	if b := h.Rollback; b != nil {
		out.Rollback = &pb.Rollback{At: timeOut(b.At), Device: b.Name, Seen: b.Seen.String(), End: b.End.String()}
	}
}

// eventsOf are what was out of the ordinary with a device.
func (s *Service) eventsOf(ctx context.Context, id change.DeviceID) (out []*pb.TimelineEntry, err error) {
	list, err := s.cfg.Hub.Events(ctx, id)
	if err != nil {
		return nil, s.explain(err, "device")
	}
	for _, e := range list {
		out = append(out, &pb.TimelineEntry{At: timeOut(e.At), Kind: e.Kind, Detail: e.Detail})
	}
	return out, nil
}

// readsOnly names the tables whose rows go to everybody, when a device with these
// grants writes elsewhere but not there: seldom what was meant.
func readsOnly(tables []rule.Table, grants []rule.Grant) (shared []string) {
	writes := false
	for _, g := range grants {
		if g.Scope == rule.ScopeAll {
			return nil // it was said what it may do there
		}
		writes = writes || g.Verbs&rule.Write != 0
	}
	if !writes {
		return nil
	}
	for i := range tables {
		if tables[i].Scope.All && !tables[i].Reference {
			shared = append(shared, tables[i].Name)
		}
	}
	return shared
}

// byOf is who a receipt says it was: whoever logged in, and at the hub's own machine
// whom they say they are.
func byOf(c *call, by string) (string, error) {
	switch {
	case by == "":
		return c.name(), nil
	case !c.local:
		return "", badField("by", "across a network it is who logged in", "leave it out")
	}
	return by, nil
}

// Export is a parked transaction whole.
func (s quarantine) Export(ctx context.Context, req *connect.Request[pb.ExportRequest]) (*connect.Response[pb.ExportResponse], error) {
	id, err := transactionOf(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	b, err := s.cfg.Hub.Export(ctx, id)
	if err != nil {
		return nil, s.explain(err, "transaction")
	}
	return connect.NewResponse(&pb.ExportResponse{Json: b}), nil
}

// CheckAudit looks whether the audit is whole.
func (s staff) CheckAudit(ctx context.Context, _ *connect.Request[pb.CheckAuditRequest]) (*connect.Response[pb.CheckAuditResponse], error) {
	n, err := s.cfg.People.CheckAudit(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, s.explain(ctx.Err(), "")
	}
	out := &pb.CheckAuditResponse{Entries: n}
	if err != nil {
		out.Wrong = err.Error()
	}
	return connect.NewResponse(out), nil
}

// jsonOf is a schema's tables as JSON.
func jsonOf(tables []change.Table) string {
	b, err := json.Marshal(tables)
	if err != nil { // they hold nothing that could fail
		return ""
	}
	return string(b)
}

// addShapes adds what is known of schemas in detail.
func addShapes(out *pb.SchemasResponse, shapes *hub.Shapes) {
	out.Hub, out.Tables = shapes.Schema.Hash().String(), jsonOf(shapes.Schema.Tables)
	for _, m := range shapes.Lost {
		out.NotServed = append(out.NotServed, m.Table+": "+m.Reason)
	}
	for i := range shapes.Uses {
		u, one := &shapes.Uses[i], out.Schemas[i]
		if u.Hash != (change.SchemaHash{}) {
			one.Hash = u.Hash.String()
		}
		if len(u.Schema.Tables) > 0 {
			one.Tables = jsonOf(u.Schema.Tables)
		}
		one.Known, one.Users = u.Known, shapeDevices(u.Devices)
	}
}

func shapeDevices(list []hub.ShapeDevice) []*pb.SchemaDevice {
	out := make([]*pb.SchemaDevice, len(list))
	for i, v := range list {
		out[i] = &pb.SchemaDevice{Name: v.Name, Id: v.ID.String(), Since: timeOut(v.Since), Seen: timeOut(v.Seen), Unsent: v.Unsent}
	}
	return out
}

// Droppable is the gate before dropping a column or a table.
func (s data) Droppable(ctx context.Context, req *connect.Request[pb.DroppableRequest]) (*connect.Response[pb.DroppableResponse], error) {
	m := req.Msg
	if m.GetTable() == "" {
		return nil, badField("table", "it is missing", "name a table, or a column with its table")
	}
	g, err := s.cfg.Hub.Droppable(ctx, m.GetTable(), m.GetColumn())
	if errors.Is(err, hub.ErrNotFound) {
		return nil, fault(connect.CodeNotFound, "no-such-name", err.Error(), "the list of schemas shows what there is")
	}
	if err != nil {
		return nil, s.explain(err, "table")
	}
	out := &pb.DroppableResponse{Name: g.Name(), Open: g.Open(), Hub: g.Hub, Users: shapeDevices(g.Users), Unknown: shapeDevices(g.Unknown), Unsent: shapeDevices(g.Unsent)}
	for _, id := range g.Parked {
		out.Parked = append(out.Parked, id.String())
	}
	return connect.NewResponse(out), nil
}

// Leases is who has which numbers and shares.
func (s data) Leases(ctx context.Context, _ *connect.Request[pb.LeasesRequest]) (*connect.Response[pb.LeasesResponse], error) {
	r, err := s.cfg.Hub.Leases(ctx)
	if err != nil {
		return nil, s.explain(err, "lease")
	}
	names, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	out := &pb.LeasesResponse{}
	for i := range r.Numbers {
		out.Numbers = append(out.Numbers, seriesOut(&r.Numbers[i], names))
	}
	for _, v := range r.Shares {
		out.Shares = append(out.Shares, &pb.Share{Table: v.Table, Column: v.Column, Device: v.Device.String(), DeviceName: names[v.Device], Rows: count(v.Rows), Held: v.Held})
	}
	return connect.NewResponse(out), nil
}

func seriesOut(r *hub.SeriesReport, names map[change.DeviceID]string) *pb.Series {
	out := &pb.Series{Name: r.Name, Next: r.Next, Size: r.Size}
	for _, g := range r.Ranges {
		out.Ranges = append(out.Ranges, &pb.NumberRange{First: g.First, Last: g.Last, Device: g.Device.String(), DeviceName: names[g.Device], At: timeOut(g.At), Incarnation: g.Inc.String()})
	}
	for _, n := range r.Left {
		out.Left = append(out.Left, &pb.NumbersLeft{Device: n.Device.String(), DeviceName: names[n.Device], Left: n.Left, Highest: n.Highest, At: timeOut(n.At)})
	}
	return out
}

// byStart finds the one device whose id begins with a text.
func (v *sight) byStart(text string) (found []change.DeviceID) {
	const least = 4 // shorter ones hit by chance
	if len(text) < least {
		return nil
	}
	for i := range v.devices {
		if id := v.devices[i].ID; strings.HasPrefix(id.String(), text) {
			found = append(found, id)
		}
	}
	return found
}

// several says that a text names more than one device.
func several(n int, text string) error {
	return fault(connect.CodeInvalidArgument, "ambiguous", fmt.Sprintf("%d devices are called %q", n, text), "give the id instead: the list of devices shows it")
}

// Value is a value of a message as the rest of tidemark has it; one that says nothing is
// NULL.
func Value(v *pb.Value) change.Value { return valueIn(v) }

// Values are several of them.
func Values(list []*pb.Value) []change.Value {
	out := make([]change.Value, len(list))
	for i, v := range list {
		out[i] = valueIn(v)
	}
	return out
}

// ValueOf is a value as messages have it.
func ValueOf(v change.Value) *pb.Value { return valueOut(v) }

// KeyOf is a key as messages have it.
func KeyOf(k change.Key) *pb.Key { return keyOut(k) }

// Grants are those of messages as the rest of tidemark has them.
func Grants(list []*pb.Grant) []rule.Grant { return grantsIn(list) }

// GrantsOf are grants as messages have them.
func GrantsOf(list []rule.Grant) []*pb.Grant { return grantsOut(list) }
