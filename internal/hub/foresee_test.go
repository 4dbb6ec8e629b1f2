package hub_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A telling store notes what the hub asks of its own documents and chains without having
// told of it before.
type telling struct {
	hub.Store

	mu     sync.Mutex
	told   []int    // of each Update that was told: how many transactions
	untold []string // asked
}

func (s *telling) Update(ctx context.Context, fn func(hub.Tx) error) error {
	return s.Store.Update(ctx, func(tx hub.Tx) error {
		begun, err := tx.Cursor()
		if err != nil {
			return err
		}
		return fn(&tellingTx{Tx: tx, store: s, begun: begun})
	})
}

type tellingTx struct {
	hub.Tx
	store *telling
	ahead *hub.Ahead
	begun change.Cursor
	wrote bool
}

func (t *tellingTx) Foresee(a *hub.Ahead) error {
	if t.ahead != nil || t.wrote {
		return fmt.Errorf("told again, or after something was written: %v", t.wrote)
	}
	t.ahead = a
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	t.store.told = append(t.store.told, len(a.Txs))
	return nil
}

func (t *tellingTx) Begun() (c change.Cursor, clean, ok bool) {
	return t.begun, !t.wrote, t.ahead != nil
}

func (t *tellingTx) Write(e hub.Effect) error {
	t.wrote = true
	return t.Tx.Write(e)
}

func (t *tellingTx) Receive(list []hub.Received) error {
	t.wrote = true
	return t.Tx.Receive(list)
}

func (t *tellingTx) ask(ok func(*hub.Ahead) bool, what string, args ...any) {
	if t.ahead == nil || ok(t.ahead) {
		return
	}
	t.store.mu.Lock()
	defer t.store.mu.Unlock()
	t.store.untold = append(t.store.untold, fmt.Sprintf(what, args...))
}

func (t *tellingTx) Cursor() (change.Cursor, error) {
	t.ask(func(*hub.Ahead) bool { return false }, "cursor")
	return t.Tx.Cursor()
}

func (t *tellingTx) Record(kind, id string) ([]byte, error) {
	t.ask(func(a *hub.Ahead) bool { return slices.Contains(a.Records, hub.Name{Kind: kind, ID: id}) }, "record %s %s", kind, id)
	return t.Tx.Record(kind, id)
}

func (t *tellingTx) Records(kind, prefix, after string, limit int) ([]hub.Record, error) {
	t.ask(func(a *hub.Ahead) bool {
		return after == "" && slices.Contains(a.Lists, hub.Name{Kind: kind, ID: prefix})
	}, "list %s %s after %q", kind, prefix, after)
	return t.Tx.Records(kind, prefix, after, limit)
}

func (t *tellingTx) Progress(inc change.Incarnation) (hub.Progress, error) {
	t.ask(func(a *hub.Ahead) bool {
		return slices.ContainsFunc(a.Txs, func(x *change.Transaction) bool { return x.Incarnation == inc })
	}, "progress of %s", inc)
	return t.Tx.Progress(inc)
}

func (t *tellingTx) Known(id change.TxID) (*hub.Received, error) {
	t.ask(func(a *hub.Ahead) bool {
		return slices.ContainsFunc(a.Txs, func(x *change.Transaction) bool { return x.ID == id })
	}, "transaction %s", id)
	return t.Tx.Known(id)
}

// Pushes that share a commit tell all at once what they will ask for, and ask for nothing
// else: a store that reads ahead goes to its database as often for many as for one.
func TestPushesTellWhatTheyWillAskFor(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T'); INSERT INTO stock VALUES ('T','here',1000)")
	work := map[*site][]*change.Transaction{}
	const sites = 6
	var list []*site
	for i := range sites {
		list = append(list, w.site(fmt.Sprint("s", i), everywhere))
	}
	for i, s := range list {
		work[s] = []*change.Transaction{
			s.tx(updKey("stock", change.Key{change.Text("T"), change.Text("here")}, "qty", 1000, 999-i), ins("product", fmt.Sprint("n", i), "x", 1, nil)),
			s.tx(upd("product", fmt.Sprint("n", i), "price", 1, 2)),
		}
	}
	store := &telling{Store: w.store}
	h, err := hub.New(w.ctx, hub.Config{Store: store, Rules: w.rules, Clock: w.clock, Rand: w.rand, DDL: w.store.DDL})
	w.must(err)
	w.hub = h
	for s, r := range pushTogether(t, w, work) {
		if len(work[s]) > 0 && (len(r.Results) != 2 || r.Fork) {
			t.Errorf("push: %+v", r)
		}
	}
	if len(store.untold) > 0 {
		t.Errorf("asked without a word: %q", store.untold)
	}
	if !slices.Contains(store.told, 2*sites) {
		t.Errorf("told of so many transactions at a time: %v", store.told)
	}
	w.want("SELECT count(*) FROM product WHERE price = 2", fmt.Sprint(sites))
	sum := 0
	for i := range sites {
		sum += i + 1
	}
	w.want("SELECT qty FROM stock", fmt.Sprint(1000-sum))
}

// A device that has all that the hub had before a shared commit has not seen what comes
// before its own push in that commit.
func TestPushesOfOneCommitAreNotUnseen(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T')")
	var list []*site
	for i := range 4 {
		list = append(list, w.site(fmt.Sprint("s", i), everywhere))
	}
	work := map[*site][]*change.Transaction{}
	for i, s := range list {
		s.pull()
		w.clock.Advance(time.Second)
		work[s] = []*change.Transaction{s.tx(upd("product", "p", "name", "tea", fmt.Sprint("tea ", i)))}
	}
	h, err := hub.New(w.ctx, hub.Config{Store: &telling{Store: w.store}, Rules: w.rules, Clock: w.clock, Rand: w.rand, DDL: w.store.DDL})
	w.must(err)
	w.hub = h
	applied := 0
	for s, r := range pushTogether(t, w, work) {
		if len(work[s]) > 0 && hub.Status(r.Results[0].Status) == hub.Applied {
			applied++
		}
	}
	w.want("SELECT name FROM product", "tea 3")
	if applied != 1 {
		t.Errorf("%d of 4 writes to one cell took nobody else's for known", applied)
	}
}
