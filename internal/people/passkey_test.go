package people_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/people"
)

var site = people.SiteOf("https://hub.example.com:8440")

var b64 = base64.RawURLEncoding

// An authenticator is one in software, with a browser around it. What its fields say it
// does wrong.
type authenticator struct {
	t      *testing.T
	key    crypto.Signer
	id     []byte
	user   []byte
	count  uint32
	origin string // that the browser tells
	rp     string
	flags  byte
	cross  bool
	kind   string // instead of webauthn.create, webauthn.get
	public []byte // instead of its own key
	attest func(data, client []byte) []byte
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authenticator{t: t, key: k, id: make([]byte, 32), count: 1, origin: site.Origins[0], rp: site.ID, flags: 1 | 4}
	_, _ = rand.Read(a.id)
	return a
}

func cborHead(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 256:
		return []byte{major<<5 | 24, byte(n)}
	}
	return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
}

func cborBytes(b []byte) []byte { return append(cborHead(2, len(b)), b...) }
func cborText(s string) []byte  { return append(cborHead(3, len(s)), s...) }
func cborInt(n int) []byte {
	if n < 0 {
		return cborHead(1, -1-n)
	}
	return cborHead(0, n)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// cose is the public key.
func (a *authenticator) cose() []byte {
	if a.public != nil {
		return a.public
	}
	switch k := a.key.Public().(type) {
	case *ecdsa.PublicKey:
		raw, err := k.Bytes()
		if err != nil {
			a.t.Fatal(err)
		}
		return cat(cborHead(5, 5), cborInt(1), cborInt(2), cborInt(3), cborInt(-7), cborInt(-1), cborInt(1),
			cborInt(-2), cborBytes(raw[1:33]), cborInt(-3), cborBytes(raw[33:]))
	case ed25519.PublicKey:
		return cat(cborHead(5, 4), cborInt(1), cborInt(1), cborInt(3), cborInt(-8), cborInt(-1), cborInt(6), cborInt(-2), cborBytes(k))
	case *rsa.PublicKey:
		return cat(cborHead(5, 4), cborInt(1), cborInt(3), cborInt(3), cborInt(-257), cborInt(-1), cborBytes(k.N.Bytes()), cborInt(-2), cborBytes([]byte{1, 0, 1}))
	}
	a.t.Fatal("no such key")
	return nil
}

func (a *authenticator) client(kind, challenge string) []byte {
	if a.kind != "" {
		kind = a.kind
	}
	b, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": a.cross})
	return b
}

func (a *authenticator) auth(flags byte) []byte {
	sum := sha256.Sum256([]byte(a.rp))
	return binary.BigEndian.AppendUint32(append(sum[:], a.flags|flags), a.count)
}

func (a *authenticator) answer(response map[string]string) string {
	b, _ := json.Marshal(map[string]any{"id": b64.EncodeToString(a.id), "rawId": b64.EncodeToString(a.id), "type": "public-key", "response": response})
	return string(b)
}

// create is navigator.credentials.create.
func (a *authenticator) create(options string) string {
	var o struct {
		Challenge string
		User      struct{ ID string }
	}
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		a.t.Fatal(err)
	}
	a.user, _ = b64.DecodeString(o.User.ID)
	data := cat(a.auth(1<<6), make([]byte, 16), binary.BigEndian.AppendUint16(nil, uint16(len(a.id))), a.id, a.cose())
	client := a.client("webauthn.create", o.Challenge)
	statement := cat(cborText("fmt"), cborText("none"), cborText("attStmt"), cborHead(5, 0))
	if a.attest != nil {
		statement = a.attest(data, client)
	}
	object := cat(cborHead(5, 3), statement, cborText("authData"), cborBytes(data))
	return a.answer(map[string]string{"clientDataJSON": b64.EncodeToString(client), "attestationObject": b64.EncodeToString(object)})
}

