package transport

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// full is a hub that has too much to do to let anybody in.
type full struct{ *core }

func (c full) Authenticate(context.Context, change.Hash) (change.DeviceID, error) {
	return change.DeviceID{}, &wire.Fault{Code: "busy", Message: "too many", RetryAfter: 2100 * time.Millisecond}
}

// A hub that is full says so before there is a session, and when to come back: never
// sooner than it means, and not as a refusal.
func TestTrapD13_AFullHubSaysWhenToComeBack(t *testing.T) {
	c := newCore()
	r := newRig(t, c, func(cfg *ServerConfig) { cfg.Core = full{c} })
	err := r.client(t, nil).Run(t.Context(), echo())
	if after, ok := RetryAfter(err); !ok || after != 3*time.Second || errors.Is(err, ErrRefused) {
		t.Errorf("%v, after %v", err, after)
	}
	if c.opened != 0 {
		t.Error("a session was opened")
	}
}

// Proxies say it in seconds or as a date, which is meant by their own clock.
func TestTrapD13_RetryAfterOfProxies(t *testing.T) {
	const day = "Sun, 22 Nov 2026 05:00:00 GMT"
	for _, tc := range []struct {
		after, date string
		want        time.Duration
	}{
		{"7", "", 7 * time.Second},
		{"-7", "", -7 * time.Second},
		{"Sun, 22 Nov 2026 05:00:30 GMT", day, 30 * time.Second},
		{"Sun, 22 Nov 2026 04:00:00 GMT", day, -time.Hour},
		{"Mon, 23 Nov 2026 05:00:00 GMT", day, mostAsked},
		{"9223372036854775807", day, mostAsked},
		{"Sun, 22 Nov 2026 05:00:30 GMT", "", 0},
		{"soon", day, 0},
		{"", day, 0},
	} {
		h := http.Header{}
		h.Set("Retry-After", tc.after)
		h.Set("Date", tc.date)
		if got := asked(h); got != tc.want {
			t.Errorf("%q by %q: %v, want %v", tc.after, tc.date, got, tc.want)
		}
	}
}
