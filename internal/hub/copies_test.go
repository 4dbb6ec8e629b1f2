package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A twin is a model of an edge that knows of copies: it says how long its chain is,
// takes another name, and begins a new life when its chain does not fit.
type twin struct {
	*site
	key    change.DeviceID // whose key it has
	parent change.Incarnation
	forks  int
	again  bool // what was sent is to be sent again, in the new life
}

func (w *world) twin(name string) *twin {
	w.t.Helper()
	s := w.site(name, everywhere)
	tw := &twin{site: s, key: s.id}
	tw.greets()
	tw.pull()
	return tw
}

// copy is the same file once more.
func (t *twin) copy() *twin {
	s := *t.site
	s.sent = append([]*change.Transaction(nil), t.sent...)
	c := *t
	c.site = &s
	return &c
}

func (t *twin) tryGreet() (*wire.Welcome, error) {
	t.t.Helper()
	t.session = t.hub.NewSession(t.key)
	for {
		h := t.hello()
		h.Last, h.At, h.Parent = t.seq, t.base, t.parent
		out, err := t.tryAsk(h)
		if err != nil {
			return nil, err
		}
		w := out[0].(*wire.Welcome)
		fits := w.Progress <= t.seq && (w.Progress == 0 || t.sent[w.Progress-1].Sum() == w.Sum)
		if fits && w.Device.IsZero() {
			t.scopes, t.parent = w.Scopes, change.Incarnation{}
			if t.again {
				t.again = false
				t.push(t.sent...)
			}
			return w, nil
		}
		if !w.Device.IsZero() {
			t.id = w.Device
		}
		t.fork()
	}
}

func (t *twin) greets() *wire.Welcome {
	t.t.Helper()
	w, err := t.tryGreet()
	t.must(err)
	return w
}

// fork begins a new life, in which everything is handed in once more.
func (t *twin) fork() {
	was, again := t.inc, t.sent
	t.live()
	t.parent, t.mark, t.forks = was, 0, t.forks+1
	for _, o := range again {
		n := t.tx(o.Ops...)
		n.ID, n.Bases, n.HLC = o.ID, o.Bases, o.HLC
		t.prev = n.Sum()
	}
	t.again = len(again) > 0
}

func (t *twin) events() string {
	t.t.Helper()
	list, err := t.hub.Events(t.ctx, t.id)
	t.must(err)
	var out []string
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return strings.Join(out, " ")
}

func (w *world) names() string {
	w.t.Helper()
	list, err := w.hub.Devices(w.ctx)
	w.must(err)
	var out []string
	for _, d := range list {
		out = append(out, d.Name)
	}
	return strings.Join(out, ",")
}

// Two copies with one incarnation, neither of which wrote anything yet, are both
// connected. One writes: its rows must not be kept from the other as that one's own.
func TestTrapD4_CopiedWhileConnected(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p", "tea", 1))
	a.pull()
	b := a.copy()
	b.greets()
	b.pull()
	a.applies(ins("product", "q", "milk", 1))
	// Also a pull that waits must see it.
	for _, wait := range []bool{false, true} {
		_, err := b.tryAsk(&wire.Pull{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark, Wait: wait})
		if f, ok := errors.AsType[*wire.Fault](err); !ok || f.Code != "copied" || f.Fatal {
			t.Fatalf("wait %v: the copy was answered %v", wait, err)
		}
		_, err = b.tryAsk(&wire.Verify{Cursor: b.base, Scopes: b.scopes, Outcome: b.mark})
		if faultCode(err) != "copied" {
			t.Fatalf("the copy's verify was answered %v", err)
		}
	}
	b.greets()
	if b.forks != 1 {
		t.Fatal("the copy did not begin a new life")
	}
	b.pull()
	b.same("product", "1")
	a.greets()
	a.pull()
	a.same("product", "1")
	if got := b.events(); got != "restored" {
		t.Errorf("events: %s", got)
	}
}

