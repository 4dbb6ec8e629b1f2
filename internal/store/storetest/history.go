package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func (b *bench) check(c change.Cursor) (out error) {
	b.Helper()
	b.view(func(v hub.View) error { out = v.Check(c); return nil })
	return out
}

func cursor(t *testing.T, open Open) {
	b := start(t, open)
	c0 := b.now()
	if b.now() != c0 {
		t.Error("a quiet hub moved its cursor")
	}
	b.as(edgeA, patient("p1", 7, "Ann"))
	c1 := b.now()
	b.other(`UPDATE patient SET name='x'`)
	c2 := b.now()
	if c0 == c1 || c1 == c2 {
		t.Error("a change did not move the cursor")
	}
	for i, c := range []change.Cursor{c0, c1, c2, {}} {
		if err := b.check(c); err != nil {
			t.Errorf("cursor %d: %v", i, err)
		}
	}
	s2, _, _ := open(t, clinic(), clinicDDL)
	b2 := &bench{T: t, s: s2}
	for _, c := range []change.Cursor{c1, {Epoch: b2.now().Epoch, Token: "zzz"}, {Epoch: b2.now().Epoch, Token: "ffff.1"}, {Epoch: b2.now().Epoch, Token: "x.1"}} {
		if err := b2.check(c); !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("cursor %v of another hub: %v", c, err)
		}
		err := b2.s.View(context.Background(), func(v hub.View) error {
			return v.Delta(c, edgeA, branch(7), 1000, func(*change.Rows) error { return nil })
		})
		if !errors.Is(err, hub.ErrOtherHistory) {
			t.Errorf("delta since %v: %v", c, err)
		}
	}
}

// prune: the newest entries stay, whatever their age.
func prune(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"))
	c := b.now()
	floor, err := b.s.Prune(context.Background(), clock.System{}.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.check(c); err != nil {
		t.Errorf("nothing was old, and yet: %v", err)
	}
	if err := b.check(floor); err != nil {
		t.Errorf("the floor itself: %v", err)
	}
}

// trapD7: what Prune dropped is never served as if it were complete.
func trapD7(t *testing.T, open Open) {
	b := start(t, open)
	b.as(edgeA, patient("p1", 7, "Ann"), patient("p2", 7, "Bob"))
	c0 := b.now()
	b.as(edgeA, remove("patient", text("p1")))
	b.receive(edgeA, 1, hub.Applied)
	b.receive(edgeA, 2, hub.Quarantined)
	b.receive(edgeA, 3, hub.Applied)
	if _, err := b.s.Prune(context.Background(), clock.System{}.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	// A second one finds the entries that came before the first.
	floor, err := b.s.Prune(context.Background(), clock.System{}.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.check(c0); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("a cursor below the floor: %v", err)
	}
	if err := b.check(change.Cursor{}); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("the zero cursor: %v", err)
	}
	if err := b.check(floor); err != nil {
		t.Errorf("the floor: %v", err)
	}
	if err := b.check(b.now()); err != nil {
		t.Errorf("now: %v", err)
	}
	b.view(func(v hub.View) error {
		if _, err := v.Tombstone("patient", change.Key{text("p1")}); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("the tombstone: %v", err)
		}
		if _, err := v.Payload(txID(edgeA, 1)); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("a settled transaction's payload: %v", err)
		}
		if k, err := v.Known(txID(edgeA, 1)); err != nil || k.Status != hub.Applied {
			t.Errorf("that a settled transaction came: %v, %v", k, err)
		}
		if _, err := v.Payload(txID(edgeA, 2)); err != nil {
			t.Errorf("a quarantined transaction: %v", err)
		}
		p, err := v.Progress(edgeA)
		if p.Seq != 3 {
			t.Errorf("progress is %v", p)
		}
		return err
	})
	before := b.now()
	b.as(edgeA, patient("p5", 7, "Eve"))
	b.expect("it goes on", b.changes(before, edgeB, branch(7)), "patient 'p5'")
	b.receive(edgeA, 4, hub.Applied)
	b.expect("all that is left", b.history("patient", text("p5"), change.Cursor{}, edgeB), "insert()a")
	b.view(func(v hub.View) error {
		list, mark, err := v.Outcomes(edgeA, 3, 10)
		if len(list) != 1 || list[0].Seq != 4 || mark <= 3 {
			t.Errorf("marks start over: %v, %d", list, mark)
		}
		return err
	})
}

func txID(inc change.Incarnation, seq uint64) (id change.TxID) {
	copy(id[:], fmt.Sprintf("%x-%d", inc[0], seq))
	return id
}

