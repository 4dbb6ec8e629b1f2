package run

import (
	"context"
	"time"

	"github.com/tidemark-sync/tidemark/internal/edge"
)

// What an application needs that has Tidemark in its own process.

// Inside opens the engine of an enrolled file around fn. An agent may be at work
// on the file meanwhile, in this process or another.
func (e Edge) Inside(fn func(*edge.Engine) error) error { return e.inside(fn) }

// Unsettled is Waiting with an engine that is open.
func Unsettled(eng *edge.Engine) ([]edge.Queued, error) { return waiting(eng) }

// AgentOf is what the agent of a file says of itself, in whatever process it is.
func AgentOf(file string) (AgentStatus, error) { return agentStatus(file) }

// Watch calls wake whenever another connection may have written to a SQLite file,
// until ctx ends. wake must not block. poll is how often the file is asked when
// the file system does not tell; 0 means DefaultPoll.
func Watch(ctx context.Context, file string, poll time.Duration, wake func()) {
	if poll <= 0 {
		poll = DefaultPoll
	}
	w := &watch{path: file, poll: poll, wake: wake}
	w.run(ctx)
}

// Nudge tells the agent that its files were written to, sooner than the file
// system does.
func (a *Agent) Nudge() {
	for _, k := range a.files {
		select {
		case k.wake <- struct{}{}:
		default: // one is waiting already
		}
	}
}
