package hub_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A backup is a hub's file as it was.
func (w *world) backup() []byte {
	w.t.Helper()
	w.must(w.store.Close())
	b, err := os.ReadFile(w.path)
	w.must(err)
	w.restart()
	return b
}

// putBack replaces the hub's file behind its back and starts the hub anew.
func (w *world) putBack(b []byte, edit ...func(*hub.Config)) {
	w.t.Helper()
	w.must(w.store.Close())
	for _, end := range []string{"-wal", "-shm"} {
		_ = os.Remove(w.path + end)
	}
	w.must(os.WriteFile(w.path, b, 0o600))
	w.restart(edit...)
}

func (w *world) restart(edit ...func(*hub.Config)) {
	w.t.Helper()
	var err error
	w.store, err = sqlitestore.Open(sqlitestore.Config{Path: w.path, Rules: w.rules, Clock: w.clock, Rand: w.rand, NoSync: true})
	w.must(err)
	cfg := hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand, DDL: w.store.DDL, SealKey: sealKey}
	for _, e := range edit {
		e(&cfg)
	}
	w.hub, err = hub.New(w.ctx, cfg)
	w.must(err)
}

var sealKey = []byte("thirty-two bytes that nobody has")

func sealed(c *hub.Config) { c.SealKey = sealKey }

// A place is what a device's file says of the hub's state.
type placed struct {
	at   change.Cursor
	seal []byte
}

// here pulls, and notes where the site stands.
func (s *site) here() placed {
	s.t.Helper()
	out := s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark})
	s.pulled(out)
	d := out[len(out)-1].(*wire.Delta)
	return placed{d.Next, d.Seal}
}

// greet says Hello as a file that stands somewhere.
func (s *site) greet(p placed) (*wire.Welcome, error) {
	s.t.Helper()
	s.session = s.hub.NewSession(s.id)
	m := s.hello()
	m.At, m.Seal, m.Last = p.at, p.seal, s.seq
	out, err := s.tryAsk(m)
	if err != nil {
		return nil, err
	}
	w := out[0].(*wire.Welcome)
	s.scopes = w.Scopes
	return w, nil
}

func (s *site) greets(p placed) *wire.Welcome {
	s.t.Helper()
	w, err := s.greet(p)
	s.must(err)
	return w
}

func (s *site) rebase() *wire.Rebase {
	s.t.Helper()
	re, ok := s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Outcome: s.mark})[0].(*wire.Rebase)
	if !ok {
		s.t.Fatal("the pull was answered with rows")
	}
	return re
}

func (w *world) begin(m change.BranchMode) change.Branch {
	w.t.Helper()
	w.clock.Advance(time.Minute)
	b, err := w.hub.Begin(w.ctx, m)
	w.must(err)
	return b
}

func (w *world) kinds() string {
	w.t.Helper()
	list, err := w.hub.Events(w.ctx, change.DeviceID{})
	w.must(err)
	var out []string
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return strings.Join(out, " ")
}

