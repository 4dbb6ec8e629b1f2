package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// counted is a store that counts what a bootstrap costs it.
type counted struct {
	hub.Store
	scans, counts atomic.Int64
}

func (c *counted) View(ctx context.Context, fn func(hub.View) error) error {
	return c.Store.View(ctx, func(v hub.View) error { return fn(countedView{v, c}) })
}

type countedView struct {
	hub.View
	c *counted
}

func (v countedView) Scan(table string, after change.Key, scopes []rule.ScopeID, limit int) (*change.Rows, change.Key, error) {
	v.c.scans.Add(1)
	return v.View.Scan(table, after, scopes, limit)
}

func (v countedView) Count(scopes []rule.ScopeID) (map[string]int64, error) {
	v.c.counts.Add(1)
	return v.View.Count(scopes)
}

// cached gives a hub a cache and small parts, and counts its store's work.
func cached(c hub.Chunks, store **counted) func(*hub.Config) {
	return func(cfg *hub.Config) {
		*store = &counted{Store: cfg.Store}
		cfg.Store, cfg.Chunks, cfg.Limits.Part = *store, c, 2000
	}
}

// device is a site that was never here.
func (w *world) device(name string, grants ...rule.Grant) *site {
	w.t.Helper()
	inv, err := w.hub.AddDevice(w.ctx, name, grants, 0)
	w.must(err)
	id, _, err := w.hub.Join(w.ctx, inv.Secret, []byte("key of "+name))
	w.must(err)
	s := &site{world: w, id: id, rows: map[string]map[string]rowV{}}
	s.live()
	s.connect()
	return s
}

// fetch asks for one window and returns where to go on; nil when nothing follows.
func (s *site) fetchOn(m *wire.Fetch, each func(*wire.Fetch, *wire.Chunk)) (*wire.Fetch, error) {
	out, err := s.tryAsk(m)
	if err != nil {
		return nil, err
	}
	from := m
	for _, a := range out {
		c, ok := a.(*wire.Chunk)
		if !ok {
			return nil, fmt.Errorf("fetch answered %#v", a)
		}
		if s.base.IsZero() {
			s.base = c.At
		}
		if each != nil {
			each(from, c)
		}
		s.take(c.Body, nil)
		from = &wire.Fetch{Window: m.Window, Table: c.Table, After: c.After, Seen: c.At}
		if c.Done {
			return nil, nil
		}
	}
	return from, nil
}

func (w *world) products(n int) {
	w.t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "INSERT INTO product VALUES('p%04d','%s',%d,'c%04d');", i, strings.Repeat("name ", 10), i, i)
	}
	w.sql(b.String())
}

// Two hundred devices that bootstrap one scope at the same time, while somebody
// writes, cost the database what three of them would at most.
func TestTwoHundredBootstrapsCostThreeReads(t *testing.T) {
	var alone *counted
	w := newWorld(t, cached(nil, &alone))
	w.products(400)
	w.device("alone", everywhere).bootstrap()
	one := alone.scans.Load()
	if one < 10 {
		t.Fatalf("a bootstrap takes %d scans: too few to tell", one)
	}
	w.must(w.store.Close())

	var store *counted
	w.open(cached(cache.NewMemory(0), &store))
	const crowd = 200
	devices := make([]*site, crowd)
	for i := range devices {
		devices[i] = w.device(fmt.Sprint("device", i), everywhere)
	}
	store.scans.Store(0)
	store.counts.Store(0)
	stop := make(chan struct{})
	var writing, reading sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.sql(fmt.Sprintf("UPDATE product SET price=price+1 WHERE id='p%04d'", i%400))
			}
		}
	})
	for _, s := range devices {
		reading.Go(func() {
			var err error
			for m := (&wire.Fetch{Window: 4}); m != nil && err == nil; {
				m, err = s.fetchOn(m, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	reading.Wait()
	close(stop)
	writing.Wait()
	scans, counts := store.scans.Load(), store.counts.Load()
	t.Logf("one bootstrap takes %d scans; %d took %d, and counted the rows %d times", one, crowd, scans, counts)
	if scans > 3*one || counts > 3 {
		t.Errorf("%d bootstraps took %d scans and %d counts, one takes %d and 1", crowd, scans, counts, one)
	}
	for _, s := range devices {
		s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Echo: true}))
		s.same("product", "1")
	}
}

// A chunk shows the state of the cursor that it is served under, whoever writes
// meanwhile and whatever the cache forgets; and the cursors of one bootstrap only move
// forward.
func TestNoChunkIsServedUnderACursorThatItDoesNotShow(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { chunkHistory(t, rand.New(rand.NewPCG(seed, 4))) })
	}
}

// forgetful is a cache that forgets what it likes, now and then.
type forgetful struct {
	kept map[string][]byte
	rand *rand.Rand
	most int // of ten asked for, this many are forgotten
}

func (f *forgetful) Get(ctx context.Context, key string, fill func(context.Context) ([]byte, error)) ([]byte, error) {
	if b, ok := f.kept[key]; ok && f.rand.IntN(10) >= f.most {
		return b, nil
	}
	b, err := fill(ctx)
	if err == nil {
		f.kept[key] = b
	}
	return b, err
}

// state is the products at one moment, by id.
type state struct {
	at    int
	price map[string]int64
}

