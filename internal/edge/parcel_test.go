package edge

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

type handed struct {
	about  Unsent
	begun  int
	txs    []*change.Transaction
	epochs []change.Epoch
	sizes  []int // of batches
}

func (c *clinic) unsent(all bool) *handed {
	c.t.Helper()
	h := &handed{}
	err := c.e.Unsent(all, func(u Unsent) error {
		h.about = u
		h.begun++
		return nil
	}, func(txs []*change.Transaction, confirmed change.Epoch) error {
		for range txs {
			h.epochs = append(h.epochs, confirmed)
		}
		h.txs, h.sizes = append(h.txs, txs...), append(h.sizes, len(txs))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

func TestUnsent_WhatTheHubLacks(t *testing.T) {
	c := newClinic(t)
	c.h.setup.Recipient = "age1test"
	c.dial().sync()
	c.exec("INSERT INTO patient VALUES ('p1', 1, 'Ann', 0, NULL)")
	c.dial().sync()
	if got := c.unsent(false); len(got.txs) != 0 || got.begun != 1 || got.about.Recipient != "age1test" || got.about.Device != testDevice {
		t.Fatalf("%+v", got)
	}
	c.exec("INSERT INTO patient VALUES ('p2', 1, 'Bob', 0, NULL)")
	if _, err := c.e.Export(); err != nil {
		t.Fatal(err)
	}
	c.exec("INSERT INTO patient VALUES ('p3', 1, 'Cem', 0, NULL)") // not exported yet
	got := c.unsent(false)
	if len(got.txs) != 2 || got.txs[0].Seq != 2 || got.txs[1].Prev != got.txs[0].Sum() || got.epochs[0] != 0 || got.txs[1].Ops[0].Key[0] != text("p3") {
		t.Fatalf("%+v", got)
	}
	// With what the hub has: its chain from the beginning, and who confirmed it.
	all := c.unsent(true)
	if len(all.txs) != 3 || all.txs[0].Seq != 1 || all.epochs[0] == 0 || all.epochs[2] != 0 || all.txs[1].Prev != all.txs[0].Sum() {
		t.Fatalf("%+v", all)
	}
	// The file keeps all of it, and hands it in by itself, too.
	c.dial().sync()
	c.agree(true)
}

func TestUnsent_InBatches(t *testing.T) {
	c := enrolled(t)
	for range 5 {
		c.exec("INSERT INTO patient VALUES (hex(randomblob(8)), 1, hex(randomblob(300000)), 0, NULL)")
		if _, err := c.e.Export(); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.unsent(false); len(got.txs) != 5 || len(got.sizes) != 5 {
		t.Fatalf("batches of %v", got.sizes)
	}
}

// Work of earlier incarnations comes first, and in a file that became a device of its
// own everything is that device's.
func TestUnsent_RedoRing(t *testing.T) {
	c := enrolled(t)
	c.exec("INSERT INTO patient VALUES ('p1', 1, 'Ann', 0, NULL)")
	c.dial().sync()
	old := c.unsent(true).txs[0]
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	c.exec("INSERT INTO patient VALUES ('p2', 1, 'Bob', 0, NULL)")
	got := c.unsent(true)
	if len(got.txs) < 2 || got.txs[0].ID != old.ID || got.txs[0].Sum() != old.Sum() || got.txs[0].Incarnation == got.txs[1].Incarnation {
		t.Fatalf("%+v", got.txs)
	}
	c.e.device[0] ^= 1
	if got := c.unsent(true); got.txs[0].Device != c.e.device {
		t.Fatal("not the file's own device")
	}
}

func TestUnsent_Fails(t *testing.T) {
	e, err := Open(Config{Path: filepath.Join(t.TempDir(), "x.db"), Clock: clock.System{}, Rand: strings.NewReader(""), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	none := func([]*change.Transaction, change.Epoch) error { return nil }
	if err := e.Unsent(false, func(Unsent) error { return nil }, none); err == nil {
		t.Error("a file that is not enrolled has work")
	}
	c := enrolled(t)
	c.exec("INSERT INTO patient VALUES ('p1', 1, 'Ann', 0, NULL)")
	no := errors.New("no")
	if err := c.e.Unsent(false, func(Unsent) error { return no }, none); !errors.Is(err, no) {
		t.Error(err)
	}
	if err := c.e.Unsent(false, func(Unsent) error { return nil }, func([]*change.Transaction, change.Epoch) error { return no }); !errors.Is(err, no) {
		t.Error(err)
	}
	c.exec("UPDATE _tidemark_outbox SET body=x'00'")
	if err := c.e.Unsent(false, func(Unsent) error { return nil }, none); !errors.Is(err, change.ErrCorrupt) {
		t.Error(err)
	}
	c.exec("DELETE FROM _tidemark_outbox; DELETE FROM _tidemark_pending")
}

func TestCarrier(t *testing.T) {
	ctx := context.Background()
	var sent []wire.Message
	emit := func(m wire.Message) error { sent = append(sent, m); return nil }
	body := []byte(strings.Repeat("0123456789", 1000))
	c := NewCarrier("x", testDevice, wire.EdgeStatus{OutboxDepth: 2}, time.UnixMilli(5), body)
	receive := func(m wire.Message) error { t.Helper(); return c.Receive(ctx, m, emit) }
	if err := errors.Join(c.Start(ctx, emit), receive(&wire.Ping{N: 3}), receive(&wire.Pong{})); err != nil {
		t.Fatal(err)
	}
	h, ok := sent[0].(*wire.Hello)
	if !ok || h.Device != testDevice || h.Min != wire.MinProtocol || h.Status.OutboxDepth != 2 || h.Clock.UnixMilli() != 5 || len(sent) != 2 || sent[1].(*wire.Pong).N != 3 {
		t.Fatalf("%+v", sent)
	}
	f, ok := errors.AsType[*wire.Fault](receive(&wire.Welcome{Protocol: wire.MaxProtocol, Setup: &wire.Setup{}}))
	if !ok || f.Code != "parcel-key" {
		t.Fatal("an older hub was handed a parcel")
	}
	sent = nil
	w := &wire.Welcome{Protocol: wire.MaxProtocol, Setup: &wire.Setup{Recipient: "age1"}, MaxFrame: 4 << 10, Unpack: change.Limits{Encoded: len(body) - 1}}
	if f, ok = errors.AsType[*wire.Fault](receive(w)); !ok || f.Code != "oversized" || len(sent) > 0 {
		t.Fatalf("%v, %d messages sent", f, len(sent))
	}
	w.Unpack.Encoded++
	if err := errors.Join(receive(w), receive(w)); err != nil {
		t.Fatal(err)
	}
	got := ""
	for i, m := range sent {
		p := m.(*wire.Parcel)
		if p.More != (i < len(sent)-1) || len(p.Body) > 3<<10 {
			t.Fatalf("part %d: %d bytes, more %v", i, len(p.Body), p.More)
		}
		got += string(p.Body)
	}
	if got != string(body) || c.Result() != nil {
		t.Fatal("the parcel did not arrive as it was")
	}
	if err := receive(&wire.Welcome{Protocol: wire.MaxProtocol + 1}); err == nil {
		t.Error("goes on with a protocol of which it knows nothing")
	}
	if err := receive(&wire.Delta{}); err == nil {
		t.Error("took a Delta")
	}
	if err := receive(&wire.Fault{Code: "x"}); err == nil {
		t.Error("no error for a fault")
	}
	if err := receive(&wire.ParcelResult{Name: "till-7"}); err != nil || c.Result().Name != "till-7" {
		t.Error(err)
	}
	gone := errors.New("gone")
	c = NewCarrier("x", testDevice, wire.EdgeStatus{}, time.UnixMilli(5), body)
	if err := c.Receive(ctx, w, func(wire.Message) error { return gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
}
