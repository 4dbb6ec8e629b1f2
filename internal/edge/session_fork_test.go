package edge

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A delta that a locked file kept back speaks of transactions by the numbers that
// they had then. After a fork these are other transactions' numbers.
func TestTrapD4_DeltaKeptBackDoesNotOutliveItsLife(t *testing.T) {
	c := enrolled(t)
	c.exec("INSERT INTO patient VALUES ('one', 1, 'x', 0, NULL)")
	c.dial().sync() // 1 is settled
	l := c.line
	for _, id := range []string{"two", "three"} {
		c.tx("INSERT INTO patient VALUES ('" + id + "', 1, 'x', 0, NULL)")
	}
	if err := l.s.Nudge(t.Context(), l.send); err != nil {
		t.Fatal(err)
	}
	l.up = nil // the push is under way
	next := c.h.cursor()
	next.Token += "1"
	c.e.conn.SetBusyTimeout(0)
	c.exec("BEGIN IMMEDIATE")
	l.down = []wire.Message{&wire.Delta{Last: true, Next: next, Outcomes: []wire.TxResult{{Seq: 2, Status: outcomeApplied}}, Mark: 2}}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.exec("ROLLBACK")
	if l.s.ready == nil {
		t.Fatal("the delta was not kept back")
	}
	if err := l.s.Receive(t.Context(), &wire.PushResult{Fork: true}, l.send); err != nil {
		t.Fatal(err)
	}
	l.up = nil
	if err := l.s.Receive(t.Context(), &wire.Welcome{Protocol: wire.MaxProtocol, Grants: c.h.grants, Scopes: c.h.scopes(), Epoch: c.h.epoch, Clock: c.clk.Now()}, l.send); err != nil {
		t.Fatal(err)
	}
	if err := l.s.Tick(t.Context(), l.send); err != nil {
		t.Fatal(err)
	}
	for _, q := range c.queue() {
		if q.State != "waiting" {
			t.Errorf("transaction %d is %s, and the hub never said so", q.Seq, q.State)
		}
	}
	if n := len(c.queue()); n != 2 {
		t.Fatalf("%d transactions wait", n)
	}
	c.dial().sync()
	c.agree(true)
}

// A file that cannot be written just now is no reason to end the session.
func TestSession_LockedFileAtLargeStub(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.exec("INSERT INTO patient VALUES ('a', 1, 'x', 0, NULL)")
	c.export()
	c.exec("UPDATE _tidemark_outbox SET state = 2; INSERT INTO _tidemark_meta SELECT 'stub:' || lower(hex(id)), '1 1 1' FROM _tidemark_outbox")
	l.s.welcome.Unpack = change.Limits{Encoded: 8, Decoded: 8, Rows: 1}
	c.e.conn.SetBusyTimeout(0)
	c.exec("BEGIN IMMEDIATE")
	if err := l.s.fillStubs(l.send); err != nil {
		t.Error(err)
	}
	c.exec("ROLLBACK")
	if err := l.s.fillStubs(l.send); err != nil {
		t.Error(err)
	}
	c.want("SELECT value FROM _tidemark_meta WHERE key GLOB 'stub:*'", "'8 8 1'")
}
