package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
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

var tillDDL = []string{
	`CREATE TABLE sale (id TEXT PRIMARY KEY, till TEXT NOT NULL, n INTEGER)`,
	`CREATE TABLE stock (id TEXT PRIMARY KEY, qty INTEGER NOT NULL)`,
}

func tillRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "sale", Scope: rule.Scope{All: true}},
		{Name: "stock", Scope: rule.Scope{All: true}, Columns: map[string]rule.Column{"qty": {Policy: rule.Counter}}},
	}}
}

// A street is a hub and the copies of one till's file.
type street struct {
	t     *testing.T
	dir   string
	clock *clock.Manual
	rand  *rand.ChaCha8
	path  string // of the hub's file
	hub   *hub.Hub
	key   change.DeviceID // the device whose key all tills have
	tills []*till
	sold  int
}

// A till is one file and, while it is connected, its session.
type till struct {
	*street
	n        int
	path     string
	engine   *edge.Engine
	app      *tsqlite.Conn
	es       *edge.Session
	hs       *hub.Session
	up, down []wire.Message
	faults   int
}

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{t: t, dir: t.TempDir(), clock: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), rand: newRand(1, "street")}
	s.path = filepath.Join(s.dir, "hub.db")
	s.must(store.Create(s.path, append(tillDDL, `INSERT INTO stock VALUES ('tea', 1000)`)))
	st, err := store.Open(store.Config{Path: s.path, Rules: tillRules(), Clock: s.clock, Rand: s.rand, NoSync: true})
	s.must(err)
	t.Cleanup(func() { _ = st.Close() })
	s.hub, err = hub.New(t.Context(), hub.Config{Store: st, Rules: tillRules(), Clock: s.clock, Rand: s.rand,
		DDL: func(context.Context) ([]string, error) { return tillDDL, nil }})
	s.must(err)
	inv, err := s.hub.AddDevice(t.Context(), "till", []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, time.Hour)
	s.must(err)
	s.key, _, err = s.hub.Join(t.Context(), inv.Secret, []byte("key"))
	s.must(err)
	s.open(filepath.Join(s.dir, "till0.db"))
	return s
}

func (s *street) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *street) open(path string) *till {
	s.t.Helper()
	l := &till{street: s, n: len(s.tills), path: path}
	var err error
	l.engine, err = edge.Open(edge.Config{Path: path, Clock: s.clock, Rand: s.rand, NoSync: true})
	s.must(err)
	l.app, err = tsqlite.Open(path, tsqlite.Options{NoSync: true})
	s.must(err)
	s.t.Cleanup(func() { _ = errors.Join(l.app.Close(), l.engine.Close()) })
	s.tills = append(s.tills, l)
	return l
}

// image makes a copy of the file, as it stands.
func (l *till) image() *till {
	l.t.Helper()
	path := filepath.Join(l.dir, fmt.Sprintf("till%d.db", len(l.tills)))
	l.must(tsqlite.Exec(l.app, "VACUUM INTO ?", change.Text(path)))
	return l.open(path)
}

// sell is one sale, without a word to Tidemark.
func (l *till) sell() {
	l.t.Helper()
	l.sold++
	l.clock.Advance(time.Second)
	l.must(tsqlite.Immediate(l.app, func() error {
		err := tsqlite.Exec(l.app, "INSERT INTO sale VALUES (?, ?, ?)", change.Text(fmt.Sprintf("sale-%d", l.sold)), change.Text(fmt.Sprint("till", l.n)), change.Int(int64(l.sold)))
		if err == nil {
			err = tsqlite.Exec(l.app, "UPDATE stock SET qty=qty-1 WHERE id='tea'")
		}
		return err
	}))
}

func (l *till) dial() {
	l.t.Helper()
	l.hang()
	l.es, l.hs = edge.NewSession(l.engine, edge.SessionConfig{Device: l.key}), l.hub.NewSession(l.key)
	l.must(l.es.Start(l.t.Context(), l.send))
}

func (l *till) hang() {
	if l.es != nil {
		l.must(l.es.Close())
	}
	l.es, l.hs, l.up, l.down = nil, nil, nil, nil
}

func (l *till) send(m wire.Message) error {
	again, err := reencode(m)
	l.up = append(l.up, again)
	return err
}

func (l *till) answer(m wire.Message) error {
	again, err := reencode(m)
	l.down = append(l.down, again)
	return err
}

// step delivers one message, or lets both ends look around; idle says that there
// was nothing to do. A session that the hub ends for now is followed by another.
func (l *till) step() (idle bool) {
	l.t.Helper()
	ctx := l.t.Context()
	var err error
	switch {
	case len(l.up) > 0:
		m := l.up[0]
		l.up = l.up[1:]
		err = l.hs.Receive(ctx, m, l.answer)
	case len(l.down) > 0:
		m := l.down[0]
		l.down = l.down[1:]
		err = l.es.Receive(ctx, m, l.send)
	default:
		if err = l.hs.Wake(ctx, l.answer); err == nil {
			err = l.es.Nudge(ctx, l.send)
		}
		idle = len(l.up)+len(l.down) == 0
	}
	if f, ok := errors.AsType[*wire.Fault](err); ok && !f.Fatal {
		l.faults++
		l.dial()
		return false
	}
	l.must(err)
	return idle
}

