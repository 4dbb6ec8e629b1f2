// Package clock is the only place that asks the time, and keeps the hybrid
// logical clock.
//
// Everyone who needs the time is handed a Clock. System is the machine's;
// Manual is moved by hand, by tests and by the simulator. HLC gives the readings
// that order edits across devices, Midpoint measures how far two clocks are
// apart, and Correct brings a device's reading onto the hub's clock.
package clock

import (
	"sync"
	"time"
)

// Clock tells the wall time. The simulator and tests bring their own.
// Implementations may be called concurrently.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now() }

// Manual is a clock that stands still until it is moved. The zero Manual stands
// at the zero time. It may be used concurrently.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a clock that stands at t.
func NewManual(t time.Time) *Manual { return &Manual{now: t} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Set moves the clock to t, which may lie in its past.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = t
}

// Advance moves the clock by d, which may be negative, and returns the new time.
func (m *Manual) Advance(d time.Duration) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	return m.now
}
