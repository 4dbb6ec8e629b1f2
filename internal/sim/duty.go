package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A rota is a base whose processes do the hub's chores in turn: one is on duty, for as
// long as it renews its loan.
type rota interface {
	// renew lets a process renew its loan, or take one that nobody has, and reports
	// whether it is on duty.
	renew(p *process, d time.Duration) (bool, error)
	// onDuty is the context under which a process writes that believes it is on duty;
	// nil when it knows that it is not.
	onDuty(ctx context.Context, p *process) context.Context
	// isOff reports whether an error says that another process took the duty over.
	isOff(err error) bool
}

// loan is how long a process that renews nothing stays on duty.
const loan = 30 * time.Second

// alone does a chore that one process does for all. A process whose loan ran out
// without its noticing tries first, and must do nothing.
func (w *world) alone(do func(context.Context) error) error {
	r, ok := w.hub.base.(rota)
	if !ok {
		return do(w.ctx)
	}
	p := w.hub.process // whose turn it is: it looks after the duty, and the others hung
	mine, err := r.renew(p, loan)
	if err != nil {
		return fmt.Errorf("process %d looks who is on duty: %w", p.n, err)
	}
	for _, q := range w.hub.all {
		if q == p && mine {
			continue
		}
		if err := w.tooLate(r, q, do); err != nil {
			return err
		}
	}
	if !mine { // whoever was on duty was killed, or holds on
		return w.relieve(r, do)
	}
	return w.as(p, func() error { return do(r.onDuty(w.ctx, p)) })
}

// as lets a process act.
func (w *world) as(p *process, do func() error) error {
	was := w.hub.process
	w.hub.process = p
	defer func() { w.hub.process = was }()
	return do()
}

// tooLate lets a process do a chore that believes to be on duty.
func (w *world) tooLate(r rota, p *process, do func(context.Context) error) error {
	under := r.onDuty(w.ctx, p)
	if under == nil {
		return nil
	}
	if mine, err := r.renew(p, loan); err != nil || mine {
		return err // it is, and does it below
	}
	was, err := w.standing()
	if err != nil {
		return err
	}
	err = w.as(p, func() error { return do(under) })
	if err != nil && !r.isOff(err) {
		return err
	}
	now, e := w.standing()
	if e != nil {
		return e
	}
	if !slices.Equal(was, now) {
		return fmt.Errorf("process %d, which lost its duty, did a chore: %v became %v", p.n, was, now)
	}
	// The chore may have had nothing to do; forgetting all of the log always has.
	_, err = p.store.Prune(under, w.time.Now())
	if err == nil {
		return fmt.Errorf("process %d, which lost its duty, pruned the log", p.n)
	}
	if !r.isOff(err) {
		return err
	}
	w.sometimes("a late process was off duty")
	return nil
}

// relieve lets the process do a chore that is on duty, or, when that was killed, the one
// whose turn it is, once the loan ran out.
func (w *world) relieve(r rota, do func(context.Context) error) error {
	for _, q := range w.hub.all {
		if under := r.onDuty(w.ctx, q); under != nil {
			return w.as(q, func() error { return do(under) })
		}
	}
	w.time.Advance(2 * loan)
	if err := w.hub.base.at(w.time.Now()); err != nil {
		return err
	}
	p := w.hub.process
	mine, err := r.renew(p, loan)
	if err == nil && !mine {
		err = errors.New("somebody is")
	}
	if err != nil {
		return fmt.Errorf("process %d finds nobody on duty, and cannot take over: %w", p.n, err)
	}
	return do(r.onDuty(w.ctx, p))
}
