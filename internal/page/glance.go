package page

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/run"
)

// However many look, and however often: a file is read once a second at most, and its
// rows are counted once a minute.
const (
	fresh   = time.Second
	recount = time.Minute
)

// A glance is what is seen of one file.
type glance struct {
	edge run.Edge

	mu      sync.Mutex
	last    *run.Sight // guarded by mu, as what follows; nil: it could never be read
	at      time.Time  // of last
	tried   time.Time  // of the last try, which err is of
	counted time.Time  // when the rows were counted
	err     error
}

// A seen is what a glance saw.
type seen struct {
	File  string
	Name  string          // the device's; "" when not even that can be read
	Agent run.AgentStatus // of now, also when the file cannot be read
	Sight *run.Sight      // nil: it could never be read
	At    time.Time       // of Sight
	Err   error           // why Sight is not of now
}

// look reads the file, or says again what it read a moment ago. now is the time.
func (g *glance) look(ctx context.Context, now time.Time) seen {
	g.mu.Lock()
	defer g.mu.Unlock()
	if age := now.Sub(g.tried); g.tried.IsZero() || age < 0 || age >= fresh {
		g.read(ctx, now)
	}
	out := seen{File: g.edge.File, Sight: g.last, At: g.at, Err: g.err}
	if g.last != nil {
		out.Name, out.Agent = g.last.Status.Name, g.last.Status.Agent
	}
	if g.err == nil {
		return out
	}
	if a, err := run.AgentOf(g.edge.File); err == nil {
		out.Agent = a
	}
	if id, err := run.ReadIdentity(g.edge.File); err == nil {
		out.Name = id.Name
	}
	return out
}

func (g *glance) read(ctx context.Context, now time.Time) {
	g.tried = now
	age := now.Sub(g.counted)
	count := g.last == nil || age < 0 || age >= recount
	s, err := run.Look(ctx, run.LookConfig{Edge: g.edge, Count: count, Before: g.last})
	if g.err = err; err != nil {
		return
	}
	if count {
		g.counted = now
	} else {
		s.Status.Rows = g.last.Status.Rows
	}
	g.last, g.at = s, now
}
