package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Run plays one history and checks every invariant. An error names the seed, the
// step and the invariant.
func Run(opt Options) (res Result, err error) {
	w, err := newWorld(opt)
	if err != nil {
		return res, fmt.Errorf("seed %d: %w", opt.Seed, err)
	}
	defer func() {
		err = errors.Join(err, w.close())
		res = Result{Trace: w.trace.Sum64(), Sometimes: w.some}
	}()
	for w.step = 1; w.step <= w.opt.Steps; w.step++ {
		if err := w.play(); err != nil {
			return res, fmt.Errorf("seed %d (%s), step %d: %w", opt.Seed, w.opt.Families, w.step, err)
		}
	}
	if err := w.rest(); err != nil {
		return res, fmt.Errorf("seed %d (%s), coming to rest: %w", opt.Seed, w.opt.Families, err)
	}
	if err := w.checkEnd(); err != nil {
		return res, fmt.Errorf("seed %d (%s), at rest: %w", opt.Seed, w.opt.Families, err)
	}
	if opt.atRest != nil {
		return res, opt.atRest(w)
	}
	return res, nil
}

// A move is one kind of step.
type move struct {
	weight int
	play   func(w *world, s *site) error
	family Family // of hard histories; 0: of every history
}

var moves = []move{
	{30, (*world).appWrites, 0},
	{6, func(w *world, _ *site) error { return w.hubWrites() }, 0},
	{50, (*world).traffic, 0},
	{12, (*world).nudge, 0},
	{4, func(w *world, s *site) error { w.cut(s); return nil }, 0},
	{12, func(w *world, s *site) error {
		if s.link != nil {
			return nil
		}
		return w.dial(s)
	}, 0},
	{2, func(w *world, s *site) error {
		w.logf("e%d is killed", s.n)
		return w.restartSite(s)
	}, 0},
	{1, func(w *world, _ *site) error {
		w.logf("hub is killed")
		return w.killOne()
	}, 0},
	{10, func(w *world, _ *site) error { return errors.Join(w.pass(), w.chores()) }, 0},
	{2, func(w *world, s *site) error { w.jump(s); return nil }, 0},
	{2, func(w *world, _ *site) error { return w.prune() }, 0},
	{2, (*world).regrant, 0},
	{4, func(w *world, _ *site) error { return w.operate(false) }, 0},
	{4, (*world).deliverLate, 0},
	{3, (*world).backup, 0},
	{2, (*world).restore, 0},
	{2, (*world).clone, Clones},
	{3, func(w *world, _ *site) error { return w.backupHub() }, Rollbacks},
	{3, func(w *world, _ *site) error { return w.rollbackHub() }, Rollbacks},
	{3, func(w *world, _ *site) error { return w.word() }, Rollbacks},
	{1, func(w *world, _ *site) error { return w.migrateHub() }, Schemas},
	{2, (*world).migrateSite, Schemas},
	{2, (*world).pack, Parcels},
	{1, (*world).bury, Parcels},
	{3, func(w *world, _ *site) error { return w.carry() }, Parcels},
	{6, func(w *world, _ *site) error { return w.linger() }, Lingering},
	{2, func(w *world, _ *site) error { return w.cutBase() }, Outages},
	{1, func(w *world, _ *site) error { return w.crashBase() }, Outages},
}

func (w *world) play() error {
	total := 0
	for _, m := range w.moves {
		total += m.weight
	}
	s := w.edges[w.rng.IntN(len(w.edges))]
	pick := w.rng.IntN(total)
	for _, m := range w.moves {
		if pick -= m.weight; pick < 0 {
			return m.play(w, s)
		}
	}
	return nil
}

