package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A device comes back with work that nobody has seen.
type device struct {
	clock  clock.Clock
	id     change.DeviceID
	inc    change.Incarnation
	key    *transport.Key
	setup  *wire.Setup
	cursor change.Cursor // the state that it left with
	txs    []*change.Transaction
	hubs   []transport.Options // where it may go; any of them is as good
	at     int                 // where it goes now

	sent    time.Time       // the request under way
	answers []time.Duration // from a request to its answer
	durable uint64
	refused int // times it was asked to come back later
	cut     int // times it did not reach a hub, or not to the end
	moved   int // times it went on to the next hub
	done    bool
}

// errDone ends a session that has done what it was for.
var errDone = errors.New("done")

// greet is the device's session before it went away: what comes back is no stranger.
func (d *device) greet(ctx context.Context, core *hub.Hub) error {
	s := core.NewSession(d.id)
	defer s.End()
	return s.Receive(ctx, d.hello(), func(wire.Message) error { return nil })
}

// Start implements transport.Starter.
func (d *device) Start(_ context.Context, emit func(wire.Message) error) error {
	d.sent = d.clock.Now()
	return emit(d.hello())
}

func (d *device) hello() *wire.Hello {
	return &wire.Hello{Min: wire.MinProtocol, Max: wire.MaxProtocol, Agent: "fleet", Device: d.id, Incarnation: d.inc,
		Schema: d.setup.Schema.Hash(), Rules: d.setup.Hash, Clock: d.clock.Now(), Last: uint64(len(d.txs)),
		Status: wire.EdgeStatus{OutboxDepth: uint64(len(d.txs)) - d.durable}}
}

// Receive implements wire.Peer.
func (d *device) Receive(_ context.Context, m wire.Message, emit func(wire.Message) error) error {
	now := d.clock.Now()
	switch m := m.(type) {
	case *wire.Welcome:
		d.answered(now)
		d.durable = m.Progress
		if d.durable < uint64(len(d.txs)) {
			body, err := change.SealTransactions(d.txs[d.durable:])
			if err != nil {
				return err
			}
			if err := emit(&wire.Push{Body: body}); err != nil {
				return err
			}
		}
		return emit(&wire.Pull{Cursor: d.cursor, Scopes: m.Scopes, Echo: true})
	case *wire.PushResult:
		d.answered(now)
		d.durable = m.Durable
		if m.Fork || d.durable < uint64(len(d.txs)) {
			return fmt.Errorf("the hub took %d of %d transactions", m.Durable, len(d.txs))
		}
		for _, r := range m.Results {
			if r.Status != 1 {
				return fmt.Errorf("transaction %d: status %d: %s", r.Seq, r.Status, r.Reason)
			}
		}
	case *wire.Rebase:
		return fmt.Errorf("the hub serves no delta: %s", m.Reason)
	case *wire.Delta:
		if m.Last {
			d.answered(now)
			return errDone
		}
	case *wire.Fault:
		return m
	}
	return nil
}

func (d *device) answered(now time.Time) {
	d.answers = append(d.answers, now.Sub(d.sent))
	d.sent = now
}

// run tries until everything is done, as patiently as the hub asks.
func (d *device) run(ctx context.Context, draw func(limit time.Duration) time.Duration) error {
	pause := 250 * time.Millisecond
	var client *transport.Client
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	for {
		if client == nil {
			c, err := transport.NewClient(d.way())
			if err != nil {
				return err
			}
			client = c
		}
		err := client.Run(ctx, d)
		if errors.Is(err, errDone) {
			d.done = true
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := pause/2 + draw(pause/2)
		pause = min(2*pause, 30*time.Second)
		after, later := transport.RetryAfter(err)
		switch {
		case later:
			d.refused++
			wait = after + draw(after/4)
		case errors.Is(err, transport.ErrUnreachable):
			d.cut++
			if len(d.hubs) > 1 {
				client.Close()
				client, d.at = nil, (d.at+1)%len(d.hubs)
				d.moved++
			}
		case err != nil:
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// way is how the device reaches the hub that it goes to now.
func (d *device) way() transport.Options {
	o := d.hubs[d.at]
	o.Key = d.key
	return o
}
