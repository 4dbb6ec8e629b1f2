package serve

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A bell wakes the sessions that a change of the store concerns, or one device's when
// that one was changed. One goroutine waits on the store and strikes; sessions, however
// many, only listen.
type bell struct {
	mu   sync.Mutex
	ears map[change.DeviceID]map[*ear]bool // guarded by mu
	told func(change.DeviceID)             // hears of all; zero: anything. nil: nobody does
}

// An ear is one session that listens. A token in rung says that it was struck since it
// returned last.
type ear struct {
	rung  chan struct{}
	heeds func(*hub.Stir) bool
}

func newBell() *bell { return &bell{ears: map[change.DeviceID]map[*ear]bool{}} }

// lookAnyway is how often a session looks that nothing concerned, so that the place from
// which it waits does not fall behind what the log keeps. Each device has its own
// moment.
const lookAnyway = 5 * time.Minute

// strike wakes all.
func (b *bell) strike() { b.stir(&hub.Stir{All: true}) }

// stir wakes the sessions that heed it.
func (b *bell) stir(st *hub.Stir) {
	if b.told != nil {
		b.told(change.DeviceID{})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, list := range b.ears {
		for e := range list {
			if e.heeds(st) || st.All { // it is asked in any case: it counts
				e.ring()
			}
		}
	}
}

// call wakes the sessions of a device; zero: all.
func (b *bell) call(device change.DeviceID) {
	if device.IsZero() {
		b.strike()
		return
	}
	if b.told != nil {
		b.told(device)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := range b.ears[device] {
		e.ring()
	}
}

func (e *ear) ring() {
	select {
	case e.rung <- struct{}{}:
	default: // one wake is enough
	}
}

// listener returns a wait function for one session of a device, which is its only
// caller. A strike between two waits is not missed. The session listens until ctx ends.
func (b *bell) listener(ctx context.Context, device change.DeviceID, heeds func(*hub.Stir) bool) func(context.Context) error {
	e := &ear{rung: make(chan struct{}, 1), heeds: heeds}
	b.mu.Lock()
	if b.ears[device] == nil {
		b.ears[device] = map[*ear]bool{}
	}
	b.ears[device][e] = true
	b.mu.Unlock()
	context.AfterFunc(ctx, func() { b.deafen(device, e) })
	every := lookAnyway + time.Duration(binary.LittleEndian.Uint32(device[:4]))%lookAnyway
	return func(ctx context.Context) error {
		t := time.NewTimer(every)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.rung:
		case <-t.C:
		}
		return nil
	}
}

func (b *bell) deafen(device change.DeviceID, e *ear) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ears[device], e)
	if len(b.ears[device]) == 0 {
		delete(b.ears, device)
	}
}

// stirred says whom what was committed since a cursor concerns, and moves the cursor.
func (h *Hub) stirred(ctx context.Context, since *change.Cursor) (st hub.Stir, err error) {
	var next change.Cursor
	err = h.office.Store.View(ctx, func(v hub.View) (err error) {
		st = hub.Stir{All: true}
		if r, ok := v.(hub.Stirrer); ok && !since.IsZero() {
			if st, err = r.Stirred(*since); err != nil {
				return err
			}
		}
		next, err = v.Cursor()
		return err
	})
	if err != nil { // who looks will hear of it
		st, next = hub.Stir{All: true}, change.Cursor{}
	}
	*since = next
	return st, err
}
