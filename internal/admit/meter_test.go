package admit

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

func TestMeterLetsAMinutesWorthThrough(t *testing.T) {
	now := clock.NewManual(time.Unix(1_000_000, 0))
	m := NewMeter(60, now)
	who, other := change.DeviceID{1}, change.DeviceID{2}
	for i := range 60 {
		if wait := m.Take(who); wait != 0 {
			t.Fatalf("request %d waits %v", i, wait)
		}
	}
	if wait := m.Take(who); wait != time.Second {
		t.Errorf("one more waits %v", wait)
	}
	if wait := m.Take(other); wait != 0 {
		t.Errorf("another device waits %v", wait)
	}
	now.Advance(2 * time.Second)
	for i, want := range []time.Duration{0, 0, time.Second} {
		if wait := m.Take(who); wait != want {
			t.Errorf("request %d two seconds later waits %v", i, wait)
		}
	}
	now.Set(now.Now().Add(-time.Hour)) // a clock that was set back locks nobody out
	if wait := m.Take(who); wait != 0 {
		t.Errorf("after the clock was set back it waits %v", wait)
	}
}

// Whoever asks however: in no minute more than two minutes' worth gets through, and who
// waits as long as it is told gets through.
func TestMeterLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate(rapid.IntRange(30, 200).Draw(t, "rate"))
		now := clock.NewManual(time.Unix(1_000_000, 0))
		m := NewMeter(rate, now)
		var taken []time.Time
		for range rapid.IntRange(1, 600).Draw(t, "n") {
			now.Advance(time.Duration(rapid.Int64Range(0, int64(500*time.Millisecond)).Draw(t, "pause")))
			wait := m.Take(change.DeviceID{1})
			if wait > 0 && rapid.Bool().Draw(t, "patient") {
				now.Advance(wait)
				if again := m.Take(change.DeviceID{1}); again != 0 {
					t.Fatalf("it waited %v, and is told %v", wait, again)
				}
				wait = 0
			}
			if wait == 0 {
				taken = append(taken, now.Now())
			}
		}
		from := 0
		for i, at := range taken {
			for at.Sub(taken[from]) >= time.Minute {
				from++
			}
			if i-from+1 > 2*int(rate) {
				t.Fatalf("%d requests in a minute, the rate is %d", i-from+1, rate)
			}
		}
	})
}

func TestMeterForgetsWhoIsQuiet(t *testing.T) {
	now := clock.NewManual(time.Unix(1_000_000, 0))
	m := NewMeter(60, now)
	for i := range 10 * leastMeters {
		m.Take(change.DeviceID{byte(i), byte(i >> 8), 1})
		now.Advance(10 * time.Millisecond)
	}
	if len(m.used) > 2*leastMeters {
		t.Errorf("it remembers %d devices", len(m.used))
	}
}

func TestAppointmentLeavesRoom(t *testing.T) {
	now := clock.NewManual(time.Unix(1_000_000, 0))
	r := Rate(60)
	m := NewMeter(r, now)
	var wait time.Duration
	for wait == 0 {
		wait = m.Take(change.DeviceID{})
	}
	now.Advance(r.Appointment(wait))
	for i := range 30 {
		if wait := m.Take(change.DeviceID{}); wait != 0 {
			t.Fatalf("request %d after the appointment waits %v", i, wait)
		}
	}
}