// The hub is put back from a copy and started without a word: it serves nothing
// until its operator says what the restore was for, however often it is restarted.
func TestTrapD5_HubPutBackServesNothing(t *testing.T) {
	w := newWorld(t, sealed)
	a, b, c := w.site("a", everywhere), w.site("b", everywhere), w.site("c", everywhere)
	a.applies(ins("product", "p1"))
	common := c.here()
	old := w.backup()
	a.connect()
	b.connect()
	a.applies(ins("product", "p2"))
	w.sql("INSERT INTO product (id) VALUES ('h1')")
	seen := a.here()
	w.putBack(old)

	b.greets(placed{}) // somebody who claims nothing
	if _, err := a.greet(seen); faultCode(err) != "hub-behind" {
		t.Fatalf("a device that saw more: %v", err)
	}
	f := func() *wire.Fault {
		_, err := a.greet(seen)
		f, _ := errors.AsType[*wire.Fault](err)
		return f
	}()
	if f.Fatal || f.RetryAfter < time.Second || !strings.Contains(f.Hint, "tidemark hub --restored") || !strings.Contains(f.Message, "device a") {
		t.Errorf("the refusal: %+v", f)
	}
	refused := func() {
		t.Helper()
		for _, m := range []wire.Message{b.hello(), &wire.Pull{Cursor: b.base, Scopes: b.scopes}, &wire.Fetch{}, &wire.Snapshot{}, &wire.Verify{Cursor: b.base, Scopes: b.scopes},
			pushOf(t, &change.Transaction{Device: b.id}), &wire.Ping{}} {
			if _, err := b.tryAsk(m); faultCode(err) != "hub-behind" && faultCode(err) != "protocol" {
				t.Errorf("%T: %v", m, err)
			}
		}
		if err := b.session.Wake(w.ctx, nil); faultCode(err) != "hub-behind" {
			t.Errorf("a waiting session: %v", err)
		}
		if _, err := w.hub.Push(w.ctx, b.id, []*change.Transaction{{Device: b.id}}); faultCode(err) != "hub-behind" {
			t.Errorf("a push past the session: %v", err)
		}
		if err := w.hub.Standstill(); faultCode(err) != "hub-behind" {
			t.Errorf("standstill: %v", err)
		}
		st, err := w.hub.Status(w.ctx)
		w.must(err)
		if st.Rollback == nil || st.Rollback.Name != "a" || st.Rollback.Seen != seen.at || st.Rollback.End != st.Cursor || len(st.Lineage) != 1 {
			t.Errorf("status: %+v", st.Rollback)
		}
	}
	refused()
	w.putBack(w.backup())
	b.session = w.hub.NewSession(b.id)
	refused()
	w.want("SELECT group_concat(id) FROM product", "p1")

	life := w.begin(change.Restored)
	st, err := w.hub.Status(w.ctx)
	w.must(err)
	if st.Rollback != nil || st.Epoch != life.Epoch || len(st.Lineage) != 2 || w.kinds() != "behind revived" {
		t.Errorf("after the operator's word: %+v, events %s", st, w.kinds())
	}
	if got := a.greets(seen); got.Epoch != life.Epoch || len(got.Lineage) != 2 || got.Lineage[1].Fork != life.Fork {
		t.Errorf("welcome %+v", got)
	}
	if re := a.rebase(); !re.Full || !re.Salvage || !strings.Contains(re.Reason, "put back") {
		t.Errorf("a device that is past the fork: %+v", re)
	}
	// c saw nothing of what was lost.
	if got := c.greets(common); len(got.Lineage) != 2 {
		t.Errorf("welcome %+v", got)
	}
	c.pull()
	if got := c.greets(c.here()); got.Lineage != nil {
		t.Errorf("a device of the present life is told the lineage: %+v", got)
	}
	// A restart knows.
	w.restart()
	if w.hub.Behind() != nil {
		t.Error("the hub is behind again")
	}
	list, err := w.hub.Lineage(w.ctx)
	w.must(err)
	if len(list) != 2 || list[1].Epoch != life.Epoch {
		t.Errorf("lineage %+v", list)
	}
}

// Whoever is no device of the hub's, or lies, cannot stop it.
func TestTrapD5_ForgedSealDoesNotStopTheHub(t *testing.T) {
	w := newWorld(t, sealed)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	old := w.backup()
	a.connect()
	b.connect()
	a.applies(ins("product", "p1"))
	mine, theirs := a.here(), b.here()
	w.clock.Advance(time.Minute)
	b.applies(ins("product", "p2"))
	later := a.here()
	w.putBack(old)
	flip := func(i int) []byte {
		s := append([]byte{}, mine.seal...)
		s[i] ^= 1
		return s
	}
	beyond := mine.at
	beyond.Token = "ffff." + beyond.Token[strings.Index(beyond.Token, ".")+1:]
	strange := mine.at
	strange.Epoch++
	for name, p := range map[string]placed{
		"no seal": {mine.at, nil}, "a short one": {mine.at, mine.seal[:8]}, "time changed": {mine.at, flip(5)}, "sum changed": {mine.at, flip(10)},
		"another device's": {mine.at, theirs.seal}, "of another cursor": {mine.at, later.seal}, "made up": {beyond, mine.seal}, "another epoch": {strange, mine.seal},
		"no cursor": {change.Cursor{}, mine.seal},
	} {
		a.greets(p)
		if w.hub.Behind() != nil {
			t.Fatalf("%s: the hub stopped", name)
		}
		a.base = p.at
		if re := a.rebase(); !re.Full || re.Salvage {
			t.Errorf("%s: %+v", name, re)
		}
	}
	if _, err := a.greet(mine); faultCode(err) != "hub-behind" {
		t.Errorf("the genuine one: %v", err)
	}
	// Not even a genuine one counts from a device that was revoked.
	w.putBack(old)
	w.must(w.hub.Revoke(w.ctx, a.id, "stolen"))
	if _, err := a.greet(mine); faultCode(err) != "revoked" || w.hub.Behind() != nil {
		t.Errorf("a revoked device: %v, behind %v", err, w.hub.Behind())
	}
}

