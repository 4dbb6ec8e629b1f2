package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	tsqlite "github.com/tidemark-sync/tidemark/internal/sqlite"
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
			return res, fmt.Errorf("seed %d, step %d: %w", opt.Seed, w.step, err)
		}
	}
	if err := w.rest(); err != nil {
		return res, fmt.Errorf("seed %d, coming to rest: %w", opt.Seed, err)
	}
	if err := w.checkEnd(); err != nil {
		return res, fmt.Errorf("seed %d, at rest: %w", opt.Seed, err)
	}
	return res, nil
}

// A move is one kind of step.
type move struct {
	weight int
	play   func(w *world, s *site) error
}

var moves = []move{
	{30, (*world).appWrites},
	{6, func(w *world, _ *site) error { return w.hubWrites() }},
	{50, (*world).traffic},
	{12, (*world).nudge},
	{4, func(w *world, s *site) error { w.cut(s); return nil }},
	{12, func(w *world, s *site) error {
		if s.link != nil {
			return nil
		}
		return w.dial(s)
	}},
	{2, func(w *world, s *site) error {
		w.logf("e%d is killed", s.n)
		return w.restartSite(s)
	}},
	{1, func(w *world, _ *site) error {
		w.logf("hub is killed")
		return w.restartHub()
	}},
	{10, func(w *world, _ *site) error { w.pass(); return nil }},
	{2, func(w *world, s *site) error { w.jump(s); return nil }},
	{2, func(w *world, _ *site) error { return w.prune() }},
	{2, (*world).regrant},
	{4, func(w *world, _ *site) error { return w.operate(false) }},
	{4, (*world).deliverLate},
	{3, (*world).backup},
	{2, (*world).restore},
}

func (w *world) play() error {
	total := 0
	for _, m := range moves {
		total += m.weight
	}
	s := w.edges[w.rng.IntN(len(w.edges))]
	pick := w.rng.IntN(total)
	for _, m := range moves {
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
	if err != nil || d == nil {
		return err
	}
	w.logf("e%d app: %s (%s)", s.n, d.kind, d.ledger)
	w.oracle.remember(d)
	if w.rng.IntN(3) > 0 {
		return w.nudge(s)
	}
	return nil
}

// ready reports whether the application can work: its first download is complete.
func (s *site) ready() (bool, error) {
	st, err := s.engine.Status()
	return st.Installed && st.Complete, err
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
func (w *world) pass() {
	d := time.Duration(1+w.rng.IntN(5000)) * time.Millisecond
	if w.rng.IntN(8) == 0 {
		d = time.Duration(1+w.rng.IntN(21*24)) * time.Hour
	}
	w.time.Advance(d)
	w.logf("%v pass", d)
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
	_, err := w.hub.store.Prune(w.ctx, w.time.Now().Add(-age))
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
	s.grants = grants
	w.logf("e%d granted %d scopes", s.n, len(grants))
	w.sometimes("scopes changed")
	return w.hub.hub.SetGrants(w.ctx, s.device, grants)
}

// operate is a person at the hub: retries and discards what is parked. At the end
// of a history everything parked is settled one way or the other.
func (w *world) operate(all bool) error {
	parked, err := w.hub.hub.Queue(w.ctx, change.DeviceID{})
	if err != nil {
		return err
	}
	for _, p := range parked {
		if !all && w.rng.IntN(2) == 0 {
			continue
		}
		if w.rng.IntN(2) == 0 && !all {
			w.logf("operator retries %s", p.ID)
			w.sometimes("operator retried")
			if _, err := w.hub.hub.Retry(w.ctx, p.ID); err != nil && !errors.Is(err, hub.ErrNotFound) && !errors.Is(err, hub.ErrDepends) {
				return fmt.Errorf("operator: %w", err)
			}
			continue
		}
		w.logf("operator discards %s", p.ID)
		w.sometimes("operator discarded")
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
	for _, s := range w.edges {
		for len(s.late) > 0 {
			if err := w.deliverLate(s); err != nil {
				return err
			}
		}
		s.clock.skew = 0
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

// quiet delivers until nobody has anything to say.
func (w *world) quiet() error {
	for _, s := range w.edges {
		if s.link == nil {
			if err := w.dial(s); err != nil {
				return err
			}
		}
	}
	const rounds = 3000
	for range rounds {
		busy := false
		for _, s := range w.edges {
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
		if !busy {
			return nil
		}
	}
	return fmt.Errorf("I11: the world is not quiet after %d rounds of delivery", rounds)
}

// rows reads a query as text lines, for comparing.
func rows(c *tsqlite.Conn, sql string) ([]string, error) {
	var out []string
	err := tsqlite.Query(c, sql, func(s *tsqlite.Stmt) error {
		k := make(change.Key, s.ColumnCount())
		for i := range k {
			k[i] = tsqlite.Column(s, i)
		}
		out = append(out, k.String())
		return nil
	})
	return out, err
}
