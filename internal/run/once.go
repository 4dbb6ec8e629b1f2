package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// OnceConfig says which file to sync once, and how patiently.
type OnceConfig struct {
	Edge
	Wait     time.Duration           // how long to go on trying while the hub is away; 0: one try
	Progress func(done, total int64) // rows of a bootstrap; may be nil
}

// Synced tells what one sync did.
type Synced struct {
	File        string        `json:"file"`
	URL         string        `json:"url"`
	Took        time.Duration `json:"took_ns"`
	Waiting     int64         `json:"waiting"` // written meanwhile
	Quarantined int64         `json:"quarantined"`
	Rows        int64         `json:"rows"`
	Cursor      change.Cursor `json:"cursor"`
}

// Once syncs a file until everything written in it is at the hub, with an
// outcome, and everything the hub had is in the file.
func Once(ctx context.Context, cfg OnceConfig) (*Synced, error) {
	start := cfg.Clock.Now()
	out := &Synced{File: cfg.File}
	err := cfg.visit(ctx, cfg.Wait, edge.SessionConfig{Once: true}, func(p *peer) {
		p.after = func(context.Context, emitFunc) error {
			if pr := p.s.Progress(); pr.Fetching && cfg.Progress != nil {
				cfg.Progress(pr.Rows, pr.Total)
			}
			done, err := p.s.Synced()
			if err == nil && done {
				err = errDone
			}
			return err
		}
	}, func(e *edge.Engine, id *Identity) error {
		s, err := e.Status()
		out.URL, out.Waiting, out.Quarantined, out.Rows, out.Cursor = id.URL, s.Waiting, s.Quarantined, s.Rows, s.Cursor
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Took = cfg.Clock.Now().Sub(start)
	return out, nil
}

// visit takes an enrolled file's lock, opens it, and talks with its hub.
func (e Edge) visit(ctx context.Context, wait time.Duration, cfg edge.SessionConfig, prepare func(*peer), finish func(*edge.Engine, *Identity) error) error {
	id, err := ReadIdentity(e.File)
	if err != nil {
		return err
	}
	lock, err := disk.Take(lockPath(e.File))
	if err != nil {
		return err
	}
	defer lock.Release()
	return e.talk(ctx, id, wait, cfg, prepare, finish)
}

// parting tells the hub how the file stands after the work, when that is not how
// it stood before.
func parting(eng *edge.Engine) (func() (*wire.EdgeStatus, error), error) {
	before, err := eng.Brief()
	if err != nil {
		return nil, err
	}
	return func() (*wire.EdgeStatus, error) {
		now, err := eng.Brief()
		if err != nil || now.Waiting == before.Waiting && now.Quarantined == before.Quarantined {
			return nil, err
		}
		st := eng.Tell(&now)
		return &st, nil
	}, nil
}

// talk opens a file and works in one session with its hub: prepare sets the
// session up, errDone ends it, and finish gets the engine then. While the hub is
// away it tries again for as long as wait.
func (e Edge) talk(ctx context.Context, id *Identity, wait time.Duration, cfg edge.SessionConfig, prepare func(*peer), finish func(*edge.Engine, *Identity) error) (err error) {
	o, err := e.options(id)
	if err != nil {
		return err
	}
	eng, err := e.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if _, err := eng.CheckDrift(); err != nil {
		return err
	}
	last, err := parting(eng)
	if err != nil {
		return err
	}
	cfg.Agent, cfg.Interval = e.Agent, e.Heartbeat
	until := e.Clock.Now().Add(wait)
	b := &backoff{rand: e.Rand, first: backoffFirst, most: 10 * time.Second}
	for again := 0; ; {
		p := newPeer(eng, id.Device, cfg)
		p.parting = last
		prepare(p)
		err := e.halfway(p.dial(ctx, o))
		switch {
		case errors.Is(err, errDone):
			if err := follow(e.File, id, eng); err != nil {
				return err
			}
			return finish(eng, id)
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = errEnded
		}
		if passing(err) && again < passes {
			again++
			pause(ctx, backoffFirst, nil)
			continue
		}
		d := b.next(judge(err).after)
		if !worthWaiting(err) || e.Clock.Now().Add(d).After(until) {
			return fmt.Errorf("sync %s with %s: %w", e.File, id.URL, err)
		}
		pause(ctx, d, nil)
	}
}

func worthWaiting(err error) bool {
	switch judge(err).state {
	case StateOffline, StateLocked:
		return true
	}
	return false
}
