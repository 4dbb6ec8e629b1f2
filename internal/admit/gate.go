package admit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// DefaultPatience is how long an ask waits before it is turned away. It is well
// below the three heartbeats after which a device takes a hub that says nothing for
// dead.
const DefaultPatience = 10 * time.Second

// GateConfig is what a Gate needs.
type GateConfig struct {
	Limits   Limits
	Patience time.Duration // 0 means DefaultPatience
	Clock    clock.Clock   // required
}

// A Busy error turns an ask away.
type Busy struct {
	RetryAfter time.Duration // the appointment, between Soonest and Latest
	Why        string
}

func (b *Busy) Error() string { return fmt.Sprintf("%s; come back in %v", b.Why, b.RetryAfter) }

// A Gate lets callers wait for their turn. Its methods may be called concurrently.
type Gate struct {
	patience time.Duration
	clock    clock.Clock

	mu    sync.Mutex
	line  *Line // guarded by mu, as all below
	diary Diary
	load  Load
}

// Load is how busy a gate is.
type Load struct {
	InFlight int   `json:"in_flight"`     // units of work that run
	Bytes    int64 `json:"bytes"`         // that they and unsent answers take
	Waiting  int   `json:"waiting"`       // asks
	Held     int64 `json:"waiting_bytes"` // that the waiting ones take
	Admitted int64 `json:"admitted"`      // asks, since the start
	Refused  int64 `json:"refused"`       // likewise
}

// NewGate makes a gate with nobody in it.
func NewGate(cfg GateConfig) *Gate {
	if cfg.Patience <= 0 {
		cfg.Patience = DefaultPatience
	}
	return &Gate{patience: cfg.Patience, clock: cfg.Clock, line: NewLine(cfg.Limits)}
}

// A Pass is leave to work. Its methods may be called more than once.
type Pass struct {
	gate *Gate
	t    *Ticket
}

// Enter waits for the ask's turn. It returns a *Busy when there are too many before
// it, or when it waited too long, and the context's error when that ends first. Who
// got a pass calls Done in the end.
func (g *Gate) Enter(ctx context.Context, a Ask) (*Pass, error) {
	g.mu.Lock()
	t, in := g.line.Enter(a)
	g.let(in)
	if t == nil {
		defer g.mu.Unlock()
		return nil, g.refuse("as many wait as may wait")
	}
	if t.stage == runs {
		g.load.Admitted++
		g.mu.Unlock()
		return &Pass{g, t}, nil
	}
	open := make(chan struct{})
	t.open = open
	g.mu.Unlock()
	patience := time.NewTimer(g.patience)
	defer patience.Stop()
	var err error
	select {
	case <-open:
	case <-ctx.Done():
		err = ctx.Err()
	case <-patience.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.stage == runs && err == nil { // perhaps at the very last moment
		g.load.Admitted++
		return &Pass{g, t}, nil
	}
	g.let(g.line.Leave(t))
	if err != nil {
		return nil, err
	}
	return nil, g.refuse(fmt.Sprintf("its turn did not come within %v", g.patience))
}

// Refuse turns somebody away who was not let as far as to ask.
func (g *Gate) Refuse(why string) *Busy {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refuse(why)
}

// TurnAway turns somebody away until an appointment of the caller's making.
func (g *Gate) TurnAway(d time.Duration, why string) *Busy {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.load.Refused++
	return &Busy{RetryAfter: d, Why: why}
}

// refuse is called with mu held.
func (g *Gate) refuse(why string) *Busy {
	g.load.Refused++
	return &Busy{RetryAfter: g.diary.Book(g.clock.Now()), Why: why}
}

// Room is how many bytes a class may take at once.
func (g *Gate) Room(c Class) int64 { return g.line.limits.room(c) }

// let tells those who waited that they run.
func (g *Gate) let(in []*Ticket) {
	for _, t := range in {
		if t.open != nil {
			close(t.open)
			t.open = nil
		}
	}
}

// Worked says that the work is done, and that its answer of so many bytes is still to
// be sent.
func (p *Pass) Worked(bytes int64) {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.note()
	p.gate.let(p.gate.line.Worked(p.t, bytes))
}

// Done ends the pass.
func (p *Pass) Done() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.note()
	p.gate.let(p.gate.line.Leave(p.t))
}

// note learns how fast work gets done. It is called with mu held.
func (p *Pass) note() {
	if p.t.stage == runs {
		p.gate.diary.Worked(p.gate.clock.Now(), p.gate.waiting() > 0)
	}
}

func (g *Gate) waiting() (n int) {
	for c := range classes {
		n += g.line.Waiting(c)
	}
	return n
}

// Load is how busy the gate is now.
func (g *Gate) Load() Load {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.load
	l.InFlight, l.Bytes = g.line.Taken()
	l.Held, l.Waiting = g.line.Held(), g.waiting()
	return l
}
