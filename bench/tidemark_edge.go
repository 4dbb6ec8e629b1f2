package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// An edgeRole hosts edges in one process.
type edgeRole struct {
	rows  int
	edges []*site
}

// A site is one edge: a file, an application's own connection to it, and the
// engine that syncs it over a connection that stays warm.
type site struct {
	path   string
	device change.DeviceID
	client *transport.Client
	engine *edge.Engine
	nudge  chan struct{}
	seq    uint64 // of the last transaction written

	up, down int64        // payload of the last session that ended by itself
	app      *sqlite.Conn // nil until the tables are there

	live *arrivals
	stop context.CancelFunc
	done sync.WaitGroup
}

func (r *edgeRole) do(a ask) (reply, error) {
	switch a.Do {
	case "open":
		return r.open(a)
	case "write":
		return reply{}, each(r.edges, func(i int, s *site) error {
			return s.write(steps(a.Steps, r.rows, a.Writer+i, len(r.edges)))
		})
	case "push":
		return timed(r.edges, (*site).push)
	case "pull", "settle":
		return timed(r.edges, (*site).sync)
	case "fill":
		return timed(r.edges, (*site).fill)
	case "idle":
		ans, err := timed(r.edges, (*site).sync)
		ans.Up, ans.Down = r.edges[0].up, r.edges[0].down
		return ans, err
	case "live":
		return reply{}, r.edges[0].follow()
	case "poke":
		return r.poke(a)
	case "await":
		at, err := r.edges[0].live.await()
		return reply{Nanos: at}, err
	case "hash":
		s := r.edges[len(r.edges)-1]
		h, n, err := contentHash(s.app)
		return reply{Hash: h, Rows: n}, err
	}
	return reply{}, fmt.Errorf("unknown command %q", a.Do)
}

func (r *edgeRole) open(a ask) (reply, error) {
	r.rows = a.Rows
	var out reply
	for i, text := range a.Tokens {
		s, err := newSite(filepath.Join(a.Dir, fmt.Sprintf("edge%d.db", i)), text, a.Bare)
		if err != nil {
			return out, err
		}
		r.edges = append(r.edges, s)
		out.Address = s.path
	}
	return out, nil
}

// newSite joins with a token; the file does not exist yet, and stays so when bare.
func newSite(path, text string, bare bool) (*site, error) {
	token, err := transport.ParseToken(text)
	if err != nil {
		return nil, err
	}
	key, err := transport.NewKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &site{path: path, nudge: make(chan struct{}, 1)}
	s.client, err = transport.NewClient(transport.Options{URL: token.URL, Pin: token.Pin, Key: key, Nudges: s.nudge})
	if err != nil {
		return nil, err
	}
	joined, err := s.client.Join(context.Background(), token.Secret, "bench")
	if err != nil {
		return nil, err
	}
	s.device = joined.Device
	if bare {
		return s, nil
	}
	s.engine, err = edge.Open(edge.Config{Path: path, Clock: clock.System{}, Rand: rand.Reader})
	return s, err
}

func (r *edgeRole) close() error {
	var err error
	for _, s := range r.edges {
		err = errors.Join(err, s.close())
	}
	return err
}

func (s *site) close() error {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
	s.client.Close()
	var err error
	if s.engine != nil {
		err = s.engine.Close()
	}
	if s.app != nil {
		err = errors.Join(err, s.app.Close())
	}
	return err
}

// write commits steps through the application's connection.
func (s *site) write(list []step) error {
	for i := range list {
		if err := list[i].commitNamed(s.app); err != nil {
			return err
		}
	}
	s.seq += uint64(len(list))
	return nil
}

// errDone ends a session that has done what it was for.
var errDone = errors.New("done")

// A guest is an edge's session that ends when done says so.
type guest struct {
	*edge.Session
	done     func(m wire.Message) (bool, error) // after each message
	up, down int64                              // bytes of the messages themselves
}

// Start implements transport.Starter.
func (g *guest) Start(ctx context.Context, emit func(wire.Message) error) error {
	return g.Session.Start(ctx, g.weigh(emit))
}

