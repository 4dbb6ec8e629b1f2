package tidemark

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/run"
)

// Start keeps the file in sync from now on, in the background, until ctx ends or
// [DB.Stop] or [DB.Close] is called. It returns at once, whether the hub is there
// or not: the agent goes on trying, for weeks if need be, and also when the file
// is locked, replaced or missing for a while, or the disk full; [Status] tells
// what it does. When it is running already, nothing happens. An agent of another
// process makes it fail with [ErrInUse].
func (db *DB) Start(ctx context.Context) error {
	if err := db.usable(ctx); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.start(ctx)
}

// start starts an agent; mu is held.
func (db *DB) start(ctx context.Context) error {
	if db.agent != nil && db.started.Err() == nil {
		return nil
	}
	if err := db.halt(); err != nil {
		return err
	}
	a, err := run.NewAgent(run.AgentConfig{Edge: db.edge, Files: []string{db.cfg.Path}, Poll: db.cfg.Poll})
	if err == nil {
		err = a.Start(ctx)
	}
	if err != nil {
		return fmt.Errorf("start: %w", class(err))
	}
	db.agent, db.started = a, ctx
	return nil
}

// Stop ends the agent that Start began, between two messages, and waits for it.
// It is safe to call twice.
func (db *DB) Stop() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.halt()
}

// halt stops the agent; mu is held.
func (db *DB) halt() error {
	if db.agent == nil {
		return nil
	}
	err := db.agent.Stop()
	db.agent, db.started = nil, nil
	return err
}

// Sync syncs once: when it returns nil, everything committed in the file before
// the call is at the hub, with an outcome or parked there ([DB.Queue] tells), and
// everything the hub had for this file is in it. It tries once: when the hub is
// not there, [ErrUnreachable] comes at once.
//
// An agent started by Start pauses meanwhile and goes on afterwards; Start and
// Stop wait. An agent of another process makes Sync fail with [ErrInUse].
func (db *DB) Sync(ctx context.Context) (err error) {
	if err := db.usable(ctx); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if started := db.started; started != nil && started.Err() == nil {
		if err := db.halt(); err != nil {
			return err
		}
		defer func() {
			if e := db.start(started); err == nil {
				err = e
			}
		}()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with Sync
		select {
		case <-ctx.Done():
		case <-db.done:
			stop()
		}
	}()
	_, err = run.Once(ctx, run.OnceConfig{Edge: db.edge, Progress: db.cfg.Progress})
	if closed := db.usable(context.Background()); err != nil && closed != nil {
		return closed
	}
	return class(err)
}

// nudge tells the agent of a write. Without it the agent would hear of it from
// the file system, a little later.
func (db *DB) nudge() {
	if !db.mu.TryLock() { // Sync is at work, and looks at the file itself
		return
	}
	defer db.mu.Unlock()
	if db.agent != nil {
		db.agent.Nudge()
	}
}
