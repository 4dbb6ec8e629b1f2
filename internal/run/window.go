package run

import (
	"context"
	"time"
)

// What an application needs that has Tidemark in its own process.

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
		k.nudge()
	}
}
