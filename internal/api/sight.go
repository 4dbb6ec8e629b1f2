package api

import (
	"context"
	"errors"
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
	devices []seenDevice
	byID    map[change.DeviceID]int
}

// A seenDevice is a device with what lists search and sort by.
type seenDevice struct {
	id    change.DeviceID
	pb    *pb.Device
	find  string    // lower case: name, id, scopes
	since time.Time // of its oldest unsafe change; zero: none
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
	v := &sight{health: health, devices: make([]seenDevice, len(health.Devices)), byID: make(map[change.DeviceID]int, len(health.Devices))}
	for i := range health.Devices {
		d := &health.Devices[i]
		out := deviceOut(d)
		one := seenDevice{id: d.ID, pb: out, find: finding(out)}
		if d.OldestUnsafe > 0 {
			one.since = health.At.Add(-d.OldestUnsafe)
		}
		v.devices[i] = one
		v.byID[d.ID] = i
	}
	return v, nil
}

// finding is what a search looks at.
func finding(d *pb.Device) string {
	parts := []string{d.GetName(), d.GetId()}
	for _, g := range d.GetGrants() {
		parts = append(parts, g.GetScope())
	}
	return strings.ToLower(strings.Join(parts, "\n"))
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
