package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// random is the machine's source.
type random struct{}

func (random) Read(b []byte) (int, error) { return io.ReadFull(rand.Reader, b) }

// A callerRole hosts callers in one process.
type callerRole struct {
	list   []*caller
	data   *dataset
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // of the sessions, which close ends
	done   sync.WaitGroup
	round  int
	failed atomic.Pointer[error]
}

func (r *callerRole) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return reply{}, r.open(a)
	case "dial":
		return r.dial(a)
	case "work":
		return r.work(a)
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

// open enrols devices straight into the database. Each one's scope is the city of a
// customer of its own, or everything.
func (r *callerRole) open(a ask) (err error) {
	r.ctx, r.cancel = context.WithCancel(context.Background())
	rules := ruled(a.Rules)
	store, err := postgresstore.Open(r.ctx, postgresstore.Config{DSN: a.DSN, Rules: &rules})
	if err != nil {
		return err
	}
	c, err := newCenter(store, serverGround(a.DSN), &rules)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	r.data = seedRows(a.Rows)
	if a.Rules != everywhere && a.Edges > len(r.data[customers]) {
		return fmt.Errorf("%d devices, and %d customers", a.Edges, len(r.data[customers]))
	}
	for i := range a.Edges {
		scope := rule.ScopeAll
		if a.Rules != everywhere {
			scope = cityOf(r.data[customers][i])
		}
		d, err := enrol(r.ctx, c.hub, i, scope)
		if err != nil {
			return err
		}
		r.list = append(r.list, d)
	}
	return nil
}

func enrol(ctx context.Context, h *hub.Hub, i int, scope rule.ScopeID) (*caller, error) {
	inv, err := h.AddDevice(ctx, fmt.Sprint("device-", i), []rule.Grant{{Scope: scope, Verbs: rule.Every}}, 0)
	if err != nil {
		return nil, err
	}
	d := &caller{nudge: make(chan struct{}, 1), handed: make(chan struct{}, 1024), ready: make(chan struct{})}
	if d.key, err = transport.NewKey(rand.Reader); err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(d.key.Signer().Public())
	if err != nil {
		return nil, err
	}
	id, _, err := h.Join(ctx, inv.Secret, spki)
	if err != nil {
		return nil, err
	}
	inc, err := change.NewIncarnation(random{})
	d.hello.Min, d.hello.Max, d.hello.Agent, d.hello.Device, d.hello.Incarnation = 1, 1<<16, "bench", id, inc
	return d, err
}

// dial connects callers that are not connected yet, in turn to each of the hubs, and
// returns when all are up to date, and how long each waited.
func (r *callerRole) dial(a ask) (reply, error) {
	var at []transport.Token
	for _, text := range a.Tokens {
		t, err := transport.ParseToken(text)
		if err != nil {
			return reply{}, err
		}
		at = append(at, t)
	}
	var fresh []*caller
	for i, c := range r.list[:min(a.Edges, len(r.list))] {
		if c.client != nil {
			continue
		}
		t := at[i%len(at)]
		var err error
		if c.client, err = transport.NewClient(transport.Options{URL: t.URL, Pin: t.Pin, Key: c.key, Nudges: c.nudge}); err != nil {
			return reply{}, err
		}
		fresh = append(fresh, c)
		r.done.Go(func() {
			if err := c.stay(r.ctx); err != nil {
				r.failed.CompareAndSwap(nil, &err)
				r.cancel()
			}
		})
	}
	ans, err := timed(fresh, func(c *caller) error {
		select {
		case <-c.ready:
			return nil
		case <-r.ctx.Done():
			return *r.failed.Load()
		}
	})
	for _, c := range fresh {
		ans.Down += c.rows
	}
	return ans, err
}

// work lets connected callers hand in steps, one after the other or at a pace, for a
// while, and returns how long each answer took; Rows is how many row changes went in.
func (r *callerRole) work(a ask) (ans reply, err error) {
	r.round++
	workers := r.list[:a.Edges]
	for _, c := range r.list {
		c.mu.Lock()
		c.answers = nil
		c.mu.Unlock()
	}
	ctx, stop := context.WithTimeout(r.ctx, time.Duration(a.Nanos))
	defer stop()
	from := time.Now()
	var in atomic.Int64
	err = each(workers, func(i int, c *caller) error {
		return r.one(ctx, i, c, a, &in)
	})
	took := time.Since(from)
	if p := r.failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	ans.Rows, ans.Up = in.Load(), int64(took)
	for _, c := range r.list {
		c.mu.Lock()
		for _, t := range c.answers {
			ans.Nanos = append(ans.Nanos, int64(t))
		}
		c.mu.Unlock()
	}
	return ans, err
}

// one is one caller's work. The wait for the last answer is not cut short.
func (r *callerRole) one(ctx context.Context, i int, c *caller, a ask, in *atomic.Int64) error {
	g := newGenerator(uint64(i)<<20 | uint64(r.round))
	var beat *time.Timer
	var every time.Duration
	if a.Pace > 0 { // one after the other, from the first moment on
		every = time.Duration(float64(a.Edges) / a.Pace * float64(time.Second))
		beat = time.NewTimer(every * time.Duration(i%a.Edges) / time.Duration(a.Edges))
		defer beat.Stop()
	}
	for n := 0; ctx.Err() == nil; n++ {
		if beat != nil {
			select {
			case <-beat.C:
				beat.Reset(every)
			case <-ctx.Done():
				return nil
			}
		}
		s := r.step(g, i, n)
		if err := c.do(r.ctx, []step{s}, n%16 == 15); err != nil {
			return err
		}
		in.Add(stepRows)
	}
	return nil
}

// step is the n-th step of a caller in this round: a new order of its own customer,
// whose own order it changes.
func (r *callerRole) step(g *generator, i, n int) step {
	id := uuidOf(orders, 1_000_000+r.round*100_000+i, n)
	s := step{order: g.order(id, i), older: uuidOf(orders, 0, i), status: g.status(), total: int64(g.r.IntN(100_000))}
	for j := range s.lines {
		s.lines[j] = g.line(uuidOf(lines, 1_000_000+r.round*100_000+i, n*3+j), id)
	}
	old := r.data[orders][i]
	s.was = []change.Value{old[2], old[3]}
	fresh := append([]change.Value{}, old...)
	fresh[2], fresh[3] = change.Text(s.status), change.Int(s.total)
	r.data[orders][i] = fresh // this caller's alone
	return s
}

func (r *callerRole) close() error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.done.Wait()
	for _, c := range r.list {
		if c.client != nil {
			c.client.Close()
		}
	}
	return nil
}
