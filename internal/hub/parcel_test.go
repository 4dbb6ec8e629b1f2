package hub_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A tablet is a site with a real key, in a world whose hub takes sealed outboxes.
type tablet struct {
	*site
	key    ed25519.PrivateKey
	signer ed25519.PrivateKey // nil: unsigned
	name   string
	lives  []change.Branch
}

func parcelWorld(t *testing.T, edit ...func(*hub.Config)) *world {
	t.Helper()
	key, err := parcel.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, append(edit, func(c *hub.Config) { c.Parcel = key })...)
}

func (w *world) tablet(name string) *tablet {
	w.t.Helper()
	inv, err := w.hub.AddDevice(w.ctx, name, nil, 0)
	w.must(err)
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key := ed25519.NewKeyFromSeed(seed)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	w.must(err)
	id, _, err := w.hub.Join(w.ctx, inv.Secret, spki)
	w.must(err)
	s := &site{world: w, id: id}
	s.live()
	s.connect()
	s.bootstrap()
	return &tablet{site: s, key: key, signer: key, name: name}
}

// A part is one batch of a parcel.
type part struct {
	txs []*change.Transaction
	at  change.Epoch
}

// pack packs parts as the tablet's outbox.
func (x *tablet) pack(parts ...part) []byte {
	x.t.Helper()
	var b bytes.Buffer
	w, err := parcel.NewWriter(&b, parcel.Header{Device: x.id, Incarnation: x.inc, Name: x.name, Made: x.clock.Now(),
		Recipient: x.hub.Setup().Recipient, Lineage: x.lives})
	x.must(err)
	for _, p := range parts {
		x.must(w.Add(p.txs, p.at))
	}
	if x.signer == nil {
		x.must(w.Close(nil))
	} else {
		x.must(w.Close(x.signer))
	}
	return b.Bytes()
}

// take imports a parcel as the operator.
func (w *world) take(body []byte, terms hub.ParcelTerms) (*hub.ParcelTaken, error) {
	w.t.Helper()
	p, err := w.hub.OpenParcel(bytes.NewReader(body), int64(len(body)), parcel.Limits())
	if err != nil {
		return nil, err
	}
	return w.hub.TakeParcel(w.ctx, p, terms)
}

// takes imports a parcel that must be taken, with these statuses and so much known.
func (w *world) takes(body []byte, terms hub.ParcelTerms, known int, want ...hub.Status) *hub.ParcelTaken {
	w.t.Helper()
	out, err := w.take(body, terms)
	w.must(err)
	var got []hub.Status
	for _, r := range out.Results {
		got = append(got, hub.Status(r.Status))
	}
	if !slices.Equal(got, want) || out.Known != known || out.Count != len(want) {
		w.t.Fatalf("%d known, statuses %v, want %d and %v: %+v", out.Known, got, known, want, out)
	}
	return out
}

func (x *tablet) sales(names ...string) (out []*change.Transaction) {
	for _, n := range names {
		out = append(out, x.tx(ins("product", n, "sold", 1)))
	}
	return out
}

// written counts the rows that were written, by anybody.
const written = "SELECT count(*) FROM _tidemark_log WHERE tbl<>0"

func TestParcel_TakenOnce(t *testing.T) {
	w := parcelWorld(t)
	x := w.tablet("till-7")
	x.push(x.sales("a")...)
	unsent := append(x.sales("b", "c"), x.tx(updKey("stock", change.Key{change.Text("none"), change.Text("p")}, "qty", 5, 4)))
	body := x.pack(part{txs: unsent})
	out := w.takes(body, hub.ParcelTerms{}, 0, hub.Applied, hub.Applied, hub.Quarantined)
	if out.Name != "till-7" || out.Device != x.id || out.Results[0].Seq != 2 || out.Results[2].Reason == "" {
		t.Fatalf("%+v", out)
	}
	w.want("SELECT group_concat(id) FROM product", "a,b,c")
	// Again, and another export of the same work: nothing happens.
	log := w.get(written)
	w.takes(body, hub.ParcelTerms{}, 3, hub.Applied, hub.Applied, hub.Quarantined)
	w.takes(x.pack(part{txs: x.sent}), hub.ParcelTerms{}, 4, hub.Applied, hub.Applied, hub.Applied, hub.Quarantined)
	w.want(written, log)
	if n := len(w.queue()); n != 1 {
		t.Fatalf("%d parked", n)
	}
	// The tablet comes back to life: it finds its work handed in, and goes on.
	wel := x.connect()
	if wel.Progress != 4 || wel.Sum != x.prev {
		t.Fatalf("progress %d", wel.Progress)
	}
	x.push(unsent...)
	x.applies(ins("product", "d", "sold", 1))
	x.pull()
	if x.done[2] != hub.Applied || x.done[4] != hub.Quarantined || x.done[5] != hub.Applied {
		t.Fatalf("outcomes %v", x.done)
	}
	w.want("SELECT group_concat(id) FROM product", "a,b,c,d")
	list, err := w.hub.Events(w.ctx, x.id)
	w.must(err)
	if last := list[len(list)-1]; last.Kind != hub.EventParcel || !strings.Contains(last.Detail, "by the operator; transactions in it: 4, here already: 4") {
		t.Fatalf("event %+v", last)
	}
	w.takes(x.pack(), hub.ParcelTerms{}, 0) // an empty one is no news

	// Work that came does not mean that its device lives.
	w.clock.Advance(time.Hour)
	w.takes(x.pack(part{txs: x.sales("e")}), hub.ParcelTerms{}, 0, hub.Applied)
	if d, err := w.hub.Device(w.ctx, x.id); err != nil || w.clock.Now().Sub(d.Seen) < time.Hour {
		t.Fatalf("seen %v, %v", d.Seen, err)
	}
}

