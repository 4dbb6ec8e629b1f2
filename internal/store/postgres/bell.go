package postgresstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// lookEvery is how often waiters look for themselves: a notification may have been
// lost with a connection.
const lookEvery = time.Second

// A bell tells waiters that something was committed. One connection listens for it,
// from the first wait on; it is made anew when it is lost.
type bell struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // ends with close
	cancel context.CancelFunc
	gone   sync.WaitGroup

	mu        sync.Mutex
	rung      chan struct{} // closed and replaced at each commit
	listening bool
	crossed   chan struct{} // see crossing.go
}

func newBell(s *Store) *bell {
	ctx, cancel := context.WithCancel(context.Background())
	return &bell{s: s, ctx: ctx, cancel: cancel, rung: make(chan struct{}), crossed: make(chan struct{}, 1)}
}

// hear returns a channel that is closed by the next commit that is heard of.
func (b *bell) hear() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.listening && b.ctx.Err() == nil {
		b.listening = true
		b.gone.Add(2)
		go b.listen()
		go b.follow()
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}

func (b *bell) listen() {
	defer b.gone.Done()
	for pause := lookEvery; b.ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		began := b.s.cfg.Clock.Now()
		err := b.attend()
		if b.ctx.Err() != nil {
			return
		}
		b.s.cfg.Log.Warn("lost the connection that hears of commits", "error", err)
		if b.s.cfg.Clock.Now().Sub(began) > time.Minute {
			pause = lookEvery
		}
		if b.s.pause(b.ctx, pause) != nil {
			return
		}
	}
}

// attend listens until the connection is lost.
func (b *bell) attend() error {
	c, err := reach(b.ctx, b.s.cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(context.WithoutCancel(b.ctx)) }() // nothing of its own to lose
	if _, err := c.Exec(b.ctx, "LISTEN tidemark; LISTEN "+crossChannel+"; LISTEN "+wordChannel); err != nil {
		return err
	}
	b.s.heard("") // what came before LISTEN stood was not heard of
	b.cross()
	for {
		b.ring()
		n, err := c.WaitForNotification(b.ctx)
		if err != nil {
			return err
		}
		switch n.Channel {
		case wordChannel:
			b.s.heard(n.Payload)
		case crossChannel:
			b.cross()
		}
	}
}

func (b *bell) close() {
	b.cancel()
	b.ring()
	b.gone.Wait()
}

// Wait implements hub.Store. Only commits that the change log shows count: a
// changed row, or a decision about a transaction.
func (s *Store) Wait(ctx context.Context, since change.Cursor) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		heard := s.bell.hear()
		moved, err := s.movedSince(ctx, since)
		if err != nil || moved {
			return err
		}
		select {
		case <-heard:
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.bell.ctx.Err() != nil {
			return errClosed
		}
	}
}

// movedSince reports whether the log shows more than a cursor does.
func (s *Store) movedSince(ctx context.Context, since change.Cursor) (moved bool, err error) {
	err = s.View(ctx, func(hv hub.View) error {
		v := hv.(*view)
		m, err := v.check(since)
		if errors.Is(err, hub.ErrBelowFloor) { // whatever it was that moved
			moved = true
			return nil
		}
		if err != nil {
			return err
		}
		var a args
		return v.query(m.movedSQL(&a), func(r *row) error {
			moved = r.bool(0)
			return nil
		}, a.list...)
	})
	return moved, err
}

// movedSQL asks whether the log shows more than m. The newest entry tells, but of those
// that were open: asked for any entry beyond, the planner, who knows nothing of the log's
// newest part, reads through all of it.
func (m *moment) movedSQL(a *args) string {
	q := "SELECT EXISTS (SELECT FROM (SELECT xid FROM tidemark.log WHERE " + m.since("", a) + "true ORDER BY xid DESC LIMIT 1) AS l WHERE l.xid >= " +
		a.add(strconv.FormatUint(m.max, 10)) + "::text::xid8)"
	if len(m.open) > 0 {
		q += " OR EXISTS (SELECT FROM tidemark.log AS l WHERE " + m.since("l.", a) + "l.xid = ANY(" + a.add(m.openList()) + "::text::xid8[]))"
	}
	return q
}
