package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A caller is a device without a file: real sessions of the real transport, a key and a
// chain of transactions of its own. What is measured with it is the hub.
type caller struct {
	key    *transport.Key
	client *transport.Client
	nudge  chan struct{}

	// Of the session, which one goroutine steps; said takes what others ask.
	hello  wire.Hello
	scopes change.Hash
	prev   change.Hash
	mark   uint64
	asked  time.Time // when what is to be answered was asked
	pushed time.Time // likewise, of a push
	fetch  bool      // rows are fetched in this session
	rows   int64

	mu      sync.Mutex
	work    []step // to be handed in, each as a transaction; guarded by mu
	anew    bool   // bootstrap once more; guarded by mu
	answers []time.Duration
	handed  chan struct{} // a token for each step that is durable
	ready   chan struct{} // closed when the session is up to date
}

// answered notes how long an answer took.
func (c *caller) answered(asked time.Time) {
	c.mu.Lock()
	c.answers = append(c.answers, time.Since(asked))
	c.mu.Unlock()
}

// Start implements transport.Starter.
func (c *caller) Start(_ context.Context, emit func(wire.Message) error) error {
	c.asked = time.Now()
	c.hello.Clock = c.asked
	return emit(&c.hello)
}

// Receive implements wire.Peer.
func (c *caller) Receive(_ context.Context, m wire.Message, emit func(wire.Message) error) error {
	switch m := m.(type) {
	case *wire.Welcome:
		c.answered(c.asked)
		c.scopes = m.Scopes
		c.asked = time.Now()
		if c.hello.At.IsZero() {
			c.fetch = true
			return emit(&wire.Fetch{Window: wide})
		}
		return emit(&wire.Pull{Cursor: c.hello.At, Scopes: c.scopes, Outcome: c.mark})
	case *wire.Chunk:
		return c.chunk(m, emit)
	case *wire.PushResult:
		return c.result(m)
	case *wire.Delta:
		return c.delta(m, emit)
	case *wire.Rebase:
		return fmt.Errorf("the hub serves no delta: %s", m.Reason)
	case *wire.Fault:
		return m
	}
	return nil
}

// wide is a window that no bootstrap here fills.
const wide = 1 << 20

// chunk takes a part of a bootstrap; the delta that closes it follows.
func (c *caller) chunk(m *wire.Chunk, emit func(wire.Message) error) error {
	c.answered(c.asked)
	c.asked = time.Now()
	c.rows += int64(len(m.Body))
	if c.hello.At.IsZero() {
		c.hello.At = m.At
	}
	if !m.Done {
		return nil
	}
	return emit(&wire.Pull{Cursor: c.hello.At, Scopes: c.scopes, Outcome: c.mark, Echo: true})
}

func (c *caller) delta(m *wire.Delta, emit func(wire.Message) error) error {
	if !m.Last {
		return nil
	}
	if c.fetch || !isClosed(c.ready) {
		c.answered(c.asked)
		c.fetch = false
		if !isClosed(c.ready) {
			close(c.ready)
		}
	}
	c.hello.At, c.hello.Seal, c.mark = m.Next, m.Seal, m.Mark
	return emit(&wire.Pull{Cursor: m.Next, Scopes: c.scopes, Outcome: c.mark, Wait: true})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Nudge implements transport.Nudger: it hands in what there is to do.
func (c *caller) Nudge(_ context.Context, emit func(wire.Message) error) error {
	c.mu.Lock()
	list, anew := c.work, c.anew && !c.fetch
	c.work, c.anew = nil, false
	c.mu.Unlock()
	if anew {
		c.fetch, c.asked = true, time.Now()
		if err := emit(&wire.Fetch{Window: wide}); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	var txs []*change.Transaction
	for i := range list {
		t, err := c.transaction(&list[i])
		if err != nil {
			return err
		}
		txs = append(txs, t)
	}
	body, err := change.SealTransactions(txs)
	if err != nil {
		return err
	}
	c.pushed = time.Now()
	return emit(&wire.Push{Body: body})
}

// result takes the answer to a push. Everything must have gone in.
func (c *caller) result(m *wire.PushResult) error {
	c.answered(c.pushed)
	if m.Fork || m.Durable < c.hello.Last {
		return fmt.Errorf("the hub took %d of %d transactions", m.Durable, c.hello.Last)
	}
	for _, r := range m.Results {
		if r.Status != 1 {
			return fmt.Errorf("transaction %d: status %d: %s", r.Seq, r.Status, r.Reason)
		}
		c.handed <- struct{}{}
	}
	return nil
}

// transaction is a step as an edge would have captured it.
func (c *caller) transaction(s *step) (*change.Transaction, error) {
	id, err := change.NewTxID(random{})
	if err != nil {
		return nil, err
	}
	c.hello.Last++
	row := uint64(0)
	insert := func(t int, values []change.Value) change.Op {
		row++
		return change.Op{Table: tables[t].name, Kind: change.Insert, Key: change.Key{values[0]}, Columns: tables[t].columns, New: values, Rows: []uint64{row}}
	}
	ops := []change.Op{insert(orders, s.order)}
	for _, l := range s.lines {
		ops = append(ops, insert(lines, l))
	}
	row++
	ops = append(ops, change.Op{Table: tables[orders].name, Kind: change.Update, Key: change.Key{change.Text(s.older)}, Columns: []string{"status", "total"},
		Base: s.was, New: []change.Value{change.Text(s.status), change.Int(s.total)}, Rows: []uint64{row}})
	t := &change.Transaction{ID: id, Device: c.hello.Device, Incarnation: c.hello.Incarnation, Seq: c.hello.Last, Prev: c.prev,
		Bases: []change.Cursor{c.hello.At}, HLC: change.NewHLC(time.Now().UnixMilli(), 0), Ops: ops}
	c.prev = t.Sum()
	return t, nil
}

// do hands steps in and waits until they are durable.
func (c *caller) do(ctx context.Context, list []step, anew bool) error {
	c.mu.Lock()
	c.work, c.anew = append(c.work, list...), anew
	c.mu.Unlock()
	select {
	case c.nudge <- struct{}{}:
	default:
	}
	for range list {
		select {
		case <-c.handed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// stay keeps a session open until ctx ends, and begins it again as patiently as the hub
// asks.
func (c *caller) stay(ctx context.Context) error {
	for {
		err := c.client.Run(ctx, c)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was ended
		}
		after, ok := transport.RetryAfter(err)
		if !ok {
			return errors.Join(errors.New("a session ended"), err)
		}
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil
		}
	}
}