// An impostor shows one key and signs with another.
type impostor struct {
	ed25519.PrivateKey
	shown crypto.PublicKey
}

func (i impostor) Public() crypto.PublicKey { return i.shown }

func TestParcel_WhoseWorkItIs(t *testing.T) {
	w := parcelWorld(t)
	x, other := w.tablet("till-7"), w.tablet("till-8")
	sales := x.sales("a")
	refused := func(body []byte, code string, terms hub.ParcelTerms) {
		t.Helper()
		_, err := w.take(body, terms)
		if faultCode(err) != code {
			t.Fatalf("%v, want %s", err, code)
		}
		w.want("SELECT count(*) FROM product", "0")
	}
	x.signer = other.key
	refused(x.pack(part{txs: sales}), "parcel-signature", hub.ParcelTerms{})
	x.signer = nil
	unsigned := x.pack(part{txs: sales})
	refused(unsigned, "parcel-unsigned", hub.ParcelTerms{})
	var forged bytes.Buffer
	pw, err := parcel.NewWriter(&forged, parcel.Header{Device: x.id, Recipient: w.hub.Setup().Recipient})
	w.must(err)
	w.must(pw.Close(impostor{other.key, x.key.Public()}))
	refused(forged.Bytes(), "parcel-signature", hub.ParcelTerms{Unsigned: true})
	x.signer = x.key
	good := x.pack(part{txs: sales})
	w.must(w.hub.Revoke(w.ctx, x.id, "stolen"))
	refused(good, "revoked", hub.ParcelTerms{})
	refused(unsigned, "parcel-unsigned", hub.ParcelTerms{Revoked: true})
	w.takes(unsigned, hub.ParcelTerms{Revoked: true, Unsigned: true}, 0, hub.Applied)
	w.takes(good, hub.ParcelTerms{Revoked: true}, 1, hub.Applied)

	// A device that this hub never heard of, and one that never joined.
	y := *x
	stranger := *x.site
	y.site = &stranger
	y.id, y.name = change.DeviceID{1, 2, 3}, "ghost"
	y.live()
	lost := y.pack(part{txs: y.sales("b")})
	if _, err := w.take(lost, hub.ParcelTerms{Unsigned: true}); faultCode(err) != "unknown-device" || !strings.Contains(err.Error(), "ghost") {
		t.Fatal(err)
	}
	inv, err := w.hub.AddDevice(w.ctx, "invited", nil, 0)
	w.must(err)
	if _, err := w.take(lost, hub.ParcelTerms{Unsigned: true, As: inv.Device}); faultCode(err) != "unknown-device" {
		t.Fatal(err)
	}
	if _, err := w.take(lost, hub.ParcelTerms{As: other.id}); faultCode(err) != "parcel-signature" {
		t.Fatal(err)
	}
	// The operator takes it as another device's, once.
	w.takes(lost, hub.ParcelTerms{Unsigned: true, As: other.id}, 0, hub.Applied)
	w.takes(lost, hub.ParcelTerms{Unsigned: true, As: other.id}, 1, hub.Applied)
	w.want("SELECT group_concat(id) FROM product", "a,b")
	list, err := w.hub.Events(w.ctx, other.id)
	w.must(err)
	if len(list) != 2 || !strings.Contains(list[0].Detail, "it is the work of device "+y.id.String()) {
		t.Fatalf("%+v", list)
	}
}

