package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// noDevices is what a new hub has.
const noDevices = "no devices yet: tidemark device add NAME --scope KIND/VALUE"

// deviceFilter are the flags that narrow and order a list of devices.
type deviceFilter struct {
	req    pb.ListDevicesRequest
	states []string
	levels []string
	limit  int
}

func (f *deviceFilter) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.req.Search, "search", "", "only those with these words in name, id or scopes")
	c.Flags().StringSliceVar(&f.states, "state", nil, "only those that are invited, active or revoked (repeatable)")
	c.Flags().StringSliceVar(&f.levels, "level", nil, "only those at this level: ok, notice, warning or alarm (repeatable)")
	c.Flags().BoolVar(&f.req.ConnectedOnly, "connected", false, "only those that are connected now")
	c.Flags().StringVar(&f.req.Sort, "sort", "name", "worst, name, seen, unsafe, outbox, quarantined, clock, agent or schema; with - in front turned round")
	c.Flags().IntVar(&f.limit, "limit", 0, "at most so many (0: all)")
}

// enumOf finds the value of an enumeration that a flag names.
func enumOf(flag, prefix, text string, known map[string]int32) (int32, error) {
	n, ok := known[prefix+strings.ToUpper(text)]
	if ok && n != 0 {
		return n, nil
	}
	names := make([]string, 0, len(known))
	for i := range int32(len(known)) { //nolint:gosec // a handful
		for name, n := range known {
			if n == i && n != 0 {
				names = append(names, strings.ToLower(strings.TrimPrefix(name, prefix)))
			}
		}
	}
	return 0, usage("--%s %q: known are %s", flag, text, strings.Join(names, ", "))
}

func (f *deviceFilter) request() (*pb.ListDevicesRequest, error) {
	out := &pb.ListDevicesRequest{Search: f.req.GetSearch(), Sort: f.req.GetSort(), ConnectedOnly: f.req.GetConnectedOnly()}
	for _, s := range f.states {
		n, err := enumOf("state", "DEVICE_STATE_", s, pb.DeviceState_value)
		if err != nil {
			return nil, err
		}
		out.States = append(out.States, pb.DeviceState(n))
	}
	for _, s := range f.levels {
		n, err := enumOf("level", "LEVEL_", s, pb.Level_value)
		if err != nil {
			return nil, err
		}
		out.Levels = append(out.Levels, pb.Level(n))
	}
	return out, nil
}

// devices lists those that a request wants, at most limit of them (0: all).
func (b *bureau) devices(ctx context.Context, req *pb.ListDevicesRequest, limit int) (out []*pb.Device, err error) {
	err = pages(func(p *pb.Page) (string, bool, error) {
		req.Page = p
		res, err := b.Fleet.List(ctx, connect.NewRequest(req))
		if err != nil {
			return "", true, err
		}
		out = append(out, res.Msg.GetDevices()...)
		return res.Msg.GetNextPageToken(), limit > 0 && len(out) >= limit, nil
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, err
}

func deviceList(d *door, o *officeFlags) *cobra.Command {
	f := &deviceFilter{}
	c := &cobra.Command{
		Use:   "list",
		Short: "List the devices: rights, last contact, unsafe work",
		Example: `  tidemark device list --json
  tidemark device list --sort worst --level warning,alarm
  tidemark device list --hub https://hub.example.org:8440 --search branch/7`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request()
			if err != nil {
				return err
			}
			return o.withAPI(cmd, d, func(ctx context.Context, b *bureau) error {
				list, err := b.devices(ctx, req, f.limit)
				if err != nil {
					return err
				}
				out, err := b.deviceRows(ctx, list)
				if err != nil {
					return err
				}
				none := noDevices
				if req.GetSearch() != "" || len(req.GetStates())+len(req.GetLevels()) > 0 || req.GetConnectedOnly() {
					none = "no device is like that"
				}
				return d.show(map[string]any{"devices": out}, func(w io.Writer) { deviceTable(d, w, out, none) })
			})
		},
	}
	f.bind(c)
	return c
}

// A deviceRow is a device as the verbs show it; durations are in seconds.
type deviceRow struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	State        string    `json:"state"`
	Reason       string    `json:"reason,omitempty"`
	Grants       []string  `json:"grants"`
	Created      time.Time `json:"created"`
	Seen         time.Time `json:"seen,omitzero"`
	Progress     time.Time `json:"progress,omitzero"`
	OutboxDepth  uint64    `json:"outbox_depth"`
	OldestUnsafe float64   `json:"oldest_unsafe_seconds"`
	Quarantined  uint64    `json:"quarantined"`
	ClockOffset  float64   `json:"clock_offset_seconds"`
	Agent        string    `json:"agent,omitempty"`
	CopyOf       string    `json:"copy_of,omitempty"` // the device whose file was copied
	Restored     time.Time `json:"restored,omitzero"` // when its file last went on from an older state
	Held         int       `json:"held,omitempty"`    // files that wait for tidemark device allow
	standing
	grants, note string
}

