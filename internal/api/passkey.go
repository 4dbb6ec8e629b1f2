package api

import (
	"context"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// site is what passkeys are bound to.
func (s *Service) site() people.Site { return people.SiteOf(s.cfg.URL) }

func (s *Service) question(q *people.Question, err error) (*connect.Response[pb.PasskeyOptions], error) {
	if err != nil {
		return nil, s.explain(err, "person")
	}
	return connect.NewResponse(&pb.PasskeyOptions{Json: q.JSON, Ceremony: q.Ceremony}), nil
}

func (s entrance) BeginPasskeyLogin(context.Context, *connect.Request[pb.BeginPasskeyLoginRequest]) (*connect.Response[pb.PasskeyOptions], error) {
	return s.question(s.cfg.People.BeginPasskeyLogin(s.site()))
}

func (s entrance) FinishPasskeyLogin(ctx context.Context, req *connect.Request[pb.FinishPasskeyRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	if err := s.gates.places.Allow(c.from); err != nil {
		return nil, s.explain(err, "")
	}
	p, err := s.cfg.People.FinishPasskeyLogin(ctx, req.Msg.GetCeremony(), req.Msg.GetJson(), s.site())
	if err != nil {
		if wrong(err) {
			s.gates.places.Failed(c.from)
		}
		return nil, s.explain(err, "passkey")
	}
	return s.welcome(ctx, c, p)
}

func (s entrance) BeginPasskey(ctx context.Context, _ *connect.Request[pb.BeginPasskeyRequest]) (*connect.Response[pb.PasskeyOptions], error) {
	c, err := s.person(ctx)
	if err != nil {
		return nil, err
	}
	return s.question(s.cfg.People.BeginPasskey(ctx, c.who.ID, s.site()))
}

func (s entrance) FinishPasskey(ctx context.Context, req *connect.Request[pb.FinishPasskeyRequest]) (*connect.Response[pb.Person], error) {
	c, err := s.person(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.People.FinishPasskey(ctx, c.who.ID, req.Msg.GetCeremony(), req.Msg.GetJson(), req.Msg.GetLabel(), s.site())
	if wrong(err) { // it is not the login that does not hold
		return nil, fault(connect.CodeInvalidArgument, "passkey", err.Error(), "try again")
	}
	return s.own(p, err)
}

func (s entrance) RemovePasskey(ctx context.Context, req *connect.Request[pb.RemovePasskeyRequest]) (*connect.Response[pb.Person], error) {
	c, err := s.person(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.People.RemovePasskey(ctx, c.who.ID, req.Msg.GetId())
	return s.own(p, err)
}