func (b *bench) received(inc change.Incarnation, seq uint64, status hub.Status) hub.Received {
	tx := &change.Transaction{ID: txID(inc, seq), Device: change.DeviceID{1}, Incarnation: inc, Seq: seq, Bases: []change.Cursor{{}},
		Ops: []change.Op{{Table: "product", Kind: change.Insert, Key: change.Key{text("s")}, Columns: []string{"sku"}, New: []change.Value{text("s")}}}}
	return hub.Received{Tx: tx, ID: tx.ID, Device: tx.Device, Inc: inc, Seq: seq, Sum: change.Hash{byte(seq)}, Content: change.Hash{0xC}, Status: status,
		Reason: "because", At: time.UnixMilli(1_700_000_000_000).UTC()}
}

func (b *bench) receive(inc change.Incarnation, seq uint64, status hub.Status) {
	b.Helper()
	b.update(func(tx hub.Tx) error { return tx.Receive([]hub.Received{b.received(inc, seq, status)}) })
}

func journal(t *testing.T, open Open) {
	b := start(t, open)
	b.update(func(tx hub.Tx) error {
		if err := tx.Receive(nil); err != nil {
			return err
		}
		return tx.Receive([]hub.Received{b.received(edgeA, 1, hub.Applied), b.received(edgeA, 2, hub.Merged), b.received(edgeB, 1, hub.Applied)})
	})
	b.view(func(v hub.View) error {
		got, err := v.Known(txID(edgeA, 2))
		if err != nil {
			return err
		}
		want := b.received(edgeA, 2, hub.Merged)
		want.Tx = nil
		if *got != want {
			t.Errorf("known:\n got %+v\nwant %+v", *got, want)
		}
		tx, err := v.Payload(txID(edgeA, 2))
		if err != nil {
			return err
		}
		if tx.Content() != b.received(edgeA, 2, hub.Merged).Tx.Content() || tx.ID != txID(edgeA, 2) {
			t.Errorf("payload %+v", tx)
		}
		if p, err := v.Progress(edgeA); err != nil || p != (hub.Progress{Seq: 2, Sum: change.Hash{2}}) {
			t.Errorf("progress %v, %v", p, err)
		}
		if p, err := v.Progress(change.Incarnation{0xF}); err != nil || p != (hub.Progress{}) {
			t.Errorf("progress of a stranger %v, %v", p, err)
		}
		if _, err := v.Known(txID(edgeB, 9)); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("known of nothing: %v", err)
		}
		if _, err := v.Payload(txID(edgeB, 9)); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("payload of nothing: %v", err)
		}
		return nil
	})
}

// journalCopy: copies of one file hand in one uuid under chains of their own (trap D22).
func journalCopy(t *testing.T, open Open) {
	b := start(t, open)
	b.receive(edgeA, 1, hub.Applied)
	b.receive(edgeA, 2, hub.Merged)
	b.receive(edgeB, 1, hub.Applied)
	copied := b.received(edgeA, 2, hub.Quarantined)
	copied.Inc, copied.Seq, copied.Content = edgeB, 2, change.Hash{0xD}
	b.update(func(tx hub.Tx) error { return tx.Receive([]hub.Received{copied}) })
	b.view(func(v hub.View) error {
		if got, err := v.Known(copied.ID); err != nil || got.Inc != edgeA {
			t.Errorf("the first that came: %+v, %v", got, err)
		}
		return nil
	})
	b.update(func(tx hub.Tx) error { return tx.Decide(copied.ID, hub.Discarded, "a copy") })
	b.view(func(v hub.View) error {
		a, _, err := v.Outcomes(edgeA, 0, 10)
		if err != nil || len(a) != 2 || a[1].Status != hub.Merged {
			t.Errorf("the decision about the copy is not about the first: %v, %v", a, err)
		}
		c, _, err := v.Outcomes(edgeB, 0, 10)
		if err != nil || len(c) != 2 || c[1].Status != hub.Discarded {
			t.Errorf("the copy: %v, %v", c, err)
		}
		return nil
	})
}