// standing is how a device stands, and what people decided about it.
type standing struct {
	Paused    bool   `json:"paused,omitempty"`
	Isolated  bool   `json:"isolated,omitempty"`
	Connected bool   `json:"connected"`
	Level     string `json:"level"`           // ok, notice, warning, alarm
	Why       string `json:"why,omitempty"`   // of the level
	Asked     string `json:"asked,omitempty"` // what it was asked for and has not begun
	Schema    string `json:"schema,omitempty"`
	FreeDisk  uint64 `json:"free_disk,omitempty"` // bytes
	Version   string `json:"version"`             // for --at
}

// wordOf is a value of an enumeration in one word.
func wordOf(v fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(v.String(), prefix))
}

func newDeviceRow(v *pb.Device) deviceRow {
	grants := api.Grants(v.GetGrants())
	r := deviceRow{
		ID: v.GetId(), Name: v.GetName(), State: wordOf(v.GetState(), "DEVICE_STATE_"), Reason: v.GetReason(), Grants: []string{},
		Created: timeIn(v.GetCreated()), Seen: timeIn(v.GetSeen()), Progress: timeIn(v.GetProgress()), OutboxDepth: v.GetOutbox(),
		OldestUnsafe: v.GetOldestUnsafe().AsDuration().Seconds(), Quarantined: uint64(v.GetQuarantined()),
		ClockOffset: v.GetClockOffset().AsDuration().Seconds(), Agent: v.GetAgent(), CopyOf: v.GetCopyOf(), Restored: timeIn(v.GetRestored()),
		Held: int(v.GetHeld()), grants: grantText(grants),
		standing: standing{Paused: v.GetPaused(), Isolated: v.GetIsolated(), Connected: v.GetConnected(), Level: wordOf(v.GetLevel(), "LEVEL_"),
			Why: v.GetWhy(), Asked: v.GetAsked(), Schema: v.GetSchema(), FreeDisk: v.GetFreeDisk(), Version: v.GetVersion()},
	}
	for _, g := range grants {
		r.Grants = append(r.Grants, string(g.Scope)+"="+strings.ReplaceAll(verbText(g.Verbs), ", ", "+"))
	}
	return r
}

// deviceRows are devices as the verbs show them, with a note where something stands out.
func (b *bureau) deviceRows(ctx context.Context, list []*pb.Device) ([]deviceRow, error) {
	names := map[string]string{}
	for _, v := range list {
		names[v.GetId()] = v.GetName()
	}
	out := make([]deviceRow, len(list))
	for i, v := range list {
		out[i] = newDeviceRow(v)
		origin := v.GetCopyOf()
		if _, ok := names[origin]; origin != "" && !ok {
			res, err := b.Fleet.Get(ctx, connect.NewRequest(&pb.GetDeviceRequest{Id: origin}))
			switch {
			case says(err, "no-such-device"):
				names[origin] = origin
			case err != nil:
				return nil, err
			default:
				names[origin] = res.Msg.GetDevice().GetName()
			}
		}
		out[i].note = out[i].noteText(names[origin])
	}
	return out, nil
}

// noteText is what stands out, the most pressing first.
func (r *deviceRow) noteText(origin string) string {
	switch {
	case r.Held > 0:
		return "held: tidemark device allow " + word(r.Name)
	case r.Paused && r.State == "active":
		return "paused: tidemark device resume " + word(r.Name)
	case r.Isolated && r.State == "active":
		return "isolated: tidemark device release " + word(r.Name)
	case r.CopyOf != "":
		return "copy of " + origin
	case !r.Restored.IsZero():
		return "restored " + r.Restored.Local().Format(time.DateOnly)
	}
	return ""
}

// byName puts devices in the order in which people look for them.
func byName(list []deviceRow) {
	slices.SortFunc(list, func(a, b deviceRow) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

func deviceTable(d *door, w io.Writer, list []deviceRow, none string) {
	if len(list) == 0 {
		fmt.Fprintln(w, none)
		return
	}
	rows := make([][]string, len(list))
	noted := slices.ContainsFunc(list, func(r deviceRow) bool { return r.note != "" })
	for i, r := range list {
		unsafe := "-"
		if r.OutboxDepth > 0 {
			unsafe = fmt.Sprintf("%d, oldest %s", r.OutboxDepth, span(seconds(r.OldestUnsafe)))
		}
		rows[i] = []string{r.Name, r.ID, r.State, r.grants, d.ago(r.Seen), d.ago(r.Progress), unsafe}
		if noted {
			rows[i] = append(rows[i], r.note)
		}
	}
	head := []string{"NAME", "ID", "STATE", "RIGHTS", "SEEN", "PROGRESS", "UNSAFE WORK"}
	if noted {
		head = append(head, "NOTE")
	}
	grid(w, head, rows)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// spanOut is a duration in a message; nil for none.
func spanOut(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