// get is navigator.credentials.get.
func (a *authenticator) get(options string) string {
	var o struct{ Challenge string }
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		a.t.Fatal(err)
	}
	client := a.client("webauthn.get", o.Challenge)
	a.count++
	data := a.auth(0)
	sum := sha256.Sum256(client)
	message := append(bytes.Clone(data), sum[:]...)
	hash := crypto.SHA256
	digest := sha256.Sum256(message)
	signed := digest[:]
	if _, ok := a.key.(ed25519.PrivateKey); ok {
		signed, hash = message, 0
	}
	sig, err := a.key.Sign(rand.Reader, signed, hash)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.answer(map[string]string{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(data),
		"signature": b64.EncodeToString(sig), "userHandle": b64.EncodeToString(a.user)})
}

// enrol gives a person a passkey.
func (w *world) enrol(p *people.Person, a *authenticator) error {
	w.t.Helper()
	q, err := w.book.BeginPasskey(w.ctx, p.ID, site)
	w.must(err)
	_, err = w.another().FinishPasskey(w.ctx, p.ID, q.Ceremony, a.create(q.JSON), "laptop", site)
	return err
}

func (w *world) enter(a *authenticator) (*people.Person, error) {
	w.t.Helper()
	q, err := w.book.BeginPasskeyLogin(site)
	w.must(err)
	return w.another().FinishPasskeyLogin(w.ctx, q.Ceremony, a.get(q.JSON), site)
}

func TestAPasskeyLetsItsPersonIn(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ES256": nil, "EdDSA": ed, "RS256": rs} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ada := w.admin("Ada")
			w.withTOTP(ada)
			a := newAuthenticator(t)
			if key != nil {
				a.key = key
			}
			w.must(w.enrol(ada, a))
			w.refused(w.enrol(ada, a), "passkey-known")
			p, err := w.enter(a) // without a code: the authenticator verified its user
			w.must(err)
			if p.ID != ada.ID || len(p.Passkeys) != 1 || p.Passkeys[0].Label != "laptop" || p.Passkeys[0].Used.IsZero() {
				t.Errorf("in came %+v", p)
			}
			_, err = w.enter(a)
			w.must(err)
		})
	}
}

func TestAnAnswerCountsOnce(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	q, err := w.book.BeginPasskeyLogin(site)
	w.must(err)
	answer := a.get(q.JSON)
	_, err = w.book.FinishPasskeyLogin(w.ctx, q.Ceremony, answer, site)
	w.must(err)
	_, err = w.another().FinishPasskeyLogin(w.ctx, q.Ceremony, answer, site)
	w.refused(err, "passkey") // its count went back
	a.count = 0
	none := newAuthenticator(t)
	none.count = 0
	w.must(w.enrol(ada, none))
	q, err = w.book.BeginPasskeyLogin(site)
	w.must(err)
	none.count--
	answer = none.get(q.JSON) // one that does not count
	_, err = w.book.FinishPasskeyLogin(w.ctx, q.Ceremony, answer, site)
	w.must(err)
	_, err = w.another().FinishPasskeyLogin(w.ctx, q.Ceremony, answer, site)
	w.refused(err, "ceremony")
	w.clock.Advance(people.CeremonyFor + time.Minute)
	none.count--
	_, err = w.enter(none)
	w.must(err)
}

func TestHostilePasskeysAreRefused(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	for name, spoil := range map[string]func(*authenticator){
		"another site's page":         func(a *authenticator) { a.origin = "https://evil.example.com" },
		"another site's key":          func(a *authenticator) { a.rp = "evil.example.com" },
		"a user who was not verified": func(a *authenticator) { a.flags = 1 },
		"a user who was not there":    func(a *authenticator) { a.flags = 4 },
		"a frame in another page":     func(a *authenticator) { a.cross = true },
		"an answer to something else": func(a *authenticator) { a.kind = "webauthn.other" },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthenticator(t)
			w.must(w.enrol(ada, a))
			bad := *a
			spoil(&bad)
			_, err := w.enter(&bad)
			w.refused(err, "passkey")
			fresh := newAuthenticator(t)
			spoil(fresh)
			w.refused(w.enrol(ada, fresh), "passkey")
			a.count += 2
			_, err = w.enter(a)
			w.must(err)
		})
	}
}

