package hub_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func (w *world) known(id change.DeviceID) *hub.Device {
	w.t.Helper()
	d, err := w.hub.Device(w.ctx, id)
	w.must(err)
	return d
}

func (w *world) status(id change.DeviceID) *hub.DeviceStatus {
	w.t.Helper()
	d, err := w.hub.DeviceStatus(w.ctx, id)
	w.must(err)
	return d
}

func TestRenameOfAnOlderVersionIsRefused(t *testing.T) {
	w := newWorld(t)
	s := w.site("till 7")
	seen := hub.DeviceVersion(w.known(s.id))
	d, err := w.hub.Rename(w.ctx, s.id, " till 8 ", seen)
	w.must(err)
	if d.Name != "till 8" || w.known(s.id).Name != "till 8" {
		t.Errorf("it is called %q", d.Name)
	}
	if _, err := w.hub.Rename(w.ctx, s.id, "till 9", seen); !errors.Is(err, hub.ErrStale) {
		t.Errorf("the edit of an older version ended with %v", err)
	}
	for what, do := range map[string]func(hub.Version) error{
		"pause":   func(v hub.Version) error { _, err := w.hub.Pause(w.ctx, s.id, "", v); return err },
		"resume":  func(v hub.Version) error { _, err := w.hub.Resume(w.ctx, s.id, v); return err },
		"isolate": func(v hub.Version) error { _, err := w.hub.Isolate(w.ctx, s.id, "", v); return err },
		"release": func(v hub.Version) error { _, _, err := w.hub.Release(w.ctx, s.id, v); return err },
		"revoke":  func(v hub.Version) error { _, err := w.hub.RevokeAt(w.ctx, s.id, "", v); return err },
		"grants": func(v hub.Version) error {
			_, err := w.hub.SetGrantsAt(w.ctx, s.id, []rule.Grant{everywhere}, v)
			return err
		},
	} {
		if err := do(seen); !errors.Is(err, hub.ErrStale) {
			t.Errorf("%s of an older version ended with %v", what, err)
		}
	}
	if got := hub.DeviceVersion(w.known(s.id)); got != hub.DeviceVersion(d) {
		t.Error("what was refused made another version")
	}
}

func TestVersionIgnoresWhatChangesByItself(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	before := hub.DeviceVersion(w.known(s.id))
	w.clock.Advance(time.Hour)
	s.applies(ins("product", "p1", "tea", 3, "T"))
	s.ask(&wire.Ping{N: 1, Status: &wire.EdgeStatus{OutboxDepth: 3, FreeDisk: 7}})
	w.must(w.hub.Flush(w.ctx))
	d := w.known(s.id)
	if got := hub.DeviceVersion(d); got != before {
		t.Error("a device that works has another version")
	}
	if d.Status.FreeDisk != 7 {
		t.Errorf("free disk %d", d.Status.FreeDisk)
	}
}

func TestRenameRefusesWhatIsNoName(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	for _, name := range []string{"", "  ", "a\nb", "\xff", strings.Repeat("x", 201)} {
		_, err := w.hub.Rename(w.ctx, s.id, name, "")
		if in, ok := errors.AsType[*hub.InputError](err); !ok || in.Field != "name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := w.hub.Rename(w.ctx, change.DeviceID{1}, "x", ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a device that is not there: %v", err)
	}
}

