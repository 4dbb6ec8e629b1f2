package edge

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A talk is one session as both ends' frames tell it.
type talk struct {
	up, down []wire.Message
	sent     map[wire.Message]int // bytes of its frame
}

// talk runs one session, each message through the wire's own encoding. down may change
// what the hub says.
func (f *district) talk(b *branch, down func(wire.Message)) *talk {
	f.t.Helper()
	k := &talk{sent: map[wire.Message]int{}}
	travel := func(list *[]wire.Message) func(wire.Message) (wire.Message, bool) {
		return func(m wire.Message) (wire.Message, bool) {
			f.t.Helper()
			raw, err := wire.Encode(m)
			if err != nil {
				f.t.Fatal(err)
			}
			said := copied(f.t, m) // whoever receives m may complete it
			*list = append(*list, said)
			k.sent[said] = len(raw)
			m = copied(f.t, m)
			if down != nil && list == &k.down {
				down(m)
			}
			return m, true
		}
	}
	es, hs := NewSession(b.e, SessionConfig{Device: b.dev, Agent: "tidemark", Once: true}), f.hub.NewSession(b.dev)
	defer es.Close()
	if err := converse(context.Background(), es, hs, travel(&k.up), travel(&k.down)); err != nil {
		f.t.Fatal(err)
	}
	return k
}

// pulls are the pulls of a talk, and the last parts of their answers.
func (k *talk) pulls() (pulls []*wire.Pull, deltas []*wire.Delta) {
	for _, m := range k.up {
		if p, ok := m.(*wire.Pull); ok {
			pulls = append(pulls, p)
		}
	}
	for _, m := range k.down {
		if d, ok := m.(*wire.Delta); ok && d.Last {
			deltas = append(deltas, d)
		}
	}
	return pulls, deltas
}

// A sync when nothing changed costs at most 200 bytes each way, also of a file that has
// handed in a lot.
func TestSession_NothingChangedIsBrief(t *testing.T) {
	f := newDistrict(t, 1)
	b := f.sites[0]
	for range 200 {
		b.tx("INSERT INTO patient VALUES (hex(randomblob(8)), 1, 'x', 0, NULL)")
	}
	f.sync()
	at, _, mark, err := b.e.position()
	if err != nil || mark < 128 {
		t.Fatalf("mark %d, %v", mark, err)
	}
	k := f.talk(b, nil)
	pulls, deltas := k.pulls()
	if len(k.up) != 2 || len(k.down) != 2 || len(pulls) != 1 || len(deltas) != 1 {
		t.Fatalf("up %v, down %v", k.up, k.down)
	}
	if p := pulls[0]; !p.Brief || !p.Known || p.Scopes != (change.Hash{}) {
		t.Errorf("the pull says what the hub knows: %+v", p)
	}
	if d := deltas[0]; !d.Still || !d.Next.IsZero() || len(d.Seal) == 0 {
		t.Errorf("the answer says what the edge knows: %+v", d)
	}
	for way, list := range map[string][]wire.Message{"up": k.up, "down": k.down} {
		n := 0
		for _, m := range list {
			n += k.sent[m]
		}
		if n > 200 {
			t.Errorf("%d bytes %s", n, way)
		}
	}
	if now, _, _, err := b.e.position(); err != nil || now != at {
		t.Errorf("the file stands at %s, it stood at %s: %v", now, at, err)
	}
}

// What did change travels as ever, and the session after it is brief again.
func TestSession_BriefPullBringsNews(t *testing.T) {
	f := newDistrict(t, 1)
	b := f.sites[0]
	f.write("INSERT INTO patient VALUES ('new', 1, 'x', 0, NULL)")
	_, deltas := f.talk(b, nil).pulls()
	if len(deltas) != 1 || deltas[0].Still || deltas[0].Next.IsZero() {
		t.Fatalf("answers %+v", deltas)
	}
	b.want("SELECT count(*) FROM patient WHERE id='new'", "1")
	if now, _, _, err := b.e.position(); err != nil || now != deltas[0].Next {
		t.Errorf("the file stands at %s: %v", now, err)
	}
	b.exec("INSERT INTO patient VALUES ('own', 1, 'x', 0, NULL)")
	f.talk(b, nil)
	if _, deltas = f.talk(b, nil).pulls(); len(deltas) != 1 || !deltas[0].Still {
		t.Errorf("nothing changed: %+v", deltas)
	}
	f.same("'new'|'x'|0\n'own'|'x'|0")
}

// A hub that does not say that it takes a brief pull hears all: it may be of an older
// build, whatever the one of the session before was.
func TestSession_OlderHubHearsAll(t *testing.T) {
	f := newDistrict(t, 1)
	b := f.sites[0]
	f.talk(b, nil)
	older := func(m wire.Message) {
		if w, ok := m.(*wire.Welcome); ok {
			w.Brief = false
		}
	}
	pulls, deltas := f.talk(b, older).pulls()
	if len(pulls) != 1 || pulls[0].Brief || pulls[0].Scopes == (change.Hash{}) || !pulls[0].Known {
		t.Errorf("pulls %+v", pulls)
	}
	if len(deltas) != 1 || deltas[0].Still || deltas[0].Next.IsZero() {
		t.Errorf("answers %+v", deltas)
	}
}

// A file that holds other scopes than Welcome names says which.
func TestSession_OtherScopesAreNamed(t *testing.T) {
	f := newDistrict(t, 1)
	b := f.sites[0]
	_, held, _, err := b.e.position()
	if err != nil {
		t.Fatal(err)
	}
	pulls, _ := f.talk(b, func(m wire.Message) {
		if w, ok := m.(*wire.Welcome); ok {
			w.Scopes = change.Hash{9}
		}
	}).pulls()
	if len(pulls) != 1 || pulls[0].Brief || pulls[0].Scopes != held {
		t.Fatalf("pulls %+v", pulls)
	}
}

// A delta that stays where nobody stood is nonsense.
func TestSession_StillWithoutAState(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	l.limit = 2
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	l.s.told = change.Cursor{}
	if err := l.s.Receive(t.Context(), &wire.Delta{Last: true, Still: true}, l.send); err == nil {
		t.Error("it was accepted")
	}
}
