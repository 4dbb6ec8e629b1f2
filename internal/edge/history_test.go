package edge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A fakePast is what the fake hub knows of its lives.
type fakePast struct {
	lineage []change.Branch
	device  change.DeviceID // Welcome.Device; zero: as it said
	sealed  bool
	salvage bool
	refuse  bool // takes no salvaged rows
	hellos  []*wire.Hello
	pushes  []*wire.Push
	offered []*change.Transaction // salvaged
	places  map[change.Incarnation]uint64
}

func (p *fakePast) welcome(m *wire.Hello, w *wire.Welcome) {
	p.hellos = append(p.hellos, m)
	if m.At.Epoch != w.Epoch {
		w.Lineage = p.lineage
	}
	if !p.device.IsZero() && m.Device != p.device {
		w.Device = p.device
	}
}

func (p *fakePast) seal(at change.Cursor) []byte {
	if !p.sealed {
		return nil
	}
	return []byte("seal of " + at.String())
}

func (p *fakePeer) salvage(m *wire.Push, emit func(wire.Message) error) error {
	txs, err := change.OpenTransactions(m.Body, change.Limits{})
	if err != nil {
		return err
	}
	past := &p.h.past
	if past.places == nil {
		past.places = map[change.Incarnation]uint64{}
	}
	res := &wire.PushResult{}
	for _, t := range txs {
		if past.refuse {
			break
		}
		if t.Seq != past.places[t.Incarnation]+1 {
			res.Fork = true
			break
		}
		past.places[t.Incarnation], res.Durable = t.Seq, t.Seq
		past.offered = append(past.offered, t)
	}
	return emit(res)
}

// backup keeps the hub's state; the function it returns puts it back, as another
// life of the hub unless it is the same.
func (h *fakeHub) backup() (restore func(epoch change.Epoch)) {
	rows := map[string]map[string][]change.Value{}
	for t, m := range h.rows {
		rows[t] = maps.Clone(m)
	}
	log, known, outcomes := slices.Clone(h.log), maps.Clone(h.known), slices.Clone(h.outcomes)
	progress := map[change.Incarnation]*fakeProgress{}
	for inc, p := range h.progress {
		q := *p
		progress[inc] = &q
	}
	lineage, at := slices.Clone(h.past.lineage), h.cursor()
	return func(epoch change.Epoch) {
		h.floor = len(h.log) + 1 // nobody's cursor is good any more
		h.rows, h.log, h.known, h.outcomes, h.progress = rows, log, known, outcomes, progress
		h.past.lineage = lineage
		if epoch != h.epoch {
			h.past.lineage = append(slices.Clone(lineage), change.Branch{Epoch: epoch, Fork: at, Mode: change.Restored})
		}
		for len(h.log) < h.floor {
			h.log = append(h.log, fakeEntry{table: "patient", id: "-", key: change.Key{text("-")}, by: change.Incarnation{9}})
		}
		h.epoch = epoch
		h.received = nil
	}
}

// add commits n patients, one transaction each.
func (c *clinic) add(prefix string, n int) {
	c.t.Helper()
	for i := range n {
		c.tx(fmt.Sprintf("INSERT INTO patient VALUES ('%s%02d', 1, 'somebody', 0, NULL)", prefix, i))
	}
}

func (c *clinic) events(kinds ...string) []Event {
	c.t.Helper()
	list, err := c.e.Events()
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, v := range list {
		got = append(got, v.Kind)
	}
	if !slices.Equal(got, kinds) {
		c.t.Fatalf("events %v, want %v: %+v", got, kinds, list)
	}
	return list
}

