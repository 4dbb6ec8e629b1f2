package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func TestSession_Hello(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Name = "clinic" })
	a := w.site("a", branchGrant("1"))
	a.applies(ins("customer", "c1", "1", "Ann"))
	hello := a.hello()
	hello.Rules = change.Hash{}
	wel := a.ask(hello)[0].(*wire.Welcome)
	if wel.Hub != "clinic" || wel.Setup == nil || len(wel.Setup.DDL) == 0 || len(wel.Setup.Schema.Tables) != len(shopDDL) ||
		wel.Progress != 1 || wel.Sum != a.sent[0].Sum() || len(wel.Grants) != 2 || wel.Epoch != a.base.Epoch || !wel.Clock.Equal(epochDay) {
		t.Errorf("welcome %+v", wel)
	}
	if wel = a.ask(a.hello())[0].(*wire.Welcome); wel.Setup != nil {
		t.Error("a current setup was sent again")
	}
	hello = a.hello()
	hello.Incarnation[0]++
	if wel = a.ask(hello)[0].(*wire.Welcome); wel.Progress != 0 || wel.Sum != (change.Hash{}) {
		t.Errorf("progress %d of an unknown incarnation", wel.Progress)
	}
	for _, tc := range []struct {
		code string
		edit func(*wire.Hello)
	}{
		{"unsupported-version", func(h *wire.Hello) { h.Min, h.Max = 2, 9 }},
		{"forged", func(h *wire.Hello) { h.Device[3]++ }},
	} {
		h := a.hello()
		tc.edit(h)
		s := w.hub.NewSession(a.id)
		err := s.Receive(w.ctx, h, func(wire.Message) error { return nil })
		f, ok := errors.AsType[*wire.Fault](err)
		if !ok || f.Code != tc.code || !f.Fatal {
			t.Errorf("%s: %v", tc.code, err)
		}
	}
	s := w.hub.NewSession(a.id)
	if err := s.Receive(w.ctx, &wire.Pull{}, nil); faultCode(err) != "protocol" {
		t.Errorf("a pull before hello: %v", err)
	}
	if _, err := a.tryAsk(&wire.Welcome{}); faultCode(err) != "protocol" {
		t.Errorf("a welcome to a hub: %v", err)
	}
	if _, err := a.tryAsk(&wire.Fault{Code: "x"}); err == nil {
		t.Error("the edge's fault was ignored")
	}
	var nobody change.DeviceID
	if err := w.hub.NewSession(nobody).Receive(w.ctx, &wire.Hello{Min: 1, Max: 1}, nil); faultCode(err) != "unknown-device" {
		t.Errorf("an unknown device: %v", err)
	}
}

func TestSession_RevokedWhileConnected(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.must(w.hub.Revoke(w.ctx, a.id, "stolen"))
	for _, m := range []wire.Message{a.hello(), &wire.Pull{Cursor: a.base, Scopes: a.scopes}, &wire.Fetch{}, &wire.Verify{Cursor: a.base, Scopes: a.scopes}, pushOf(t, a.tx(ins("product", "p")))} {
		_, err := a.tryAsk(m)
		if f, ok := errors.AsType[*wire.Fault](err); !ok || f.Code != "revoked" || !f.Fatal || !strings.Contains(f.Message, "stolen") {
			t.Errorf("%T: %v", m, err)
		}
	}
	w.want("SELECT count(*) FROM product", "0")
}

func pushOf(t testing.TB, txs ...*change.Transaction) *wire.Push {
	t.Helper()
	b, err := change.SealTransactions(txs)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Push{Body: b}
}

