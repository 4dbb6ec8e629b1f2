package hub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// reoffer hands transactions in again that were confirmed in another life.
func (s *site) reoffer(p *wire.Push, txs ...*change.Transaction) wire.PushResult {
	s.t.Helper()
	q := pushOf(s.t, txs...)
	q.Confirmed, q.Lineage, q.Salvage = p.Confirmed, p.Lineage, p.Salvage
	return *s.ask(q)[0].(*wire.PushResult)
}

func parkedAs(t *testing.T, list []hub.Parked, want string) {
	t.Helper()
	var got []string
	for _, p := range list {
		got = append(got, p.Code)
	}
	if g := strings.Join(got, " "); g != want {
		t.Errorf("quarantine %q, want %q", g, want)
	}
}

// After a disaster what had been handed in is taken back; after an undo it waits for
// review, with what depends on it. Either way exactly once.
func TestTrapD5_HandedInAgain(t *testing.T) {
	for _, mode := range []change.BranchMode{change.Restored, change.Undone} {
		w := newWorld(t, sealed)
		a := w.site("a", everywhere)
		a.applies(ins("product", "p1"))
		old := w.backup()
		first := a.base.Epoch
		a.connect()
		a.applies(ins("product", "p2"))
		seen := a.here()
		w.putBack(old)
		w.begin(mode)
		a.greets(seen)
		unsent := a.tx(upd("product", "p2", "name", nil, "new"))
		other := a.tx(ins("product", "p3"))
		res := a.reoffer(&wire.Push{Confirmed: first}, a.sent[0], a.sent[1])
		want, queue, rows := hub.Applied, "", "p1,p2,p3"
		if mode == change.Undone {
			want, queue, rows = hub.Quarantined, "undone depends", "p1,p3"
		}
		if res.Durable != 2 || hub.Status(res.Results[0].Status) != hub.Applied || hub.Status(res.Results[1].Status) != want {
			t.Errorf("%s: %+v", mode, res)
		}
		a.push(unsent, other)
		again := a.reoffer(&wire.Push{Confirmed: first}, a.sent[0], a.sent[1])
		if again.Results[1].Status != res.Results[1].Status {
			t.Errorf("%s: handed in twice: %+v", mode, again)
		}
		parkedAs(t, w.queue(), queue)
		w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", rows)
		if mode == change.Restored {
			continue
		}
		id := a.sent[1].ID
		if p := w.queue()[0]; p.ID != id || !strings.Contains(p.Reason, "set back on purpose") {
			t.Errorf("parked %+v", p)
		}
		out, err := w.hub.Retry(w.ctx, id)
		w.must(err)
		if statuses(out) != "applied applied" {
			t.Errorf("retry: %s", statuses(out))
		}
		w.want("SELECT id, name FROM product ORDER BY id", "p1|NULL\np2|new\np3|NULL")
	}
}

// What was confirmed in the present life, or in one that is part of its history and
// of which nothing was lost on purpose, is applied as ever.
func TestHandedInAgain_ByLineage(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	first := a.base.Epoch
	undone := w.begin(change.Undone)
	restored := w.begin(change.Restored)
	lost := []change.Branch{{Epoch: first}, {Epoch: 77, Mode: change.Restored}} // left the first life, as the device knows
	a.connect()
	for i, c := range []struct {
		push *wire.Push
		want hub.Status
	}{
		{&wire.Push{}, hub.Applied},
		{&wire.Push{Confirmed: first}, hub.Quarantined},
		{&wire.Push{Confirmed: undone.Epoch}, hub.Applied},
		{&wire.Push{Confirmed: restored.Epoch}, hub.Applied},
		{&wire.Push{Confirmed: 77}, hub.Applied},
		{&wire.Push{Confirmed: 77, Lineage: lost}, hub.Quarantined},
	} {
		id := string(rune('a' + i))
		res := a.reoffer(c.push, a.tx(ins("product", id)))
		if got := hub.Status(res.Results[0].Status); got != c.want {
			t.Errorf("%+v: %s (%s)", c.push, got, res.Results[0].Reason)
		}
	}
}

// Work too large for the hub, that had been handed in before an undo: its values may
// come, but it waits for review all the same.
func TestTrapD5_StubOfUndoneWork(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	first := a.base.Epoch
	w.begin(change.Undone)
	a.connect()
	op := ins("product", "p1", "tea", 1, "T")
	op.Rows = []uint64{1}
	t1 := a.tx(op)
	keys := *t1
	keys.Ops = []change.Op{{Table: op.Table, Kind: op.Kind, Key: op.Key, Rows: op.Rows}}
	p := pushOf(t, &keys)
	p.Stub = &wire.Stub{Sum: t1.Sum(), Content: t1.Content(), Ops: 1, Bytes: 1 << 30}
	p.Confirmed = first
	a.ask(p)
	if q := w.queue(); len(q) != 1 || q[0].Code != "undone" || !q[0].Absent {
		t.Fatalf("parked %+v", q)
	}
	if _, err := w.hub.Retry(w.ctx, t1.ID); !errors.Is(err, hub.ErrAbsent) {
		t.Errorf("retry: %v", err)
	}
	if r := a.push(t1).Results[0]; hub.Status(r.Status) != hub.Quarantined || !strings.Contains(r.Reason, "set back on purpose") {
		t.Errorf("the values: %+v", r)
	}
	w.want("SELECT count(*) FROM product", "0")
	out, err := w.hub.Retry(w.ctx, t1.ID)
	w.must(err)
	if statuses(out) != "applied" {
		t.Errorf("retry: %s", statuses(out))
	}
	w.want("SELECT name FROM product", "tea")
}
