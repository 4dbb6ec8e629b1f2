package api

import (
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// gates slow down who tries again and again.
type gates struct {
	names  *people.Brake // of persons: a wrong guess at one, from anywhere
	places *people.Brake // addresses that guess
	tokens *people.Brake // addresses that guess tokens
	flood  *flood
}

// Of one person's name many more guesses are free than a person needs, and the wait
// stays short: nobody shall lock another one out.
func newGates(c clock.Clock) gates {
	return gates{
		names:  people.NewBrake(c, 10, time.Second, 5*time.Minute),
		places: people.NewBrake(c, 5, time.Second, 15*time.Minute),
		tokens: people.NewBrake(c, 20, time.Second, 5*time.Minute),
		flood:  &flood{},
	}
}

// A flood counts the failures of nobody that are put down, in a minute.
type flood struct {
	mu     sync.Mutex
	minute time.Time // guarded by mu
	n      int       // guarded by mu
}

const mostKnocks = 60 // a minute

func (f *flood) allow(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := now.Truncate(time.Minute); !m.Equal(f.minute) {
		f.minute, f.n = m, 0
	}
	f.n++
	return f.n <= mostKnocks
}
