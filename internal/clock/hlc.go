package clock

import (
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// DefaultMaxDrift is how far into the future of the local wall clock a foreign
// reading is believed.
const DefaultMaxDrift = 5 * time.Minute

// HLC is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks",
// 2014). Its readings only grow, also when the wall clock jumps back, and also
// across restarts when the last reading is handed to NewHLC. It may be used
// concurrently.
type HLC struct {
	wall  Clock
	drift time.Duration

	mu   sync.Mutex
	last change.HLC
}

// NewHLC returns a clock over wall that continues after last (0 for a new one).
// drift bounds what Observe believes; 0 or less means DefaultMaxDrift.
func NewHLC(wall Clock, last change.HLC, drift time.Duration) *HLC {
	if drift <= 0 {
		drift = DefaultMaxDrift
	}
	return &HLC{wall: wall, drift: drift, last: last}
}

// Now returns a reading greater than every one before.
func (h *HLC) Now() change.HLC {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = next(h.last, h.wall.Now())
	return h.last
}

// Observe takes note of a foreign reading, so that the next Now lies after it.
// A reading more than the allowed drift ahead of the wall clock is cut down to
// that, and clamped is true: one device in the year 2030 must not win for ever
// (trap D6).
func (h *HLC) Observe(r change.HLC) (clamped bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, clamped = clamp(r, h.wall.Now(), h.drift)
	h.last = max(h.last, r)
	return clamped
}

// Last returns the last reading given or observed: what to keep for NewHLC.
func (h *HLC) Last() change.HLC {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// next is the reading after last at wall time now. A full counter carries into
// the milliseconds by itself.
func next(last change.HLC, now time.Time) change.HLC {
	if wall := wallHLC(now); wall > last {
		return wall
	}
	return last + 1
}

// wallHLC is the reading of the wall alone; before 1970 it is 0.
func wallHLC(t time.Time) change.HLC { return change.NewHLC(max(t.UnixMilli(), 0), 0) }

func clamp(r change.HLC, now time.Time, drift time.Duration) (change.HLC, bool) {
	if most := wallHLC(now.Add(drift)); r > most {
		return most, true
	}
	return r, false
}
