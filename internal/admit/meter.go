package admit

import (
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

// A Rate is how many requests one device may make in a minute; after a quiet minute it
// may make as many at once. Zero is as many as it likes.
type Rate int

// interval is the time that one request takes up.
func (r Rate) interval() time.Duration { return time.Minute / time.Duration(r) }

// Room is how far ahead of the clock a device's requests may have used its time up, and
// the time that one takes: the two numbers of the generic cell rate algorithm.
func (r Rate) Room() (room, each time.Duration) { return time.Minute - r.interval(), r.interval() }

// Appointment is when somebody should come back who would have to wait for one request:
// with room for half a minute's worth, so that it gets on when it comes.
func (r Rate) Appointment(wait time.Duration) time.Duration {
	return min(max(wait+time.Minute/2, Soonest), Latest)
}

// A Meter counts the requests of devices in this process. Its methods may be called
// concurrently.
type Meter struct {
	rate  Rate
	clock clock.Clock

	mu   sync.Mutex
	used map[change.DeviceID]time.Time // guarded by mu: up to when a device's time is used up
	room int                           // entries at which those that say nothing go
}

// leastMeters is how many devices a Meter remembers before it looks for idle ones.
const leastMeters = 1024

// NewMeter makes a meter; the rate must not be zero.
func NewMeter(r Rate, c clock.Clock) *Meter {
	return &Meter{rate: r, clock: c, used: map[change.DeviceID]time.Time{}, room: leastMeters}
}

// Take counts one request, and returns zero, or how long it must wait, and does not
// count it.
func (m *Meter) Take(who change.DeviceID) (wait time.Duration) {
	room, each := m.rate.Room()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	at := m.used[who]
	if at.Before(now) || at.Sub(now) > time.Minute { // or the clock was set back
		at = now
	}
	if ahead := at.Sub(now); ahead > room {
		return ahead - room
	}
	m.used[who] = at.Add(each)
	if len(m.used) > m.room {
		m.sweep(now)
	}
	return 0
}

// sweep forgets devices that have all their time again.
func (m *Meter) sweep(now time.Time) {
	for who, at := range m.used {
		if at.Before(now) || at.Sub(now) > time.Minute {
			delete(m.used, who)
		}
	}
	m.room = max(leastMeters, 2*len(m.used))
}
