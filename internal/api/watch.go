package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// How a watch goes on.
const (
	tickEvery   = 15 * time.Second       // when there is nothing else to say
	restBetween = 750 * time.Millisecond // between two tellings: who watches asks again each time
	sendFor     = 10 * time.Second       // a reader that takes longer is dropped: it comes back
	mostNews    = 64                     // ids of one kind; beyond that: all of it
)

// news tells watchers that something changed. Its methods may be called concurrently,
// and do not block.
type news struct {
	mu       sync.Mutex
	watchers map[*watcher]bool // guarded by mu
	ended    chan struct{}
	end      func()
}

// A watcher collects what it was not told yet: however slow, it holds no more than there
// are kinds and ids.
type watcher struct {
	mu   sync.Mutex
	what map[string]map[string]bool // kind → ids; guarded by mu
	bell chan struct{}              // holds a token when there is something
}

func newNews() *news {
	n := &news{watchers: map[*watcher]bool{}, ended: make(chan struct{})}
	n.end = sync.OnceFunc(func() { close(n.ended) })
	return n
}

// post says that something changed; id "" stands for all of a kind.
func (n *news) post(kind, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watchers {
		w.add(kind, id)
	}
}

func (n *news) join() *watcher {
	w := &watcher{what: map[string]map[string]bool{}, bell: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers[w] = true
	return w
}

func (n *news) leave(w *watcher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.watchers, w)
}

func (w *watcher) add(kind, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := w.what[kind]
	switch {
	case ids == nil:
		w.what[kind] = map[string]bool{id: true}
	case ids[""]:
	case id == "" || len(ids) >= mostNews:
		w.what[kind] = map[string]bool{"": true}
	default:
		ids[id] = true
	}
	select {
	case w.bell <- struct{}{}:
	default: // it is known that there is something
	}
}

func (w *watcher) take() (list []*pb.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, ids := range w.what {
		for id := range ids {
			list = append(list, &pb.Event{Kind: kind, Id: id})
		}
	}
	clear(w.what)
	return list
}

type controllerKey struct{}

// sender sends events, each within its time. The bounds of ordinary requests do not count.
func sender(ctx context.Context, out *connect.ServerStream[pb.Event]) func(...*pb.Event) error {
	control, _ := ctx.Value(controllerKey{}).(*http.ResponseController)
	if control == nil { // there is no network in between
		control = http.NewResponseController(nil)
	}
	_ = errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})) // fails only when the caller is gone
	return func(list ...*pb.Event) error {
		late := time.AfterFunc(sendFor, func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) }) // likewise
		defer late.Stop()
		for _, e := range list {
			if err := out.Send(e); err != nil {
				return err
			}
		}
		return nil
	}
}

// Watch tells until the caller goes, its login ends, or the hub stops.
func (s fleet) Watch(ctx context.Context, _ *connect.Request[pb.WatchRequest], out *connect.ServerStream[pb.Event]) error {
	w := s.news.join()
	defer s.news.leave(w)
	send := sender(ctx, out)
	if err := send(&pb.Event{Kind: "hello"}); err != nil {
		return err
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.news.ended:
			return fault(connect.CodeUnavailable, "stopping", "the hub is stopping", "it is tried again by itself")
		case <-tick.C:
			if err := s.stillIn(ctx); err != nil {
				return err
			}
			if err := send(&pb.Event{Kind: "tick"}); err != nil {
				return err
			}
		case <-w.bell:
			rest(ctx, s.fleet.patience()) // who asks again shall see it
			if err := send(w.take()...); err != nil {
				return err
			}
			rest(ctx, restBetween)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// stillIn looks whether who watches is still let in.
func (s *Service) stillIn(ctx context.Context) (err error) {
	switch c := callOf(ctx); {
	case c.bearer != "":
		_, err = s.cfg.People.Bearer(ctx, c.bearer)
	case c.cookie != "":
		_, err = s.cfg.People.Session(ctx, c.cookie)
	}
	return s.explain(err, "")
}

// Stirred says that the store changed, or what is known of devices. The process around
// the hub calls it; it does not block.
func (s *Service) Stirred() {
	s.fleet.stir()
	for _, kind := range []string{"fleet", "conflicts", "quarantine", "data"} {
		s.news.post(kind, "")
	}
}

// StirredDevice says that something about a device changed.
func (s *Service) StirredDevice(id string) {
	s.fleet.stir()
	s.news.post("device", id)
}

// Stop ends the watches. It is safe to call twice.
func (s *Service) Stop() { s.news.end() }
