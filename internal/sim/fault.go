package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// errCut is what a session gets from emit when its link goes in the middle of a call.
var errCut = errors.New("link cut")

// crash is thrown out of a node's clock or randomness: the process dies there.
// Nothing that the call had not committed survives.
type crash struct{}

// A nodeClock is one machine's clock: the world's time plus its own error. While
// armed it counts down the calls until the machine crashes; the core asks the
// time and draws randomness between its commits, so those are the places.
type nodeClock struct {
	world *clock.Manual
	skew  time.Duration
	armed int

	fuse int // like armed, for blow
	blow func()
}

func (c *nodeClock) Now() time.Time {
	c.strike()
	return c.world.Now().Add(c.skew)
}

func (c *nodeClock) strike() {
	if c.fuse > 0 {
		if c.fuse--; c.fuse == 0 {
			c.blow()
		}
	}
	if c.armed > 0 {
		if c.armed--; c.armed == 0 {
			panic(crash{})
		}
	}
}

// nodeRand is a machine's seeded randomness, and a place to crash.
type nodeRand struct {
	src   *rand.ChaCha8
	clock *nodeClock
}

func (r *nodeRand) Read(p []byte) (int, error) {
	r.clock.strike()
	return r.src.Read(p)
}

func newRand(seed uint64, salt string) *rand.ChaCha8 {
	var key [32]byte
	copy(key[:], fmt.Sprintf("%016x%s", seed, salt))
	return rand.NewChaCha8(key)
}

// survive runs fn and reports whether the machine crashed in it.
func survive(c *nodeClock, fn func() error) (crashed bool, err error) {
	defer func() {
		c.armed, c.fuse = 0, 0
		if p := recover(); p != nil {
			if _, ok := p.(crash); !ok {
				panic(p)
			}
			crashed = true
		}
	}()
	return false, fn()
}