func TestSession_DamagedAndOversizedFrames(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits.Frame = 10_000 })
	a := w.site("a", everywhere)
	good := pushOf(t, a.tx(ins("product", "p", strings.Repeat("x", 500)))).Body
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x20
		if _, err := a.tryAsk(&wire.Push{Body: bad}); faultCode(err) != "corrupt" && faultCode(err) != "oversized" {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := a.tryAsk(&wire.Push{Body: good[:i]}); faultCode(err) != "corrupt" {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := a.tryAsk(&wire.Push{Body: make([]byte, 20_000)}); faultCode(err) != "oversized" {
		t.Errorf("oversized: %v", err)
	}
	forged := a.tx(ins("product", "q"))
	forged.Device[0]++
	if _, err := a.tryAsk(pushOf(t, forged)); faultCode(err) != "forged" {
		t.Errorf("forged: %v", err)
	}
	w.want("SELECT count(*) FROM product", "0")
}

func TestSession_PullAnswers(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits.Part = 4096 })
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	var ops []change.Op
	for i := range 500 {
		ops = append(ops, ins("product", fmt.Sprintf("p%03d", i), strings.Repeat("x", 100), i))
	}
	a.applies(ops...)
	parts := b.ask(&wire.Pull{Cursor: b.base, Scopes: b.scopes})
	if len(parts) < 10 {
		t.Errorf("%d parts of 50 kB at 4 kB each", len(parts))
	}
	for i, m := range parts {
		d := m.(*wire.Delta)
		if d.Last != (i == len(parts)-1) || !d.Last && (len(d.Outcomes) > 0 || !d.Next.IsZero()) {
			t.Errorf("part %d: %+v", i, d)
		}
	}
	if n := b.pulled(parts); n != 500 {
		t.Errorf("%d rows", n)
	}
	// Nothing new: one empty part.
	parts = b.ask(&wire.Pull{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark})
	if d := parts[0].(*wire.Delta); len(parts) != 1 || !d.Last || len(d.Body) != 0 || d.Next != b.base {
		t.Errorf("nothing new was answered %+v", d)
	}
	// With Echo an incarnation's own rows come, too.
	old := a.base
	a.pull()
	if n := a.pulled(a.ask(&wire.Pull{Cursor: old, Scopes: a.scopes, Echo: true})); n != 500 {
		t.Errorf("%d rows with echo", n)
	}
	for name, m := range map[string]*wire.Pull{
		"nothing fetched": {Scopes: b.scopes},
		"another epoch":   {Cursor: change.Cursor{Epoch: 1, Token: b.base.Token}, Scopes: b.scopes},
		"other scopes":    {Cursor: b.base},
	} {
		r, ok := b.ask(m)[0].(*wire.Rebase)
		if !ok || r.Full != (name != "other scopes") || r.Scopes != b.scopes || len(r.Grants) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A pull that waits is answered when something for it happens, and only then.
func TestSession_WaitAndWake(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1")), w.site("b", branchGrant("2"))
	wait := &wire.Pull{Cursor: a.base, Scopes: a.scopes, Outcome: a.mark, Wait: true}
	if out := a.ask(wait); len(out) != 0 || !a.session.Held() {
		t.Fatalf("nothing happened, and it was answered %v", out)
	}
	wake := func() (out []wire.Message) {
		t.Helper()
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		w.must(a.session.Wait(ctx))
		w.must(a.session.Wake(ctx, func(m wire.Message) error { out = append(out, m); return nil }))
		return out
	}
	b.applies(ins("customer", "c2", "2", "Bob"))
	if out := wake(); len(out) != 0 {
		t.Errorf("another's rows were answered %v", out)
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c1','1','Ann')") // another program
	if n := a.pulled(wake()); n != 1 || a.session.Held() {
		t.Errorf("%d rows", n)
	}
	a.same("customer", "branch='1'")
	// A decision without rows wakes, too.
	id := a.parks("not at the hub", ins("orders", "o1", "nobody"))
	a.pull()
	if out := a.ask(&wire.Pull{Cursor: a.base, Scopes: a.scopes, Outcome: a.mark, Wait: true}); len(out) != 0 {
		t.Fatalf("answered %v", out)
	}
	done := make(chan error)
	go func() { done <- a.session.Wait(w.ctx) }()
	for waiting := false; !waiting; { // until the goroutine listens, discarding would ring for nobody
		waiting = hub.Waiting(w.hub)
	}
	_, err := w.hub.Discard(w.ctx, id, "no")
	w.must(err)
	w.must(<-done)
	var out []wire.Message
	w.must(a.session.Wake(w.ctx, func(m wire.Message) error { out = append(out, m); return nil }))
	a.pulled(out)
	if a.done[1] != hub.Discarded {
		t.Errorf("outcome %v", a.done[1])
	}
	// So does one by another process, at the next heartbeat.
	id = a.parks("not at the hub", ins("orders", "o2", "nobody"))
	a.pull()
	a.ask(&wire.Pull{Cursor: a.base, Scopes: a.scopes, Outcome: a.mark, Wait: true})
	other, err := hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand})
	w.must(err)
	_, err = other.Discard(w.ctx, id, "no")
	w.must(err)
	a.pulled(a.ask(&wire.Ping{N: 1})[1:])
	if a.done[2] != hub.Discarded {
		t.Errorf("outcome %v", a.done[2])
	}
	// Grants that change are news.
	a.ask(&wire.Pull{Cursor: a.base, Scopes: a.scopes, Outcome: a.mark, Wait: true})
	w.must(w.hub.SetGrants(w.ctx, a.id, []rule.Grant{branchGrant("2")}))
	out = nil
	w.must(a.session.Wake(w.ctx, func(m wire.Message) error { out = append(out, m); return nil }))
	if r, ok := out[0].(*wire.Rebase); !ok || r.Full {
		t.Errorf("changed grants were answered %#v", out[0])
	}
	ctx, cancel := context.WithCancel(w.ctx)
	go func() { done <- a.session.Wait(ctx) }() // no pull waits: neither does a commit end it
	b.applies(ins("customer", "c9", "2", "Bob"))
	cancel()
	if err := <-done; err == nil {
		t.Error("Wait outlived its context")
	}
	if err := a.session.Wake(w.ctx, nil); err != nil {
		t.Errorf("a wake without a pull: %v", err)
	}
}

