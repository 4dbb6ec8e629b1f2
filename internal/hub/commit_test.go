package hub_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// holdStore keeps the store busy, so that pushes line up, until release is called.
func holdStore(w *world) (release func()) {
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = w.store.Update(context.Background(), func(hub.Tx) error { close(held); <-hold; return nil })
	}()
	<-held
	return func() { close(hold) }
}

// lineUp starts a push and returns when n pushes wait behind the leader.
func lineUp(w *world, n int, push func()) {
	go push()
	for hub.InLine(w.hub) != n {
		runtime.Gosched()
	}
}

// pushTogether makes several devices push so that they share one commit: a
// bystander's push is held inside the store until they stand in line.
func pushTogether(t *testing.T, w *world, work map[*site][]*change.Transaction) map[*site]wire.PushResult {
	t.Helper()
	first := w.site("bystander", everywhere)
	release := holdStore(w)
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[*site]wire.PushResult{}
	push := func(s *site, txs []*change.Transaction) func() {
		wg.Add(1)
		return func() {
			defer wg.Done()
			r, err := w.hub.Push(w.ctx, s.id, txs)
			w.report(err)
			mu.Lock()
			defer mu.Unlock()
			out[s] = r
		}
	}
	lead := push(first, nil)
	go lead()
	for !hub.Leading(w.hub) {
		runtime.Gosched()
	}
	n := 0
	for s, txs := range work {
		n++
		lineUp(w, n, push(s, txs))
	}
	release()
	wg.Wait()
	return out
}

func TestConcurrentPushes(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',1000)")
	key := change.Key{change.Text("T"), change.Text("here")}
	const sites, each = 8, 20
	var wg sync.WaitGroup
	var all []*site
	for i := range sites {
		all = append(all, w.site(fmt.Sprintf("s%d", i), everywhere))
	}
	for i, s := range all {
		var txs []*change.Transaction
		for n := range each {
			txs = append(txs, s.tx(updKey("stock", key, "qty", 1000-n, 1000-n-1), ins("product", fmt.Sprintf("s%d-%d", i, n), "x", 1, nil)))
		}
		wg.Go(func() {
			for _, tx := range txs {
				r, err := w.hub.Push(w.ctx, s.id, []*change.Transaction{tx})
				if err != nil || len(r.Results) != 1 || hub.Status(r.Results[0].Status) == hub.Quarantined {
					t.Errorf("push: %+v, %v", r, err)
				}
			}
		})
	}
	wg.Wait()
	w.want("SELECT qty FROM stock", fmt.Sprint(1000-sites*each))
	w.want("SELECT count(*) FROM product", fmt.Sprint(1+sites*each))
	for _, s := range all {
		s.connect() // its session does not know of what was pushed beside it
		s.pull()
		s.same("stock", "1")
		s.same("product", "1")
	}
}

func TestPush_CancelledIsNotRun(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	tx := a.tx(ins("product", "p"))
	if _, err := w.hub.Push(ctx, a.id, []*change.Transaction{tx}); err == nil {
		t.Error("a cancelled push succeeded")
	}
	w.want("SELECT count(*) FROM product", "0")
	if r := a.push(tx); r.Durable != 1 {
		t.Errorf("%+v", r)
	}
}

// A push that goes away while it stands in line is not run, and those behind it
// are served.
func TestPush_CancelledInLine(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.site("a", everywhere), w.site("b", everywhere), w.site("c", everywhere)
	ta, tb, tc := a.tx(ins("product", "a")), b.tx(ins("product", "b")), c.tx(ins("product", "c"))
	release := holdStore(w)
	var wg sync.WaitGroup
	wg.Add(3)
	push := func(ctx context.Context, s *site, tx *change.Transaction, wantErr bool) func() {
		return func() {
			defer wg.Done()
			if _, err := w.hub.Push(ctx, s.id, []*change.Transaction{tx}); (err != nil) != wantErr {
				t.Errorf("push: %v", err)
			}
		}
	}
	go push(w.ctx, a, ta, false)()
	for !hub.Leading(w.hub) {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(w.ctx)
	lineUp(w, 1, push(ctx, b, tb, true))
	lineUp(w, 2, push(w.ctx, c, tc, false))
	cancel()
	for hub.InLine(w.hub) != 1 {
		runtime.Gosched()
	}
	release()
	wg.Wait()
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "a,c")
	if r := b.push(tb); r.Durable != 1 {
		t.Errorf("%+v", r)
	}
}

// One push that breaks the database's transaction does not take the others along.
func TestPush_OneFailureInAGroup(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	release := holdStore(w)
	var wg sync.WaitGroup
	wg.Go(func() { _, err := w.hub.Push(w.ctx, b.id, nil); w.report(err) })
	for !hub.Leading(w.hub) {
		runtime.Gosched()
	}
	lineUp(w, 1, func() {
		_, err := w.hub.Push(w.ctx, a.id, []*change.Transaction{a.tx(ins("product", "a"))})
		w.report(err)
	})
	nobody := change.DeviceID{9}
	wg.Add(2)
	lineUp(w, 2, func() {
		defer wg.Done()
		tx := *a.sent[0]
		tx.Device = nobody
		if _, err := w.hub.Push(w.ctx, nobody, []*change.Transaction{&tx}); faultCode(err) != "unknown-device" {
			t.Errorf("a stranger: %v", err)
		}
	})
	lineUp(w, 3, func() {
		defer wg.Done()
		_, err := w.hub.Push(w.ctx, b.id, []*change.Transaction{b.tx(ins("product", "b"))})
		w.report(err)
	})
	release()
	wg.Wait()
	w.want("SELECT group_concat(id) FROM (SELECT id FROM product ORDER BY id)", "a,b")
}

func (w *world) report(err error) {
	if err != nil {
		w.t.Error(err)
	}
}