func TestForgedPasskeysAreRefused(t *testing.T) {
	w := newWorld(t)
	ada, ben := w.admin("Ada"), w.person("Ben", people.Viewer)
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	other := newAuthenticator(t)
	other.id, other.user, other.count = a.id, a.user, a.count+10 // the right name, the wrong key
	_, err := w.enter(other)
	w.refused(err, "passkey")
	unknown := newAuthenticator(t)
	_, err = w.enter(unknown)
	w.refused(err, "passkey")
	a.user = []byte(ben.ID)
	_, err = w.enter(a)
	w.refused(err, "passkey")
	a.user, a.count = []byte(ada.ID), 0 // a copy of the key, from earlier
	_, err = w.enter(a)
	w.refused(err, "passkey")
	q, err := w.book.BeginPasskey(w.ctx, ada.ID, site)
	w.must(err)
	fresh := newAuthenticator(t)
	_, err = w.book.FinishPasskey(w.ctx, ben.ID, q.Ceremony, fresh.create(q.JSON), "", site)
	w.refused(err, "ceremony")
	login, err := w.book.BeginPasskeyLogin(site)
	w.must(err)
	for _, c := range []string{"", "x!", login.Ceremony, q.Ceremony + "AAAA"} {
		_, err = w.book.FinishPasskey(w.ctx, ada.ID, c, fresh.create(q.JSON), "", site)
		w.refused(err, "ceremony")
	}
	_, err = w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, fresh.create(login.JSON), "", site)
	w.refused(err, "passkey")
	w.clock.Advance(people.CeremonyFor + time.Second)
	_, err = w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, fresh.create(q.JSON), "", site)
	w.refused(err, "ceremony")
}

func TestDamagedAnswersAreRefused(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	q, err := w.book.BeginPasskey(w.ctx, ada.ID, site)
	w.must(err)
	whole := newAuthenticator(t).create(q.JSON)
	var c map[string]any
	w.must(json.Unmarshal([]byte(whole), &c))
	response, _ := c["response"].(map[string]any)
	object, _ := b64.DecodeString(response["attestationObject"].(string))
	try := func(what string, b []byte) {
		t.Helper()
		response["attestationObject"] = b64.EncodeToString(b)
		text, _ := json.Marshal(c)
		if _, err := w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, string(text), "", site); err == nil {
			t.Fatalf("an answer with %s was taken", what)
		}
	}
	for n := range object {
		try("its end cut off", object[:n])
	}
	for _, b := range [][]byte{{0xff}, {0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x9a, 0xff, 0xff, 0xff, 0xff}, {0xf6}, {0xf5}, {0x1c},
		{0xa1, 0x80, 0x00}, {0xa2, 0x01, 0x00, 0x01, 0x00}, bytes.Repeat([]byte{0x81}, 40), {0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		try("odd CBOR", b)
	}
	for _, text := range []string{"", "{}", `{"type":"password","rawId":"AA"}`, `{"type":"public-key","rawId":"!"}`} {
		_, err := w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, text, "", site)
		w.refused(err, "passkey")
	}
	_, err = w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, whole, "a\u0000b", site)
	w.refused(err, "name")
}

func TestPasskeysAreRemoved(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	_, err := w.book.RemovePasskey(w.ctx, ada.ID, "x")
	w.refused(err, "no-such-passkey")
	_, err = w.book.RemovePasskey(w.ctx, ada.ID, b64.EncodeToString(a.id))
	w.must(err)
	_, err = w.enter(a)
	w.refused(err, "passkey")
	_, err = w.book.BeginPasskey(w.ctx, "nobody", site)
	w.refused(err, "no-such-person")
}

func TestPasskeysAreBoundToAName(t *testing.T) {
	for address, want := range map[string]people.Site{
		"https://hub.example.com:8440": {ID: "hub.example.com", Origins: []string{"https://hub.example.com:8440"}},
		"https://hub.example.com":      {ID: "hub.example.com", Origins: []string{"https://hub.example.com"}},
		"https://127.0.0.1:8440":       {ID: "localhost", Origins: []string{"https://localhost:8440"}},
		"https://[::1]":                {ID: "localhost", Origins: []string{"https://localhost"}},
		"":                             {ID: "localhost", Origins: []string{"https://localhost"}},
	} {
		if got := people.SiteOf(address); got.ID != want.ID || got.Origins[0] != want.Origins[0] {
			t.Errorf("%s: %+v, want %+v", address, got, want)
		}
	}
}