func TestSession_FetchIsBoundedAndResumable(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Limits.Part = 8192 })
	a := w.site("a", branchGrant("1"))
	w.sql(`WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i+1 FROM n WHERE i < 2000)
		INSERT INTO customer(id,branch,name) SELECT printf('c%05d',i), i%2, 'some name or other' FROM n;
		INSERT INTO orders(id,customer) SELECT 'o'||id, id FROM customer`)
	m := &wire.Fetch{Window: 3}
	a.rows = map[string]map[string]rowV{}
	n := 0
	for done := false; !done; {
		a.connect() // a cut after each window
		out := a.ask(m)
		if len(out) > 3 {
			t.Fatalf("%d chunks in a window of 3", len(out))
		}
		for i, x := range out {
			c := x.(*wire.Chunk)
			if len(c.Body) > 8192*2 {
				t.Errorf("a chunk of %d bytes", len(c.Body))
			}
			if (c.Total != nil) != (n == 0) {
				t.Errorf("chunk %d has totals %v", n, c.Total)
			}
			if n == 0 && (c.Total["customer"] < 500 || c.Total["customer"] > 2000) {
				t.Errorf("estimates %v", c.Total)
			}
			if c.Done != (i == len(out)-1 && c.Table == "") && c.Done {
				t.Errorf("chunk %+v", c)
			}
			n++
			a.take(c.Body, nil)
			m, done = &wire.Fetch{Window: 3, Table: c.Table, After: c.After}, c.Done
		}
	}
	a.same("customer", "branch='1'")
	a.same("orders", "customer IN (SELECT id FROM customer WHERE branch='1')")
	if _, err := a.tryAsk(&wire.Fetch{Scopes: []rule.ScopeID{"branch/0"}}); faultCode(err) != "forbidden" {
		t.Errorf("another's scope: %v", err)
	}
	if _, err := a.tryAsk(&wire.Fetch{Table: "nothing"}); faultCode(err) != "unknown-table" {
		t.Errorf("an unknown table: %v", err)
	}
	gone := errors.New("gone")
	if err := a.session.Receive(w.ctx, &wire.Fetch{Window: 9}, func(wire.Message) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("a lost edge: %v", err)
	}
}

