package sqlitestore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// pollEvery is how long another program's commit may go unnoticed.
const pollEvery = 25 * time.Millisecond

// A bell tells waiters that the log has grown. This process rings it with each
// commit; for other programs' commits one goroutine looks at the file's data
// version, only while somebody waits.
type bell struct {
	path string

	mu      sync.Mutex
	tail    int64         // last known log position
	looks   int           // how often tail was set
	rung    chan struct{} // closed and replaced at each change of tail
	waiters int
	polling bool
	fault   error // why the last poll ended
	closed  bool
	gone    sync.WaitGroup
}

func newBell(path string) *bell { return &bell{path: path, rung: make(chan struct{})} }

// ring says where the log ends now.
func (b *bell) ring(tail int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	b.tail = tail
	b.wake()
}

func (b *bell) wake() {
	close(b.rung)
	b.rung = make(chan struct{})
}

// wait returns when the log's end is known to be elsewhere than at pos.
func (b *bell) wait(ctx context.Context, pos int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters++
	defer func() { b.waiters-- }()
	first := b.looks
	for {
		switch {
		case b.closed:
			return errClosed
		case b.tail > pos, b.tail < pos && b.looks != first: // shorter: the file was put back
			return nil
		case b.fault != nil:
			err := b.fault
			b.fault = nil
			return err
		}
		if !b.polling {
			b.polling = true
			b.gone.Add(1)
			go b.poll()
		}
		rung := b.rung
		b.mu.Unlock()
		select {
		case <-rung:
		case <-ctx.Done():
			b.mu.Lock()
			return ctx.Err()
		}
		b.mu.Lock()
	}
}

// poll looks for other programs' commits until nobody waits.
func (b *bell) poll() {
	defer b.gone.Done()
	err := b.watch()
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.polling = false
	b.fault = fmt.Errorf("watch %s: %w", b.path, err)
	b.wake()
}

// watch returns nil after it took polling back, because nobody waited.
func (b *bell) watch() error {
	c, err := sqlite.Open(b.path, sqlite.Options{MustExist: true})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing of its own to lose
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		version, _, err := sqlite.One(c, "PRAGMA data_version")
		if err != nil {
			return err
		}
		if v := version.Int(); v != last {
			last = v
			tail, _, err := sqlite.One(c, `SELECT max(pos) FROM _tidemark_log`)
			if err != nil {
				return err
			}
			b.ring(tail.Int())
		}
		<-tick.C
		b.mu.Lock()
		idle := b.waiters == 0 || b.closed
		if idle {
			b.polling = false
		}
		b.mu.Unlock()
		if idle {
			return nil
		}
	}
}

func (b *bell) close() {
	b.mu.Lock()
	b.closed = true
	b.wake()
	b.mu.Unlock()
	b.gone.Wait()
}

// Wait implements hub.Store. Only commits that the change log shows count: a
// changed row, or a decision about a transaction.
func (s *Store) Wait(ctx context.Context, since change.Cursor) error {
	pos, _, err := parse(*s.lives.Load(), since)
	if err != nil {
		// Perhaps of a life that another process began.
		err = s.View(ctx, func(v hub.View) (err error) {
			pos, err = v.(*view).check(since)
			return err
		})
	}
	if err != nil {
		return err
	}
	return s.bell.wait(ctx, pos)
}