// traffic delivers a burst of messages on one link.
func (w *world) traffic(s *site) error {
	for range 1 + w.rng.IntN(8) {
		var err error
		switch w.rng.IntN(5) {
		case 0, 1:
			err = w.deliverUp(s)
		case 2, 3:
			err = w.deliverDown(s)
		default:
			err = w.wake(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) appWrites(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	d, err := s.app.act()
	if s.app.limit != "" {
		w.sometimes("a limit refused: " + s.app.limit)
	}
	if err != nil || d == nil {
		return err
	}
	if d.number != 0 {
		w.sometimes("number taken")
	}
	s.holds[d.ledger] = true
	w.logf("e%d app: %s (%s)", s.n, d.kind, d.ledger)
	w.oracle.remember(d)
	if w.rng.IntN(3) > 0 {
		return w.nudge(s)
	}
	return nil
}

// ready reports whether the application can work: its first download is complete.
func (s *site) ready() (bool, error) {
	if s.complete { // it stays so
		return true, nil
	}
	st, err := s.engine.Status()
	s.complete = st.Installed && st.Complete
	return s.complete, err
}

// hubWrites is another program's plain SQL in the hub's file.
func (w *world) hubWrites() error {
	d, err := w.hub.app.act()
	if err != nil || d == nil {
		return err
	}
	d.poisoned = false // rules hold for devices; whoever writes to the hub's database is trusted
	w.logf("hub app: %s (%s)", d.kind, d.ledger)
	w.oracle.remember(d)
	return nil
}

// pass lets time go by: mostly moments, sometimes weeks.
func (w *world) pass() error {
	d := time.Duration(1+w.rng.IntN(5000)) * time.Millisecond
	if w.rng.IntN(8) == 0 {
		d = time.Duration(1+w.rng.IntN(21*24)) * time.Hour
	}
	w.time.Advance(d)
	w.logf("%v pass", d)
	return w.hub.base.at(w.time.Now())
}

// jump sets a site's clock wrong, back or far ahead (trap D6).
func (w *world) jump(s *site) {
	s.clock.skew = time.Duration(w.rng.IntN(2*3600)-3600) * time.Second
	if w.rng.IntN(4) == 0 {
		s.clock.skew = 4 * 365 * 24 * time.Hour
	}
	w.logf("e%d clock off by %v", s.n, s.clock.skew)
}

// prune moves the log's floor: who has been away longer must bootstrap again.
func (w *world) prune() error {
	age := time.Duration(1+w.rng.IntN(20*24)) * time.Hour
	if w.rng.IntN(3) == 0 {
		age = 0
	}
	if err := w.turn(); err != nil {
		return err
	}
	err := w.alone(func(ctx context.Context) error {
		_, err := w.hub.store.Prune(ctx, w.time.Now().Add(-age))
		return err
	})
	w.logf("log pruned to %v", age)
	return err
}

// regrant gives a site another set of branches.
func (w *world) regrant(s *site) error {
	grants := []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}
	for _, b := range branches {
		if w.rng.IntN(2) == 0 {
			grants = append(grants, rule.Grant{Scope: scopeOf(b), Verbs: rule.Every})
		}
	}
	w.logf("e%d granted %d scopes", s.n, len(grants))
	w.sometimes("scopes changed")
	if err := w.turn(); err != nil {
		return err
	}
	err := w.hub.hub.SetGrants(w.ctx, s.name(), grants)
	if errors.Is(err, hub.ErrNotFound) && w.hub.put {
		return nil // made after the copy that the hub runs on
	}
	return err
}

// operate is a person at the hub: retries and discards what is parked. At the end
// of a history everything parked is settled one way or the other.
func (w *world) operate(all bool) error {
	if w.behind() {
		return nil
	}
	if err := w.person(); err != nil {
		return err
	}
	parked, err := w.hub.hub.Queue(w.ctx, change.DeviceID{})
	if err != nil {
		return err
	}
	for _, p := range parked {
		if err := w.checkParkedFloor(&p); err != nil {
			return err
		}
		if p.Code == "salvage" || p.Code == "undone" {
			w.sometimes("parked: " + p.Code)
		}
		if !all && w.rng.IntN(2) == 0 {
			continue
		}
		if w.retries(&p, all) {
			w.logf("operator retries %s (%s)", p.ID, summary(&p))
			w.sometimes("operator retried")
			w.oracle.applied(&p)
			if _, err := w.hub.hub.Retry(w.ctx, p.ID); err != nil && !errors.Is(err, hub.ErrNotFound) && !errors.Is(err, hub.ErrDepends) {
				return fmt.Errorf("operator: %w", err)
			}
			continue
		}
		w.logf("operator discards %s (%s)", p.ID, summary(&p))
		w.sometimes("operator discarded")
		if err := heldRows(&p, w.oracle.refused); err != nil {
			return err
		}
		if _, err := w.hub.hub.Discard(w.ctx, p.ID, "not wanted"); err != nil && !errors.Is(err, hub.ErrNotFound) {
			return fmt.Errorf("operator: %w", err)
		}
	}
	return nil
}

// rest brings the network back, delivers everything, settles what is parked, and
// wants the world quiet within a bounded number of rounds (I11).
func (w *world) rest() error {
	w.opt.calm = true
	w.time.Advance(time.Hour)
	if err := errors.Join(w.settleSlow(true), w.hub.base.at(w.time.Now())); err != nil {
		return err
	}
	for _, s := range w.edges {
		for len(s.late) > 0 {
			if err := w.deliverLate(s); err != nil {
				return err
			}
		}
		s.clock.skew = 0
	}
	if err := w.heartbeats(); err != nil {
		return err
	}
	if err := errors.Join(w.word(), w.carryAll()); err != nil {
		return err
	}
	for phase := range 3 {
		if err := w.quiet(); err != nil {
			return err
		}
		if phase < 2 {
			if err := w.checkWaiting(); err != nil {
				return err
			}
			if err := w.operate(true); err != nil {
				return err
			}
		}
	}
	return nil
}

// heartbeats are the pings and pongs of the time that went by: a link that stands has
// had them. Without them every session would find the hub silent and begin anew, which
// heals, unseen, one that waits for an answer that never comes.
func (w *world) heartbeats() error {
	for _, s := range w.edges {
		if l := s.link; l != nil {
			if err := w.atSite(s, func() error { return l.es.Receive(w.ctx, &wire.Pong{}, w.post(&l.up, 0)) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// quiet delivers until nobody has anything to say.
func (w *world) quiet() error {
	const rounds = 3000
	for range rounds {
		busy := w.behind()
		if err := w.word(); err != nil {
			return err
		}
		if told, err := w.hearAll(); err != nil {
			return err
		} else if told {
			busy = true
		}
		for _, s := range w.edges {
			if s.link == nil {
				if err := w.dial(s); err != nil {
					return err
				}
				busy = true
			}
			n := len(s.link.up) + len(s.link.down)
			for _, do := range []func(*site) error{w.nudge, w.deliverUp, w.deliverDown, w.wake} {
				if err := do(s); err != nil {
					return err
				}
				if s.link == nil {
					if err := w.dial(s); err != nil {
						return err
					}
				}
			}
			busy = busy || n > 0 || len(s.link.up)+len(s.link.down) > 0
		}
		if busy {
			continue
		}
		if busy, err := w.tick(); err != nil {
			return err
		} else if busy {
			continue
		}
		if busy, err := w.tend(); err != nil || !busy {
			return err
		}
	}
	return fmt.Errorf("I11: the world is not quiet after %d rounds of delivery", rounds)
}

// tick lets each site's session do what it does every few seconds, and reports
// whether that was anything.
func (w *world) tick() (busy bool, err error) {
	for _, s := range w.edges {
		if l := s.link; l != nil {
			if err := w.atSite(s, func() error { return l.es.Tick(w.ctx, w.post(&l.up, 0)) }); err != nil {
				return false, err
			}
			busy = busy || s.link == nil || len(l.up) > 0
		}
	}
	if busy {
		w.sometimes("found at a tick")
	}
	return busy, nil
}

// summary names the rows of a parked transaction for the trace.
func summary(p *hub.Parked) string {
	t, err := p.Transaction()
	if err != nil {
		return p.Code
	}
	out := p.Code
	for i := range min(len(t.Ops), 6) {
		out += fmt.Sprintf(" %v %s%s", t.Ops[i].Kind, t.Ops[i].Table, t.Ops[i].Key)
	}
	return out
}
