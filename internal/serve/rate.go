package serve

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A meter bounds how many requests a device makes, at all processes together where they
// share a Redis. This process counts by itself all the same: what is too much here is
// too much in all, and while Redis is away it is all that counts.
type meter struct {
	rate  admit.Rate
	here  *admit.Meter
	redis *cache.Redis // nil: there is none
}

// newMeter returns nil where nothing is to be counted.
func newMeter(rate int, redis *cache.Redis, c clock.Clock) *meter {
	if rate <= 0 {
		return nil
	}
	return &meter{rate: admit.Rate(rate), here: admit.NewMeter(admit.Rate(rate), c), redis: redis}
}

// counts says which requests count: what a device does because it has something to do.
// The parts of one push count once, or a large one would never get through.
func (p *admitted) counts(m wire.Message) bool {
	switch m.(type) {
	case *wire.Pong, *wire.Ping, *wire.Fault:
		return false
	case *wire.Push, *wire.Parcel:
		return p.parts.bytes() == 0
	}
	return true
}

// measure returns a *admit.Busy when a device makes too many requests.
func (r *reception) measure(ctx context.Context, device change.DeviceID) error {
	m := r.meter
	if m == nil {
		return nil
	}
	wait := m.here.Take(device)
	if wait == 0 && m.redis != nil {
		room, each := m.rate.Room()
		wait, _ = m.redis.Take(ctx, device.String(), room, each)
	}
	if wait == 0 {
		return nil
	}
	return r.gate.TurnAway(m.rate.Appointment(wait), fmt.Sprintf("this device makes more than %d requests a minute (hub.limits.rate)", int(m.rate)))
}