func TestSession_Verify(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", branchGrant("1"), everywhere)
	a.applies(ins("customer", "c1", "1", "Ann"), ins("product", "p", "tea"))
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('c2','1','Bob'), ('c3','2','Cid')")
	out := a.ask(&wire.Verify{Cursor: a.base, Scopes: a.scopes, Tables: []string{"customer", "product"}})
	d := out[len(out)-1].(*wire.Digests)
	a.pulled(out[:len(out)-1])
	if d.At != a.base || len(d.Digests) != 2 || d.Digests[0].Rows != 2 || d.Digests[1].Rows != 1 {
		t.Fatalf("digests %+v", d)
	}
	mine := change.Digest{Table: "customer"}
	cols := columnsOf["customer"]
	for _, r := range a.rows["customer"] {
		var vals []change.Value
		for _, c := range cols {
			vals = append(vals, r.vals[c])
		}
		mine.Add(r.key, change.HashRow(cols, vals))
	}
	if mine != d.Digests[0] {
		t.Errorf("the digests differ: %d and %d rows", mine.Rows, d.Digests[0].Rows)
	}
	out = a.ask(&wire.Verify{Cursor: a.base, Scopes: a.scopes, Tables: []string{"CUSTOMER"}, Buckets: []int{change.Bucket(change.Key{val("c2")})}})
	rows, err := change.OpenRows(out[len(out)-1].(*wire.Digests).Body, change.Limits{})
	w.must(err)
	if len(rows) != 1 || rows[0].Len() != 1 || rows[0].KeyOf(0)[0] != val("c2") {
		t.Errorf("rows of the bucket: %+v", rows)
	}
	if all := a.ask(&wire.Verify{Cursor: a.base, Scopes: a.scopes}); len(all[len(all)-1].(*wire.Digests).Digests) != len(shopDDL) {
		t.Error("no tables named did not mean all")
	}
	if _, ok := a.ask(&wire.Verify{Cursor: a.base})[0].(*wire.Rebase); !ok {
		t.Error("other scopes were verified")
	}
	if _, err := a.tryAsk(&wire.Verify{Cursor: a.base, Scopes: a.scopes, Tables: []string{"nothing"}}); faultCode(err) != "unknown-table" {
		t.Errorf("an unknown table: %v", err)
	}
	if _, err := a.tryAsk(&wire.Verify{Cursor: a.base, Scopes: a.scopes, Buckets: []int{1}}); faultCode(err) != "protocol" {
		t.Errorf("buckets of all tables: %v", err)
	}
	at, list, err := w.hub.Digests(w.ctx, []rule.ScopeID{"branch/1", "all"})
	w.must(err)
	if at != a.base || len(list) != len(shopDDL) {
		t.Errorf("the hub's own digests at %v, %d tables", at, len(list))
	}
}

func TestSession_PingAndPresence(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.clock.Advance(time.Minute)
	if out := a.ask(&wire.Ping{N: 7, Status: &wire.EdgeStatus{OutboxDepth: 3, OldestUnsafe: time.Hour}}); out[0].(*wire.Pong).N != 7 {
		t.Errorf("%+v", out)
	}
	a.ask(&wire.Pong{N: 1})
	w.clock.Advance(time.Minute)
	check := func() {
		t.Helper()
		st, err := w.hub.Status(w.ctx)
		w.must(err)
		d := st.Devices[0]
		if st.OldestUnsafe != time.Hour+time.Minute || st.UnsafeDevice != a.id || d.Quiet != time.Minute || d.Stalled != 2*time.Minute || d.Behind {
			t.Errorf("status %+v", st)
		}
	}
	check()
	w.must(w.hub.Flush(w.ctx))
	check()
	// Another process over the same file knows it, too.
	h, err := hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand})
	w.must(err)
	w.hub = h
	check()
	w.sql("INSERT INTO product(id) VALUES ('p')")
	a.parks("not at the hub", ins("stock", "none", "x", 1))
	w.clock.Advance(time.Minute)
	st, err := w.hub.Status(w.ctx)
	w.must(err)
	if !st.Devices[0].Behind || st.Quarantine != 1 || st.Devices[0].Quarantine != 1 || st.Oldest != time.Minute {
		t.Errorf("status %+v", st)
	}
}