func TestTrapD5_HubThatRecoversByItself(t *testing.T) {
	w := newWorld(t, sealed)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	old := w.backup()
	a.connect()
	a.applies(ins("product", "p1"))
	seen := a.here()
	w.putBack(old, func(c *hub.Config) { c.Recover, c.NoSalvage = true, true })
	b.greets(placed{})
	w.clock.Advance(time.Minute)
	if got := a.greets(seen); len(got.Lineage) != 2 || got.Epoch == seen.at.Epoch || w.kinds() != "revived" {
		t.Errorf("welcome %+v, events %s", got, w.kinds())
	}
	if re := a.rebase(); !re.Full || re.Salvage {
		t.Errorf("salvage is off: %+v", re)
	}
	// Sessions of the life before end, so that their edges hear of the new one.
	if _, err := b.tryAsk(&wire.Pull{Cursor: b.base, Scopes: b.scopes}); faultCode(err) != "restored" {
		t.Errorf("an open session: %v", err)
	}
	b.greets(placed{b.base, nil})
	b.pull()
}

// The file is put back under a running hub: those who are connected find out.
func TestTrapD5_HubPutBackWhileItServes(t *testing.T) {
	for _, ask := range []string{"pull", "wake", "verify"} {
		w := newWorld(t, sealed)
		a, b := w.site("a", everywhere), w.site("b", everywhere)
		w.shell(".backup " + w.path + ".copy")
		a.applies(ins("product", "p1"))
		b.greets(b.here())
		b.pull()
		w.must(b.session.Receive(w.ctx, &wire.Pull{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark, Wait: true}, nil))
		w.shell(".restore " + w.path + ".copy")
		var err error
		switch ask {
		case "pull":
			_, err = b.tryAsk(&wire.Pull{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark})
		case "wake":
			w.must(b.session.Wait(w.ctx))
			err = b.session.Wake(w.ctx, nil)
		case "verify":
			_, err = b.tryAsk(&wire.Verify{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark})
		}
		if faultCode(err) != "hub-behind" || w.hub.Behind().Name != "b" {
			t.Errorf("%s: %v", ask, err)
		}
		if _, err := a.tryAsk(&wire.Pull{Cursor: a.base, Scopes: a.scopes}); faultCode(err) != "hub-behind" {
			t.Errorf("%s: another session: %v", ask, err)
		}
	}
}

func (w *world) shell(cmd string) {
	w.t.Helper()
	if out, err := exec.Command("sqlite3", w.path, cmd).CombinedOutput(); err != nil {
		w.t.Fatalf("sqlite3 %s: %v\n%s", cmd, err, out)
	}
}

// The hub is put back to before an earlier restore: of the life in between no
// database knows anything any more.
func TestTrapD5_LifeThatNoDatabaseKnows(t *testing.T) {
	w := newWorld(t, sealed)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	old := w.backup()
	w.begin(change.Restored)
	w.clock.Advance(time.Minute)
	a.connect()
	b.connect()
	a.applies(ins("product", "p1"))
	seen, too := a.here(), b.here()
	w.putBack(old)
	w.clock.Advance(time.Minute)
	if _, err := a.greet(seen); faultCode(err) != "hub-behind" {
		t.Fatalf("a device of the life in between: %v", err)
	}
	w.begin(change.Restored)
	w.clock.Advance(time.Minute)
	for _, s := range []struct {
		*site
		placed
	}{{a, seen}, {b, too}} { // b comes only now, and must not stop the hub again
		if got := s.greets(s.placed); len(got.Lineage) != 2 || w.hub.Behind() != nil {
			t.Errorf("welcome %+v, behind %v", got, w.hub.Behind())
		}
		s.base = s.at
		if re := s.rebase(); !re.Full || !re.Salvage {
			t.Errorf("%+v", re)
		}
	}
}

