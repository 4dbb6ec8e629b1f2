package edge

import (
	"errors"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func TestHello_SaysAllThatTheHubGoesBy(t *testing.T) {
	c := newClinic(t)
	h, err := c.e.Hello("agent", testDevice)
	if err != nil || h.Device != testDevice || h.Schema != (change.SchemaHash{}) || h.Min != wire.MinProtocol || h.Max != wire.MaxProtocol {
		t.Fatalf("%+v, %v", h, err)
	}
	c.dial().sync()
	_, was := c.e.Identity()
	c.exec("INSERT INTO patient VALUES ('a', 1, 'x', 0, NULL)")
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	dev, inc := c.e.Identity()
	h, err = c.e.Hello("agent", change.DeviceID{1})
	if err != nil || h.Device != dev || h.Incarnation != inc || h.Parent != was || h.Last != 1 || h.At != c.status().Cursor ||
		h.Schema != c.e.fileHash() || h.Rules != c.h.setup.Hash || h.Status.OutboxDepth != 1 || h.Agent != "agent" || !h.Clock.Equal(c.clk.Now()) {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestRoutine(t *testing.T) {
	var sent []wire.Message
	emit := func(m wire.Message) error { sent = append(sent, m); return nil }
	for _, p := range []uint32{wire.MinProtocol - 1, wire.MaxProtocol + 1} {
		if _, err := routine(&wire.Welcome{Protocol: p}, emit); err == nil {
			t.Errorf("protocol %d is spoken", p)
		}
	}
	for _, m := range []wire.Message{&wire.Welcome{Protocol: wire.MaxProtocol}, &wire.Delta{}} {
		if done, err := routine(m, emit); done || err != nil {
			t.Errorf("%T: %v, %v", m, done, err)
		}
	}
	for _, m := range []wire.Message{&wire.Ping{N: 7}, &wire.Pong{N: 8}} {
		if done, err := routine(m, emit); !done || err != nil {
			t.Errorf("%T: %v, %v", m, done, err)
		}
	}
	if len(sent) != 1 || sent[0].(*wire.Pong).N != 7 {
		t.Errorf("sent %+v", sent)
	}
	f := &wire.Fault{Code: "x"}
	if done, err := routine(f, emit); !done || !errors.Is(err, f) {
		t.Errorf("%v, %v", done, err)
	}
}

func TestInParts(t *testing.T) {
	for body, want := range map[string]string{"": "|", "abc": "abc|", "abcd": "abc+d|", "abcdef": "abc+def|"} {
		got := ""
		err := inParts([]byte(body), 3, func(part []byte, more bool) error {
			got += string(part) + map[bool]string{true: "+", false: "|"}[more]
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%q went as %q, %v", body, got, err)
		}
	}
	n, gone := 0, errors.New("gone")
	if err := inParts([]byte("abcdef"), 2, func([]byte, bool) error { n++; return gone }); !errors.Is(err, gone) || n != 1 {
		t.Errorf("%d parts, %v", n, err)
	}
}

// What the hub lost is offered once all own work is there, not while a lock keeps
// that work back.
func TestSalvage_WaitsForWorkThatALockKeepsBack(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	l.sync()
	c.exec("INSERT INTO patient VALUES ('a', 1, 'x', 0, NULL)")
	c.export()
	c.exec("INSERT INTO _tidemark_salvage SELECT 1, 1, body FROM _tidemark_outbox")
	c.e.cfg.NoSync, c.e.synced = false, false // not durable yet
	c.e.conn.SetBusyTimeout(0)
	c.exec("BEGIN IMMEDIATE")
	l.sent = nil
	if err := l.s.push(l.send); err != nil || len(l.sent) > 0 {
		t.Errorf("sent %+v, %v", l.sent, err)
	}
	c.exec("ROLLBACK")
	l.s.offer = offer{}
	if err := l.s.push(l.send); err != nil || len(l.sent) != 1 || l.sent[0].(*wire.Push).Salvage {
		t.Errorf("sent %+v, %v", l.sent, err)
	}
}