// Receive implements wire.Peer.
func (g *guest) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	n, err := weight(m)
	if err != nil {
		return err
	}
	g.down += n
	if err := g.Session.Receive(ctx, m, g.weigh(emit)); err != nil {
		return err
	}
	done, err := g.done(m)
	if err == nil && done {
		err = errDone
	}
	return err
}

func (g *guest) weigh(emit func(wire.Message) error) func(wire.Message) error {
	return func(m wire.Message) error {
		n, err := weight(m)
		if err != nil {
			return err
		}
		g.up += n
		return emit(m)
	}
}

// weight is a message's size as a frame.
func weight(m wire.Message) (int64, error) {
	f, err := wire.ToFrame(m)
	return int64(proto.Size(f)), err
}

// session runs one until done, over the warm connection.
func (s *site) session(done func(*edge.Session, wire.Message) (bool, error)) error {
	g := &guest{Session: edge.NewSession(s.engine, edge.SessionConfig{Device: s.device, Agent: "bench", Once: true, Beside: transport.Beside})}
	g.done = func(m wire.Message) (bool, error) { return done(g.Session, m) }
	err := s.client.Run(context.Background(), g)
	if errors.Is(err, errDone) {
		err = nil
	} else if err == nil {
		err = errors.New("the hub ended the session")
	}
	s.up, s.down = g.up, g.down
	return errors.Join(err, g.Close())
}

// push runs until everything written is durable at the hub.
func (s *site) push() error {
	return s.session(func(_ *edge.Session, m wire.Message) (bool, error) {
		r, ok := m.(*wire.PushResult)
		return ok && r.Durable >= s.seq, nil
	})
}

// sync runs until everything is settled here and there.
func (s *site) sync() error {
	err := s.session(func(e *edge.Session, _ wire.Message) (bool, error) { return e.Synced() })
	if err == nil && s.app == nil {
		s.app, err = sqlite.Open(s.path, sqlite.Options{MustExist: true, WAL: true})
	}
	return err
}

// stand opens a session that stays, like an agent's, and returns when it is up
// to date. after is called after each message from then on.
func (s *site) stand(after func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	ready, ended := make(chan struct{}), make(chan error, 1)
	current := false
	g := &guest{Session: edge.NewSession(s.engine, edge.SessionConfig{Device: s.device, Agent: "bench", Beside: transport.Beside})}
	g.done = func(m wire.Message) (bool, error) {
		if current {
			return false, after()
		}
		if d, ok := m.(*wire.Delta); ok && d.Last {
			current = true
			close(ready)
		}
		return false, nil
	}
	s.done.Go(func() { ended <- errors.Join(s.client.Run(ctx, g), g.Close()) })
	select {
	case <-ready:
		return nil
	case err := <-ended:
		return fmt.Errorf("live session: %w", err)
	}
}

// follow notes when each step of another edge stands in the file. Steps insert
// one order each, which the order table's last rowid shows.
func (s *site) follow() error {
	s.live = newArrivals()
	seen, err := lastOrder(s.app)
	if err != nil {
		return err
	}
	return s.stand(func() error {
		n, err := lastOrder(s.app)
		for ; seen < n; seen++ {
			s.live.note(now())
		}
		return err
	})
}

func lastOrder(c *sqlite.Conn) (int64, error) {
	v, _, err := sqlite.One(c, "SELECT max(rowid) FROM orders")
	return v.Int(), err
}

// poke commits one step and tells the agent, as the SDK does.
func (r *edgeRole) poke(a ask) (reply, error) {
	s := r.edges[0]
	if s.stop == nil {
		if err := s.stand(func() error { return nil }); err != nil {
			return reply{}, err
		}
	}
	list := steps(a.Steps, r.rows, a.Writer, 1)[a.Steps-1:]
	at := now()
	if err := s.write(list); err != nil {
		return reply{}, err
	}
	select {
	case s.nudge <- struct{}{}:
	default:
	}
	return reply{Nanos: []int64{at}}, nil
}
