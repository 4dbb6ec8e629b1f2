package api

import (
	"context"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// intend puts down that somebody acts, before they do: an act whose entry could not be
// written afterwards is still in the audit. Strangers are not noted: they would fill the
// disk, and all that they can do is to log in.
func (g *guard) intend(ctx context.Context, m method, c *call, req any) error {
	if !m.writes || c.who == nil {
		return nil
	}
	e := c.entry
	e.Who, e.WhoID, e.From, e.Subject = c.name(), c.who.ID, c.from, subjectOf(req)
	if err := g.cfg.People.Intend(ctx, &e); err != nil {
		g.log.Error("nothing is done that the audit would lack", "action", e.Action, "who", e.Who, "error", err.Error())
		return fault(connect.CodeUnavailable, "audit", "nothing was done: it could not be put down in the audit", "look whether the hub's disk is full")
	}
	c.entry.Intent = e.Intent
	return nil
}

// subjects are the fields of requests that say what is acted on. Others may be secret.
var subjects = []protoreflect.Name{"id", "ids", "device", "name", "table"}

// subjectOf is what a request acts on, as far as it says so.
func subjectOf(req any) (what string) {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	at := len(subjects)
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		i := slices.Index(subjects, f.Name())
		if i < 0 || i >= at || f.Kind() != protoreflect.StringKind {
			return true
		}
		at = i
		if f.IsList() {
			what = v.List().Get(0).String()
		} else {
			what = v.String()
		}
		return true
	})
	return what
}
