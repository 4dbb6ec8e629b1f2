package people_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/people"
)

func TestABrowserIsAskedForWhatIsChecked(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	q, err := w.book.BeginPasskey(w.ctx, ada.ID, site)
	w.must(err)
	var o struct {
		Challenge, Attestation string
		Timeout                int64
		RP                     struct{ ID, Name string }
		User                   struct{ ID, Name, DisplayName string }
		PubKeyCredParams       []struct{ Alg int }
		ExcludeCredentials     []struct{ Type, ID string }
		AuthenticatorSelection struct{ ResidentKey, UserVerification string }
	}
	w.must(json.Unmarshal([]byte(q.JSON), &o))
	if raw, err := b64.DecodeString(o.Challenge); err != nil || len(raw) < 32 || o.Attestation != "none" || o.Timeout != people.CeremonyFor.Milliseconds() {
		t.Errorf("asked %s", q.JSON)
	}
	if id, _ := b64.DecodeString(o.User.ID); o.RP.ID != "hub.example.com" || o.RP.Name != "test hub" || string(id) != ada.ID || o.User.Name != "Ada" || o.User.DisplayName != "Ada" {
		t.Errorf("asked for %+v, %+v", o.RP, o.User)
	}
	if p := o.PubKeyCredParams; len(p) != 3 || p[0].Alg != -7 || p[1].Alg != -8 || p[2].Alg != -257 {
		t.Errorf("asked for the signatures %+v", p)
	}
	if s := o.AuthenticatorSelection; s.ResidentKey != "required" || s.UserVerification != "required" {
		t.Errorf("asked for %+v", s)
	}
	if e := o.ExcludeCredentials; len(e) != 1 || e[0].Type != "public-key" || e[0].ID != b64.EncodeToString(a.id) {
		t.Errorf("the passkeys that are there already are %+v", e)
	}
	q, err = w.book.BeginPasskeyLogin(site)
	w.must(err)
	var get map[string]any
	w.must(json.Unmarshal([]byte(q.JSON), &get))
	if get["rpId"] != "hub.example.com" || get["userVerification"] != "required" || get["challenge"] == o.Challenge || get["allowCredentials"] != nil {
		t.Errorf("asked %s", q.JSON)
	}
}

func TestKeysThatProveNothingAreRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(alg, curve int, x, y []byte) []byte {
		return cat(cborHead(5, 5), cborInt(1), cborInt(2), cborInt(3), cborInt(alg), cborInt(-1), cborInt(curve), cborInt(-2), cborBytes(x), cborInt(-3), cborBytes(y))
	}
	rs := func(n, e []byte) []byte {
		return cat(cborHead(5, 4), cborInt(1), cborInt(3), cborInt(3), cborInt(-257), cborInt(-1), cborBytes(n), cborInt(-2), cborBytes(e))
	}
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := big.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	one := bytes.Repeat([]byte{1}, 32)
	w := newWorld(t)
	ada := w.admin("Ada")
	for name, key := range map[string][]byte{
		"no point of the curve":           ec(-7, 1, one, one),
		"half a point":                    ec(-7, 1, one, nil),
		"a signature nobody asked for":    ec(-35, 2, point[1:49], point[49:]),
		"a short RSA key":                 rs(weak.N.Bytes(), []byte{1, 0, 1}),
		"an RSA key that takes too long":  rs(bytes.Repeat([]byte{0xff}, 1025), []byte{1, 0, 1}),
		"an RSA key of no numbers":        rs(nil, nil),
		"an exponent that takes too long": rs(bytes.Repeat([]byte{0xff}, 256), []byte{1, 0, 0, 0, 1}),
		"half an Ed25519 key":             cat(cborHead(5, 4), cborInt(1), cborInt(1), cborInt(3), cborInt(-8), cborInt(-1), cborInt(6), cborInt(-2), cborBytes(one[:16])),
		"no key":                          cborHead(5, 0),
	} {
		a := newAuthenticator(t)
		a.public = key
		if err := w.enrol(ada, a); err == nil {
			t.Errorf("%s was taken", name)
		} else {
			w.refused(err, "passkey")
		}
	}
}

