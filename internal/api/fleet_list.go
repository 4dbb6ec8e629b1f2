package api

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// A place is where a device stands in a list: what comes first is smaller. It says
// nothing that changes by itself while time goes by, so that it can go into a page token.
type place struct {
	A  int64  `json:"a,omitempty"`
	B  int64  `json:"b,omitempty"`
	S  string `json:"s,omitempty"`
	ID string `json:"i"`
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.A, q.A), cmp.Compare(p.B, q.B), strings.Compare(p.S, q.S), strings.Compare(p.ID, q.ID))
}

// sorts give devices their places. All but worst count upwards.
var sorts = map[string]func(*seenDevice) place{
	"worst": func(d *seenDevice) place {
		return place{A: -int64(d.pb.GetLevel()), B: d.unsafeSince(), S: strings.ToLower(d.pb.GetName())}
	},
	"name": func(d *seenDevice) place { return place{S: strings.ToLower(d.pb.GetName())} },
	"seen": func(d *seenDevice) place { return place{A: d.pb.GetSeen().GetSeconds()} },
	"unsafe": func(d *seenDevice) place {
		return place{A: -d.unsafeSince(), S: strings.ToLower(d.pb.GetName())}
	},
	"outbox":      func(d *seenDevice) place { return place{A: int64(min(d.pb.GetOutbox(), math.MaxInt64))} }, //nolint:gosec // cut
	"quarantined": func(d *seenDevice) place { return place{A: int64(d.pb.GetQuarantined())} },
	"clock":       func(d *seenDevice) place { return place{A: int64(d.pb.GetClockOffset().AsDuration())} },
	"agent":       func(d *seenDevice) place { return place{S: d.pb.GetAgent()} },
	"schema":      func(d *seenDevice) place { return place{S: d.pb.GetSchema()} },
}

// unsafeSince is when a device's oldest unsafe change was made, to the second: the age
// that it tells is no more exact.
func (d *seenDevice) unsafeSince() int64 {
	if d.since.IsZero() {
		return math.MaxInt64
	}
	return d.since.Unix()
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
	of, ok := sorts[key]
	if !ok {
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
	list := selected(v, m, of, turned)
	out := &pb.ListDevicesResponse{Total: count(len(list))}
	at := 0
	if more {
		at, _ = slices.BinarySearchFunc(list, from.Last, func(r ranked, p place) int {
			if c := turn(r.place.compare(p), turned); c != 0 {
				return c
			}
			return -1 // after it
		})
	}
	end := min(at+pageSize(m.GetPage()), len(list))
	for _, r := range list[at:end] {
		out.Devices = append(out.Devices, r.device)
	}
	if end < len(list) {
		out.NextPageToken = tokenOut(listToken{Sort: name, Last: list[end-1].place})
	}
	return connect.NewResponse(out), nil
}

// ranked is a device and its place.
type ranked struct {
	place  place
	device *pb.Device
}

func turn(c int, turned bool) int {
	if turned {
		return -c
	}
	return c
}

// selected are the devices that a request wants, in its order.
func selected(v *sight, m *pb.ListDevicesRequest, of func(*seenDevice) place, turned bool) []ranked {
	search := strings.Fields(strings.ToLower(m.GetSearch()))
	list := make([]ranked, 0, len(v.devices))
	for i := range v.devices {
		d := &v.devices[i]
		if !wanted(d, m, search) {
			continue
		}
		p := of(d)
		p.ID = d.pb.GetId()
		list = append(list, ranked{p, d.pb})
	}
	slices.SortFunc(list, func(x, y ranked) int { return turn(x.place.compare(y.place), turned) })
	return list
}

func wanted(d *seenDevice, m *pb.ListDevicesRequest, search []string) bool {
	if len(m.GetStates()) > 0 && !slices.Contains(m.GetStates(), d.pb.GetState()) ||
		len(m.GetLevels()) > 0 && !slices.Contains(m.GetLevels(), d.pb.GetLevel()) ||
		m.GetConnectedOnly() && !d.pb.GetConnected() {
		return false
	}
	for _, word := range search {
		if !strings.Contains(d.find, word) {
			return false
		}
	}
	return true
}