func TestPausedDeviceIsTurnedAwayUntilResume(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	if _, err := w.hub.Pause(w.ctx, s.id, "stocktaking", ""); err != nil {
		t.Fatal(err)
	}
	key := hub.Fingerprint([]byte("key of till"))
	if _, err := w.hub.Authenticate(w.ctx, key); err != nil {
		t.Fatalf("it cannot tell what work waits with it: %v", err)
	}
	hello := s.hello()
	hello.Status = wire.EdgeStatus{OutboxDepth: 3, OldestUnsafe: time.Hour}
	visitor := w.hub.NewSession(s.id)
	err := visitor.Receive(w.ctx, hello, func(wire.Message) error { return nil })
	visitor.End()
	f, ok := errors.AsType[*wire.Fault](err)
	if !ok || f.Code != "paused" || f.Fatal || f.RetryAfter <= 0 || !strings.Contains(f.Message, "stocktaking") {
		t.Fatalf("a paused device hears %#v", err)
	}
	if st := w.status(s.id); st.OldestUnsafe < time.Hour || st.Status.OutboxDepth != 3 {
		t.Errorf("of the work that waits with it the hub knows %v, %d", st.OldestUnsafe, st.Status.OutboxDepth)
	}
	body, err := change.SealTransactions([]*change.Transaction{s.tx(ins("product", "p1", "tea", 3, "T"))})
	w.must(err)
	if _, err := s.tryAsk(&wire.Push{Body: body}); faultCode(err) != "paused" {
		t.Errorf("its push ends with %v", err)
	}
	if _, err := s.tryAsk(&wire.Pull{Cursor: s.base, Scopes: s.scopes}); faultCode(err) != "paused" {
		t.Errorf("its pull ends with %v", err)
	}
	w.want("SELECT count(*) FROM product", "0")
	if st := w.status(s.id); st.Level != hub.Notice || !strings.Contains(st.Why, "stocktaking") {
		t.Errorf("it is %v: %s", st.Level, st.Why)
	}
	w.hubResume(s.id)
	if _, err := w.hub.Authenticate(w.ctx, key); err != nil {
		t.Errorf("after resume: %v", err)
	}
	s.connect()
	s.push(s.sent...)
	w.want("SELECT id FROM product", "p1")
	w.hubResume(s.id) // again: nothing
	if list := w.happened(s.id); !slices.Equal(list[:2], []string{hub.DeedResumed, hub.DeedPaused}) {
		t.Errorf("timeline %v", list)
	}
}

func (w *world) hubResume(id change.DeviceID) {
	w.t.Helper()
	_, err := w.hub.Resume(w.ctx, id, "")
	w.must(err)
}

// happened is the kinds of a device's moments, newest first.
func (w *world) happened(id change.DeviceID) (out []string) {
	w.t.Helper()
	list, _, err := w.hub.Timeline(w.ctx, id, "", hub.MaxPage)
	w.must(err)
	for _, m := range list {
		out = append(out, m.Kind)
	}
	return out
}

func TestRevokedDeviceIsNotPausedOrAsked(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	w.must(w.hub.Revoke(w.ctx, s.id, "stolen"))
	_, p := w.hub.Pause(w.ctx, s.id, "", "")
	_, i := w.hub.Isolate(w.ctx, s.id, "", "")
	_, a := w.hub.Ask(w.ctx, s.id, wire.AskSync)
	for _, err := range []error{p, i, a} {
		if !errors.Is(err, hub.ErrRevoked) {
			t.Errorf("it ended with %v", err)
		}
	}
}

