package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A hub that can do one thing at a time, and lets one wait, turns most of a crowd
// away; all come back, and nothing is lost.
func TestTrapD13_ACrowdGetsThroughANarrowGate(t *testing.T) {
	w := newWorld(t)
	w.yaml("hub: {limits: {in_flight: 1, queue: 1, memory: 16MiB}}\n" + shopYAML)
	w.up()
	const crowd, each = 12, 4
	var edges []run.Edge
	for i := range crowd {
		e := w.join(fmt.Sprintf("edge%d.db", i), "branch/1")
		for k := range each {
			sh(t, e.File, fmt.Sprintf("INSERT INTO item VALUES('e%d-%d',1,%d,'new')", i, k, 1000+i*each+k))
		}
		edges = append(edges, e)
	}
	var wait sync.WaitGroup
	for _, e := range edges {
		wait.Go(func() {
			if _, err := run.Once(t.Context(), run.OnceConfig{Edge: e, Wait: time.Minute}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	reads(t, w.hub.Dir().DB(), "SELECT count(*) FROM item WHERE id LIKE 'e%'", fmt.Sprint(crowd*each))
	l := w.hub.Load()
	if l.Refused == 0 {
		t.Error("nobody was turned away: the gate was not narrow")
	}
	eventually(t, "all have left", func() bool {
		l := w.hub.Load()
		return l.InFlight == 0 && l.Bytes == 0 && l.Waiting == 0 && l.Held == 0 && l.Sessions == 0
	})
}

// desk is an admitted session of a joined device, stepped by hand.
type desk struct {
	*world
	p   *admitted
	out []wire.Message
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return newDeskOn(t, shopYAML)
}

// newDeskOn is one of a hub whose tables hold what some statements write, too.
func newDeskOn(t *testing.T, yaml string, sql ...string) *desk {
	t.Helper()
	w := newWorld(t)
	w.yaml(yaml)
	sh(t, w.source, strings.Join(sql, ";"))
	w.up()
	w.join("one.db", "branch/1")
	list, err := w.hub.Core().Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	peer, _, err := w.hub.reception.Session(t.Context(), list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{world: w, p: peer.(*admitted)}
	d.ask(d.hello())
	if _, ok := d.out[0].(*wire.Welcome); !ok {
		t.Fatalf("got %T", d.out[0])
	}
	return d
}

func (d *desk) hello() *wire.Hello {
	d.t.Helper()
	inc, err := change.NewIncarnation(rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	return &wire.Hello{Min: 1, Max: 1, Device: d.p.device, Incarnation: inc, Clock: time.Now(), Rules: d.hub.Core().Setup().Hash}
}

func (d *desk) try(m wire.Message) error {
	d.out = nil
	return d.p.Receive(d.t.Context(), m, d.emit)
}

func (d *desk) emit(m wire.Message) error {
	d.out = append(d.out, m)
	return nil
}

func (d *desk) ask(m wire.Message) {
	d.t.Helper()
	if err := d.try(m); err != nil {
		d.t.Fatal(err)
	}
}

// busy fills the gate until the returned function is called.
func (d *desk) busy() (end func()) {
	d.t.Helper()
	g := admit.NewGate(admit.GateConfig{Limits: admit.Limits{InFlight: 1}, Patience: time.Millisecond, Clock: clock.System{}})
	d.p.gate = g
	pass, err := g.Enter(d.t.Context(), admit.Ask{Weight: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	return pass.Done
}

func busyFault(t *testing.T, err error) {
	t.Helper()
	f, ok := errors.AsType[*wire.Fault](err)
	if !ok || f.Code != "busy" || f.Fatal || f.RetryAfter < admit.Soonest || !strings.Contains(f.Error(), "busy") {
		t.Errorf("got %v", err)
	}
}

func TestABusyHubTurnsRequestsAwayAndStaysAlive(t *testing.T) {
	d := newDesk(t)
	end := d.busy()
	busyFault(t, d.try(&wire.Pull{}))
	busyFault(t, d.try(&wire.Fetch{Window: 1}))
	busyFault(t, d.try(&wire.Push{Body: []byte("x"), More: true}))
	busyFault(t, d.try(&wire.Push{Body: []byte("x")}))
	_, err := d.p.Authenticate(t.Context(), change.Hash{1})
	busyFault(t, err)
	_, err = d.p.Join(t.Context(), "secret", []byte("key"))
	busyFault(t, err)
	if err := d.p.later(context.Canceled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	d.ask(&wire.Ping{N: 7}) // a device takes a hub that does not answer for dead
	if pong, ok := d.out[0].(*wire.Pong); !ok || pong.N != 7 || !d.p.missed {
		t.Errorf("ping: %v, missed %v", d.out, d.p.missed)
	}
	end()
	d.ask(&wire.Pong{})
	d.ask(&wire.Ping{N: 8})
	if len(d.out) != 1 || d.p.missed {
		t.Errorf("when there is room: %v, missed %v", d.out, d.p.missed)
	}
}

// A wake that found no room is made good with the next heartbeat: the news is not
// lost.
func TestAMissedWakeIsMadeGood(t *testing.T) {
	d := newDesk(t)
	d.ask(&wire.Fetch{Window: 8})
	at := d.out[0].(*wire.Chunk).At
	d.ask(&wire.Pull{Cursor: at}) // tells the scopes
	re, ok := d.out[0].(*wire.Rebase)
	if !ok {
		t.Fatalf("got %T", d.out[0])
	}
	d.ask(&wire.Pull{Cursor: at, Scopes: re.Scopes, Wait: true})
	if len(d.out) != 0 {
		t.Fatalf("answered: %v", d.out)
	}
	sh(t, d.hub.Dir().DB(), "UPDATE item SET note='news' WHERE id='a'")
	end := d.busy()
	if err := d.p.Wake(t.Context(), d.emit); err != nil || len(d.out) != 0 || !d.p.missed {
		t.Fatalf("%v, %v, missed %v", err, d.out, d.p.missed)
	}
	end()
	if err := d.p.Tick(t.Context(), d.emit); err != nil || len(d.out) != 1 || d.p.missed {
		t.Fatalf("%v, %v, missed %v", err, d.out, d.p.missed)
	}
	if delta, ok := d.out[0].(*wire.Delta); !ok || len(delta.Body) == 0 {
		t.Errorf("got %v", d.out[0])
	}
	if err := d.p.Tick(t.Context(), d.emit); err != nil || len(d.out) != 1 {
		t.Errorf("%v, %v", err, d.out)
	}
	if err := d.p.Wake(t.Context(), d.emit); err != nil { // nothing is held
		t.Error(err)
	}
}

// While an answer is sent to a device that reads slowly, others work.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	d := newDesk(t)
	d.p.gate = admit.NewGate(admit.GateConfig{Limits: admit.Limits{InFlight: 1}, Clock: clock.System{}})
	sent := 0
	err := d.p.Receive(t.Context(), &wire.Fetch{Window: 8}, func(m wire.Message) error {
		sent++
		if l := d.p.gate.Load(); l.InFlight != 0 || l.Bytes == 0 {
			t.Errorf("while it is sent: %+v", l)
		}
		return nil
	})
	if err != nil || sent != 1 {
		t.Errorf("%d sent: %v", sent, err)
	}
	if err := d.p.Receive(t.Context(), &wire.Fetch{Window: 8}, func(wire.Message) error { return errors.New("gone") }); err == nil {
		t.Error("sent to nobody")
	}
	if l := d.p.gate.Load(); l.Bytes != 0 || l.InFlight != 0 {
		t.Errorf("afterwards: %+v", l)
	}
}

// What does not fit one part goes out while the work goes on, and is no longer
// collected.
func TestALargeAnswerIsNotCollected(t *testing.T) {
	d := newDesk(t)
	part := &wire.Delta{Body: make([]byte, hub.DefaultPart)}
	d.out = nil
	err := d.p.step(t.Context(), ask(&wire.Pull{}), d.emit, func(emit emitter) error {
		for range 10 {
			if err := emit(part); err != nil {
				return err
			}
		}
		if n := len(d.out); n < 9 {
			t.Errorf("%d of 10 sent while the work goes on", n)
		}
		return nil
	})
	if err != nil || len(d.out) != 10 {
		t.Errorf("%d sent: %v", len(d.out), err)
	}
	for _, m := range []wire.Message{&wire.SnapshotPart{Body: make([]byte, 1000)}, &wire.Digests{Body: make([]byte, 1000)}, &wire.Chunk{Body: make([]byte, 1000)}} {
		if weigh(m) < 1000 {
			t.Errorf("%T weighs %d", m, weigh(m))
		}
	}
}

// Parts of a push count as long as they are kept, and one device's never for more
// than there is.
func TestPartsOfAPushCountUntilTheyAreWhole(t *testing.T) {
	d := newDesk(t)
	d.p.gate = admit.NewGate(admit.GateConfig{Limits: admit.Limits{Bytes: 400}, Clock: clock.System{}})
	for n, want := range []int64{60, 100, 100} {
		d.ask(&wire.Push{Body: make([]byte, 60), More: true})
		if l := d.p.gate.Load(); l.Bytes != want || l.InFlight != 0 {
			t.Errorf("part %d: %+v, want %d bytes", n, l, want)
		}
	}
	if err := d.try(&wire.Push{Body: make([]byte, 60)}); err == nil {
		t.Error("zeros are no push")
	}
	if l := d.p.gate.Load(); l.Bytes != 0 {
		t.Errorf("afterwards %+v", l)
	}
	d.ask(&wire.Push{Body: make([]byte, 60), More: true})
	d.p.parts.end() // the session ends
	d.ask(&wire.Push{Body: make([]byte, 60), More: true})
	if l := d.p.gate.Load(); l.Bytes != 0 {
		t.Errorf("after the session %+v", l)
	}
}

func TestTheGateFitsTheMachine(t *testing.T) {
	g := newGate(config.Limits{}, clock.System{})
	if room := g.Room(admit.Live); room < leastBytes || room > mostBytes {
		t.Errorf("%d bytes", room)
	}
	if g := newGate(config.Limits{Memory: 32 << 20}, clock.System{}); g.Room(admit.Live) != 32<<20 {
		t.Errorf("%d bytes, want what was configured", g.Room(admit.Live))
	}
	if n := memory(); n < 1<<20 {
		t.Errorf("the machine has %d bytes", n)
	}
}

// What a serving hub says of its load, other processes read while it serves.
func TestLoadIsToldToOtherProcesses(t *testing.T) {
	w := newWorld(t)
	if !reflect.DeepEqual((&Hub{}).Load(), Load{}) {
		t.Error("a load before the start")
	}
	h := w.up()
	if l := h.Dir().ReadLoad(); l != nil {
		t.Errorf("before it was told: %v", l)
	}
	for _, c := range h.chores(h.office.Config) {
		if c.what == "note how busy it is" {
			if err := c.do(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := h.Dir().ReadLoad()
	if l == nil || l.At.IsZero() || !strings.Contains(l.String(), "0 refused") {
		t.Errorf("got %v", l)
	}
	w.down()
	if l := h.Dir().ReadLoad(); l != nil {
		t.Errorf("of a hub that stopped: %v", l)
	}
	if err := os.Remove(h.Dir().load()); err != nil || disk.ReadJSON(h.Dir().load(), new(Load)) == nil {
		t.Error(err)
	}
}

// Who was let in while the last place went to somebody else is turned away all the
// same.
func TestTheLastPlaceIsGivenOnce(t *testing.T) {
	d := newDesk(t)
	d.p.most = 0
	_, err := d.p.Authenticate(t.Context(), change.Hash{1})
	busyFault(t, err)
	p, _, err := d.p.Session(t.Context(), d.p.device)
	if err != nil {
		t.Fatal(err)
	}
	busyFault(t, p.(refused).Start(t.Context(), d.emit))
	busyFault(t, p.Receive(t.Context(), &wire.Ping{}, d.emit))
}

// A device that is alone gets several chunks in one turn, which are read ahead; one after
// the other when anybody else works. It gets the same ones.
func TestTurnsAreShortWhereSomebodyElseWorks(t *testing.T) {
	const chunks = 9
	var large []string
	for i := range chunks {
		large = append(large, fmt.Sprintf("INSERT INTO item VALUES('large%d',1,%d,hex(randomblob(140000)))", i, 5000+i))
	}
	d := newDeskOn(t, shopYAML, large...)
	d.p.gate = admit.NewGate(admit.GateConfig{Clock: clock.System{}})
	turns := func(window uint32) (n int64, ends []string) {
		t.Helper()
		before := d.p.gate.Load().Admitted
		d.ask(&wire.Fetch{Window: window})
		for _, m := range d.out {
			ends = append(ends, m.(*wire.Chunk).After.String())
		}
		return d.p.gate.Load().Admitted - before, ends
	}
	alone, want := turns(64)
	if n := int64(len(want)); n < chunks || alone != (n+stretch-1)/stretch {
		t.Errorf("alone: %d chunks in %d turns", n, alone)
	}
	if n, ends := turns(6); n != 2 || len(ends) != 6 {
		t.Errorf("a window of 6: %d chunks in %d turns", len(ends), n)
	}
	pass, err := d.p.gate.Enter(t.Context(), admit.Ask{Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pass.Done()
	if n, ends := turns(64); n != int64(len(want)) || !slices.Equal(ends, want) {
		t.Errorf("beside somebody else: %d chunks in %d turns, not %d", len(ends), n, len(want))
	}
}
