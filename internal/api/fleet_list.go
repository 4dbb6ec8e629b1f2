package api

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A place is where a device stands in a list: what comes first is smaller. It says
// nothing that changes by itself while time goes by, so that it can go into a page token.
type place struct {
	A  int64  `json:"a,omitempty"`
	B  int64  `json:"b,omitempty"`
	S  string `json:"s,omitempty"`
	ID string `json:"i"`
}

func (p *place) compare(q *place) int {
	return cmp.Or(cmp.Compare(p.A, q.A), cmp.Compare(p.B, q.B), strings.Compare(p.S, q.S), strings.Compare(p.ID, q.ID))
}

// sorts give devices their places. All but worst count upwards.
var sorts = map[string]func(*sight, *hub.DeviceStatus) place{
	"worst": func(v *sight, d *hub.DeviceStatus) place {
		return place{A: -int64(d.Level), B: unsafeSince(v, d), S: strings.ToLower(d.Name)}
	},
	"name": func(_ *sight, d *hub.DeviceStatus) place { return place{S: strings.ToLower(d.Name)} },
	"seen": func(_ *sight, d *hub.DeviceStatus) place { return place{A: seconds(d.Seen)} },
	"unsafe": func(v *sight, d *hub.DeviceStatus) place {
		return place{A: -unsafeSince(v, d), S: strings.ToLower(d.Name)}
	},
	"outbox": func(_ *sight, d *hub.DeviceStatus) place {
		return place{A: int64(min(d.Status.OutboxDepth, math.MaxInt64))}
	}, //nolint:gosec // cut
	"quarantined": func(_ *sight, d *hub.DeviceStatus) place { return place{A: int64(d.Quarantine)} },
	"clock":       func(_ *sight, d *hub.DeviceStatus) place { return place{A: int64(d.Offset)} },
	"agent":       func(_ *sight, d *hub.DeviceStatus) place { return place{S: d.Agent} },
	"schema":      func(_ *sight, d *hub.DeviceStatus) place { return place{S: d.Schema} },
}

// seconds is a time in seconds; 0: never.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// unsafeSince is when a device's oldest unsafe change was made, to the second: the age
// that it tells is no more exact.
func unsafeSince(v *sight, d *hub.DeviceStatus) int64 {
	since := v.since(d)
	if since.IsZero() {
		return math.MaxInt64
	}
	return since.Unix()
}

// listToken is where a page of devices ends.
type listToken struct {
	Sort string `json:"o"`
	Last place  `json:"l"`
}

func (s fleet) List(ctx context.Context, req *connect.Request[pb.ListDevicesRequest]) (*connect.Response[pb.ListDevicesResponse], error) {
	m := req.Msg
	name := cmp.Or(m.GetSort(), "worst")
	key, turned := strings.CutPrefix(name, "-")
	if sorts[key] == nil {
		return nil, badField("sort", "devices cannot be sorted by "+key, "use worst, name, seen, unsafe, outbox, quarantined, clock, agent or schema")
	}
	var from listToken
	more, err := tokenIn(m.GetPage(), &from)
	if err != nil {
		return nil, err
	}
	if more && from.Sort != name {
		return nil, badField("page.page_token", "it belongs to a list in another order", "begin again without one")
	}
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	list := selected(v, m, key, turned)
	out := &pb.ListDevicesResponse{Total: count(len(list))}
	at := 0
	if more {
		at, _ = slices.BinarySearchFunc(list, from.Last, func(r ranked, p place) int {
			if c := turn(r.place.compare(&p), turned); c != 0 {
				return c
			}
			return -1 // after it
		})
	}
	end := min(at+pageSize(m.GetPage()), len(list))
	for _, r := range list[at:end] {
		out.Devices = append(out.Devices, deviceOut(r.device))
	}
	if end < len(list) {
		out.NextPageToken = tokenOut(listToken{Sort: name, Last: list[end-1].place})
	}
	return connect.NewResponse(out), nil
}

// ranked is a device and its place.
type ranked struct {
	place  place
	device *hub.DeviceStatus
}

func turn(c int, turned bool) int {
	if turned {
		return -c
	}
	return c
}

// selected are the devices that a request wants, in its order.
func selected(v *sight, m *pb.ListDevicesRequest, key string, turned bool) []ranked {
	all := v.order(key, sorts[key])
	search := strings.Fields(strings.ToLower(m.GetSearch()))
	list := make([]ranked, 0, len(all))
	for i := range all {
		r := &all[i]
		if turned { // no two places are equal
			r = &all[len(all)-1-i]
		}
		if wanted(r.device, m) && finds(r.device, search) {
			list = append(list, *r)
		}
	}
	return list
}

func wanted(d *hub.DeviceStatus, m *pb.ListDevicesRequest) bool {
	return (len(m.GetStates()) == 0 || slices.Contains(m.GetStates(), stateNames[d.State])) &&
		(len(m.GetLevels()) == 0 || slices.Contains(m.GetLevels(), levelOut(d.Level))) &&
		(!m.GetConnectedOnly() || d.Connected)
}
