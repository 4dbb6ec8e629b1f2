package api

import (
	"context"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func (s fleet) Get(ctx context.Context, req *connect.Request[pb.GetDeviceRequest]) (*connect.Response[pb.GetDeviceResponse], error) {
	id, err := s.deviceOf(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	out := &pb.GetDeviceResponse{}
	if out.Device, err = s.one(ctx, id); err != nil {
		return nil, err
	}
	lives, err := s.cfg.Hub.Lives(ctx, id)
	if err != nil {
		return nil, s.explain(err, "device")
	}
	for i := range lives {
		l := &lives[i]
		one := &pb.Life{Incarnation: l.Inc.String(), Began: timeOut(l.First), Held: l.Held, Ended: l.Ended, Seen: timeOut(l.Seen)}
		if !l.Parent.IsZero() {
			one.Continues = l.Parent.String()
		}
		if !l.Split.IsZero() {
			one.Split = l.Split.String()
		}
		if one.Ended == "" && one.Split != "" {
			one.Ended = "its file is device " + l.Split.String() + " from then on"
		}
		out.Lives = append(out.Lives, one)
	}
	if out.Events, err = s.eventsOf(ctx, id); err != nil {
		return nil, err
	}
	return connect.NewResponse(out), nil
}

// longestToken is how long a join token may be good.
const longestToken = 365 * 24 * time.Hour

func (s fleet) Add(ctx context.Context, req *connect.Request[pb.AddDeviceRequest]) (*connect.Response[pb.AddDeviceResponse], error) {
	m, c := req.Msg, callOf(ctx)
	c.entry.Subject = m.GetName()
	if strings.TrimSpace(m.GetName()) == "" {
		return nil, badField("name", "a device needs one", "give the name of its site, such as branch 7")
	}
	ttl := m.GetGoodFor().AsDuration()
	switch {
	case ttl == 0:
		ttl = s.cfg.Serving.TokenTTL()
	case ttl < 0 || ttl > longestToken:
		return nil, badField("good_for", "a token is good for a year at most", "leave it out for the hub's own")
	}
	inv, err := s.cfg.Hub.AddDevice(ctx, m.GetName(), grantsIn(m.GetGrants()), ttl)
	if err != nil {
		if e := s.explainGrants(err); e != nil {
			return nil, e
		}
		return nil, s.explain(err, "device")
	}
	c.entry.Subject = inv.Device.String()
	token, err := s.cfg.Serving.Token(inv.Secret, m.GetName())
	if err != nil {
		return nil, s.explain(err, "device")
	}
	d, err := s.anew(ctx, inv.Device)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.AddDeviceResponse{Device: d, Token: token, Expires: timeOut(inv.Expires),
		ReadsOnly: readsOnly(s.cfg.Hub.Setup().Rules.Tables, grantsIn(m.GetGrants()))}), nil
}

// explainGrants is of grants that no table fits.
func (s *Service) explainGrants(err error) error {
	if err != nil && strings.Contains(err.Error(), "no table has this kind of scope") {
		_, why, _ := strings.Cut(err.Error(), "scope ")
		return badField("grants", "scope "+why, "tidemark.yaml says which scopes there are")
	}
	return nil
}

// anew looks at a device after it was changed, and notes it for the audit.
func (s *Service) anew(ctx context.Context, id change.DeviceID) (*pb.Device, error) {
	s.fleet.forget()
	s.news.post("device", id.String())
	s.news.post("fleet", "")
	d, err := s.one(ctx, id)
	if err == nil {
		callOf(ctx).entry.After = deviceJSON(d)
	}
	return d, err
}

// deviceJSON is what the audit keeps of a device: what people decide about it.
func deviceJSON(d *pb.Device) string {
	grants := make([]string, len(d.GetGrants()))
	for i, g := range d.GetGrants() {
		verbs := ""
		for _, v := range []struct {
			on   bool
			name string
		}{{g.GetRead(), "r"}, {g.GetInsert(), "i"}, {g.GetUpdate(), "u"}, {g.GetDelete(), "d"}} {
			if v.on {
				verbs += v.name
			}
		}
		grants[i] = g.GetScope() + "=" + verbs
	}
	return people.JSON(struct {
		Name     string   `json:"name"`
		State    string   `json:"state"`
		Reason   string   `json:"reason,omitempty"`
		Paused   bool     `json:"paused,omitempty"`
		Isolated bool     `json:"isolated,omitempty"`
		Held     uint32   `json:"held,omitempty"`
		Grants   []string `json:"grants"`
		Asked    string   `json:"asked,omitempty"`
	}{d.GetName(), strings.ToLower(strings.TrimPrefix(d.GetState().String(), "DEVICE_STATE_")), d.GetReason(), d.GetPaused(), d.GetIsolated(), d.GetHeld(), grants, d.GetAsked()})
}

// act does something to a device, and answers with what it is then.
func (s *Service) act(ctx context.Context, text string, do func(change.DeviceID) error) (*connect.Response[pb.Device], error) {
	c := callOf(ctx)
	c.entry.Subject = text
	id, err := s.deviceOf(ctx, text)
	if err != nil {
		return nil, err
	}
	c.entry.Subject = id.String()
	before, err := s.one(ctx, id)
	if err != nil {
		return nil, err
	}
	c.entry.Before = deviceJSON(before)
	if err := do(id); err != nil {
		if e := s.explainGrants(err); e != nil {
			return nil, e
		}
		return nil, s.staleBy(ctx, err, id.String(), "device")
	}
	d, err := s.anew(ctx, id)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(d), nil
}

func (s fleet) Rename(ctx context.Context, req *connect.Request[pb.RenameDeviceRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Rename(ctx, id, req.Msg.GetName(), hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) SetGrants(ctx context.Context, req *connect.Request[pb.SetGrantsRequest]) (*connect.Response[pb.Device], error) {
	if len(req.Msg.GetGrants()) == 0 {
		return nil, badField("grants", "there are none", "to shut a device out, revoke it")
	}
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.SetGrantsAt(ctx, id, grantsIn(req.Msg.GetGrants()), hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Pause(ctx context.Context, req *connect.Request[pb.PauseRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Pause(ctx, id, req.Msg.GetReason(), hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Resume(ctx context.Context, req *connect.Request[pb.ResumeRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Resume(ctx, id, hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Isolate(ctx context.Context, req *connect.Request[pb.IsolateRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Isolate(ctx, id, req.Msg.GetReason(), hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Release(ctx context.Context, req *connect.Request[pb.ReleaseRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, _, err := s.cfg.Hub.Release(ctx, id, hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Revoke(ctx context.Context, req *connect.Request[pb.RevokeRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.RevokeAt(ctx, id, req.Msg.GetReason(), hub.Version(req.Msg.GetVersion()))
		return err
	})
}

func (s fleet) Judge(ctx context.Context, req *connect.Request[pb.JudgeRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		if req.Msg.GetAllow() {
			return s.cfg.Hub.Allow(ctx, id)
		}
		return s.cfg.Hub.Refuse(ctx, id, req.Msg.GetReason())
	})
}

func (s fleet) AskSync(ctx context.Context, req *connect.Request[pb.AskRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Ask(ctx, id, wire.AskSync)
		return err
	})
}

func (s fleet) AskVerify(ctx context.Context, req *connect.Request[pb.AskRequest]) (*connect.Response[pb.Device], error) {
	return s.act(ctx, req.Msg.GetId(), func(id change.DeviceID) error {
		_, err := s.cfg.Hub.Ask(ctx, id, wire.AskVerify)
		return err
	})
}

func (s fleet) Timeline(ctx context.Context, req *connect.Request[pb.TimelineRequest]) (*connect.Response[pb.TimelineResponse], error) {
	id, err := s.deviceOf(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	var from beforeToken
	if _, err := tokenIn(req.Msg.GetPage(), &from); err != nil {
		return nil, err
	}
	list, next, err := s.cfg.Hub.Timeline(ctx, id, from.Before, pageSize(req.Msg.GetPage()))
	if err != nil {
		return nil, s.explain(err, "device")
	}
	out := &pb.TimelineResponse{}
	for i := range list {
		m := &list[i]
		out.Entries = append(out.Entries, &pb.TimelineEntry{At: timeOut(m.At), Until: timeOut(m.Until), Kind: m.Kind, Detail: m.Detail,
			TransactionsIn: m.In, RowsOut: m.Out, Error: m.Error})
	}
	if next != "" {
		out.NextPageToken = tokenOut(beforeToken{next})
	}
	return connect.NewResponse(out), nil
}