// A hub that lacks what comes before says so, before anything is done; the operator
// may take it all the same, and the rest does no harm when it comes later.
func TestParcel_Gap(t *testing.T) {
	w := parcelWorld(t)
	x := w.tablet("till-7")
	sales := x.sales("a", "b", "c", "d")
	late := x.pack(part{txs: sales[2:]})
	_, err := w.take(late, hub.ParcelTerms{})
	if faultCode(err) != "parcel-gap" || !strings.Contains(err.Error(), "transactions 1 to 2 of till-7") {
		t.Fatal(err)
	}
	w.want("SELECT count(*) FROM product", "0")
	if out := w.takes(late, hub.ParcelTerms{Gap: true}, 0, hub.Applied, hub.Applied); out.Results[0].Seq != 3 {
		t.Fatalf("%+v", out.Results)
	}
	lives := func() int {
		d, err := w.hub.Device(w.ctx, x.id)
		w.must(err)
		return len(d.Incarnations)
	}
	had := lives()
	w.takes(late, hub.ParcelTerms{Gap: true}, 2, hub.Applied, hub.Applied)
	if lives() != had {
		t.Fatal("the same outbox has another chain each time")
	}
	w.want("SELECT group_concat(id) FROM product", "c,d")
	if wel := x.connect(); wel.Progress != 0 {
		t.Fatalf("progress %d", wel.Progress)
	}
	x.push(sales...)
	x.pull()
	w.want("SELECT count(*) FROM product", "4")
	w.want(written, "4")
	x.same("product", "true")
	if x.done[4] != hub.Applied {
		t.Fatalf("%v", x.done)
	}
	w.takes(late, hub.ParcelTerms{}, 2, hub.Applied, hub.Applied) // now it continues
	// Work on a row that came apart meets no conflict with itself.
	x.applies(upd("product", "d", "price", nil, 7))
	if r := w.receipts(); len(r) != 0 {
		t.Fatalf("receipts %+v", r)
	}
}

// The file was copied: the chain went on in the other copy. The parcel's work gets a
// chain of its own, and what both copies have comes once.
func TestTrapD4_ParcelOfACopy(t *testing.T) {
	w := parcelWorld(t)
	x := w.tablet("till-7")
	shared := x.sales("a", "b")
	copied := *x.site
	copied.sent = slices.Clone(x.sent)
	y := *x
	y.site = &copied
	mine, theirs := x.sales("x1", "x2"), y.sales("y1", "y2")
	x.push(append(slices.Clone(shared), mine...)...)
	body := y.pack(part{txs: append(slices.Clone(shared), theirs...)})
	w.takes(body, hub.ParcelTerms{}, 2, hub.Applied, hub.Applied, hub.Applied, hub.Applied)
	w.takes(body, hub.ParcelTerms{}, 4, hub.Applied, hub.Applied, hub.Applied, hub.Applied)
	w.want("SELECT group_concat(id) FROM product", "a,b,x1,x2,y1,y2")
	// A file that became a device of its own has work of the first one's life in its
	// redo ring: what the two have under one chain is known, its own chain goes on.
	z := w.tablet("till-7 copy 2")
	var early []*change.Transaction
	for _, tx := range shared {
		its := *tx
		its.Device = z.id
		early = append(early, &its)
	}
	w.takes(z.pack(part{txs: append(early, z.sales("z")...)}), hub.ParcelTerms{}, 2, hub.Applied, hub.Applied, hub.Applied)
	if wel := z.connect(); wel.Progress != 1 || wel.Sum != z.prev {
		t.Fatalf("progress %d", wel.Progress)
	}
	log := w.get(written)
	// The copy comes itself: it forks, as ever, and nothing comes twice.
	if res := y.push(theirs...); !res.Fork {
		t.Fatal("no fork")
	}
	y.live()
	for i, tx := range append(slices.Clone(shared), theirs...) {
		again := *tx
		again.Incarnation, again.Seq, again.Prev = y.inc, uint64(i+1), y.prev
		y.prev = again.Sum()
		y.sent = append(y.sent, &again)
	}
	y.push(y.sent...)
	y.seq = 4
	w.want(written, log)
	x.pull()
	x.same("product", "true")
}