// Without any device: a note beside the database knows better.
func TestTrapD5_NoteBesideTheDatabase(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	early := a.here().at
	old := w.backup()
	a.connect()
	a.applies(ins("product", "p1"))
	late := a.here().at
	w.putBack(old)
	now := w.clock.Now()
	w.must(w.hub.Compare(w.ctx, early, now))
	if w.hub.Behind() != nil {
		t.Error("a note of what is there stopped the hub")
	}
	w.must(w.hub.Compare(w.ctx, late, now))
	b := w.hub.Behind()
	if b == nil || !b.Device.IsZero() || !strings.Contains(b.String(), "note") {
		t.Fatalf("behind %v", b)
	}
	w.must(w.hub.Compare(w.ctx, late, now)) // once is enough
	if w.kinds() != "behind" {
		t.Errorf("events %s", w.kinds())
	}
	if _, err := w.hub.Begin(w.ctx, change.Founded); err == nil {
		t.Error("a life began as if the hub were new")
	}
	w.begin(change.Undone)
	w.must(w.hub.Compare(w.ctx, late, now)) // the process died before it wrote a new note
	if w.hub.Behind() != nil || w.kinds() != "behind undone" {
		t.Errorf("behind %v, events %s", w.hub.Behind(), w.kinds())
	}
}

// A store that fails is an error, never a reason to stop or to go on.
func TestTrapD5_StoreThatFails(t *testing.T) {
	w := newWorld(t, sealed)
	a := w.site("a", everywhere)
	at := a.here()
	w.must(w.store.Close())
	_, begin := w.hub.Begin(w.ctx, change.Restored)
	_, lineage := w.hub.Lineage(w.ctx)
	_, hello := a.greet(at)
	for what, err := range map[string]error{"begin": begin, "lineage": lineage, "compare": w.hub.Compare(w.ctx, at.at, w.clock.Now()),
		"sift": w.hub.Sift(w.ctx), "hello": hello} {
		if err == nil || faultCode(err) == "hub-behind" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if w.hub.Behind() != nil {
		t.Error("the hub is behind")
	}
	if _, err := hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand}); err == nil {
		t.Error("a hub over a closed store")
	}
	// What one process knew the next one reads, or it does not start.
	w.restart()
	w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { return tx.PutRecord("behind", "hub", []byte("{")) }))
	if _, err := hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand}); err == nil || !strings.Contains(err.Error(), "behind") {
		t.Errorf("a damaged record: %v", err)
	}
}

// A pull from where the file said that it stands need not say so again.
func TestPull_FromTheCursorOfHello(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	w.sql("INSERT INTO product VALUES ('p','tea',1,'T')")
	p := a.here()
	w.sql("INSERT INTO product VALUES ('q','cup',2,'C')")
	a.greets(p)
	out := a.ask(&wire.Pull{Scopes: a.scopes, Outcome: a.mark, Known: true})
	if n := a.pulled(out); n != 1 {
		t.Fatalf("%d rows came, want the one that is new", n)
	}
}

// A hub says so when it does not know what it is told to have confirmed last. An id
// that a copy of the file drew, too, proves nothing.
func TestTrapD5_WelcomeSaysWhatTheHubLacks(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", mine...)
	a.connect()
	first := a.tx(ins("product", "p1"))
	a.push(first)
	second := a.tx(ins("product", "p2"))
	second.ID = first.ID
	lost := *second
	a.push(second) // under an id of the hub's own
	lost.Seq++
	for _, c := range []struct {
		newest wire.Landmark
		want   bool
	}{
		{wire.Landmark{}, false},
		{wire.LandmarkOf(first), false},
		{wire.LandmarkOf(second), false},
		{wire.LandmarkOf(&lost), true},
		{wire.Landmark{ID: change.TxID{9}}, true},
	} {
		m := a.hello()
		m.Newest = c.newest
		if got := a.ask(m)[0].(*wire.Welcome); got.Lacks != c.want {
			t.Errorf("newest %v: lacks %v", c.newest, got.Lacks)
		}
	}
}
