package serve

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A device that makes too many requests is asked to come back; it hears when, and what
// keeps it alive counts for nothing.
func TestRateTurnsOneDeviceAway(t *testing.T) {
	d := newDeskOn(t, "hub: {limits: {rate: 30}}\n"+shopYAML)
	var err error
	n := 0
	for ; n < 100 && err == nil; n++ {
		err = d.try(&wire.Verify{})
		if f, ok := errors.AsType[*wire.Fault](err); ok && f.Code != "busy" {
			err = nil // what it says is of no matter here
		}
	}
	busyFault(t, err)
	if f, _ := errors.AsType[*wire.Fault](err); f.RetryAfter < 30*time.Second || f.RetryAfter > admit.Latest {
		t.Errorf("it is to come back in %v", f.RetryAfter)
	}
	if n < 10 || n > 35 {
		t.Errorf("it made %d requests", n)
	}
	if err := d.try(&wire.Ping{N: 1}); err != nil {
		t.Errorf("a ping: %v", err)
	}
	if d.hub.Load().Refused == 0 {
		t.Error("nobody was turned away, says the load")
	}
	d.join("two.db", "branch/1")
}

// Two processes count together through Redis, and each by itself when it is gone.
func TestRateIsOneOfAllProcesses(t *testing.T) {
	redis := pgtest.NewRedis(t)
	s := newServer(t)
	a := s.world()
	a.yaml("hub: {redis: '" + redis.URL() + "', limits: {rate: 30}}\n" + shopYAML)
	a.up()
	b := beside(t, a)
	e := a.join("one.db", "branch/1")
	list, err := a.hub.Core().Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := clock.System{}.Now()
	more := func() int { return int(clock.System{}.Now().Sub(began)/(2*time.Second)) + 1 } // what became free meanwhile
	took := func(hubs ...*Hub) (n int) {
		for ; n < 300; n++ {
			if hubs[n%len(hubs)].reception.measure(t.Context(), list[0].ID) != nil {
				return n
			}
		}
		return n
	}
	if n := took(a.hub, b.hub); n > 30+more() {
		t.Errorf("%d requests at two processes", n)
	}
	if _, err := run.Once(t.Context(), run.OnceConfig{Edge: b.at(e)}); faultCode(err) != "busy" {
		t.Errorf("a sync at the other process: %v", err)
	}
	redis.Kill(t)
	if n := took(a.hub, b.hub); n < 5 || n > 60+2*more() {
		t.Errorf("%d requests at two processes that count by themselves", n)
	}
}

// Who makes no more than it may notices nothing.
func TestRateLeavesOthersAlone(t *testing.T) {
	w := newWorld(t)
	w.yaml("hub: {limits: {rate: 600}}\n" + shopYAML)
	w.up()
	e := w.join("one.db", "branch/1")
	for i := range 5 {
		sh(t, e.File, fmt.Sprintf("UPDATE item SET note='n%d' WHERE id='a'", i))
		w.sync(e)
	}
	if n := w.hub.Load().Refused; n != 0 {
		t.Errorf("%d requests were turned away", n)
	}
}