// I9: a hub that was set back gets again all that it had confirmed, in the order in
// which it was done, whatever the file went through in between.
func TestTrapD5_HubSetBack_WorkOfEarlierLives(t *testing.T) {
	c := enrolled(t)
	start := c.h.backup()
	c.add("a", 3)
	c.tx("UPDATE patient SET name='later' WHERE id='a00'")
	c.dial().sync()
	if err := c.e.locked(c.e.fork); err != nil { // the file turned out to be a copy
		t.Fatal(err)
	}
	c.add("b", 2)
	c.dial().sync()
	c.tx("UPDATE patient SET visits=visits+1 WHERE id='a01'", "DELETE FROM patient WHERE id='a02'")
	c.dial().sync()
	c.agree(true)
	c.want("SELECT count(*) FROM _tidemark_redo", "4")

	start(8)
	c.add("c", 1)
	c.dial().sync()
	c.agree(true)
	c.want("SELECT id, name, visits FROM patient ORDER BY id", "'a00'|'later'|0\n'a01'|'somebody'|1\n'b00'|'somebody'|0\n'b01'|'somebody'|0\n'c00'|'somebody'|0")
	if n := len(c.h.received); n != 8 {
		t.Errorf("%d transactions taken in, want 8", n)
	}
	c.want("SELECT count(*) FROM _tidemark_redo", "0")
	c.want("SELECT count(*), min(epoch), max(epoch), min(state) FROM _tidemark_outbox", "8|8|8|3")
	c.events(EventAnew, EventHubBack, EventFork)
	c.dial().sync()
	c.events(EventAnew, EventHubBack, EventFork) // told once
	if pushed := c.h.past.pushes; pushed[len(pushed)-1].Confirmed != 0 {
		t.Error("what no hub had confirmed was said to be")
	}
}

// The ring has a hole in the chain of the present incarnation: what it still has
// is offered, under a new one.
func TestTrapD5_HubSetBack_RingWithAHole(t *testing.T) {
	c := enrolled(t)
	start := c.h.backup()
	c.add("a", 6)
	c.dial().sync()
	c.exec("DELETE FROM _tidemark_outbox WHERE seq IN (2, 3)")
	_, before := c.e.Identity()
	start(8)
	c.dial().sync()
	if _, now := c.e.Identity(); now == before {
		t.Fatal("a chain with a hole goes on")
	}
	c.agree(true)
	c.want("SELECT id FROM patient ORDER BY id", "'a00'\n'a03'\n'a04'\n'a05'")
}

// The hub is the same, in the same life, and lacks what it confirmed: a copy of its
// file was put back and nobody said so.
func TestTrapD5_HubSetBack_Silently(t *testing.T) {
	for name, forked := range map[string]bool{"chain goes on": false, "with work of an earlier incarnation": true} {
		t.Run(name, func(t *testing.T) {
			c := enrolled(t)
			start := c.h.backup()
			c.add("a", 3)
			c.dial().sync()
			if forked {
				if err := c.e.locked(c.e.fork); err != nil {
					t.Fatal(err)
				}
				c.add("b", 2)
				c.dial().sync()
			}
			start(7)
			c.h.put("patient", text("x"), num(1), text("x"), num(0), change.Null)
			c.dial().sync()
			c.agree(true)
			want := "4"
			if forked {
				want = "6"
			}
			c.want("SELECT count(*) FROM patient", want)
			c.want("SELECT count(*) FROM _tidemark_event WHERE kind='hub-restored'", "1")
		})
	}
}

// What comes back comes in the order in which it was done, also when the hub was set
// back before and had the younger part then.
func TestTrapD5_HubSetBack_OrderIsKept(t *testing.T) {
	c := enrolled(t)
	empty := c.h.backup()
	c.add("a", 2)
	c.dial().sync()
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	c.tx("UPDATE patient SET name='later' WHERE id='a00'")
	c.dial().sync()
	start := c.h.backup()
	c.add("c", 1)
	c.dial().sync()
	start(7)
	c.dial().sync()
	c.agree(true)
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	empty(8)
	c.dial().sync()
	c.agree(true)
	c.want("SELECT id, name FROM patient", "'a00'|'later'\n'a01'|'somebody'\n'c00'|'somebody'")
}

