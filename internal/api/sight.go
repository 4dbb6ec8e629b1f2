package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A sight is the fleet as it was a moment ago. It is shared: not to be modified.
type sight struct {
	at      time.Time     // when looking began
	cost    time.Duration // how long it took
	stirs   int
	health  *hub.Health
	devices []hub.DeviceStatus // the health's

	mu     sync.Mutex
	orders map[string][]ranked // by sort, as lists ask for them; guarded by mu
}

// order is the devices in an order.
func (v *sight) order(key string, of func(*sight, *hub.DeviceStatus) place) []ranked {
	v.mu.Lock()
	defer v.mu.Unlock()
	if list, ok := v.orders[key]; ok {
		return list
	}
	list := make([]ranked, len(v.devices))
	for i := range v.devices {
		d := &v.devices[i]
		list[i] = ranked{of(v, d), d}
		list[i].place.ID = d.ID.String()
	}
	slices.SortFunc(list, func(x, y ranked) int { return x.place.compare(&y.place) })
	if v.orders == nil {
		v.orders = map[string][]ranked{}
	}
	v.orders[key] = list
	return list
}

// since is when a device's oldest unsafe change was made; zero: it has none.
func (v *sight) since(d *hub.DeviceStatus) time.Time {
	if d.OldestUnsafe <= 0 {
		return time.Time{}
	}
	return v.health.At.Add(-d.OldestUnsafe)
}

// sightFor is how long a sight serves: computing one of ten thousand devices takes a
// tenth of a second, and everybody who looks at the console asks.
const sightFor = time.Second

// fleetCache keeps the last sight. One caller computes, the others wait for it.
type fleetCache struct {
	turn sync.Mutex // held by who computes

	mu    sync.Mutex
	last  *sight // guarded by mu, as is all below
	edits int    // counts up: a sight that was begun before one is not kept
	stirs int    // counts up: what was seen before one may be old
}

func (c *fleetCache) get(now time.Time) (s *sight, edits, stirs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s = c.last; s != nil {
		age := now.Sub(s.at)
		if age < 0 || age >= sightFor || s.stirs != c.stirs && age >= s.fresh() {
			s = nil
		}
	}
	return s, c.edits, c.stirs
}

func (c *fleetCache) put(s *sight, edits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.edits == edits {
		c.last = s
	}
}

// forget makes the next look a new one.
func (c *fleetCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
	c.edits++
}

// stir says that what was seen may be old.
func (c *fleetCache) stir() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stirs++
}

// patience is after how long a look shows what was stirred before.
func (c *fleetCache) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return leastFresh
	}
	return c.last.fresh()
}

// leastFresh is how long a sight serves while the store is being written.
const leastFresh = 50 * time.Millisecond

// fresh is how long a sight serves while the store is being written: so long that looking
// takes a quarter of a processor at most.
func (s *sight) fresh() time.Duration { return min(max(leastFresh, 4*s.cost), sightFor) }

// look is the fleet now, or a second ago.
func (s *Service) look(ctx context.Context) (*sight, error) {
	if v, _, _ := s.fleet.get(s.cfg.Clock.Now()); v != nil {
		return v, nil
	}
	s.fleet.turn.Lock()
	defer s.fleet.turn.Unlock()
	begun := s.cfg.Clock.Now()
	v, edits, stirs := s.fleet.get(begun)
	if v != nil {
		return v, nil
	}
	v, err := s.see(ctx)
	if err != nil {
		return nil, s.explain(err, "device")
	}
	v.at, v.stirs, v.cost = begun, stirs, s.cfg.Clock.Now().Sub(begun)
	s.fleet.put(v, edits)
	return v, nil
}

func (s *Service) see(ctx context.Context) (*sight, error) {
	health, err := s.cfg.Hub.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &sight{health: health, devices: health.Devices}, nil
}

// finds reports whether all words, in lower case, are in a device's name, id or scopes.
func finds(d *hub.DeviceStatus, words []string) bool {
	if len(words) == 0 {
		return true
	}
	parts := make([]string, 0, 2+len(d.Grants))
	parts = append(parts, d.Name, d.ID.String())
	for _, g := range d.Grants {
		parts = append(parts, string(g.Scope))
	}
	text := strings.ToLower(strings.Join(parts, "\n"))
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// one is a device as it is now.
func (s *Service) one(ctx context.Context, id change.DeviceID) (*pb.Device, error) {
	d, err := s.cfg.Hub.DeviceStatus(ctx, id)
	if errors.Is(err, hub.ErrNotFound) {
		return nil, noDevice(id.String())
	}
	if err != nil {
		return nil, s.explain(err, "device")
	}
	return deviceOut(d), nil
}