// A file that was restored speaks as its old life no more: it stays what it was.
func TestCopies_RestoredFileStaysItself(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	old := a.copy()
	for i := range 3 {
		a.applies(ins("product", fmt.Sprint("p", i)))
		a.pull()
		w.clock.Advance(time.Hour)
	}
	newer := a.copy() // a backup made just before the disk died
	a.greets()
	a.pull()

	old.greets()
	old.applies(ins("product", "r"))
	old.pull()
	for range 3 {
		w.clock.Advance(time.Hour)
		old.greets()
		old.pull()
	}
	// The newer backup is found and put back instead.
	newer.greets()
	newer.pull()
	newer.applies(ins("product", "s"))
	for range 3 {
		newer.greets()
		newer.pull()
	}
	newer.same("product", "1")
	if got := w.names(); got != "till" {
		t.Errorf("devices: %s", got)
	}
	if got := a.events(); got != "restored" {
		t.Errorf("events: %s", got)
	}
	lives, err := w.hub.Lives(w.ctx, a.id)
	w.must(err)
	one, err := w.hub.DeviceStatus(w.ctx, a.id)
	w.must(err)
	if one.Held != 0 || one.Restored.IsZero() {
		t.Errorf("the device is %+v", one)
	}
	st, err := w.hub.Status(w.ctx)
	w.must(err)
	if all := st.Devices[0]; all.Held != 0 || !all.Restored.Equal(one.Restored) {
		t.Errorf("among all it is %+v", all)
	}
	if st.Histories != (hub.Histories{Restored: 1}) {
		t.Errorf("status counts %+v", st.Histories)
	}
	w.clock.Advance(8 * 24 * time.Hour)
	st, err = w.hub.Status(w.ctx)
	if w.must(err); st.Histories != (hub.Histories{}) {
		t.Errorf("status counts %+v a week later", st.Histories)
	}
	if len(lives) != 2 || lives[1].Parent != lives[0].Inc {
		t.Errorf("lives: %+v", lives)
	}
}

// Two copies that are in use become two devices, whichever of them speaks when.
func TestCopies_BecomeDevices(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p"))
	a.pull()
	b := a.copy()
	a.applies(ins("product", "a1"))
	b.greets() // behind: begins a new life
	b.applies(ins("product", "b1"))
	for range 3 {
		for _, f := range []*twin{a, b} {
			f.greets()
			f.pull()
		}
	}
	if a.id == b.id {
		t.Fatal("both copies are one device")
	}
	if a.id != a.key {
		t.Error("the file that went on with its chain is not the device any more")
	}
	if got, err := w.hub.Device(w.ctx, b.id); err != nil || got.Name != "till copy 2" || got.CopyOf != a.id || got.State != hub.Active {
		t.Errorf("the copy is %+v, %v", got, err)
	}
	if got := a.events(); got != "restored copied" {
		t.Errorf("events: %s", got)
	}
	for _, id := range []change.DeviceID{a.id, b.id} {
		if one, err := w.hub.DeviceStatus(w.ctx, id); err != nil || one.Held != 0 || !one.Restored.IsZero() {
			t.Errorf("device %+v, %v", one, err)
		}
	}
	if got := b.events(); got != "split" {
		t.Errorf("events of the copy: %s", got)
	}
	b.applies(ins("product", "b2"))
	a.applies(ins("product", "a2"))
	for _, f := range []*twin{a, b} {
		f.pull()
		f.same("product", "1")
	}
	w.want("SELECT count(*) FROM product", "5")

	// They are revoked one by one, though they have one key.
	w.must(w.hub.Revoke(w.ctx, a.id, "stolen"))
	fp := hub.Fingerprint([]byte("key of till"))
	if _, err := w.hub.Authenticate(w.ctx, fp); err != nil {
		t.Errorf("the copy's key: %v", err)
	}
	if _, err := a.tryGreet(); faultCode(err) != "revoked" {
		t.Errorf("the revoked device: %v", err)
	}
	b.greets()
	b.applies(ins("product", "b3"))
	w.must(w.hub.Revoke(w.ctx, b.id, ""))
	if _, err := w.hub.Authenticate(w.ctx, fp); faultCode(err) != "revoked" {
		t.Errorf("the key of nobody: %v", err)
	}
}

