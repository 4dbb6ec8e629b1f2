package clock

import (
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// Midpoint measures how far a remote clock is ahead of ours from one exchange:
// we asked at sent, the other side answered with its time, the answer came at
// received (both by our clock). The other side's reading is taken to be from the
// middle; error is at most uncertain either way (Cristian, 1989).
//
// When received lies before sent our own clock jumped meanwhile and ok is false.
func Midpoint(sent, received, remote time.Time) (offset, uncertain time.Duration, ok bool) {
	// Without the monotonic part: it is the wall that is compared and stamped.
	trip := received.Round(0).Sub(sent.Round(0))
	if trip < 0 {
		return 0, 0, false
	}
	return remote.Sub(sent.Round(0).Add(trip / 2)), trip / 2, true
}

// Correct brings a device's reading onto the hub's clock: offset is hub clock −
// device clock. What then still lies more than drift after now (the hub's wall)
// is cut down to that, and clamped is true (trap D6). A reading that would fall
// before 1970 becomes 0.
func Correct(r change.HLC, offset time.Duration, now time.Time, drift time.Duration) (out change.HLC, clamped bool) {
	ms := r.Millis() + offset.Milliseconds()
	if ms < 0 {
		return 0, false
	}
	return clamp(change.NewHLC(ms, r.Count()), now, drift)
}