// What was confirmed before the hub was set back on purpose is looked at first.
func TestParcel_AfterTheHubWasSetBack(t *testing.T) {
	w := parcelWorld(t)
	x := w.tablet("till-7")
	lives := func() []change.Branch {
		var out []change.Branch
		w.must(w.store.View(w.ctx, func(v hub.View) (err error) { out, err = v.Lineage(); return err }))
		return out
	}
	x.lives = lives()
	sales := x.sales("a", "b", "c")
	epoch := x.lives[0].Epoch
	_, err := w.store.Begin(w.ctx, change.Undone)
	w.must(err)
	w.takes(x.pack(part{sales[:2], epoch}, part{sales[2:], 0}), hub.ParcelTerms{}, 0, hub.Quarantined, hub.Quarantined, hub.Applied)
	if q := w.queue(); len(q) != 2 || q[0].Code != "undone" {
		t.Fatalf("%+v", q)
	}
	_, err = w.store.Begin(w.ctx, change.Restored)
	w.must(err)
	x.lives = lives()
	more := x.sales("d")
	w.takes(x.pack(part{more, x.lives[1].Epoch}), hub.ParcelTerms{}, 0, hub.Applied)
	w.want("SELECT group_concat(id) FROM product", "c,d")
}

// carry hands a parcel in through a session, in parts of n bytes.
func (s *site) carry(body []byte, n int) ([]wire.Message, error) {
	s.t.Helper()
	for ; len(body) > n; body = body[n:] {
		if out, err := s.tryAsk(&wire.Parcel{Body: body[:n], More: true}); err != nil || len(out) > 0 {
			return out, err
		}
	}
	return s.tryAsk(&wire.Parcel{Body: body})
}

func TestParcel_CarriedByAnotherDevice(t *testing.T) {
	w := parcelWorld(t, func(c *hub.Config) { c.Limits = hub.Limits{Frame: 64 << 10, Tx: 128 << 10, Ops: 2} })
	x, office := w.tablet("till-7"), w.tablet("office")
	sales := x.sales("a", "b")
	body := x.pack(part{txs: sales})
	for range 2 {
		out, err := office.carry(body, 100)
		w.must(err)
		r := out[0].(*wire.ParcelResult)
		if r.Device != x.id || r.Name != "till-7" || len(r.Results) != 2 || hub.Status(r.Results[1].Status) != hub.Applied {
			t.Fatalf("%+v", r)
		}
	}
	w.want("SELECT group_concat(id) FROM product", "a,b")
	office.pull()
	office.same("product", "true")
	list, err := w.hub.Events(w.ctx, x.id)
	w.must(err)
	if len(list) != 2 || !strings.Contains(list[0].Detail, "by device "+office.id.String()) {
		t.Fatalf("%+v", list)
	}
	// What only an operator may accept, and what is no parcel at all.
	damaged := bytes.Clone(body)
	damaged[len(damaged)/2] ^= 1
	x.signer = nil
	unsigned := x.pack(part{txs: x.sales("c")})
	x.signer = x.key
	foreign := parcelWorld(t).tablet("till-7")
	for code, b := range map[string][]byte{"parcel-damaged": damaged, "parcel-unsigned": unsigned, "parcel-format": []byte("hello"),
		"parcel-key": foreign.pack(part{txs: foreign.sales("z")})} {
		if _, err := office.carry(b, 10_000); faultCode(err) != code {
			t.Errorf("%s: %v", code, err)
		}
		office.connect()
	}
	// No more than the session's limit is held.
	huge := make([]byte, 1<<20)
	if _, err := office.carry(huge, 32<<10); faultCode(err) != "oversized" {
		t.Error(err)
	}
	office.connect()
	if _, err := office.tryAsk(&wire.Parcel{Body: make([]byte, 65<<10)}); faultCode(err) != "oversized" {
		t.Error(err)
	}
	if _, err := office.tryAsk(&wire.Parcel{More: true}); faultCode(err) != "corrupt" {
		t.Error(err)
	}
	// What unpacks to more than a session may hold is for the operator.
	var many []change.Op
	for _, id := range strings.Split("one two three four five", " ") {
		many = append(many, ins("product", id))
	}
	swollen := x.pack(part{txs: []*change.Transaction{x.tx(many...)}})
	office.connect()
	if _, err := office.carry(swollen, 32<<10); faultCode(err) != "oversized" {
		t.Error(err)
	}
	// A carrier that was revoked meanwhile.
	office.connect()
	w.must(w.hub.Revoke(w.ctx, office.id, ""))
	if _, err := office.carry(body, 1000); faultCode(err) != "revoked" {
		t.Error(err)
	}
	w.want("SELECT group_concat(id) FROM product", "a,b")
}

