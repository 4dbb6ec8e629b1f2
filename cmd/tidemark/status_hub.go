package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/serve"
)

// hubFacts is a hub's status.
type hubFacts struct {
	Name             string  `json:"name"`
	State            string  `json:"state"` // listening or stopped
	URL              string  `json:"url,omitempty"`
	Data             string  `json:"data,omitempty"` // its directory; absent across a network
	Epoch            string  `json:"epoch"`
	Cursor           string  `json:"cursor"`
	Tables           int     `json:"tables"`
	Quarantined      int     `json:"quarantined"`
	OldestQuarantine float64 `json:"oldest_quarantined_seconds"`
	Receipts         int     `json:"receipts"`
	OldestUnsafe     float64 `json:"oldest_unsafe_seconds"`
	UnsafeDevice     string  `json:"oldest_unsafe_device,omitempty"`
	pastStatus
	loadStatus
	Replicas  []api.Replica `json:"replicas,omitempty"`
	Histories hub.Histories `json:"histories"`
	Lost      []lostRow     `json:"lost,omitempty"` // tables that tidemark.yaml names and the hub cannot serve
	Devices   []deviceRow   `json:"devices"`
}

func (d *door) hubStatus(ctx context.Context, b *bureau) error {
	res, err := b.Fleet.Overview(ctx, connect.NewRequest(&pb.OverviewRequest{}))
	if err != nil {
		return err
	}
	m := res.Msg
	out := &hubFacts{
		Name: m.GetHub(), State: "stopped", Epoch: m.GetEpoch(), Cursor: m.GetCursor(), Tables: int(m.GetTables()), Quarantined: int(m.GetQuarantined()),
		OldestQuarantine: m.GetOldestQuarantined().AsDuration().Seconds(), Receipts: int(m.GetReceiptsNew()),
		OldestUnsafe: m.GetOldestUnsafe().AsDuration().Seconds(), UnsafeDevice: m.GetUnsafeName(),
		Histories: hub.Histories{Restored: int(m.GetRestored()), Copied: int(m.GetCopied()), Held: int(m.GetHeld())}, Lost: lostIn(m.GetNotServed()),
	}
	dir := serve.HubDir(serve.DefaultData)
	if b.off != nil {
		dir = b.off.Dir
		out.Data = string(dir)
		if at, err := dir.ReadEndpoint(); err == nil {
			out.URL = at.URL
		}
		if dir.Serving() {
			out.State, out.Load = "listening", dir.ReadLoad()
		}
	} else {
		out.State, out.URL = "listening", b.at
		out.text = fmt.Sprintf("%d sessions, %d waiting", m.GetSessions(), m.GetWaiting())
	}
	for _, r := range m.GetReplicas() {
		out.Replicas = append(out.Replicas, api.Replica{Address: r.GetAddress(), Reads: int64(r.GetReads()), Fault: r.GetFault()})
	}
	out.pastStatus = pastOf(m, dir)
	list, err := b.devices(ctx, &pb.ListDevicesRequest{Sort: "name"}, 0)
	if err != nil {
		return err
	}
	if out.Devices, err = b.deviceRows(ctx, list); err != nil {
		return err
	}
	byName(out.Devices)
	return d.show(out, func(w io.Writer) { d.hubText(w, out, m) })
}

func (d *door) hubText(w io.Writer, out *hubFacts, m *pb.OverviewResponse) {
	where := "in " + out.Data
	if out.Data == "" {
		where = "at " + out.URL
	}
	fmt.Fprintf(w, "%s%s %s\n", out.warning(), out.Name, where)
	unsafe := "none known: all work that devices told of is here"
	if out.OldestUnsafe > 0 {
		unsafe = fmt.Sprintf("the oldest is %s old, on %s", span(seconds(out.OldestUnsafe)), out.UnsafeDevice)
	}
	state := out.State
	if out.URL != "" {
		state += " at " + out.URL
	}
	parked := "empty"
	if out.Quarantined > 0 {
		parked = fmt.Sprintf("%s, the oldest since %s: tidemark queue list", plural(int64(out.Quarantined), "transaction"), span(seconds(out.OldestQuarantine)))
	}
	if out.Behind != nil {
		state += ", and serves nothing"
	}
	facts(w, append([][2]string{{"  unsafe work", unsafe}, {"  state", state}, {"  load", out.loadText()}, {"  quarantine", parked},
		{"  receipts", count(int64(out.Receipts))}, {"  tables", tablesText(out.Tables, out.Lost)}, {"  as of", timeIn(m.GetAt()).Local().Format(time.DateTime)}},
		slices.Concat(replicaFacts(out.Replicas), historyFacts(out.Histories), out.facts())...))
	fmt.Fprintln(w)
	deviceTable(d, w, out.Devices, noDevices)
}

// replicaFacts are how those fare that parts of bootstraps are read from.
func replicaFacts(list []api.Replica) (out [][2]string) {
	for _, r := range list {
		text := "nothing was read there yet"
		if r.Reads > 0 {
			text = "serves: " + plural(r.Reads, "read")
		}
		if r.Fault != "" {
			text = "not read: " + r.Fault
		}
		out = append(out, [2]string{"  replica", r.Address + ", " + text})
	}
	return out
}
