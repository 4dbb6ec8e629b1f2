package sim

import (
	"context"
	"crypto/ed25519"
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
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/rule"
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
	// Families are the kinds of hard history; 0 draws them from the seed.
	Families Family
	// Processes is how many serve the hub's database together; 0 is one.
	Processes int

	base   base               // the hub's database; nil is a SQLite file
	sturdy bool               // the hub's processes never crash
	atRest func(*world) error // looks at the world at the end, nil: nobody does
	calm   bool               // no more faults: the history is being brought to rest
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
	clones int

	packets []*packet
	buried  bool   // a site died for good
	dropped bool   // a site gave up a column
	blind   bool   // the hub was put back once and could not know
	moves   []move // those of this history's families
	oracle  oracle
	step    int
	trace   interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	some map[string]int
}

// hubNode is the hub.
type hubNode struct {
	*process // the one that acts now
	all      []*process
	rng      *rand.Rand // says which one does
	base     base
	app      *app       // another program that writes plain SQL to the hub's database
	slow     *lingering // one that takes its time, nil: there is none

	version int         // of table once
	key     *parcel.Key // of sealed outboxes
	put     bool        // it was put back at least once
	tended  time.Time   // when it last did its chores

	backup   bool // there is a copy
	backupAt int  // the step it was made at
	recover  bool // configured to help itself when it is behind its devices
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
	key    ed25519.PrivateKey
	link   *link
	late   []lateMessage // sent in sessions that have ended, still under way

	complete bool            // the first download stands in the file
	holds    map[string]bool // deeds that the file has as work of its own

	copies      int    // backups made
	backup      string // the last copy of the file, "" when there is none
	backupAt    int    // how many transactions the application had begun by then
	backupHolds map[string]bool
}

// A link is one session: both ends and the messages under way.
type link struct {
	es       *edge.Session
	hs       *hub.Session
	at       *process // where the hub's end is
	up, down []wire.Message
}

type lateMessage struct {
	hs *hub.Session
	at *process
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
	if opt.Families == 0 {
		w.opt.Families = drawFamilies(opt.Seed)
		if opt.base != nil {
			w.opt.Families |= drawServerFamilies(opt.Seed)
		}
	}
	if w.opt.Processes == 0 && w.opt.Families&Together != 0 {
		w.opt.Processes = 2 + int(opt.Seed%2)
	}
	for _, m := range moves {
		if m.family == 0 || m.family&w.opt.Families != 0 {
			w.moves = append(w.moves, m)
		}
	}
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
	h := &hubNode{base: w.opt.base, all: w.newProcesses(w.opt.Processes), rng: processRand(w.opt.Seed)}
	if h.base == nil {
		h.base = &fileBase{path: filepath.Join(w.opt.Dir, "hub.db")}
	}
	h.process, w.hub = h.all[0], h
	key, err := parcel.NewKey()
	if err != nil {
		return err
	}
	h.key = key
	if err := errors.Join(h.base.create(w.ddl(clinicDDL, 0)), h.base.at(w.time.Now())); err != nil {
		return err
	}
	seed, err := h.base.connect(h.clock)
	if err != nil {
		return err
	}
	err = seed.atomic(func() error { return w.seedRows(seed) })
	if err = errors.Join(err, seed.Close()); err != nil {
		return err
	}
	return w.bootHub()
}

func (w *world) seedRows(c program) error {
	for _, b := range branches {
		if err := c.exec(`INSERT INTO branch VALUES (?, 'branch')`, change.Text(b)); err != nil {
			return err
		}
		for i := range 3 {
			err := c.exec(`INSERT INTO patient (id, branch_id, name, phone, note) VALUES (?, ?, 'n', 'p', 'a b c')`,
				change.Text(fmt.Sprintf("p-%s-%d", b, i)), change.Text(b))
			if err != nil {
				return err
			}
		}
	}
	stock := int64(1000)
	if w.opt.Families&Leases != 0 {
		stock = scarce
	}
	for i := range 3 {
		id := change.Text(fmt.Sprintf("s%d", i))
		if err := c.exec(`INSERT INTO stock VALUES (?, ?, ?, 100)`, id, change.Text(fmt.Sprintf("item%d", i)), change.Int(stock)); err != nil {
			return err
		}
		w.oracle.stock[id.Str()] = stock
		id = change.Text(fmt.Sprintf("a%d", i))
		if err := c.exec(`INSERT INTO account VALUES (?, 0)`, id); err != nil {
			return err
		}
		w.oracle.account[id.Str()] = 0
	}
	return nil
}

// bootHub starts all of its processes.
func (w *world) bootHub() error {
	for _, p := range w.hub.all {
		if err := w.boot(p); err != nil {
			return err
		}
	}
	return nil
}

// sealKey is what the hub keeps beside its database.
var sealKey = []byte("what lies beside it is not lost")

// lookHub opens another program's connection to the hub's database, which outlives the
// hub's processes, and sees which tables are there.
func (w *world) lookHub() (err error) {
	h := w.hub
	if h.app == nil {
		rng := rand.New(newRand(w.opt.Seed, "hubapp"))
		conn, err := h.base.connect(h.clock)
		if err != nil {
			return err
		}
		h.app = newApp("hub", conn, rng, false, w.opt.Families)
	}
	h.version, err = versionOf(h.app.conn)
	return err
}

func (w *world) makeSite(i int) error {
	s := &site{n: i, path: filepath.Join(w.opt.Dir, fmt.Sprintf("edge%d.db", i)), clock: &nodeClock{world: w.time}, holds: map[string]bool{}}
	s.clock.skew = time.Duration(w.rng.IntN(120)-60) * time.Second
	s.rand = &nodeRand{src: newRand(w.opt.Seed, fmt.Sprintf("edge%d", i)), clock: s.clock}
	grants := []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}, {Scope: scopeOf(branches[i%len(branches)]), Verbs: rule.Every}}
	if i == 0 { // head office sees two branches
		grants = append(grants, rule.Grant{Scope: scopeOf(branches[1]), Verbs: rule.Every})
	}
	var spki []byte
	var err error
	if s.key, spki, err = newKey(w.opt.Seed, i); err != nil {
		return err
	}
	inv, err := w.hub.hub.AddDevice(w.ctx, fmt.Sprintf("edge%d", i), grants, time.Hour)
	if err != nil {
		return err
	}
	if s.device, _, err = w.hub.hub.Join(w.ctx, inv.Secret, spki); err != nil {
		return err
	}
	if i == 1 { // a file that was there before, with its columns in another order
		if err := store.Create(s.path, w.ddl(shuffledDDL, 0)); err != nil {
			return err
		}
	}
	w.edges = append(w.edges, s)
	return w.bootSite(s)
}

func scopeOf(branch string) rule.ScopeID { return rule.Of("branch", change.Text(branch)) }

func (w *world) bootSite(s *site) error {
	e, err := edge.Open(edge.Config{Path: s.path, Clock: s.clock, Rand: s.rand, NoSync: true, RedoAge: 100 * 365 * 24 * time.Hour})
	if err != nil {
		return err
	}
	s.engine = e
	if s.app == nil {
		conn, err := openFile(s.path, s.clock)
		if err != nil {
			return err
		}
		aware := s.n != 2
		s.app = newApp(fmt.Sprintf("e%d", s.n), conn, rand.New(newRand(w.opt.Seed, fmt.Sprintf("app%d", s.n))), aware, w.opt.Families)
	}
	return nil
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
	if w.hub.slow != nil {
		errs = append(errs, w.hub.slow.app.conn.Close())
	}
	return errors.Join(append(errs, w.closeHub(), w.hub.base.end())...)
}
