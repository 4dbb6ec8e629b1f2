package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A process serves the hub's database, alone or with others.
type process struct {
	n     int
	clock *nodeClock
	rand  *nodeRand
	store hub.Store
	hub   *hub.Hub

	deltas *cache.Memory // what its sessions share

	told []change.DeviceID // what other processes told, and it has not looked at; zero: all
}

// newProcesses makes the processes, none of which runs yet. The first one has the
// randomness of a hub that is alone.
func (w *world) newProcesses(n int) (all []*process) {
	for i := range max(n, 1) {
		p := &process{n: i, clock: &nodeClock{world: w.time}}
		salt := "hub"
		if i > 0 {
			salt = fmt.Sprintf("hub%d", i)
		}
		p.rand = &nodeRand{src: newRand(w.opt.Seed, salt), clock: p.clock}
		all = append(all, p)
	}
	return all
}

// boot starts a process.
func (w *world) boot(p *process) error {
	h := w.hub
	if err := w.lookHub(); err != nil {
		return err
	}
	st, err := h.base.open(p, w.rules(h.version))
	if err != nil {
		return err
	}
	p.store, p.told, p.deltas = st, nil, cache.NewMemory(0)
	cfg := hub.Config{Store: st, Rules: w.rules(h.version), Clock: p.clock, Rand: p.rand,
		DDL:     func(ctx context.Context) ([]string, error) { return h.base.ddl(ctx, st, w.ddl(clinicDDL, h.version)) },
		SealKey: sealKey, Recover: h.recover, Parcel: h.key, Deltas: p.deltas}
	if w.opt.sturdy { // who waits looks each time, however late this process hears of something
		cfg.Deltas = nil
	}
	if len(h.all) > 1 {
		cfg.Tell = func(device change.DeviceID) { w.tell(p, device) }
	}
	p.hub, err = hub.New(w.ctx, cfg)
	return err
}

// tell lets the other processes hear of something, in a while.
func (w *world) tell(from *process, device change.DeviceID) {
	for _, p := range w.hub.all {
		if p != from && !slices.Contains(p.told, device) {
			p.told = append(p.told, device)
		}
	}
}

// turn draws which process acts next, and whether it has heard of what the others did.
// A hub that is alone draws nothing.
func (w *world) turn() error {
	h := w.hub
	if len(h.all) == 1 {
		return nil
	}
	h.process = h.all[h.rng.IntN(len(h.all))]
	if h.rng.IntN(2) == 0 {
		return nil
	}
	return w.hear(h.process)
}

// hear lets a process look at what the others told. Some of it is lost with a
// connection: then the process looks at everything.
func (w *world) hear(p *process) error {
	told := p.told
	p.told = nil
	if len(told) == 0 {
		return nil
	}
	if w.hub.rng.IntN(4) == 0 {
		told = []change.DeviceID{{}}
	}
	w.sometimes("another process told")
	for _, d := range told {
		if err := p.hub.Heard(w.ctx, d); err != nil {
			return fmt.Errorf("process %d hears of %s: %w", p.n, d, err)
		}
	}
	return nil
}

// hearAll lets every process hear, and reports whether there was anything.
func (w *world) hearAll() (busy bool, err error) {
	for _, p := range w.hub.all {
		busy = busy || len(p.told) > 0
		if err := w.hear(p); err != nil {
			return busy, err
		}
	}
	return busy, nil
}

// catchUp lets every process but a hub that is alone look for what nobody told.
func (w *world) catchUp() error {
	if len(w.hub.all) == 1 {
		return nil
	}
	for _, p := range w.hub.all {
		if err := p.hub.CatchUp(w.ctx); err != nil {
			return fmt.Errorf("process %d: %w", p.n, err)
		}
	}
	return nil
}

// kill ends a process and starts it again. Its connections go with it.
func (w *world) kill(p *process) error {
	w.hangUp(p)
	if err := p.store.Close(); err != nil {
		return fmt.Errorf("close hub: %w", err)
	}
	return w.boot(p)
}

// killOne kills one of the processes.
func (w *world) killOne() error {
	if err := w.turn(); err != nil || w.opt.sturdy {
		return err
	}
	return w.kill(w.hub.process)
}

// hubChance draws when a process crashes in its next call.
func (w *world) hubChance() int {
	if n := w.chance(60, 6); !w.opt.sturdy {
		return n
	}
	return 0
}

// hangUp ends the connections to a process; nil: to all of them.
func (w *world) hangUp(p *process) {
	for _, s := range w.edges {
		if s.link != nil && (p == nil || s.link.at == p) {
			w.cut(s)
		}
		s.late = slices.DeleteFunc(s.late, func(m lateMessage) bool { return p == nil || m.at == p })
	}
}

// closeHub ends every process.
func (w *world) closeHub() error {
	var errs []error
	for _, p := range w.hub.all {
		if p.store != nil {
			errs = append(errs, p.store.Close())
		}
	}
	return errors.Join(errs...)
}

// processRand draws for the processes alone, so that a history goes on alike with any
// number of them.
func processRand(seed uint64) *rand.Rand { return rand.New(newRand(seed, "processes")) }

// person draws which process an operator's tool is. It has just been started, and
// knows what the database says.
func (w *world) person() error {
	if len(w.hub.all) == 1 {
		return nil
	}
	if err := w.turn(); err != nil {
		return err
	}
	p := w.hub.process
	p.told = append(p.told[:0], change.DeviceID{})
	return w.hear(p)
}
