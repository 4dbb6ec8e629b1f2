package api

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// staff is who may come in, as admins manage it.
type staff struct{ *Service }

func (s staff) List(ctx context.Context, _ *connect.Request[pb.ListPeopleRequest]) (*connect.Response[pb.ListPeopleResponse], error) {
	list, err := s.cfg.People.People(ctx)
	if err != nil {
		return nil, s.explain(err, "person")
	}
	out := &pb.ListPeopleResponse{}
	for i := range list {
		out.People = append(out.People, personOut(&list[i]))
	}
	return connect.NewResponse(out), nil
}

// Link is where a one-time secret is used.
func (s *Service) Link(secret string) string {
	return strings.TrimSuffix(s.cfg.URL, "/") + "/#/setup/" + url.PathEscape(secret)
}

func roleIn(r pb.Role) (people.Role, error) {
	switch role := roleNames[r]; role {
	case people.Viewer, people.Operator, people.Admin:
		return role, nil
	}
	return "", badField("role", "a person needs one", "use ROLE_VIEWER, ROLE_OPERATOR or ROLE_ADMIN")
}

func (s staff) Invite(ctx context.Context, req *connect.Request[pb.InviteRequest]) (*connect.Response[pb.InviteResponse], error) {
	c := callOf(ctx)
	c.entry.Subject = req.Msg.GetName()
	role, err := roleIn(req.Msg.GetRole())
	if err != nil {
		return nil, err
	}
	l, err := s.cfg.People.Invite(ctx, req.Msg.GetName(), role)
	if err != nil {
		return nil, s.explain(err, "person")
	}
	c.entry.After = people.JSON(l.Person)
	return s.linkOut(l), nil
}

func (s *Service) linkOut(l *people.Link) *connect.Response[pb.InviteResponse] {
	return connect.NewResponse(&pb.InviteResponse{Person: personOut(l.Person), Link: s.Link(l.Secret), Expires: timeOut(l.Expires)})
}

// personOf finds the person that a request names, by id or name.
func (s *Service) personOf(ctx context.Context, text string) (*people.Person, error) {
	c := callOf(ctx)
	c.entry.Subject = text
	p, err := s.cfg.People.Person(ctx, text)
	if err != nil {
		return nil, s.explain(err, "person")
	}
	c.entry.Subject, c.entry.Before = p.Name, people.JSON(p)
	return p, nil
}

