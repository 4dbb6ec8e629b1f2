package edge

import (
	"context"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// converse runs one session until both sides are idle. up and down see each message
// to the hub and to the edge, and may pass another one on; false cuts the line there.
func converse(ctx context.Context, es *Session, hs *hub.Session, up, down func(wire.Message) (wire.Message, bool)) error {
	var toHub, toEdge []wire.Message
	send := func(m wire.Message) error { toHub = append(toHub, m); return nil }
	back := func(m wire.Message) error { toEdge = append(toEdge, m); return nil }
	if err := es.Start(ctx, send); err != nil {
		return err
	}
	for nudged := false; ; {
		var err error
		switch {
		case len(toHub) > 0:
			m, whole := up(toHub[0])
			if toHub = toHub[1:]; !whole {
				return nil
			}
			err = hs.Receive(ctx, m, back)
		case len(toEdge) > 0:
			m, whole := down(toEdge[0])
			if toEdge = toEdge[1:]; !whole {
				return nil
			}
			err = es.Receive(ctx, m, send)
		case !nudged:
			nudged = true
			err = es.Nudge(ctx, send)
		default:
			if err = hs.Wake(ctx, back); err == nil && len(toEdge) == 0 {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// passes lets a message through as it is.
func passes(m wire.Message) (wire.Message, bool) { return m, true }

// copied is a message as the wire brings it.
func copied(t reporter, m wire.Message) wire.Message {
	t.Helper()
	raw, err := wire.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = wire.Decode(raw); err != nil {
		t.Fatal(err)
	}
	return m
}
