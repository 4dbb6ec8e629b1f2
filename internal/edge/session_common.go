package edge

import (
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// opening is what every session of an edge says first.
func opening(agent string, dev change.DeviceID, now time.Time) wire.Hello {
	return wire.Hello{Min: wire.MinProtocol, Max: wire.MaxProtocol, Agent: agent, Device: dev, Clock: now}
}

// Hello is how the file introduces itself: who it is, how far it is, how its tables
// look and what of its work is not safe yet. The hub takes all of that for true until it
// hears otherwise, so that whoever opens a session for a file must say it. dev is
// the device of a file that is not enrolled yet.
func (e *Engine) Hello(agent string, dev change.DeviceID) (*wire.Hello, error) {
	st, err := e.edgeStatus()
	if err != nil {
		return nil, err
	}
	own, inc := e.Identity()
	if !own.IsZero() {
		dev = own
	}
	h := opening(agent, dev, e.cfg.Clock.Now())
	h.Incarnation, h.Status = inc, st
	if setup := e.Setup(); setup != nil {
		h.Schema, h.Rules = e.fileHash(), setup.Hash
	}
	return &h, e.introduce(&h)
}

// routine takes what every session hears, and reports whether that was all that a
// message is for. A Welcome is the session's own to take, once its protocol fits.
func routine(m wire.Message, emit emitFunc) (done bool, err error) {
	switch m := m.(type) {
	case *wire.Welcome:
		if m.Protocol < wire.MinProtocol || m.Protocol > wire.MaxProtocol {
			return false, fmt.Errorf("the hub speaks protocol %d, this build %d to %d", m.Protocol, wire.MinProtocol, wire.MaxProtocol)
		}
	case *wire.Fault:
		return true, m
	case *wire.Ping:
		return true, emit(&wire.Pong{N: m.N})
	case *wire.Pong:
		return true, nil
	}
	return false, nil
}

// inParts hands a body to send in parts of at most n bytes; more says that another
// one follows.
func inParts(body []byte, n int, send func(part []byte, more bool) error) error {
	for ; len(body) > n; body = body[n:] {
		if err := send(body[:n:n], true); err != nil {
			return err
		}
	}
	return send(body, false)
}
