package api

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// entrance lets people in.
type entrance struct{ *Service }

func (s entrance) State(ctx context.Context, _ *connect.Request[pb.StateRequest]) (*connect.Response[pb.StateResponse], error) {
	set, err := s.cfg.People.Occupied(ctx)
	if err != nil {
		return nil, s.explain(err, "")
	}
	out := &pb.StateResponse{SetUp: set}
	c := callOf(ctx)
	if c.who == nil {
		return connect.NewResponse(out), nil
	}
	// What the hub is and runs is for those who are in.
	out.Hub, out.Version, out.Csrf = s.cfg.Name, s.cfg.Version, c.who.CSRF
	if out.You, err = s.you(ctx, c); err != nil {
		return nil, s.explain(err, "person")
	}
	return connect.NewResponse(out), nil
}

// you is who asks.
func (s *Service) you(ctx context.Context, c *call) (*pb.Person, error) {
	if c.local || c.who.Token {
		return &pb.Person{Id: c.who.ID, Name: c.who.Name, Role: roleOut(c.who.Role), Token: c.who.Token}, nil
	}
	p, err := s.cfg.People.Person(ctx, c.who.ID)
	if err != nil {
		return nil, err
	}
	return personOut(p), nil
}

func (s entrance) SetUp(ctx context.Context, req *connect.Request[pb.SetUpRequest]) (*connect.Response[pb.LoginResponse], error) {
	c := callOf(ctx)
	if err := s.gates.places.Allow(c.from); err != nil {
		return nil, s.explain(err, "")
	}
	p, err := s.cfg.People.SetUp(ctx, req.Msg.GetSecret(), req.Msg.GetName(), req.Msg.GetPassword())
	if err != nil {
		if wrong(err) {
			s.gates.places.Failed(c.from)
		}
		return nil, s.explain(err, "link")
	}
	s.log.Info("a person was set up", "name", p.Name, "role", string(p.Role), "from", c.from)
	return s.welcome(ctx, c, p)
}

// wrong reports whether a proof did not hold.
func wrong(err error) bool {
	var f *people.Fault
	return errors.As(err, &f) && f.Kind == people.Denied && f.Code != people.ErrCode
}

func (s entrance) Login(ctx context.Context, req *connect.Request[pb.LoginRequest]) (*connect.Response[pb.LoginResponse], error) {
	c, m := callOf(ctx), req.Msg
	// A name is put down only when somebody has it: people type passwords there.
	name := "nobody's name"
	if p, err := s.cfg.People.Person(ctx, m.GetName()); err == nil {
		name, c.entry.Subject = p.ID, p.Name
	}
	for _, err := range []error{s.gates.places.Allow(c.from), s.gates.names.Allow(name)} {
		if err != nil {
			return nil, s.explain(err, "")
		}
	}
	p, err := s.cfg.People.Login(ctx, m.GetName(), m.GetPassword(), m.GetTotp())
	if f := (*people.Fault)(nil); errors.As(err, &f) && f.Code == people.ErrCode {
		return connect.NewResponse(&pb.LoginResponse{TotpNeeded: true}), nil
	}
	if err != nil {
		if wrong(err) {
			s.gates.places.Failed(c.from)
			s.gates.names.Failed(name)
			s.log.Warn("login failed", "from", c.from)
		}
		return nil, s.explain(err, "")
	}
	s.gates.names.Done(name)
	return s.welcome(ctx, c, p)
}

// welcome begins a session, under a secret that nobody knew before.
func (s *Service) welcome(ctx context.Context, c *call, p *people.Person) (*connect.Response[pb.LoginResponse], error) {
	s.gates.places.Done(c.from)
	if c.who != nil && c.who.Session != "" {
		if err := s.cfg.People.End(ctx, c.who.Session); err != nil {
			return nil, s.explain(err, "")
		}
	}
	secret, err := s.cfg.People.Begin(ctx, p.ID, c.from)
	if err != nil {
		return nil, s.explain(err, "person")
	}
	who, err := s.cfg.People.Session(ctx, secret)
	if err != nil {
		return nil, s.explain(err, "")
	}
	c.who = who
	if c.entry.Subject == "" {
		c.entry.Subject = p.Name
	}
	res := connect.NewResponse(&pb.LoginResponse{You: personOut(p), Csrf: who.CSRF})
	res.Header().Add("Set-Cookie", cookie(secret, int(people.SessionFor.Seconds())).String())
	return res, nil
}

func cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: age}
}

