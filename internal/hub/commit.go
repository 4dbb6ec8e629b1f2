package hub

import (
	"context"
	"slices"
	"sync"
)

// A committer lets concurrent pushes and greetings share one durable commit: whoever finds it
// idle leads, takes everybody who is waiting into one Store.Update, and hands the
// lead to the first of those who came meanwhile. It owns no goroutine, and alone
// it costs nothing: the simulator's single caller always leads.
type committer struct {
	mu      sync.Mutex
	busy    bool // somebody leads, or was told to
	waiting []*job
}

// A job is one caller's part of a shared commit.
type job struct {
	run   func(tx Tx) error // may run more than once; the last run counts
	ahead *Ahead            // what it will ask for; nil: no telling
	size  int               // operations
	err   error
	wake  chan bool // true: done, false: lead
}

// do runs the job in some Update, alone or with others, and returns its own
// error. When ctx ends before its turn came the job is not run.
func (c *committer) do(ctx context.Context, store Store, limit int, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.wake = make(chan bool, 1)
	c.mu.Lock()
	c.waiting = append(c.waiting, j)
	lead := !c.busy
	c.busy = true
	c.mu.Unlock()
	if !lead && !c.await(ctx, j) {
		return j.err
	}
	c.lead(ctx, store, limit)
	return j.err
}

// await waits for the job's end (false) or for the lead (true).
func (c *committer) await(ctx context.Context, j *job) (lead bool) {
	select {
	case done := <-j.wake:
		return !done
	case <-ctx.Done():
	}
	c.mu.Lock()
	i := slices.Index(c.waiting, j)
	told := i == 0 && len(j.wake) > 0 // the lead is on its way: pass it on
	if i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	if told {
		c.pass()
	}
	c.mu.Unlock()
	if i < 0 { // being committed right now: its outcome is near and worth having
		<-j.wake
		return false
	}
	j.err = ctx.Err()
	return false
}

// pass hands the lead to the first in line. The caller holds mu and leads.
func (c *committer) pass() {
	if len(c.waiting) == 0 {
		c.busy = false
		return
	}
	c.waiting[0].wake <- false
}

// lead commits the jobs in line, the leader's own being the first of them.
func (c *committer) lead(ctx context.Context, store Store, limit int) {
	c.mu.Lock()
	n, size := 0, 0
	for n < len(c.waiting) && (n == 0 || size+c.waiting[n].size <= limit) {
		size += c.waiting[n].size
		n++
	}
	group := slices.Clone(c.waiting[:n])
	c.waiting = slices.Delete(c.waiting, 0, n)
	c.mu.Unlock()

	defer func() {
		for _, j := range group[1:] {
			j.wake <- true
		}
		c.mu.Lock()
		c.pass()
		c.mu.Unlock()
	}()
	// The others must not fail because the leader's caller went away.
	ctx = context.WithoutCancel(ctx)
	if together(ctx, store, group) == nil {
		return
	}
	for _, j := range group { // whose fault was it? alone, only that one fails
		_ = together(ctx, store, []*job{j})
	}
}

// share is Store.Update for little that many sessions write at once, when a fleet comes
// back: it shares its commit with others, and with pushes. fn may run more than once;
// the last run counts.
func (h *Hub) share(ctx context.Context, fn func(Tx) error) error {
	return h.queue.do(ctx, h.store, h.limits.Group, &job{size: 1, run: fn})
}

// together runs jobs in one Update, and gives all of them its error. First come those that
// do not tell what they will ask for: what a store keeps back for the others would have to
// be written before.
func together(ctx context.Context, store Store, group []*job) error {
	inOrder := make([]*job, 0, len(group))
	for _, told := range []bool{false, true} {
		for _, j := range group {
			if told == (j.ahead != nil) {
				inOrder = append(inOrder, j)
			}
		}
	}
	err := store.Update(ctx, func(tx Tx) error {
		tx.Again()
		if err := foresee(tx, inOrder); err != nil {
			return err
		}
		for _, j := range inOrder {
			if err := j.run(tx); err != nil {
				return err
			}
		}
		return nil
	})
	for _, j := range group {
		j.err = err
	}
	return err
}