// visit is one session from dialling until everything was said.
func (l *till) visit() {
	l.t.Helper()
	l.dial()
	for range 1000 {
		if l.step() {
			l.hang()
			return
		}
	}
	l.t.Fatalf("till %d is not done after 1000 messages", l.n)
}

// rest delivers until nobody has anything to say.
func (s *street) rest() {
	s.t.Helper()
	for range 5000 {
		idle := true
		for _, l := range s.tills {
			idle = l.step() && idle
		}
		if idle {
			return
		}
	}
	s.t.Fatal("the street is not quiet")
}

func (s *street) one(path, sql string) string {
	s.t.Helper()
	c, err := tsqlite.Open(path, tsqlite.Options{ReadOnly: true})
	s.must(err)
	defer c.Close()
	out, err := rows(file{c}, sql)
	s.must(err)
	return fmt.Sprint(out)
}

// check wants every sale at the hub once, every file equal to it, and each till a
// device of its own.
func (s *street) check() {
	s.t.Helper()
	parked, err := s.hub.Queue(s.t.Context(), change.DeviceID{})
	s.must(err)
	for _, p := range parked {
		s.t.Errorf("I1: %s is parked: %s", p.ID, p.Reason)
	}
	want := fmt.Sprintf("[%d]", s.sold)
	if got := s.one(s.path, "SELECT count(*) FROM sale"); got != want {
		s.t.Errorf("I1: %s sales at the hub, %s were made", got, want)
	}
	if got, want := s.one(s.path, "SELECT qty FROM stock"), fmt.Sprintf("[%d]", 1000-s.sold); got != want {
		s.t.Errorf("I1: stock at the hub is %s, want %s", got, want)
	}
	devices := map[change.DeviceID]bool{}
	for _, l := range s.tills {
		d, _ := l.engine.Identity()
		devices[d] = true
		for _, q := range []string{"SELECT * FROM sale ORDER BY 1", "SELECT * FROM stock"} {
			if here, there := s.one(l.path, q), s.one(s.path, q); here != there {
				s.t.Errorf("I2: till %d: %s is\n%s, at the hub\n%s", l.n, q, here, there)
			}
		}
	}
	if len(devices) != len(s.tills) {
		s.t.Errorf("%d tills are %d devices", len(s.tills), len(devices))
	}
	if list, err := s.hub.Devices(s.t.Context()); err != nil || len(list) != len(s.tills) {
		s.t.Errorf("the hub has %d devices for %d tills: %v", len(list), len(s.tills), err)
	}
}

// A disk image with work waiting in it is put on ten machines. All sell, and call
// the hub now and then, in any order.
func TestTrapD4_TenCopiesOfOneImage(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStreet(t)
			first := s.tills[0]
			first.visit()
			for range 3 {
				first.sell()
			}
			first.visit()
			first.sell()
			if _, err := first.engine.Export(); err != nil { // waits in the outbox
				t.Fatal(err)
			}
			first.sell() // waits in the capture log
			for range 9 {
				l := first.image() // the agent looks before the application goes on: see TestTrapD22_CopiesThatBothWentOn
				if _, err := l.engine.Export(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := first.engine.Export(); err != nil {
				t.Fatal(err)
			}
			order := rand.New(newRand(seed, "order"))
			for range 60 {
				l := s.tills[order.IntN(len(s.tills))]
				for range order.IntN(3) {
					l.sell()
				}
				l.visit()
			}
			for range 3 { // each twice more, so that all have spoken in turn
				for _, l := range s.tills {
					l.visit()
				}
			}
			s.check()
		})
	}
}

// The same with all of them connected all the time: some copies of the image have
// not written anything when another goes on with its chain.
func TestTrapD4_CopiesThatStayConnected(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStreet(t)
			s.tills[0].visit()
			s.tills[0].sell()
			s.tills[0].visit()
			for range 4 {
				s.tills[0].image()
			}
			for _, l := range s.tills {
				l.dial()
			}
			s.rest()
			order := rand.New(newRand(seed, "order"))
			for range 40 {
				l := s.tills[order.IntN(len(s.tills))]
				l.sell()
				for range order.IntN(20) {
					s.tills[order.IntN(len(s.tills))].step()
				}
			}
			s.rest()
			for _, l := range s.tills { // those that have not sold yet
				l.sell()
			}
			s.rest()
			for range 4 {
				s.clock.Advance(16 * time.Second)
				for _, l := range s.tills {
					s.must(l.es.Tick(t.Context(), l.send))
				}
				s.rest()
			}
			s.check()
			for _, l := range s.tills {
				if l.faults > 12 {
					t.Errorf("till %d was turned away %d times", l.n, l.faults)
				}
			}
		})
	}
}
