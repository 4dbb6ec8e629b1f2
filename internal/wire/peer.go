package wire

import "context"

// Beside runs work while its caller goes on. The caller calls wait, once, before it looks at
// what work made, and before it returns: nothing is left behind. Work shares no more with the caller
// than it hands over that way, so that when it runs changes no result. Whoever drives a
// Peer brings one; without one, work is done in its place.
type Beside func(work func()) (wait func())

// A Peer is one end of a session, stepped one message at a time. The hub's and
// the edge's sessions implement it; the transport and the simulator drive it.
//
// Receive handles one incoming message and sends any answers through emit, in
// order. emit blocks while the other side is slow and fails when the session is
// gone. Receive is never called concurrently for one Peer. An error ends the
// session; a *Fault is sent to the other side first.
type Peer interface {
	Receive(ctx context.Context, m Message, emit func(Message) error) error
}
