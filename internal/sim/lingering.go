package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// A lingering program keeps a transaction open while others go on: its changes come
// late, under a number that it was given early.
type lingering struct {
	app *app
	now *deed // done, but not yet committed
}

// linger begins such a transaction, or ends it. It only writes rows that nobody else
// can be waiting for.
func (w *world) linger() error {
	h := w.hub
	if h.slow != nil && h.slow.now != nil {
		return w.settleSlow(h.rng.IntN(5) > 0)
	}
	if h.slow == nil {
		conn, err := h.base.connect(h.clock)
		if err != nil {
			return err
		}
		h.slow = &lingering{app: newApp("slow", conn, rand.New(newRand(w.opt.Seed, "slow")), false, w.opt.Families)}
		h.slow.app.recipes = []recipe{{"new patient", 1, (*app).newPatient, 0}, {"once", 1, (*app).once, 0}}
	}
	a := h.slow.app
	r, d := a.begin()
	if err := a.exec("BEGIN"); err != nil {
		return fmt.Errorf("slow: %w", err)
	}
	if err := a.perform(r, d); err != nil {
		if errors.Is(err, errNothing) {
			return a.exec("ROLLBACK")
		}
		return fmt.Errorf("slow: %s: %w", r.kind, err)
	}
	h.slow.now = d
	w.logf("slow app begins: %s (%s)", d.kind, d.ledger)
	return nil
}

// settleSlow ends an open transaction.
func (w *world) settleSlow(commit bool) error {
	s := w.hub.slow
	if s == nil || s.now == nil {
		return nil
	}
	d := s.now
	s.now = nil
	if !commit {
		w.logf("slow app gives up %s", d.ledger)
		return s.app.exec("ROLLBACK")
	}
	w.logf("slow app commits %s", d.ledger)
	w.sometimes("a transaction lingered")
	w.oracle.remember(d)
	return s.app.exec("COMMIT")
}