func TestIsolatedWorkIsParkedAndTriedInOrderOnRelease(t *testing.T) {
	w := newWorld(t)
	s, other := w.site("till"), w.site("other")
	other.applies(ins("product", "p0", "taken", 1, "X"))
	s.pull()
	if _, err := w.hub.Isolate(w.ctx, s.id, "looks odd", ""); err != nil {
		t.Fatal(err)
	}
	first := s.parks("looks odd", ins("product", "p1", "tea", 3, "T"))
	s.parks("isolated", upd("product", "p1", "price", 3, 4))
	s.parks("isolated", upd("product", "p1", "price", 4, 5))
	bad := s.parks("isolated", ins("product", "p2", "double", 1, "X")) // the code is taken
	s.parks("isolated", upd("product", "p2", "price", 1, 2))
	s.parks("isolated", ins("product", "p3", "free", 1, "F"))
	w.want("SELECT id FROM product", "p0")
	other.applies(ins("product", "p4", "more", 1, "M"))
	if n := s.pull(); n == 0 {
		t.Error("an isolated device reads nothing")
	}
	if q := w.queue(); len(q) != 6 || q[0].Code != "isolated" || q[0].ID != first {
		t.Fatalf("quarantine %v", q)
	}
	d, out, err := w.hub.Release(w.ctx, s.id, "")
	w.must(err)
	if d.Control.Isolated != nil || len(out) != 6 {
		t.Errorf("released: %v, %d tried", d.Control, len(out))
	}
	w.want("SELECT id, price FROM product ORDER BY id", "p0|1\np1|5\np3|1\np4|1")
	q := w.queue()
	if len(q) != 2 || q[0].ID != bad || q[0].Code != "unique" || q[1].Code != "depends" || !slices.Contains(q[1].DependsOn, bad) {
		t.Errorf("quarantine %+v", q)
	}
	on, by, err := w.hub.Related(w.ctx, bad)
	w.must(err)
	if len(on) != 0 || len(by) != 1 || by[0].ID != q[1].ID {
		t.Errorf("related: %v %v", on, by)
	}
	on, _, err = w.hub.Related(w.ctx, q[1].ID)
	w.must(err)
	if len(on) != 1 || on[0].ID != bad {
		t.Errorf("it depends on %v", on)
	}
	s.applies(ins("product", "p5", "after", 1, "A"))
	s.pull()
	if s.done[1] != hub.Applied {
		t.Errorf("the device hears %v of its first transaction", s.done)
	}
}

// What is retried alone is applied while the device stays isolated; and what came after
// depends on what still waits.
func TestIsolatedWorkCanBeRetriedAlone(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	if _, err := w.hub.Isolate(w.ctx, s.id, "", ""); err != nil {
		t.Fatal(err)
	}
	first := s.parks("isolated", ins("product", "p1", "tea", 3, "T"))
	second := s.parks("isolated", upd("product", "p1", "price", 3, 4))
	out, err := w.hub.Retry(w.ctx, second)
	w.must(err)
	if out[0].Status != hub.Quarantined || !strings.Contains(out[0].Reason, first.String()) {
		t.Errorf("the second one was %v", out)
	}
	if out, err = w.hub.Retry(w.ctx, first); err != nil || len(out) != 2 || out[1].Status != hub.Applied {
		t.Errorf("the first one was %v, %v", out, err)
	}
	w.want("SELECT price FROM product", "4")
	s.parks("isolated", ins("product", "p2", "still", 3, "S"))
}

func TestParkedVersion(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	s.applies(ins("product", "p0", "taken", 1, "X"))
	id := s.parks("already has", ins("product", "p1", "double", 1, "X"))
	seen := hub.ParkedVersion(&w.queue()[0])
	if _, err := w.hub.RetryAt(w.ctx, id, seen); err != nil {
		t.Fatal(err)
	}
	if got := hub.ParkedVersion(&w.queue()[0]); got != seen {
		t.Error("a retry that changed nothing made another version")
	}
	if _, err := w.hub.EditAt(w.ctx, id, []hub.Edit{{Column: "code", Value: change.Text("X")}, {Column: "name", Value: change.Text("other")}}, seen); err != nil {
		t.Fatal(err)
	}
	_, a := w.hub.RetryAt(w.ctx, id, seen)
	_, b := w.hub.EditAt(w.ctx, id, nil, seen)
	_, c := w.hub.DiscardAt(w.ctx, id, "no", seen)
	for _, err := range []error{a, b, c} {
		if !errors.Is(err, hub.ErrStale) {
			t.Errorf("it ended with %v", err)
		}
	}
	if _, err := w.hub.DiscardAt(w.ctx, id, "no", hub.ParkedVersion(&w.queue()[0])); err != nil {
		t.Error(err)
	}
	list, _, err := w.hub.Timeline(w.ctx, s.id, "", 0)
	w.must(err)
	if list[0].Kind != hub.DeedSettled || !strings.Contains(list[0].Detail, "discarded: no") || list[0].Ref != id.String() {
		t.Errorf("timeline %+v", list[0])
	}
}
