package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	tsqlite "github.com/tidemark-sync/tidemark/internal/sqlite"
	store "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Options say how long a history is. The zero value means the defaults.
type Options struct {
	Seed  uint64
	Steps int    // default 250
	Edges int    // default 3
	Dir   string // where the files go; required
	// Log receives the trace line by line; nil keeps only its hash.
	Log func(string)

	calm bool // no more faults: the history is being brought to rest
}

// A Result is what a history came to.
type Result struct {
	Trace     uint64         // hash of all that happened
	Sometimes map[string]int // how often each rare state was reached
}

// branches of the clinic chain.
var branches = []string{"b0", "b1", "b2"}

// A world is one history under way.
type world struct {
	opt    Options
	ctx    context.Context
	rng    *rand.Rand
	time   *clock.Manual
	hub    *hubNode
	edges  []*site
	oracle oracle
	step   int
	trace  interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	some map[string]int
}

// hubNode is the hub's machine.
type hubNode struct {
	path  string
	clock *nodeClock
	rand  *nodeRand
	store *store.Store
	hub   *hub.Hub
	app   *app // another program that writes plain SQL to the hub's file
}

// A site is one edge machine and its link to the hub.
type site struct {
	n      int
	path   string
	device change.DeviceID
	clock  *nodeClock
	rand   *nodeRand
	engine *edge.Engine
	app    *app
	grants []rule.Grant
	link   *link
	late   []lateMessage // sent in sessions that have ended, still under way

	copies   int    // backups made
	backup   string // the last copy of the file, "" when there is none
	backupAt int    // how many transactions the application had begun by then
}

// A link is one session: both ends and the messages under way.
type link struct {
	es       *edge.Session
	hs       *hub.Session
	up, down []wire.Message
}

type lateMessage struct {
	hs *hub.Session
	m  wire.Message
}

func newWorld(opt Options) (*world, error) {
	if opt.Steps == 0 {
		opt.Steps = 250
	}
	if opt.Edges == 0 {
		opt.Edges = 3
	}
	w := &world{opt: opt, ctx: context.Background(), rng: rand.New(newRand(opt.Seed, "world")),
		time:  clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)),
		trace: fnv.New64a(), some: map[string]int{}}
	w.oracle.init()
	if err := w.makeHub(); err != nil {
		return nil, fmt.Errorf("make the hub: %w", err)
	}
	for i := range opt.Edges {
		if err := w.makeSite(i); err != nil {
			return nil, fmt.Errorf("make site %d: %w", i, err)
		}
	}
	return w, nil
}

func (w *world) logf(format string, args ...any) {
	line := fmt.Sprintf("%4d ", w.step) + fmt.Sprintf(format, args...)
	_, _ = w.trace.Write([]byte(line + "\n"))
	if w.opt.Log != nil {
		w.opt.Log(line)
	}
}

// sometimes counts a rare state; TestRareStatesAreReached wants each of them.
func (w *world) sometimes(what string) { w.some[what]++ }

func (w *world) makeHub() error {
	h := &hubNode{path: filepath.Join(w.opt.Dir, "hub.db"), clock: &nodeClock{world: w.time}}
	h.rand = &nodeRand{src: newRand(w.opt.Seed, "hub"), clock: h.clock}
	w.hub = h
	if err := store.Create(h.path, clinicDDL); err != nil {
		return err
	}
	seed, err := tsqlite.Open(h.path, tsqlite.Options{NoSync: true})
	if err != nil {
		return err
	}
	err = tsqlite.Immediate(seed, func() error { return w.seedRows(seed) })
	if err = errors.Join(err, seed.Close()); err != nil {
		return err
	}
	return w.bootHub()
}