func (s staff) SetRole(ctx context.Context, req *connect.Request[pb.SetRoleRequest]) (*connect.Response[pb.Person], error) {
	p, err := s.personOf(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	role, err := roleIn(req.Msg.GetRole())
	if err != nil {
		return nil, err
	}
	_, after, err := s.cfg.People.SetRole(ctx, p.ID, role, req.Msg.GetVersion())
	if err != nil {
		return nil, s.staleBy(ctx, err, p.Name, "person")
	}
	callOf(ctx).entry.After = people.JSON(after)
	return connect.NewResponse(personOut(after)), nil
}

func (s staff) Remove(ctx context.Context, req *connect.Request[pb.RemovePersonRequest]) (*connect.Response[pb.RemovePersonResponse], error) {
	p, err := s.personOf(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	if _, err := s.cfg.People.Remove(ctx, p.ID, req.Msg.GetVersion()); err != nil {
		return nil, s.staleBy(ctx, err, p.Name, "person")
	}
	return connect.NewResponse(&pb.RemovePersonResponse{}), nil
}

func (s staff) Reset(ctx context.Context, req *connect.Request[pb.ResetRequest]) (*connect.Response[pb.InviteResponse], error) {
	p, err := s.personOf(ctx, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	// Who has the hub's machine needs no other way in: there the last admin may be.
	l, err := s.cfg.People.Reset(ctx, p.ID, req.Msg.GetVersion(), callOf(ctx).local)
	if err != nil {
		return nil, s.staleBy(ctx, err, p.Name, "person")
	}
	callOf(ctx).entry.After = people.JSON(l.Person)
	return s.linkOut(l), nil
}

func tokenPerson(t *people.Token) *pb.Person {
	return &pb.Person{Id: t.ID, Name: t.Name, Role: roleOut(t.Role), Created: timeOut(t.Created), Seen: timeOut(t.Seen), Token: true}
}

func (s staff) ListTokens(ctx context.Context, _ *connect.Request[pb.ListTokensRequest]) (*connect.Response[pb.ListTokensResponse], error) {
	list, err := s.cfg.People.Tokens(ctx)
	if err != nil {
		return nil, s.explain(err, "token")
	}
	out := &pb.ListTokensResponse{}
	for i := range list {
		out.Tokens = append(out.Tokens, tokenPerson(&list[i]))
	}
	return connect.NewResponse(out), nil
}

func (s staff) AddToken(ctx context.Context, req *connect.Request[pb.AddTokenRequest]) (*connect.Response[pb.AddTokenResponse], error) {
	c := callOf(ctx)
	c.entry.Subject = req.Msg.GetName()
	role, err := roleIn(req.Msg.GetRole())
	if err != nil {
		return nil, err
	}
	t, secret, err := s.cfg.People.AddToken(ctx, req.Msg.GetName(), role, c.name())
	if err != nil {
		return nil, s.explain(err, "token")
	}
	c.entry.After = people.JSON(t)
	return connect.NewResponse(&pb.AddTokenResponse{Token: tokenPerson(t), Secret: secret}), nil
}

func (s staff) RemoveToken(ctx context.Context, req *connect.Request[pb.RemoveTokenRequest]) (*connect.Response[pb.RemoveTokenResponse], error) {
	c := callOf(ctx)
	c.entry.Subject = req.Msg.GetId()
	t, err := s.cfg.People.RemoveToken(ctx, req.Msg.GetId())
	if err != nil {
		return nil, s.explain(err, "token")
	}
	c.entry.Subject, c.entry.Before = t.Name, people.JSON(t)
	return connect.NewResponse(&pb.RemoveTokenResponse{}), nil
}

// auditToken is where a page of the audit ends.
type auditToken struct {
	N uint64 `json:"n"`
}

func (s staff) Audit(ctx context.Context, req *connect.Request[pb.AuditRequest]) (*connect.Response[pb.AuditResponse], error) {
	m := req.Msg
	var from auditToken
	if _, err := tokenIn(m.GetPage(), &from); err != nil {
		return nil, err
	}
	list, next, err := s.cfg.People.Audit(ctx, people.AuditFilter{Before: from.N, Who: m.GetWho(), Subject: m.GetSubject(), Action: m.GetAction(), Limit: pageSize(m.GetPage())})
	if err != nil {
		return nil, s.explain(err, "")
	}
	out := &pb.AuditResponse{}
	for i := range list {
		out.Entries = append(out.Entries, entryOut(&list[i]))
	}
	if next > 0 {
		out.NextPageToken = tokenOut(auditToken{next})
	}
	return connect.NewResponse(out), nil
}

func entryOut(e *people.Entry) *pb.AuditEntry {
	return &pb.AuditEntry{Id: strconv.FormatUint(e.N, 10), At: timeOut(e.At), Who: e.Who, Action: e.Action, Subject: e.Subject, Before: e.Before, After: e.After, Error: e.Error, From: e.From}
}

// staleBy explains an error; of a stale edit it says who was faster, and when.
func (s *Service) staleBy(ctx context.Context, err error, subject, what string) error {
	e := s.explain(err, what)
	if connect.CodeOf(e) != connect.CodeAborted {
		return e
	}
	last, err := s.cfg.People.LastChange(ctx, subject)
	if err != nil || last == nil {
		return e
	}
	who := last.Who
	if who == "" {
		who = "somebody"
	}
	return fault(connect.CodeAborted, "stale", who+" changed this "+what+" at "+last.At.Format("2006-01-02 15:04:05 MST")+" ("+last.Action+")", "look again, then decide")
}
