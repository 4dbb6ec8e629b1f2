package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// What browsers carry.
const (
	cookieName = "__Host-tidemark"
	csrfHeader = "X-Tidemark-CSRF"
)

// A method is what admin.proto says of one.
type method struct {
	action string // "Fleet/Revoke"
	least  people.Role
	writes bool
}

// roleNames are the roles of admin.proto; what is not among them nobody has.
var roleNames = map[pb.Role]people.Role{
	pb.Role_ROLE_NOBODY: people.Nobody, pb.Role_ROLE_VIEWER: people.Viewer, pb.Role_ROLE_OPERATOR: people.Operator, pb.Role_ROLE_ADMIN: people.Admin,
}

// methodTable reads the options of all methods. A method without least is not in it.
func methodTable() map[string]method {
	out := map[string]method{}
	services := pb.File_tidemark_admin_v1_admin_proto.Services()
	for i := range services.Len() {
		list := services.Get(i).Methods()
		for j := range list.Len() {
			if m, ok := methodOf(list.Get(j)); ok {
				out["/"+string(services.Get(i).FullName())+"/"+string(list.Get(j).Name())] = m
			}
		}
	}
	return out
}

func methodOf(d protoreflect.MethodDescriptor) (method, bool) {
	options, ok := d.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return method{}, false
	}
	least, _ := proto.GetExtension(options, pb.E_Least).(pb.Role)
	writes, _ := proto.GetExtension(options, pb.E_Writes).(bool)
	role, ok := roleNames[least]
	return method{action: string(d.Parent().Name()) + "/" + string(d.Name()), least: role, writes: writes}, ok
}

// A call is one request that is being served.
type call struct {
	who    *people.Identity // nil: nobody
	local  bool             // from the machine itself, without a network
	from   string           // address, without its port
	cookie string           // the session's secret, when it came with one
	bearer string           // the token, when it came with one
	entry  people.Entry     // of the audit
}

type callKey struct{}

type localKey struct{}

// callOf is the call that a method serves.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return &call{}
	}
	return c
}

// name is how the audit calls who asks.
func (c *call) name() string {
	switch {
	case c.who == nil:
		return ""
	case c.who.Token:
		return "token " + c.who.Name
	}
	return c.who.Name
}

// A guard stands before each method.
type guard struct{ *Service }

// admit finds out who asks, and whether they may. The call counts even when they may
// not: it is put down.
func (g *guard) admit(ctx context.Context, m method, header http.Header, addr string) (context.Context, *call, error) {
	c := &call{from: host(addr), entry: people.Entry{Action: m.action}}
	ctx = context.WithValue(ctx, callKey{}, c)
	err := g.identify(ctx, c, header)
	switch {
	case m.least == people.Nobody:
		if err != nil && !refused(err) {
			return ctx, c, g.explain(err, "")
		}
		return ctx, c, nil
	case err != nil:
		return ctx, c, g.explain(err, "")
	case c.who == nil:
		return ctx, c, fault(connect.CodeUnauthenticated, "login", "nobody is logged in", "log in first, or send a token: Authorization: Bearer TOKEN")
	case !c.who.Role.May(m.least):
		return ctx, c, fault(connect.CodePermissionDenied, "role", "this needs the role "+string(m.least)+"; you have "+string(c.who.Role), "an admin can give you another role")
	case m.writes && c.who.Session != "" && subtle.ConstantTimeCompare([]byte(header.Get(csrfHeader)), []byte(c.who.CSRF)) != 1:
		return ctx, c, fault(connect.CodePermissionDenied, "csrf", "the request does not show that it comes from the console", "load the page again")
	}
	return ctx, c, nil
}

// refused reports whether an error says that a proof does not hold, not that it could
// not be looked at.
func refused(err error) bool {
	var f *people.Fault
	return errors.As(err, &f)
}

// identify finds who asks, if anybody. A token counts before a cookie: who sends one
// wants to be that.
func (g *guard) identify(ctx context.Context, c *call, header http.Header) (err error) {
	if who, ok := ctx.Value(localKey{}).(*people.Identity); ok {
		c.who, c.local, c.from = who, true, "here"
		return nil
	}
	if auth := header.Get("Authorization"); auth != "" {
		kind, secret, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(kind, "Bearer") {
			return &people.Fault{Kind: people.Denied, Code: "token", Message: "this kind of authorization is not known here", Hint: "send a token: Authorization: Bearer TOKEN"}
		}
		if err := g.gates.tokens.Allow(c.from); err != nil {
			return err
		}
		c.bearer = strings.TrimSpace(secret)
		if c.who, err = g.cfg.People.Bearer(ctx, c.bearer); refused(err) {
			g.gates.tokens.Failed(c.from)
		}
		return err
	}
	cookies, err := http.ParseCookie(header.Get("Cookie"))
	if err != nil {
		return nil //nolint:nilerr // no cookie that could be ours
	}
	for _, k := range cookies {
		if k.Name == cookieName {
			c.cookie = k.Value
			c.who, err = g.cfg.People.Session(ctx, k.Value)
			return err
		}
	}
	return nil
}

// host is an address without its port; of IPv6 the part that one site has.
func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	ip, err := netip.ParseAddr(h)
	if err != nil || ip.Is4() || ip.Is4In6() {
		return h
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return h
	}
	return p.String()
}

// note puts a call down in the audit.
func (g *guard) note(ctx context.Context, m method, c *call, failed error) error {
	if !m.writes {
		return nil
	}
	e := c.entry
	if c.who != nil {
		e.Who, e.WhoID = c.name(), c.who.ID
	}
	e.From = c.from
	if failed != nil {
		var f *connect.Error
		e.Error = failed.Error()
		if errors.As(failed, &f) {
			e.Error = f.Message()
		}
		// Whoever knocks must not fill the disk.
		if c.who == nil && !g.gates.flood.allow(g.cfg.Clock.Now()) {
			g.log.Warn("refused", "method", m.action, "from", c.from, "error", e.Error)
			return nil
		}
	}
	// What was done is put down even when the caller went away.
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer end()
	if err := g.cfg.People.Note(ctx, e); err != nil {
		g.log.Error("the audit lacks an entry", "action", e.Action, "who", e.Who, "subject", e.Subject, "error", err.Error())
		return fault(connect.CodeInternal, "audit", "it was done, but could not be put down in the audit", "look whether the hub's disk is full; the hub's log has the entry")
	}
	g.news.post("people", "")
	return nil
}

// WrapUnary implements connect.Interceptor.
func (g *guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		m, ok := g.methods[req.Spec().Procedure]
		if !ok {
			return nil, fault(connect.CodePermissionDenied, "closed", "nobody may call this", "")
		}
		ctx, end := context.WithTimeout(ctx, callTime)
		defer end()
		ctx, c, err := g.admit(ctx, m, req.Header(), req.Peer().Addr)
		var res connect.AnyResponse
		if err == nil {
			err = g.intend(ctx, m, c, req.Any())
		}
		if err == nil {
			res, err = next(ctx, req)
		}
		if e := g.note(ctx, m, c, err); err == nil {
			err = e
		}
		if err != nil {
			return nil, err
		}
		return res, nil
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (g *guard) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (g *guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		m, ok := g.methods[conn.Spec().Procedure]
		if !ok {
			return fault(connect.CodePermissionDenied, "closed", "nobody may call this", "")
		}
		ctx, _, err := g.admit(ctx, m, conn.RequestHeader(), conn.Peer().Addr)
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