func (s entrance) Logout(ctx context.Context, req *connect.Request[pb.LogoutRequest]) (*connect.Response[pb.LogoutResponse], error) {
	c, err := s.person(ctx)
	if err != nil {
		return nil, err
	}
	if req.Msg.GetEverywhere() {
		err = s.cfg.People.EndAll(ctx, c.who.ID, "")
	} else {
		err = s.cfg.People.End(ctx, c.who.Session)
	}
	if err != nil {
		return nil, s.explain(err, "")
	}
	res := connect.NewResponse(&pb.LogoutResponse{})
	res.Header().Add("Set-Cookie", cookie("", -1).String())
	return res, nil
}

// person is the call of a person who is logged in, not of a token or the machine.
func (s *Service) person(ctx context.Context) (*call, error) {
	c := callOf(ctx)
	if c.who == nil || c.who.Session == "" {
		return nil, fault(connect.CodeFailedPrecondition, "not-a-person", "only a person who logged in has this, not a token", "log in at the console")
	}
	c.entry.Subject = c.who.Name
	return c, nil
}

func (s entrance) BeginTotp(ctx context.Context, req *connect.Request[pb.BeginTotpRequest]) (*connect.Response[pb.BeginTotpResponse], error) {
	c, err := s.prover(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.cfg.People.BeginTOTP(ctx, c.who.ID, req.Msg.GetPassword(), req.Msg.GetCode())
	if err != nil {
		return nil, s.unproved(c, err)
	}
	return connect.NewResponse(&pb.BeginTotpResponse{Secret: t.Secret, Uri: t.URI}), nil
}

func (s entrance) FinishTotp(ctx context.Context, req *connect.Request[pb.FinishTotpRequest]) (*connect.Response[pb.Person], error) {
	c, err := s.prover(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.People.FinishTOTP(ctx, c.who.ID, req.Msg.GetCode(), c.who.Session)
	if err != nil {
		return nil, s.unproved(c, err)
	}
	return s.own(p, nil)
}

func (s entrance) RemoveTotp(ctx context.Context, req *connect.Request[pb.RemoveTotpRequest]) (*connect.Response[pb.Person], error) {
	c, err := s.prover(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.People.RemoveTOTP(ctx, c.who.ID, req.Msg.GetPassword(), req.Msg.GetCode(), c.who.Session)
	if err != nil {
		return nil, s.unproved(c, err)
	}
	return s.own(p, nil)
}

// prover is the call of a person who is about to prove that they are who they are, and
// did not fail too often.
func (s entrance) prover(ctx context.Context) (*call, error) {
	c, err := s.person(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.gates.names.Allow(c.who.ID); err != nil {
		return nil, s.explain(err, "")
	}
	return c, nil
}

// unproved is the answer to a proof that failed, which counts when it was wrong.
func (s entrance) unproved(c *call, err error) error {
	f := (*people.Fault)(nil)
	switch {
	case wrong(err):
		s.gates.names.Failed(c.who.ID)
		return fault(connect.CodeInvalidArgument, "wrong-code", "the code is wrong", "give the one that the app shows now; look whether the clock of the phone is right")
	case errors.As(err, &f) && f.Code == "wrong-password":
		s.gates.names.Failed(c.who.ID)
	}
	return s.explain(err, "person")
}

func (s entrance) SetPassword(ctx context.Context, req *connect.Request[pb.SetPasswordRequest]) (*connect.Response[pb.Person], error) {
	c, err := s.prover(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.People.SetPassword(ctx, c.who.ID, req.Msg.GetOld(), req.Msg.GetNew(), c.who.Session)
	if err != nil {
		return nil, s.unproved(c, err)
	}
	return s.own(p, nil)
}

// own answers with the person who changed something of their own.
func (s *Service) own(p *people.Person, err error) (*connect.Response[pb.Person], error) {
	if err != nil {
		return nil, s.explain(err, "person")
	}
	return connect.NewResponse(personOut(p)), nil
}

func roleOut(r people.Role) pb.Role {
	for out, name := range roleNames {
		if name == r {
			return out
		}
	}
	return pb.Role_ROLE_UNSPECIFIED
}

func personOut(p *people.Person) *pb.Person {
	out := &pb.Person{Id: p.ID, Name: p.Name, Role: roleOut(p.Role), Totp: p.TOTP, Created: timeOut(p.Created), Seen: timeOut(p.Seen), Invited: p.Invited, Version: p.Version}
	for _, k := range p.Passkeys {
		out.Passkeys = append(out.Passkeys, &pb.Passkey{Id: k.ID, Label: k.Label, Created: timeOut(k.Created), Used: timeOut(k.Used)})
	}
	return out
}