func TestAnAuthenticatorMayVouchForItsOwnKey(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	packed := func(signer *authenticator) func(data, client []byte) []byte {
		return func(data, client []byte) []byte {
			sum := sha256.Sum256(client)
			sum = sha256.Sum256(cat(data, sum[:]))
			sig, err := ecdsa.SignASN1(rand.Reader, signer.key.(*ecdsa.PrivateKey), sum[:])
			w.must(err)
			return cat(cborText("fmt"), cborText("packed"), cborText("attStmt"), cborHead(5, 2), cborText("alg"), cborInt(-7), cborText("sig"), cborBytes(sig))
		}
	}
	a := newAuthenticator(t)
	a.attest = packed(a)
	w.must(w.enrol(ada, a))
	_, err := w.enter(a)
	w.must(err)
	b := newAuthenticator(t)
	b.attest = packed(a)
	w.refused(w.enrol(ada, b), "passkey")
	b.attest = func(_, _ []byte) []byte {
		return cat(cborText("fmt"), cborText("of our own"), cborText("attStmt"), cborHead(5, 0))
	}
	w.refused(w.enrol(ada, b), "passkey")
}

func TestBackupsOfPasskeys(t *testing.T) {
	const eligible, kept = 1 << 3, 1 << 4
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	a.flags |= kept // what is not eligible cannot be
	w.refused(w.enrol(ada, a), "passkey")
	a.flags |= eligible
	w.must(w.enrol(ada, a))
	p, err := w.enter(a)
	w.must(err)
	if !p.Passkeys[0].Backup {
		t.Errorf("the passkey is %+v", p.Passkeys[0])
	}
	a.flags &^= eligible
	_, err = w.enter(a)
	w.refused(err, "passkey")
}

func TestAPasskeySaysWhoseItIs(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	a.user = nil
	_, err := w.enter(a)
	w.refused(err, "passkey")
	a.user = []byte(ada.ID)
	_, err = w.enter(a)
	w.must(err)
}

func TestAnswersAreBounded(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	q, err := w.book.BeginPasskey(w.ctx, ada.ID, site)
	w.must(err)
	answer := a.create(q.JSON)
	_, err = w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, answer+strings.Repeat(" ", 32<<10), "", site)
	w.refused(err, "passkey")
	_, err = w.book.FinishPasskey(w.ctx, ada.ID, q.Ceremony, answer, "", site)
	w.must(err)
	q, err = w.book.BeginPasskeyLogin(site)
	w.must(err)
	answer = a.get(q.JSON)
	for _, bad := range []string{answer + strings.Repeat(" ", 32<<10), "", "{}", answer[1:]} {
		_, err = w.book.FinishPasskeyLogin(w.ctx, q.Ceremony, bad, site)
		w.refused(err, "passkey")
	}
	_, err = w.book.FinishPasskeyLogin(w.ctx, q.Ceremony, answer, site)
	w.must(err)
	long := newAuthenticator(t)
	long.id = make([]byte, 1024)
	w.refused(w.enrol(ada, long), "passkey")
	_, err = w.enter(long)
	w.refused(err, "passkey")
}

// Why an answer does not hold is told to nobody: it would say what was expected.
func TestRefusalsOfPasskeysTellNothing(t *testing.T) {
	w := newWorld(t)
	ada := w.admin("Ada")
	a := newAuthenticator(t)
	w.must(w.enrol(ada, a))
	heard := map[string]bool{}
	for _, spoil := range []func(*authenticator){
		func(a *authenticator) { a.origin = "https://evil.example.com" },
		func(a *authenticator) { a.rp = "evil.example.com" },
		func(a *authenticator) { a.flags = 1 },
		func(a *authenticator) { a.key = newAuthenticator(t).key },
		func(a *authenticator) { a.kind = "webauthn.other" },
	} {
		bad := *a
		spoil(&bad)
		_, err := w.enter(&bad)
		var f *people.Fault
		if !errors.As(err, &f) {
			t.Fatalf("got %v", err)
		}
		heard[f.Message+f.Hint] = true
	}
	if len(heard) != 1 {
		t.Errorf("one can hear %v", heard)
	}
}