func (w *world) seedRows(c *tsqlite.Conn) error {
	for _, b := range branches {
		if err := tsqlite.Exec(c, `INSERT INTO branch VALUES (?, 'branch')`, change.Text(b)); err != nil {
			return err
		}
		for i := range 3 {
			err := tsqlite.Exec(c, `INSERT INTO patient (id, branch_id, name, phone, note) VALUES (?, ?, 'n', 'p', 'a b c')`,
				change.Text(fmt.Sprintf("p-%s-%d", b, i)), change.Text(b))
			if err != nil {
				return err
			}
		}
	}
	for i := range 3 {
		id := change.Text(fmt.Sprintf("s%d", i))
		if err := tsqlite.Exec(c, `INSERT INTO stock VALUES (?, ?, 1000, 100)`, id, change.Text(fmt.Sprintf("item%d", i))); err != nil {
			return err
		}
		w.oracle.stock[id.Str()] = 1000
		id = change.Text(fmt.Sprintf("a%d", i))
		if err := tsqlite.Exec(c, `INSERT INTO account VALUES (?, 0)`, id); err != nil {
			return err
		}
		w.oracle.account[id.Str()] = 0
	}
	return nil
}

func (w *world) bootHub() error {
	h := w.hub
	st, err := store.Open(store.Config{Path: h.path, Rules: clinicRules(), Clock: h.clock, Rand: h.rand, NoSync: true})
	if err != nil {
		return err
	}
	h.store = st
	h.hub, err = hub.New(w.ctx, hub.Config{Store: st, Rules: clinicRules(), Clock: h.clock, Rand: h.rand,
		DDL: func(context.Context) ([]string, error) { return clinicDDL, nil }})
	if err != nil {
		return err
	}
	h.app, err = openApp("hub", h.path, rand.New(newRand(w.opt.Seed, "hubapp")), h.clock, false)
	return err
}

func (w *world) makeSite(i int) error {
	s := &site{n: i, path: filepath.Join(w.opt.Dir, fmt.Sprintf("edge%d.db", i)), clock: &nodeClock{world: w.time}}
	s.clock.skew = time.Duration(w.rng.IntN(120)-60) * time.Second
	s.rand = &nodeRand{src: newRand(w.opt.Seed, fmt.Sprintf("edge%d", i)), clock: s.clock}
	s.grants = []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}, {Scope: scopeOf(branches[i%len(branches)]), Verbs: rule.Every}}
	if i == 0 { // head office sees two branches
		s.grants = append(s.grants, rule.Grant{Scope: scopeOf(branches[1]), Verbs: rule.Every})
	}
	inv, err := w.hub.hub.AddDevice(w.ctx, fmt.Sprintf("edge%d", i), s.grants, time.Hour)
	if err != nil {
		return err
	}
	if s.device, _, err = w.hub.hub.Join(w.ctx, inv.Secret, []byte(s.path)); err != nil {
		return err
	}
	if i == 1 { // a file that was there before, with its columns in another order
		if err := store.Create(s.path, shuffledDDL); err != nil {
			return err
		}
	}
	w.edges = append(w.edges, s)
	return w.bootSite(s)
}

func scopeOf(branch string) rule.ScopeID { return rule.Of("branch", change.Text(branch)) }

func (w *world) bootSite(s *site) error {
	e, err := edge.Open(edge.Config{Path: s.path, Clock: s.clock, Rand: s.rand, NoSync: true})
	if err != nil {
		return err
	}
	s.engine = e
	if s.app == nil {
		aware := s.n != 2
		s.app, err = openApp(fmt.Sprintf("e%d", s.n), s.path, rand.New(newRand(w.opt.Seed, fmt.Sprintf("app%d", s.n))), s.clock, aware)
	}
	return err
}

// close ends every connection of the world.
func (w *world) close() error {
	var errs []error
	for _, s := range w.edges {
		errs = append(errs, s.app.conn.Close(), s.engine.Close())
	}
	if w.hub.app != nil {
		errs = append(errs, w.hub.app.conn.Close())
	}
	return errors.Join(append(errs, w.hub.store.Close())...)
}
