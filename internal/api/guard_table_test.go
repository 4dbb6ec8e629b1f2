package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/api/pb/pbconnect"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	wirepb "github.com/tidemark-sync/tidemark/internal/wire/pb"
)

// Each method of admin.proto, by each role and by nobody, with a cookie and with a
// token: let in exactly as its option least says.
func TestWhoMayCallWhat(t *testing.T) {
	w := newWorld(t)
	w.admin()
	persons, tokens := map[people.Role]*people.Person{}, map[people.Role]*caller{}
	for _, r := range []people.Role{people.Viewer, people.Operator, people.Admin} {
		persons[r] = w.person(string(r), r)
		tokens[r] = w.script(r)
	}
	seen := 0
	services := pb.File_tidemark_admin_v1_admin_proto.Services()
	for i := range services.Len() {
		for j := range services.Get(i).Methods().Len() {
			d := services.Get(i).Methods().Get(j)
			name := string(services.Get(i).Name()) + "/" + string(d.Name())
			m, ok := methodOf(d)
			if !ok {
				t.Errorf("%s does not say who may call it (option least)", name)
				continue
			}
			seen++
			for _, have := range []people.Role{people.Nobody, people.Viewer, people.Operator, people.Admin} {
				for _, by := range []string{"cookie", "token"} {
					c := w.nobody()
					switch {
					case have == people.Nobody && by == "token":
						c = c.with("Authorization", "Bearer tidemark_000000000000000000000000_x")
					case have == people.Nobody:
						c = c.with("Cookie", cookieName+"=000000000000000000000000.x")
					case by == "token":
						c = tokens[have]
					default:
						c = w.browser(persons[have]) // anew: Logout ends it
					}
					w.clock.Advance(20 * 60e9) // no brake holds
					code := c.try(name, d.IsStreamingServer())
					may, in := have.May(m.least), code != "login" && code != "token" && code != "role" && code != "csrf"
					if may != in {
						t.Errorf("%s by %s with a %s: let in %v (%s), want %v", name, have, by, in, code, may)
					}
				}
			}
		}
	}
	if seen < 55 || seen != len(w.service.methods) {
		t.Errorf("looked at %d methods of %d", seen, len(w.service.methods))
	}
}

// try calls a method with an empty request, and returns the code of its refusal.
func (c *caller) try(name string, stream bool) string {
	c.w.t.Helper()
	if !stream {
		return c.call(name, "{}").code
	}
	ctx, stop := context.WithCancel(c.w.ctx)
	defer stop()
	s, err := pbconnect.NewFleetClient(c.w.server.Client(), c.w.server.URL, connect.WithInterceptors(headers{c.header})).Watch(ctx, req(&pb.WatchRequest{}))
	c.w.must(err)
	if s.Receive() {
		return ""
	}
	code := "none"
	if e := new(connect.Error); s.Err() != nil && errors.As(s.Err(), &e) {
		v, err := e.Details()[0].Value()
		c.w.must(err)
		code = v.(*pb.ErrorInfo).GetCode()
	}
	return code
}

// headers go with each request.
type headers struct{ http.Header }

func (h headers) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }
func (h headers) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
func (h headers) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		for k, v := range h.Header {
			conn.RequestHeader()[k] = v
		}
		return conn
	}
}

func TestAMethodThatSaysNothingIsClosed(t *testing.T) {
	// The protocol of devices has methods without the option.
	m := wirepb.File_tidemark_v1_sync_proto.Services().Get(0).Methods().Get(0)
	if _, ok := methodOf(m); ok {
		t.Errorf("%s says who may call it", m.FullName())
	}
	w := newWorld(t)
	w.admin()
	delete(w.service.methods, pbconnect.FleetOverviewProcedure)
	delete(w.service.methods, pbconnect.FleetWatchProcedure)
	c := w.script(people.Admin)
	if a := c.call("Fleet/Overview", "{}"); a.code != "closed" {
		t.Errorf("it is open: %s", a.body)
	}
	if code := c.try("Fleet/Watch", true); code != "closed" {
		t.Errorf("the stream is open: %s", code)
	}
}

// What is written is put down, whatever becomes of it.
func TestAllThatWritesIsPutDown(t *testing.T) {
	w := newWorld(t)
	w.admin()
	c := w.script(people.Admin)
	viewer := w.script(people.Viewer)
	for procedure, m := range w.service.methods {
		if strings.HasSuffix(procedure, "/Watch") {
			continue
		}
		for _, by := range []*caller{c, viewer} {
			before, _, err := w.book.Audit(w.ctx, people.AuditFilter{Action: m.action, Limit: 1000})
			w.must(err)
			by.call(strings.TrimPrefix(procedure, "/tidemark.admin.v1."), "{}")
			w.clock.Advance(20 * 60e9)
			after, _, err := w.book.Audit(w.ctx, people.AuditFilter{Action: m.action, Limit: 1000})
			w.must(err)
			if grown := len(after) > len(before); grown != m.writes {
				t.Errorf("%s was put down: %v, want %v", m.action, grown, m.writes)
			}
		}
	}
	if _, err := w.book.CheckAudit(w.ctx); err != nil {
		t.Error(err)
	}
}

// An act is put down before it is done, and what is put down goes when it is.
func TestNothingIsDoneThatTheAuditWouldLack(t *testing.T) {
	w := newWorld(t)
	op := w.browser(w.admin())
	begun := func() (ids []string) {
		w.must(w.store.View(w.ctx, func(v hub.View) (err error) {
			ids, err = v.IDs("audit-intent", "", "", 10)
			return err
		}))
		return ids
	}
	op.ok("Fleet/Add", `{"name":"till 1","grants":[{"scope":"all","read":true}]}`)
	op.refused("Fleet/Revoke", `{"id":"nobody"}`, "no-such-device")
	if left := begun(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	w.stop = errors.New("the disk is full")
	a := op.call("Fleet/Add", `{"name":"till 2","grants":[{"scope":"all","read":true}]}`)
	w.stop = nil
	if a.code != "audit" {
		t.Errorf("without an audit: %d %s", a.status, a.body)
	}
	if l := op.ok("Fleet/List", `{}`)["devices"].([]any); len(l) != 1 {
		t.Errorf("there are %d devices", len(l))
	}
}