// An outcome is a confirmation, too, when the answer to the push got lost.
func TestSettle_OutcomeWithoutTheAnswer(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	l.sync()
	c.add("a", 1)
	if err := l.s.Nudge(context.Background(), l.send); err != nil {
		t.Fatal(err)
	}
	for len(l.down) == 0 {
		l.limit = l.n + 1
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := l.down[0].(*wire.PushResult); !ok {
		t.Fatalf("%T", l.down[0])
	}
	l.down, l.limit = l.down[1:], 0
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT state, epoch FROM _tidemark_outbox", "3|7")
}

// A hub that lost nothing of this file's in its new life is told nothing twice.
func TestHubSetBack_NothingOfOursIsLost(t *testing.T) {
	c := enrolled(t)
	c.add("a", 3)
	c.dial().sync()
	c.h.backup()(8)
	_, before := c.e.Identity()
	c.dial().sync()
	if _, now := c.e.Identity(); now != before || len(c.h.received) != 0 {
		t.Errorf("%d taken in anew", len(c.h.received))
	}
	c.want("SELECT count(*), min(epoch), max(epoch) FROM _tidemark_outbox", "3|8|8")
	c.agree(true)
	c.events(EventAnew, EventHubBack)
}

// Work that two lives of hubs confirmed goes in pushes of its own, with the history
// that led to each.
func TestPush_TellsWhoHadConfirmed(t *testing.T) {
	c := enrolled(t)
	c.h.past.lineage = []change.Branch{{Epoch: 7, Mode: change.Founded}}
	start := c.h.backup()
	c.add("a", 2)
	c.dial().sync()
	fork := c.h.cursor()
	c.h.backup()(8) // all the same so far
	c.add("b", 2)
	c.dial().sync()
	c.h.past.pushes = nil
	start(9) // a hub that knows nothing of life 8
	c.add("c", 1)
	c.dial().sync()
	c.agree(true)
	var got []string
	for _, p := range c.h.past.pushes {
		var line []string
		for _, b := range p.Lineage {
			line = append(line, fmt.Sprint(uint64(b.Epoch)))
		}
		txs, err := change.OpenTransactions(p.Body, change.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d of %d: %s", len(txs), uint64(p.Confirmed), strings.Join(line, " ")))
	}
	if want := []string{"4 of 8: 7 8", "1 of 0: "}; !slices.Equal(got, want) {
		t.Errorf("pushes %v, want %v", got, want)
	}
	known, err := c.e.branches()
	if err != nil || len(known) != 3 || known[1].Fork != fork {
		t.Errorf("lives %+v, %v", known, err)
	}
}

// A process that ends between any two commits of the way back leaves nothing out.
func TestTrapD5_CutAnywhere(t *testing.T) {
	for cut := 1; cut < 40; cut++ {
		c := enrolled(t)
		start := c.h.backup()
		c.add("a", 3)
		c.dial().sync()
		if err := c.e.locked(c.e.fork); err != nil {
			t.Fatal(err)
		}
		c.add("b", 3)
		c.dial().sync()
		start(8)
		c.add("c", 1)
		l := c.dial()
		l.limit = cut
		if err := l.run(); err != nil {
			t.Fatal(err)
		}
		c.reopen()
		c.dial().sync()
		c.agree(true)
		c.want("SELECT count(*) FROM patient", "7")
		if n := len(c.h.received); n != 7 {
			t.Fatalf("cut at %d: %d taken in, want 7", cut, n)
		}
	}
}

func TestHello_TellsTheFilesPast(t *testing.T) {
	c := enrolled(t)
	c.h.past.sealed = true
	c.add("a", 3)
	c.dial().sync()
	c.dial().sync()
	last := func() *wire.Hello { return c.h.past.hellos[len(c.h.past.hellos)-1] }
	if h := last(); h.Last != 3 || h.At != c.status().Cursor || string(h.Seal) != "seal of "+h.At.String() || !h.Parent.IsZero() {
		t.Errorf("hello %+v", h)
	}
	// A repair leaves the cursor where it is, and so its seal.
	l := c.dial()
	l.sync()
	c.h.rows["patient"][change.Key{text("a00")}.ID()][2] = text("otherwise")
	if err := l.s.Verify(context.Background(), l.send, nil, true); err != nil {
		t.Fatal(err)
	}
	l.sync()
	if h := last(); len(h.Seal) == 0 {
		t.Error("the seal is gone")
	}
	// A prepared file has a cursor and no seal: the next answer brings it, even one
	// that brings nothing else.
	if err := c.e.locked(func() error { return c.e.setMeta(metaSeal, change.Null) }); err != nil {
		t.Fatal(err)
	}
	c.dial().sync()
	c.dial().sync()
	if h := last(); len(h.Seal) == 0 {
		t.Error("the seal did not come late")
	}
	// The parent is named until the hub has answered once.
	_, was := c.e.Identity()
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	if err := c.e.locked(c.e.fork); err != nil { // the hub never heard of the one between
		t.Fatal(err)
	}
	l = c.dial()
	l.p.mute = true
	l.sync()
	for range 2 {
		c.dial().sync()
	}
	n := len(c.h.past.hellos)
	if a, b := c.h.past.hellos[n-2], c.h.past.hellos[n-1]; a.Parent != was || !b.Parent.IsZero() {
		t.Errorf("parents %s, %s, want %s and none", a.Parent, b.Parent, was)
	}
	// A cursor without a seal makes the old seal worthless.
	c.h.past.sealed = false
	c.add("d", 1)
	c.dial().sync()
	c.want("SELECT count(*) FROM _tidemark_meta WHERE key='seal'", "0")
}

// The hub tells a copy that it is another device: its work goes under that.
func TestTrapD4_CopyBecomesAnotherDevice(t *testing.T) {
	c := enrolled(t)
	c.add("a", 2)
	c.dial().sync()
	c.add("b", 1)
	other := change.DeviceID{0x0c, 1}
	c.h.past.device = other
	c.dial().sync()
	c.agree(true)
	if dev, _ := c.e.Identity(); dev != other {
		t.Fatalf("device %s", dev)
	}
	if h := c.h.past.hellos[len(c.h.past.hellos)-1]; h.Device != other || h.Parent.IsZero() {
		t.Errorf("hello %+v", h)
	}
	last := c.h.past.pushes[len(c.h.past.pushes)-1]
	txs, err := change.OpenTransactions(last.Body, change.Limits{})
	if err != nil || len(txs) != 1 || txs[0].Device != other {
		t.Errorf("pushed %+v, %v", txs, err)
	}
	c.events(EventDevice)
	c.reopen()
	if dev, _ := c.e.Identity(); dev != other {
		t.Errorf("after a restart it is %s", dev)
	}
	if err := c.e.Adopt(other); err != nil {
		t.Error(err)
	}
	if err := c.e.Adopt(change.DeviceID{}); err == nil {
		t.Error("nobody's file")
	}
	// Adopted while offline, with work that the hub has and work that it has not.
	c.h.past.device = change.DeviceID{}
	c.add("e", 1)
	if err := c.e.Adopt(change.DeviceID{7}); err != nil {
		t.Fatal(err)
	}
	c.dial().sync()
	c.agree(true)
	c.want("SELECT count(*) FROM patient", "4")
	c.want("SELECT count(*) FROM _tidemark_redo", "3")
}

func TestRedoRing_BoundsHoldForBothParts(t *testing.T) {
	c := enrolled(t)
	c.add("a", 20)
	c.dial().sync()
	if err := c.e.locked(c.e.fork); err != nil {
		t.Fatal(err)
	}
	c.add("b", 20)
	c.dial().sync()
	size := "SELECT coalesce(sum(length(body)), 0) FROM (SELECT body FROM _tidemark_redo UNION ALL SELECT body FROM _tidemark_outbox WHERE state=3)"
	counted := "SELECT value FROM _tidemark_meta WHERE key='redo_bytes'"
	c.want(counted, c.rows(size))
	c.want("SELECT (SELECT count(*) FROM _tidemark_redo), (SELECT count(*) FROM _tidemark_outbox)", "20|20")

	c.e.cfg.RedoBytes = 4500 // some of the first part goes, then none of the second
	c.add("c", 1)
	c.dial().sync()
	c.want("SELECT count(*) BETWEEN 1 AND 19 FROM _tidemark_redo", "1")
	c.want("SELECT count(*) FROM _tidemark_outbox", "21")
	c.want(counted, c.rows(size))

	c.e.cfg.RedoBytes = 1000
	c.add("d", 1)
	c.dial().sync()
	c.want("SELECT count(*) FROM _tidemark_redo", "0")
	c.want("SELECT count(*) BETWEEN 1 AND 20 FROM _tidemark_outbox", "1")
	c.want(counted, c.rows(size))

	// Age counts, too, but nothing that is not settled ever goes.
	c.h.decide = func(*change.Transaction) (uint8, string) { return outcomeQuarantined, "no" }
	c.add("e", 1)
	c.dial().sync()
	c.h.decide = nil
	c.clk.Advance(DefaultRedoAge + time.Hour)
	c.add("f", 1)
	c.dial().sync()
	c.want("SELECT state FROM _tidemark_outbox ORDER BY seq", "2\n3")
	c.want(counted, c.rows(size))
}

func TestEvents_TheLastTwentyAreKept(t *testing.T) {
	c := enrolled(t)
	for i := range 25 {
		if err := c.e.locked(func() error { return c.e.addEvent(EventFork, fmt.Sprint(i)) }); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.e.Events()
	if err != nil || len(list) != 20 || list[0].Detail != "24" || list[19].Detail != "5" || !list[0].At.Equal(c.clk.Now()) {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := newClinic(t).e.Events(); err != nil || list != nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// A file that the build before laid out is brought up to date, with what it holds.
func TestUpgrade_LayoutOne(t *testing.T) {
	c := enrolled(t)
	start := c.h.backup()
	c.add("a", 2)
	c.dial().sync()
	c.add("b", 1)
	c.export()
	c.close()
	conn, err := sqlite.Open(c.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = sqlite.Script(conn, `
CREATE TABLE was AS SELECT seq, id, sum, at, state, reason, aside, ops, body FROM _tidemark_outbox;
DROP TABLE _tidemark_outbox; DROP TABLE _tidemark_redo; DROP TABLE _tidemark_salvage; DROP TABLE _tidemark_event;
CREATE TABLE _tidemark_outbox (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, sum BLOB NOT NULL, at INTEGER NOT NULL, state INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '', aside INTEGER NOT NULL DEFAULT 0, ops INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX _tidemark_outbox_state ON _tidemark_outbox (state, seq);
INSERT INTO _tidemark_outbox SELECT * FROM was; DROP TABLE was;
DELETE FROM _tidemark_meta WHERE key IN ('epoch', 'lineage', 'seal', 'parent');
UPDATE _tidemark_meta SET value=1 WHERE key='format';`)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := sqlite.One(conn, "PRAGMA schema_version")
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Exec(conn, "UPDATE _tidemark_meta SET value=? WHERE key='schema_version'", v); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	c.open()
	c.want("SELECT seq, state, epoch FROM _tidemark_outbox", "1|3|7\n2|3|7\n3|0|0")
	c.want("SELECT value FROM _tidemark_meta WHERE key='format'", fmt.Sprint(layoutFormat))
	if d, err := c.e.CheckDrift(); err != nil || len(d.Repaired)+len(d.Gap) > 0 {
		t.Errorf("our own tables are taken for drift: %+v, %v", d, err)
	}
	start(8)
	c.dial().sync()
	c.agree(true)
	c.want("SELECT count(*) FROM patient", "3")
	c.reopen() // once only
	c.want("SELECT count(*) FROM _tidemark_outbox", "3")
}
