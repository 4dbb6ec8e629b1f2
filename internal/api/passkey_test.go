package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// A softKey is an authenticator in software, and the browser around it: it answers as
// PublicKeyCredential.toJSON does.
type softKey struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	id    []byte
	user  []byte
	count uint32
}

func newSoftKey(t *testing.T) *softKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &softKey{t: t, key: key, id: []byte(rand.Text())}
}

// read takes the challenge of a question, and whom it is about.
func (k *softKey) read(question map[string]any) (challenge string) {
	k.t.Helper()
	var o struct {
		Challenge string
		User      struct{ ID string }
	}
	if err := json.Unmarshal([]byte(question["json"].(string)), &o); err != nil {
		k.t.Fatal(err)
	}
	if o.User.ID != "" {
		k.user, _ = base64.RawURLEncoding.DecodeString(o.User.ID)
	}
	return o.Challenge
}

func (k *softKey) data(flags byte) []byte {
	k.count++
	site := sha256.Sum256([]byte("hub.example.com"))
	return binary.BigEndian.AppendUint32(append(site[:], flags), k.count)
}

// answer is the request that finishes a ceremony.
func (k *softKey) answer(question map[string]any, kind, challenge string, response func(client []byte) map[string][]byte) string {
	k.t.Helper()
	client, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": "https://hub.example.com", "crossOrigin": false})
	parts := map[string]any{"clientDataJSON": base64.RawURLEncoding.EncodeToString(client)}
	for name, b := range response(client) {
		parts[name] = base64.RawURLEncoding.EncodeToString(b)
	}
	id := base64.RawURLEncoding.EncodeToString(k.id)
	credential, _ := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": nil,
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}}, "response": parts})
	body, _ := json.Marshal(map[string]any{"ceremony": question["ceremony"], "json": string(credential), "label": "laptop"})
	return string(body)
}

func (k *softKey) create(question map[string]any) string {
	k.t.Helper()
	return k.answer(question, "webauthn.create", k.read(question), func([]byte) map[string][]byte {
		point, err := k.key.PublicKey.Bytes()
		if err != nil {
			k.t.Fatal(err)
		}
		data := slices.Concat(k.data(0x45), make([]byte, 16), binary.BigEndian.AppendUint16(nil, uint16(len(k.id))), k.id, // present, verified, attested
			[]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32}, point[1:33], []byte{0x22, 0x58, 32}, point[33:])
		return map[string][]byte{"authenticatorData": data,
			"attestationObject": slices.Concat([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), []byte{byte(len(data))}, data)}
	})
}

func (k *softKey) get(question map[string]any) string {
	k.t.Helper()
	return k.answer(question, "webauthn.get", k.read(question), func(client []byte) map[string][]byte {
		data, sum := k.data(0x05), sha256.Sum256(client)
		digest := sha256.Sum256(slices.Concat(data, sum[:]))
		sig, err := ecdsa.SignASN1(rand.Reader, k.key, digest[:])
		if err != nil {
			k.t.Fatal(err)
		}
		return map[string][]byte{"authenticatorData": data, "signature": sig, "userHandle": k.user}
	})
}

func TestAPasskeyOpensTheDoor(t *testing.T) {
	w := newWorld(t)
	k := newSoftKey(t)
	ada := w.browser(w.admin())
	made := k.create(ada.ok("Entrance/BeginPasskey", "{}"))
	p := ada.ok("Entrance/FinishPasskey", made)
	if list, _ := p["passkeys"].([]any); len(list) != 1 || list[0].(map[string]any)["label"] != "laptop" {
		t.Fatalf("Ada has %v", p)
	}
	ada.refused("Entrance/FinishPasskey", made, "passkey") // replayed; Ada stays logged in
	ada.ok("Fleet/Overview", "{}")

	shown := k.get(w.nobody().ok("Entrance/BeginPasskeyLogin", "{}"))
	c := w.nobody().take(w.nobody().call("Entrance/FinishPasskeyLogin", shown))
	if e := w.audit(); e.Action != "Entrance/FinishPasskeyLogin" || e.Who != "Ada" || e.Error != "" {
		t.Errorf("put down as %+v", e)
	}
	c.ok("Fleet/Add", `{"name":"till"}`)
	if a := w.nobody().refused("Entrance/FinishPasskeyLogin", shown, "passkey"); a.status != http.StatusUnauthorized || a.header.Get("Set-Cookie") != "" {
		t.Errorf("replayed: %d, %s", a.status, a.header.Get("Set-Cookie"))
	}
	if e := w.audit(); e.Action != "Entrance/FinishPasskeyLogin" || e.Who != "" || e.Error == "" {
		t.Errorf("the replay is put down as %+v", e)
	}

	thief := newSoftKey(t) // the right name, the wrong key
	thief.id, thief.user, thief.count = k.id, k.user, k.count+10
	w.nobody().refused("Entrance/FinishPasskeyLogin", thief.get(w.nobody().ok("Entrance/BeginPasskeyLogin", "{}")), "passkey")

	c.ok("Entrance/RemovePasskey", fmt.Sprintf(`{"id":%q}`, base64.RawURLEncoding.EncodeToString(k.id)))
	w.nobody().refused("Entrance/FinishPasskeyLogin", k.get(w.nobody().ok("Entrance/BeginPasskeyLogin", "{}")), "passkey")
}

func TestAWatchEndsWithItsLogin(t *testing.T) {
	w := newWorld(t)
	ada := w.admin()
	secret, err := w.book.Begin(w.ctx, ada.ID, "test")
	w.must(err)
	ctx := context.WithValue(w.ctx, callKey{}, &call{cookie: secret})
	w.must(w.service.stillIn(ctx))
	w.must(w.service.stillIn(w.ctx)) // from the machine itself
	who, err := w.book.Session(w.ctx, secret)
	w.must(err)
	w.must(w.book.End(w.ctx, who.Session))
	w.refused(w.service.stillIn(ctx), "login")
}
