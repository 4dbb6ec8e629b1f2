package hub_test

import (
	"errors"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// stub hands in a transaction without its values.
func (s *site) stub(t *change.Transaction) wire.TxResult {
	s.t.Helper()
	keys := *t
	keys.Ops = nil
	for _, op := range t.Ops {
		keys.Ops = append(keys.Ops, change.Op{Table: op.Table, Kind: op.Kind, Key: op.Key, Rows: op.Rows})
	}
	p := pushOf(s.t, &keys)
	p.Stub = &wire.Stub{Sum: t.Sum(), Content: t.Content(), Ops: uint64(len(t.Ops)), Bytes: 1 << 30}
	return s.ask(p)[0].(*wire.PushResult).Results[0]
}

// Copies of a file hand in one transaction, larger than the hub takes, under chains
// of their own: the same content shares one fate, and what a copy added waits for
// its own values.
func TestTrapD22_StubsOfACopiedFile(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	op := ins("product", "p1", "tea", 1, "T")
	op.Rows = []uint64{1}
	t1 := a.tx(op)
	if r := a.stub(t1); r.Status != uint8(hub.Quarantined) {
		t.Fatalf("result %+v", r)
	}
	if r := a.stub(t1); r.Status != uint8(hub.Quarantined) { // the answer got lost
		t.Fatalf("result %+v", r)
	}
	b, c := *a, *a
	for _, s := range []*site{&b, &c} {
		s.live()
		s.connect()
	}
	added := ins("product", "p2", "milk", 1, "M")
	added.Rows = []uint64{2}
	t2 := b.tx(op, added)
	t2.ID = t1.ID
	b.prev = t2.Sum()
	if r := b.stub(t2); r.Status != uint8(hub.Quarantined) {
		t.Fatalf("result %+v", r)
	}
	q := w.queue()
	if len(q) != 2 || !q[0].Absent || !q[1].Absent {
		t.Fatalf("%d wait", len(q))
	}
	for _, p := range q {
		if _, err := w.hub.Retry(w.ctx, p.ID); !errors.Is(err, hub.ErrAbsent) {
			t.Errorf("retry: %v", err)
		}
	}
	w.want("SELECT count(*) FROM product", "0")

	// The values of the first come from another copy: applied once.
	t3 := c.tx(op)
	t3.ID = t1.ID
	c.prev = t3.Sum()
	if r := c.push(t3).Results[0]; r.Status != uint8(hub.Applied) {
		t.Fatalf("result %+v", r)
	}
	if r := a.push(t1).Results[0]; r.Status != uint8(hub.Applied) {
		t.Fatalf("result %+v", r)
	}
	w.want("SELECT group_concat(id) FROM product", "p1")
	// What the copy added holds the first, too: applying it whole would do that twice.
	if r := b.push(t2).Results[0]; r.Status != uint8(hub.Quarantined) {
		t.Fatalf("result %+v", r)
	}
	w.want("SELECT group_concat(id) FROM product", "p1")
	if q = w.queue(); len(q) != 1 || !q[0].Absent {
		t.Fatalf("%d wait", len(q))
	}
}