func outcome(t *testing.T, open Open) {
	b := start(t, open)
	for i := range uint64(4) {
		b.receive(edgeA, i+1, hub.Status(1+i%3))
	}
	b.receive(edgeB, 1, hub.Applied)
	list := func(after uint64, limit int) (out string, mark uint64) {
		b.view(func(v hub.View) error {
			l, m, err := v.Outcomes(edgeA, after, limit)
			for _, o := range l {
				out += fmt.Sprintf("%d %s, ", o.Seq, o.Status)
			}
			mark = m
			return err
		})
		return out, mark
	}
	got, mark := list(0, 3)
	b.expect("the first three", got, "1 applied, 2 merged, 3 quarantined, ")
	got, end := list(mark, 3)
	b.expect("the rest", got, "4 applied, ")
	if got, m := list(end, 3); got != "" || m != end {
		t.Errorf("after the end: %s, %d", got, m)
	}
	before := b.now()
	b.update(func(tx hub.Tx) error { return tx.Decide(txID(edgeA, 3), hub.Applied, "retried") })
	if b.now() == before {
		t.Error("a decision does not move the cursor, so nobody would be told")
	}
	got, _ = list(end, 3)
	b.expect("decided later, told later", got, "3 applied, ")
	got, _ = list(0, 10)
	b.expect("in order of decision", got, "1 applied, 2 merged, 4 applied, 3 applied, ")
	b.update(func(tx hub.Tx) error {
		if err := tx.Decide(txID(edgeB, 7), hub.Applied, ""); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("decision about nothing: %v", err)
		}
		return nil
	})
}

func record(t *testing.T, open Open) {
	b := start(t, open)
	b.update(func(tx hub.Tx) error {
		for _, id := range []string{"b", "a", "c"} {
			if err := tx.PutRecord("device", id, []byte("body of "+id)); err != nil {
				return err
			}
		}
		if err := tx.PutRecord("device", "b", []byte("new")); err != nil {
			return err
		}
		for _, id := range []string{"c", "d", "d/", "d/1", "d/2", "d0", "e"} {
			if err := tx.PutRecord("event", id, []byte("x")); err != nil {
				return err
			}
		}
		return errors.Join(tx.PutRecord("device", "c", nil), tx.PutRecord("receipt", "z", []byte{}), tx.PutRecord("device", "never", nil))
	})
	b.view(func(v hub.View) error {
		list, err := v.Records("device", "", "", 10)
		b.expect("all", fmt.Sprintf("%s", list), "[{a body of a} {b new}]")
		if err != nil {
			return err
		}
		list, err = v.Records("device", "", "a", 1)
		b.expect("after a", fmt.Sprintf("%s", list), "[{b new}]")
		if err != nil {
			return err
		}
		for _, tc := range []struct {
			prefix, after, want string
			limit               int
		}{{"d/", "", "[d/ d/1 d/2]", 9}, {"d/", "", "[d/]", 1}, {"d/", "d/1", "[d/2]", 9}, {"d/", "d/2", "[]", 9}, {"d/", "e", "[]", 9}, {"d", "a", "[d d/ d/1 d/2 d0]", 9}, {"d/1", "", "[d/1]", 9}} {
			list, err = v.Records("event", tc.prefix, tc.after, tc.limit)
			if err != nil {
				return err
			}
			ids := make([]string, len(list))
			for i := range list {
				ids[i] = list[i].ID
			}
			b.ids(v, tc.prefix, tc.after, tc.limit, tc.want)
			b.expect(fmt.Sprintf("up to %d under %q after %q", tc.limit, tc.prefix, tc.after), fmt.Sprint(ids), tc.want)
		}
		if err := b.backwards(v); err != nil {
			return err
		}
		if _, err := v.Record("device", "c"); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("a removed record: %v", err)
		}
		body, err := v.Record("receipt", "z")
		if err != nil || body == nil || len(body) != 0 {
			t.Errorf("an empty record: %v, %v", body, err)
		}
		return nil
	})
}

func wait(t *testing.T, open Open) {
	b := start(t, open)
	c := b.now()
	waited := func(c change.Cursor) chan error {
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			done <- b.s.Wait(ctx, c)
		}()
		return done
	}
	done := waited(c)
	b.as(edgeA, patient("p1", 7, "Ann"))
	if err := <-done; err != nil {
		t.Errorf("wait for an edge: %v", err)
	}
	if err := <-waited(c); err != nil {
		t.Errorf("wait for what is there: %v", err)
	}
	c = b.now()
	done = waited(c)
	b.other(`UPDATE patient SET name='x'`)
	if err := <-done; err != nil {
		t.Errorf("wait for another program: %v", err)
	}
	c = b.now()
	done = waited(c)
	b.receive(edgeA, 1, hub.Quarantined)
	if err := <-done; err != nil {
		t.Errorf("wait for a decision: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := b.s.Wait(ctx, b.now()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for nothing: %v", err)
	}
}