// Two sessions, one half way: a parcel whose carrier went away leaves nothing.
func TestParcel_CutShort(t *testing.T) {
	w := parcelWorld(t)
	x, office := w.tablet("till-7"), w.tablet("office")
	body := x.pack(part{txs: x.sales("a")})
	if _, err := office.tryAsk(&wire.Parcel{Body: body[:100], More: true}); err != nil {
		t.Fatal(err)
	}
	office.connect()
	if _, err := office.carry(body, 200); err != nil {
		t.Fatal(err)
	}
	w.want("SELECT count(*) FROM product", "1")
	// The same, in one session that greets again.
	body = x.pack(part{txs: x.sales("b")})
	if _, err := office.tryAsk(&wire.Parcel{Body: body[:100], More: true}); err != nil {
		t.Fatal(err)
	}
	office.ask(office.hello())
	if _, err := office.carry(body, 200); err != nil {
		t.Fatal(err)
	}
	w.want("SELECT count(*) FROM product", "2")
}

func TestParcel_HubWithoutKey(t *testing.T) {
	w := newWorld(t)
	if w.hub.Setup().Recipient != "" {
		t.Fatal("a recipient without a key")
	}
	if _, err := w.take([]byte("x"), hub.ParcelTerms{}); faultCode(err) != "parcel-key" {
		t.Fatal(err)
	}
	// With one, devices are told: the Setup is another one.
	v := parcelWorld(t)
	if v.hub.Setup().Hash == w.hub.Setup().Hash || !strings.HasPrefix(v.hub.Setup().Recipient, "age1") {
		t.Fatal("devices do not learn the recipient")
	}
}

// A transaction larger than any push may be: the operator's import takes it to
// quarantine with all its values.
func TestParcel_HugeTransaction(t *testing.T) {
	w := parcelWorld(t, func(c *hub.Config) { c.Limits = hub.Limits{Frame: 64 << 10, Tx: 128 << 10, Row: 8 << 20} })
	x := w.tablet("till-7")
	noise := make([]byte, 1<<20)
	_, err := w.rand.Read(noise)
	w.must(err)
	big := x.tx(ins("product", "big", string(noise), 1))
	w.takes(x.pack(part{txs: []*change.Transaction{big}}, part{txs: x.sales("after")}), hub.ParcelTerms{}, 0, hub.Quarantined, hub.Applied)
	tx, err := w.queue()[0].Transaction()
	w.must(err)
	if len(tx.Ops) != 1 || tx.Ops[0].New[1].Str() != string(noise) {
		t.Fatal("the values are not there")
	}
}

// A hub that waits for its operator's word takes no outbox either.
func TestParcel_HubBehind(t *testing.T) {
	key, err := parcel.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *hub.Config) { c.Parcel = key })
	x := w.tablet("till-7")
	body := x.pack(part{txs: x.sales("a")})
	w.must(w.store.Update(w.ctx, func(tx hub.Tx) error { return tx.PutRecord("behind", "hub", []byte(`{"name":"till-8"}`)) }))
	w.hub, err = hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand, DDL: w.store.DDL, Parcel: key})
	w.must(err)
	if _, err := w.take(body, hub.ParcelTerms{}); faultCode(err) != "hub-behind" {
		t.Fatal(err)
	}
	w.want("SELECT count(*) FROM product", "0")
}

// What a held copy has comes by the operator's hand, or when he allows it: no other
// device can bring it past him. Of one that was refused it takes two words.
func TestParcel_OfAHeldCopy(t *testing.T) {
	w := parcelWorld(t)
	x, office := w.tablet("till-7"), w.tablet("office")
	body := x.pack(part{txs: x.sales("a")})
	life := func(state string) {
		t.Helper()
		w.must(w.store.Update(w.ctx, func(tx hub.Tx) error {
			return tx.PutRecord("lives", x.id.String(), []byte(`{"lives":[{"incarnation":"`+x.inc.String()+`",`+state+`}]}`))
		}))
	}
	life(`"held":true`)
	if _, err := office.carry(body, 1000); faultCode(err) != "copy-held" {
		t.Fatal(err)
	}
	w.takes(body, hub.ParcelTerms{}, 0, hub.Applied)
	life(`"ended":"a thief's"`)
	if _, err := w.take(body, hub.ParcelTerms{}); faultCode(err) != "revoked" {
		t.Fatal(err)
	}
	w.takes(body, hub.ParcelTerms{Revoked: true}, 1, hub.Applied)
}
