package serve

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
)

// A vine carries between the processes of one database which devices to look at again.
// Its methods may be called concurrently; say and hear do not block.
type vine struct {
	mu          sync.Mutex
	out, in     map[change.DeviceID]bool // guarded by mu; zero: all
	said, heard chan struct{}            // hold one token when there is something
}

func newVine() *vine {
	return &vine{out: map[change.DeviceID]bool{}, in: map[change.DeviceID]bool{}, said: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
}

func (v *vine) put(into map[change.DeviceID]bool, bell chan struct{}, device change.DeviceID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	into[device] = true
	select {
	case bell <- struct{}{}:
	default: // it is known that there is something
	}
}

// say is hub.Config.Tell.
func (v *vine) say(device change.DeviceID) { v.put(v.out, v.said, device) }

// hear is postgresstore.Config.Heard.
func (v *vine) hear(word string) {
	var device change.DeviceID
	if err := device.UnmarshalText([]byte(word)); err != nil {
		device = change.DeviceID{} // whatever was said, or missed
	}
	v.put(v.in, v.heard, device)
}

func (v *vine) take(from map[change.DeviceID]bool) (list []change.DeviceID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for d := range from {
		list = append(list, d)
	}
	clear(from)
	return list
}

// pass tells the others what was said, and returns it.
func (v *vine) pass(ctx context.Context, s *postgresstore.Store) (list []change.DeviceID, err error) {
	var words []string
	list = v.take(v.out)
	for _, d := range list {
		w := "all"
		if !d.IsZero() {
			w = d.String()
		}
		words = append(words, w)
	}
	if len(words) == 0 {
		return nil, nil
	}
	return list, s.Tell(ctx, words)
}

// carry passes on what is said, and lets the hub hear what others say, until ctx ends.
func (h *Hub) carry(ctx context.Context) {
	v := h.office.vine
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-v.said:
			var list []change.DeviceID
			list, err = v.pass(ctx, h.office.server)
			for _, d := range list {
				h.bell.call(d)
			}
		case <-v.heard:
			for _, d := range v.take(v.in) {
				err = errors.Join(err, h.office.Core.Heard(ctx, d))
				h.bell.call(d)
			}
		}
		if err != nil && ctx.Err() == nil {
			h.log.Warn("look after what other processes do", "error", err.Error())
		}
	}
}

// What one of the processes does for all.
const (
	dutyName  = "chores"
	dutyFor   = 10 * time.Second // how long a process that was killed is missed
	dutyEvery = 3 * time.Second
)

// serveTogether looks after the duty of the chores until ctx ends: it keeps it, or takes
// it when whoever had it is gone.
func (h *Hub) serveTogether(ctx context.Context) {
	tick := time.NewTicker(dutyEvery)
	defer tick.Stop()
	for {
		if err := h.stand(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("look who does the chores", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *Hub) stand(ctx context.Context) error {
	s := h.office.server
	if d := h.duty.Load(); d != nil {
		ok, err := s.KeepDuty(ctx, *d, dutyFor)
		if err == nil && !ok {
			h.duty.Store(nil)
			h.log.Warn("another process does the chores now")
		}
		return err
	}
	free, err := s.DutyFree(ctx, dutyName)
	if err != nil || !free {
		return err
	}
	d, ok, err := s.TakeDuty(ctx, dutyName, h.at.URL, dutyFor)
	if ok {
		h.duty.Store(&d)
		h.log.Info("this process does the chores for all that serve the database")
	}
	return err
}

// retire lets another process take the duty at once.
func (h *Hub) retire(ctx context.Context) error {
	d := h.duty.Swap(nil)
	if d == nil {
		return nil
	}
	_, err := h.office.server.KeepDuty(ctx, *d, 0)
	return err
}

// alone makes a chore one that only the process on duty does, and that writes nothing
// when another one took over meanwhile.
func (h *Hub) alone(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if h.office.server == nil {
			return do(ctx)
		}
		d := h.duty.Load()
		if d == nil {
			return nil
		}
		err := do(postgresstore.OnDuty(ctx, *d))
		if errors.Is(err, postgresstore.ErrOffDuty) {
			h.duty.CompareAndSwap(d, nil)
			return nil
		}
		return err
	}
}

var _ hub.Commons = (*postgresstore.Store)(nil)