// Both copies stay connected: their pings tell.
func TestCopies_WhileConnected(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	a.applies(ins("product", "p"))
	b := a.copy()
	a.applies(ins("product", "a1"))
	b.greets()
	faults := 0
	for range 6 {
		for _, f := range []*twin{a, b} {
			w.clock.Advance(15 * time.Second)
			_, err := f.tryAsk(&wire.Ping{N: 1})
			if faultCode(err) == "copied" {
				faults++
				f.greets()
				f.pull()
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	if a.id == b.id {
		t.Errorf("one device after %d reconnections", faults)
	}
	if faults > 5 {
		t.Errorf("%d reconnections", faults)
	}
}

// A message of a session that began before another life spoke proves nothing: it
// may have been under way all the time.
func TestCopies_LateMessagesProveNothing(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	old := a.copy()
	a.applies(ins("product", "p"))
	old.greets()
	old.pull()
	for range 4 {
		if _, err := a.tryAsk(&wire.Ping{N: 1}); faultCode(err) != "copied" { // the dead file's last words
			t.Fatalf("a late message was answered %v", err)
		}
		old.greets()
		old.pull()
	}
	if got := w.names(); got != "till" {
		t.Errorf("devices: %s", got)
	}
}

// An edge of a version that knows of no copies is left alone.
func TestCopies_OlderEdge(t *testing.T) {
	w := newWorld(t)
	a := w.site("a", everywhere)
	a.applies(ins("product", "p"))
	b := *a
	b.live()
	for range 4 {
		a.connect()
		a.pull()
		b.connect()
		b.pull()
		for _, s := range []*site{a, &b} {
			if _, err := s.tryAsk(&wire.Ping{N: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := w.names(); got != "a" {
		t.Errorf("devices: %s", got)
	}
}

// Ten copies of one file become ten devices, and none of them is the tenth's loss.
func TestCopies_TenBecomeTen(t *testing.T) {
	w := newWorld(t)
	first := w.twin("till")
	first.applies(ins("product", "p"))
	files := []*twin{first}
	for range 9 {
		files = append(files, first.copy())
	}
	for i, f := range files {
		f.greets()
		f.applies(ins("product", fmt.Sprint("c", i)))
	}
	for range 6 {
		for _, f := range files {
			f.greets()
			f.pull()
		}
	}
	devices := map[change.DeviceID]bool{}
	for _, f := range files {
		devices[f.id] = true
		f.pull()
		f.same("product", "1")
	}
	if len(devices) != 10 || !devices[first.key] {
		t.Errorf("%d devices, the first among them: %v; %s", len(devices), devices[first.key], w.names())
	}
	w.want("SELECT count(*) FROM product", "11")
	st, err := w.hub.Status(w.ctx)
	w.must(err)
	if st.Histories.Copied != 9 || st.Histories.Restored != 0 {
		t.Errorf("status counts %+v", st.Histories)
	}
	if len(st.Devices) != 10 {
		t.Errorf("%d devices, some never used: %s", len(st.Devices), w.names())
	}
}

// What was parked before the copy holds back what either copy builds on it.
func TestCopies_InheritQuarantine(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO product VALUES ('x','x',1,'X')")
	a := w.twin("till")
	parked := a.parks("already has this value", ins("product", "p", "tea", 1, "X"))
	a.pull()
	b := a.copy()
	a.applies(ins("product", "a1"))
	b.greets()
	for range 3 {
		for _, f := range []*twin{a, b} {
			f.greets()
			f.pull()
		}
	}
	if a.id == b.id {
		t.Fatal("one device")
	}
	b.parks("depends on transaction "+parked.String(), upd("product", "p", "price", 1, 2))
	w.sql("UPDATE product SET code='Y' WHERE id='x'")
	if _, err := w.hub.Retry(w.ctx, parked); err != nil {
		t.Fatal(err)
	}
	w.want("SELECT price FROM product WHERE id='p'", "2")
}

func TestCopies_Held(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Copies = hub.HoldCopies })
	a := w.twin("till")
	a.applies(ins("product", "p"))
	a.pull()
	b, c := a.copy(), a.copy()
	a.applies(ins("product", "a1"))
	if err := w.hub.Allow(w.ctx, a.id); !errors.Is(err, hub.ErrNotHeld) {
		t.Errorf("nothing is held: %v", err)
	}
	for range 2 {
		_, err := b.tryGreet()
		f, ok := errors.AsType[*wire.Fault](err)
		if !ok || f.Code != "copy-held" || f.Fatal || f.RetryAfter != time.Minute || f.Hint == "" {
			t.Fatalf("a copy was answered %+v", err)
		}
	}
	st, err := w.hub.Status(w.ctx)
	if w.must(err); st.Histories.Held != 1 {
		t.Errorf("status counts %+v", st.Histories)
	}
	a.greets() // the first one goes on
	a.applies(ins("product", "a2"))
	if got := a.events(); got != "restored held" {
		t.Errorf("events: %s", got)
	}
	w.must(w.hub.Allow(w.ctx, a.id))
	b.greets()
	b.applies(ins("product", "b1"))
	for range 3 { // allowed once, it is not held again when it turns out to be a copy
		for _, f := range []*twin{a, b} {
			f.greets()
			f.pull()
		}
	}
	if b.id == a.id {
		t.Error("one device")
	}
	// The third is refused, and the two go on.
	if _, err := c.tryGreet(); faultCode(err) != "copy-held" {
		t.Fatal(err)
	}
	w.must(w.hub.Refuse(w.ctx, a.id, ""))
	_, err = c.tryGreet()
	if f, ok := errors.AsType[*wire.Fault](err); !ok || f.Code != "revoked" || !f.Fatal || !strings.Contains(f.Message, "copy") {
		t.Fatalf("a refused copy was answered %v", err)
	}
	a.greets()
	b.greets()
	if got := a.events(); got != "restored held allowed copied restored held refused" {
		t.Errorf("events: %s", got)
	}
	if err := w.hub.Refuse(w.ctx, change.DeviceID{}, ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// A file whose incarnation belongs to another device begins a new one.
func TestCopies_JoinedAsAnother(t *testing.T) {
	w := newWorld(t)
	a := w.twin("a")
	a.applies(ins("product", "p"))
	b := w.twin("b")
	b.inc, b.seq, b.prev, b.sent = a.inc, a.seq, a.prev, append([]*change.Transaction(nil), a.sent...)
	for _, s := range b.sent {
		s.Device = b.id
	}
	b.greets()
	if b.forks != 1 {
		t.Error("it goes on with another device's chain")
	}
	b.applies(ins("product", "q"))
	b.pull()
	b.same("product", "1")
	if got := b.events(); got != "" {
		t.Errorf("events: %s", got)
	}
	w.want("SELECT count(*) FROM product", "2")
}

func TestEvents_KeepsTheLastFifty(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Copies = hub.HoldCopies })
	a := w.twin("till")
	a.applies(ins("product", "p"))
	b := a.copy()
	b.seq, b.sent = 0, nil
	for range 30 {
		c := b.copy()
		if _, err := c.tryGreet(); faultCode(err) != "copy-held" {
			t.Fatal(err)
		}
	}
	w.must(w.hub.Allow(w.ctx, a.id))
	list, err := w.hub.Events(w.ctx, a.id)
	w.must(err)
	if len(list) != 50 || list[49].Kind != hub.EventAllowed || list[0].Kind != hub.EventRestored {
		t.Errorf("%d events, from %v to %v", len(list), list[0], list[len(list)-1])
	}
	for i := range list {
		if list[i].Device != a.id || list[i].Detail == "" || list[i].At.IsZero() {
			t.Errorf("event %d: %+v", i, list[i])
		}
	}
	if other, err := w.hub.Events(w.ctx, change.DeviceID{}); err != nil || len(other) != 0 {
		t.Errorf("events of the hub itself: %v %v", other, err)
	}
}

// apart lets files speak in turn until the hub told them apart.
func apart(files ...*twin) {
	for range 3 {
		for _, f := range files {
			f.greets()
			f.pull()
		}
	}
}

func TestCopies_CopyOfACopy(t *testing.T) {
	w := newWorld(t)
	w.sql("INSERT INTO product VALUES ('x','x',1,'X')")
	a := w.twin("till")
	parked := a.parks("already has this value", ins("product", "p", "tea", 1, "X"))
	a.pull()
	b := a.copy()
	a.applies(ins("product", "a1"))
	apart(b, a)
	b.applies(ins("product", "b1"))
	b.pull()
	w.clock.Advance(time.Hour)
	c := b.copy()
	b.applies(ins("product", "b2"))
	apart(c, b)
	if got := w.names(); strings.Count(got, "till copy") != 2 || !strings.Contains(got, "till copy 3") {
		t.Fatalf("devices: %s", got)
	}
	if d, err := w.hub.Device(w.ctx, c.id); err != nil || d.CopyOf != b.id || d.Name != "till copy 3" {
		t.Errorf("the copy's copy is %+v, %v", d, err)
	}
	c.parks("depends on transaction "+parked.String(), upd("product", "p", "price", 1, 2))
	// Its key is good while any of the three is.
	fp := hub.Fingerprint([]byte("key of till"))
	for i, f := range []*twin{a, b, c} {
		if _, err := w.hub.Authenticate(w.ctx, fp); err != nil {
			t.Errorf("with %d of three: %v", 3-i, err)
		}
		w.must(w.hub.Revoke(w.ctx, f.id, ""))
	}
	if _, err := w.hub.Authenticate(w.ctx, fp); faultCode(err) != "revoked" {
		t.Errorf("with none of them: %v", err)
	}
}

// When the hub itself was set back, a file that begins anew is not held for it.
func TestCopies_HubWasRestored(t *testing.T) {
	w := newWorld(t, func(c *hub.Config) { c.Copies = hub.HoldCopies })
	a := w.twin("till")
	a.applies(ins("product", "p"))
	a.pull()
	if _, err := w.store.Begin(w.ctx, change.Restored); err != nil {
		t.Fatal(err)
	}
	b := a.copy()
	a.fork()
	a.greets()
	if got := a.events(); got != "" {
		t.Errorf("events: %s", got)
	}
	// A copy of that file goes on from the same life: one of the two is held.
	b.fork()
	if _, err := b.tryGreet(); faultCode(err) != "copy-held" {
		t.Errorf("a copy made before the restore: %v", err)
	}
}

// An edge of before that has another device's incarnation is left to find out by its pushes.
func TestCopies_OlderEdgeOfAnother(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p"))
	b.inc = a.inc
	if got := b.connect(); got.Progress != 0 || !got.Device.IsZero() {
		t.Errorf("welcomed with %+v", got)
	}
	tx := b.tx(ins("product", "q"))
	if res := b.push(tx); !res.Fork {
		t.Errorf("pushed into another device's chain: %+v", res)
	}
}

// A claimed name must be of the same key.
func TestCopies_NameOfAnotherKey(t *testing.T) {
	w := newWorld(t)
	a, b := w.twin("a"), w.twin("b")
	a.id = b.id
	if _, err := a.tryGreet(); faultCode(err) != "forged" {
		t.Errorf("another device's name: %v", err)
	}
}

func TestCopies_DamagedRecords(t *testing.T) {
	w := newWorld(t)
	a := w.twin("till")
	put := func(kind, id, body string) {
		w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { return tx.PutRecord(kind, id, []byte(body)) }))
	}
	each := func(what string, calls map[string]func() error) {
		t.Helper()
		for name, call := range calls {
			if err := call(); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	one := func() error { _, err := w.hub.DeviceStatus(w.ctx, a.id); return err }
	status := func() error { _, err := w.hub.Status(w.ctx); return err }
	put("lives", a.id.String(), "{")
	each("lives", map[string]func() error{
		"hello": func() error { _, err := a.tryGreet(); return err },
		"lives": func() error { _, err := w.hub.Lives(w.ctx, a.id); return err },
		"allow": func() error { return w.hub.Allow(w.ctx, a.id) },
		"one":   one, "status": status,
	})
	put("lives", a.id.String(), "{}")
	put("event", a.id.String()+"/x", "{")
	each("event", map[string]func() error{
		"events": func() error { _, err := w.hub.Events(w.ctx, a.id); return err },
		"one":    one, "status": status,
	})
}