func chunkHistory(t *testing.T, r *rand.Rand) {
	var store *counted
	w := newWorld(t, cached(&forgetful{kept: map[string][]byte{}, rand: r, most: []int{0, 3, 6}[r.IntN(3)]}, &store))
	w.products(60)
	states := map[string]state{}
	note := func() {
		s := state{len(states), map[string]int64{}}
		w.must(w.store.View(w.ctx, func(v hub.View) error {
			cur, err := v.Cursor()
			w.must(err)
			rows, _, err := v.Scan("product", nil, []rule.ScopeID{rule.ScopeAll}, 1<<30)
			w.must(err)
			for i := range rows.Len() {
				s.price[rows.Row(i)[0].Str()] = rows.Row(i)[2].Int()
			}
			if _, ok := states[cur.String()]; !ok {
				states[cur.String()] = s
			}
			return nil
		}))
	}
	note()
	var sites []*site
	var next []*wire.Fetch
	last := map[*site]int{}
	for i := range 5 {
		s := w.device(fmt.Sprint("device", i), everywhere)
		sites, next = append(sites, s), append(next, &wire.Fetch{Window: 1 + uint32(r.IntN(2))})
	}
	check := func(s *site) func(*wire.Fetch, *wire.Chunk) {
		return func(m *wire.Fetch, c *wire.Chunk) {
			st, ok := states[c.At.String()]
			if !ok || st.at < last[s] {
				t.Fatalf("a chunk of state %s, number %d after %d", c.At, st.at, last[s])
			}
			last[s] = st.at
			st.holds(t, m, c)
		}
	}
	for open := len(sites); open > 0; {
		if r.IntN(3) == 0 {
			id := fmt.Sprintf("p%04d", r.IntN(80))
			w.sql([]string{"UPDATE product SET price=price+1000 WHERE id='" + id + "'", "DELETE FROM product WHERE id='" + id + "'",
				"INSERT OR IGNORE INTO product VALUES('" + id + "','new',7,'" + id + "')"}[r.IntN(3)])
			note()
		}
		if r.IntN(20) == 0 {
			w.clock.Advance(20 * time.Second)
		}
		i := r.IntN(len(sites))
		if next[i] == nil {
			continue
		}
		if r.IntN(6) == 0 { // the line breaks, and the bootstrap goes on in another session
			sites[i].connect()
		}
		var err error
		next[i], err = sites[i].fetchOn(next[i], check(sites[i]))
		w.must(err)
		if next[i] == nil {
			open--
		}
	}
	for _, s := range sites {
		s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Echo: true}))
		s.same("product", "1")
	}
}

// holds compares a chunk with the state.
func (st state) holds(t *testing.T, m *wire.Fetch, c *wire.Chunk) {
	t.Helper()
	got := map[string]int64{}
	if len(c.Body) > 0 {
		list, err := change.OpenRows(c.Body, change.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range list {
			for i := range rows.Len() {
				got[rows.Row(i)[0].Str()] = rows.Row(i)[2].Int()
			}
		}
	}
	if m.Table != "product" && len(got) == 0 {
		return // before them, or past them
	}
	low, high := "", "~"
	if m.Table == "product" && m.After != nil {
		low = m.After[0].Str()
	}
	if c.Table == "product" && c.After != nil {
		high = c.After[0].Str()
	}
	for id, price := range st.price {
		if p, ok := got[id]; id > low && id <= high && (!ok || p != price) {
			t.Fatalf("product %s is %d in the state, %d (%v) in the chunk from %q to %q", id, price, p, ok, low, high)
		}
	}
	for id, price := range got {
		if st.price[id] != price {
			t.Fatalf("product %s is %d in the chunk, %d in the state", id, price, st.price[id])
		}
	}
}

// What one device fetched, another one gets only when it may read it.
func TestCachedChunksKeepToTheScopes(t *testing.T) {
	var store *counted
	w := newWorld(t, cached(cache.NewMemory(0), &store))
	w.sql("INSERT INTO customer(id,branch,name) VALUES('a','1','Ann'),('b','2','Bob')")
	for i, branch := range []string{"1", "2", "1", "2"} {
		s := w.device(fmt.Sprint("device", i), branchGrant(branch))
		s.bootstrap()
		s.same("customer", "branch="+branch)
		if len(s.rows["customer"]) != 1 {
			t.Errorf("a device of branch %s has %d customers", branch, len(s.rows["customer"]))
		}
		if _, err := s.tryAsk(&wire.Fetch{Scopes: []rule.ScopeID{"branch/1", "branch/2"}, Window: 1}); err == nil {
			t.Error("a scope that it may not read was served")
		}
	}
}

// broken is a cache that fails, or mixes things up.
type broken struct {
	value []byte
	err   error
}

func (b broken) Get(context.Context, string, func(context.Context) ([]byte, error)) ([]byte, error) {
	return b.value, b.err
}

func TestACacheThatMixesThingsUpCostsTimeOnly(t *testing.T) {
	for _, value := range []string{"", "\x05x", "\x02{}", "\x03{}}", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0c{\"At\":\"bad\"}", "\x0e{\"After\":\"AA\"}"} {
		var store *counted
		w := newWorld(t, cached(broken{value: []byte(value)}, &store))
		w.products(3)
		s := w.device("a", everywhere)
		s.bootstrap()
		s.same("product", "1")
	}
	var store *counted
	w := newWorld(t, cached(broken{err: errors.New("no luck")}, &store))
	if _, err := w.device("a", everywhere).tryAsk(&wire.Fetch{Window: 1}); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v", err)
	}
}
