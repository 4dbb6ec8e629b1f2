package api

import (
	"context"
	"runtime"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// fleet is the devices, and what people do to them.
type fleet struct{ *Service }

// levelNames are the levels, as Overview counts them.
var levelNames = map[pb.Level]string{pb.Level_LEVEL_OK: "ok", pb.Level_LEVEL_NOTICE: "notice", pb.Level_LEVEL_WARNING: "warning", pb.Level_LEVEL_ALARM: "alarm"}

var stateNames = map[hub.DeviceState]pb.DeviceState{
	hub.Invited: pb.DeviceState_DEVICE_STATE_INVITED, hub.Active: pb.DeviceState_DEVICE_STATE_ACTIVE, hub.Revoked: pb.DeviceState_DEVICE_STATE_REVOKED,
}

func (s fleet) Overview(ctx context.Context, _ *connect.Request[pb.OverviewRequest]) (*connect.Response[pb.OverviewResponse], error) {
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	out := s.overview(v)
	if out.Manual, err = s.manual(ctx, v); err != nil {
		return nil, err
	}
	out.UnsafeHistory = s.past.list()
	return connect.NewResponse(out), nil
}

func (s *Service) overview(v *sight) *pb.OverviewResponse {
	h := v.health
	out := &pb.OverviewResponse{
		At: timeOut(h.At), Hub: h.Name, OldestUnsafe: spanOut(h.OldestUnsafe), Quarantined: count(h.Quarantine), OldestQuarantined: spanOut(h.Oldest), ReceiptsNew: count(h.Receipts),
		Epoch: h.Epoch.String(), Levels: map[string]uint32{}, Memory: memory(),
	}
	for _, name := range levelNames {
		out.Levels[name] = 0
	}
	for i := range v.devices {
		d := &v.devices[i]
		out.Held += count(d.Held)
		if d.ID == h.UnsafeDevice {
			out.UnsafeName = d.Name
		}
		if d.State == hub.Revoked {
			continue
		}
		out.Devices++
		if d.Connected {
			out.Connected++
		}
		if d.Status.OutboxDepth > 0 {
			out.UnsafeDevices++
		}
		out.Levels[levelNames[levelOut(d.Level)]]++
	}
	if !h.UnsafeDevice.IsZero() {
		out.UnsafeDevice = h.UnsafeDevice.String()
	}
	if h.Rollback != nil {
		out.Behind = h.Rollback.String()
	}
	for _, m := range s.cfg.Hub.Lost() {
		out.NotServed = append(out.NotServed, m.Table+": "+m.Reason)
	}
	addPast(out, h)
	load := s.cfg.Serving.Load()
	out.Sessions, out.Waiting = count(load.Sessions), count(load.Waiting)
	for _, r := range load.Replicas {
		out.Replicas = append(out.Replicas, &pb.Replica{Address: r.Address, Reads: uint64(max(r.Reads, 0)), Fault: r.Fault})
	}
	return out
}

// manual counts the conflicts that wait for a person.
func (s *Service) manual(ctx context.Context, v *sight) (n uint32, err error) {
	if v.health.Quarantine == 0 {
		return 0, nil
	}
	list, err := s.cfg.Hub.Queue(ctx, change.DeviceID{})
	if err != nil {
		return 0, s.explain(err, "transaction")
	}
	for i := range list {
		if list[i].Code == "manual" {
			n++
		}
	}
	return n, nil
}

func count(n int) uint32 { return uint32(max(n, 0)) } //nolint:gosec // counts of things in memory

// memory is what this process took from the system and did not give back, in bytes.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}

// levelOut is a level as messages have it.
func levelOut(l hub.Level) pb.Level { return pb.Level(l) + pb.Level_LEVEL_OK }

func deviceOut(d *hub.DeviceStatus) *pb.Device {
	out := &pb.Device{
		Id: d.ID.String(), Name: d.Name, State: stateNames[d.State], Reason: d.Reason, Grants: grantsOut(d.Grants),
		Created: timeOut(d.Created), Seen: timeOut(d.Seen), Progress: timeOut(d.Progress), OldestUnsafe: spanOut(d.OldestUnsafe),
		Outbox: d.Status.OutboxDepth, Quarantined: count(d.Quarantine), Behind: d.Behind, ClockOffset: spanOut(d.Offset), ClockAhead: d.ClockAhead,
		Agent: d.Agent, Version: string(hub.DeviceVersion(&d.Device)), App: d.Status.App, Connected: d.Connected,
		Schema: d.Schema, SchemaCurrent: d.Current, FreeDisk: d.Status.FreeDisk, Held: count(d.Held), Level: levelOut(d.Level), Why: d.Why,
		Asked: strings.Join(d.Control.Asked, ", "),
	}
	if r := d.Status.Verified; r != nil {
		out.Verified = &pb.VerifyReport{At: timeOut(r.At), Equal: r.Equal, Rows: r.Rows, Differing: r.Differing, Tables: r.Tables}
	}
	if d.Download != (hub.Download{}) && d.Connected {
		out.Download = &pb.Download{Sent: d.Download.Sent, Size: d.Download.Size}
	}
	out.Restored = timeOut(d.Restored)
	if !d.CopyOf.IsZero() {
		out.CopyOf = d.CopyOf.String()
	}
	out.Paused, out.Isolated = d.Control.Paused != nil, d.Control.Isolated != nil
	switch {
	case d.State == hub.Revoked:
	case out.Paused:
		out.Reason = d.Control.Paused.Reason
	case out.Isolated:
		out.Reason = d.Control.Isolated.Reason
	}
	return out
}
