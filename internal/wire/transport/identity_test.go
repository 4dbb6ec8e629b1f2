package transport

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/pb/pbconnect"
)

func hashOf(b []byte) change.Hash { return change.Hash(sha256.Sum256(b)) }

func TestWrongPin(t *testing.T) {
	c := newCore()
	r := newRig(t, c, nil)
	client := r.stranger(t, func(o *Options) { o.Pin = change.Hash{9} })
	err := client.Run(t.Context(), &scripted{start: func(_ context.Context, emit emitter) error {
		return emit(&wire.Push{Body: []byte("secret")})
	}})
	var pin *PinError
	if !errors.Is(err, ErrPin) || !errors.As(err, &pin) || pin.Want != (change.Hash{9}) || pin.Got != r.id.Pin() {
		t.Errorf("%v", err)
	}
	if !strings.Contains(err.Error(), r.id.Pin().String()) {
		t.Errorf("%v does not name the key that was found", err)
	}
	if _, err := client.Join(t.Context(), "open sesame", ""); !errors.Is(err, ErrPin) {
		t.Errorf("join: %v", err)
	}
	if c.opened != 0 || len(c.known) != 0 {
		t.Error("the wrong hub was spoken to")
	}
}

func TestUnknownKeyIsRefused(t *testing.T) {
	c := newCore()
	err := newRig(t, c, nil).stranger(t, nil).Run(t.Context(), &scripted{})
	var f *wire.Fault
	if !errors.Is(err, ErrRefused) || !errors.As(err, &f) || f.Code != "unknown-device" || f.Hint == "" {
		t.Errorf("%v", err)
	}
	if c.opened != 0 {
		t.Error("a session was started for it")
	}
}

func TestRevokedDeviceIsToldSo(t *testing.T) {
	c := newCore()
	client := newRig(t, c, nil).client(t, nil)
	c.set(func(c *core) { c.revoked = true })
	err := client.Run(t.Context(), &scripted{})
	var f *wire.Fault
	if !errors.Is(err, ErrRefused) || !errors.As(err, &f) || f.Code != "revoked" || !strings.Contains(f.Message, "stolen") {
		t.Errorf("%v", err)
	}
	if c.opened != 0 {
		t.Error("a session was started for it")
	}
}

func TestJoinRefusals(t *testing.T) {
	c := newCore()
	r := newRig(t, c, nil)
	for secret, code := range map[string]string{"wrong": "token-unknown", "": "token-unknown", "expired": "token-expired"} {
		_, err := r.stranger(t, nil).Join(t.Context(), secret, "")
		var f *wire.Fault
		if !errors.Is(err, ErrRefused) || !errors.As(err, &f) || f.Code != code {
			t.Errorf("%q: %v, want %s", secret, err, code)
		}
	}
	if _, err := r.stranger(t, nil).Join(t.Context(), strings.Repeat("x", maxJoin), ""); !errors.Is(err, ErrRefused) {
		t.Errorf("huge secret: %v", err)
	}
}

// Trouble of the hub's own is no refusal, and its details stay inside.
func TestHubTroubleIsNotARefusal(t *testing.T) {
	c := newCore()
	r := newRig(t, c, nil)
	client := r.client(t, nil)
	c.set(func(c *core) { c.broken = true })
	err := client.Run(t.Context(), &scripted{})
	if after, ok := RetryAfter(err); !ok || after != 5*time.Second || errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "fire") {
		t.Errorf("%v, retry after %v", err, after)
	}
	if _, err := client.Join(t.Context(), "open sesame", ""); !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "fire") {
		t.Errorf("%v", err)
	}
	c.set(func(c *core) {
		c.broken = false
		c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
			return nil, nil, errors.New("disk on fire")
		}
	})
	if err := client.Run(t.Context(), &scripted{}); !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "fire") {
		t.Errorf("%v", err)
	}
}

// Whoever the hub does not know sees one page, whatever they ask for.
func TestUnknownCallerSeesOnlyHealthz(t *testing.T) {
	c := newCore()
	r := newRig(t, c, nil)
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, certs := range [][]tls.Certificate{nil, {key.cert}} {
		h := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}}
		t.Cleanup(h.CloseIdleConnections)
		nothing := ask(t, h, "GET", "https://"+r.addr+"/nothing-here", "", "")
		if !strings.HasPrefix(nothing, "404 ") {
			t.Fatalf("%q", nothing)
		}
		for _, test := range []struct{ method, path, kind, body string }{
			{"GET", "/", "", ""},
			{"POST", "/", "", ""},
			{"POST", "/healthz", "", ""},
			{"GET", pbconnect.SyncSessionProcedure, "", ""},
			{"POST", pbconnect.SyncSessionProcedure, "application/connect+proto", "\x00\x00\x00\x00\x00"},
			{"POST", pbconnect.SyncSessionProcedure, "application/grpc", "\x00\x00\x00\x00\x00"},
			{"GET", pbconnect.EnrolJoinProcedure, "", ""},
			{"POST", pbconnect.EnrolJoinProcedure, "application/json", `{"secret":"wrong"}`},
			{"POST", pbconnect.EnrolJoinProcedure, "application/proto", "\x0a\x05wrong"},
			{"POST", pbconnect.EnrolJoinProcedure, "application/proto", "\xff\xff"},
			{"POST", pbconnect.EnrolJoinProcedure, "text/plain", "x"},
			{"PUT", pbconnect.EnrolJoinProcedure, "application/proto", ""},
			{"OPTIONS", "/", "", ""},
			{"GET", "/debug/pprof/", "", ""},
			{"GET", "/metrics", "", ""},
		} {
			if got := ask(t, h, test.method, "https://"+r.addr+test.path, test.kind, test.body); got != nothing {
				t.Errorf("%s %s %s with %d certificates:\n%q, want\n%q", test.method, test.path, test.kind, len(certs), got, nothing)
			}
		}
		if got := ask(t, h, "GET", "https://"+r.addr+"/healthz", "", ""); !strings.HasPrefix(got, "200 ") || !strings.HasSuffix(got, "ok\n") {
			t.Errorf("healthz: %q", got)
		}
	}
}

// ask renders everything a caller can see of an answer, but the date.
func ask(t *testing.T, h *http.Client, method, url, kind, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := h.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	res.Header.Del("Date")
	return fmt.Sprintf("%d %v %v %s", res.StatusCode, res.Header, res.Trailer, b)
}

func TestOldTLSIsRefused(t *testing.T) {
	r := newRig(t, newCore(), nil)
	_, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("%v", err)
	}
}

func TestIdentityStaysAndIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	a, err := LoadOrCreateIdentity(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadOrCreateIdentity(dir, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.Pin() != b.Pin() || a.Pin() == (change.Hash{}) {
		t.Errorf("pins %s and %s", a.Pin(), b.Pin())
	}
	path := filepath.Join(dir, identityFile)
	s, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mode().Perm() != 0o600 {
		t.Errorf("mode %#o", s.Mode().Perm())
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateIdentity(dir, rand.Reader); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestDeviceKeyStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device.key")
	a, err := LoadOrCreateKey(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadOrCreateKey(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() || a.Fingerprint() == (change.Hash{}) {
		t.Error("the key changed")
	}
}

func TestDamagedKeys(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadOrCreateIdentity(dir, rand.Reader); err != nil {
		t.Fatal(err)
	}
	ecdsa, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ text, says string }{
		"empty":   {"", "no PEM private key"},
		"public":  {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM private key"},
		"garbage": {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "read key"},
		"ecdsa":   {string(ecdsa), "want Ed25519"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path, rand.Reader); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != test.text {
			t.Errorf("%s was overwritten", name)
		}
	}
	if _, err := LoadKey(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := LoadOrCreateKey(filepath.Join(dir, "no", "such", "dir"), rand.Reader); err == nil {
		t.Error("saved into nowhere")
	}
	if _, err := NewKey(strings.NewReader("")); err == nil {
		t.Error("a key from no randomness")
	}
}

func TestTokenRoundTrip(t *testing.T) {
	for _, token := range []Token{
		{URL: "https://hub.example:7443", Pin: change.Hash{1, 2, 3}, Secret: "s3cret", Name: "nurse 2"},
		{URL: "https://[::1]:1", Secret: "s"},
	} {
		got, err := ParseToken(" \n" + token.String() + "\n")
		if err != nil || got != token {
			t.Errorf("%+v: %+v, %v", token, got, err)
		}
	}
}

func TestBadTokens(t *testing.T) {
	good := Token{URL: "https://hub.example:7443", Pin: change.Hash{1}, Secret: "s3cret", Name: "nurse 2"}.String()
	for i := len(tokenPrefix); i < len(good); i++ {
		b := []byte(good)
		if b[i] = 'A'; good[i] == 'A' {
			b[i] = 'B'
		}
		if _, err := ParseToken(string(b)); err == nil {
			t.Errorf("a typing error at %d went unnoticed", i)
		}
		if _, err := ParseToken(good[:i]); err == nil {
			t.Errorf("cut at %d went unnoticed", i)
		}
	}
	for _, test := range []struct{ token, says string }{
		{"", `does not start with "tdm1_"`},
		{"hello", `does not start with "tdm1_"`},
		{"tdm2_abc", "another version"},
		{good[:40], "mistyped, or cut short"},
		{good + "=", "mistyped"},
		{Token{URL: "http://hub:1", Secret: "s"}.String(), "want https://host:port"},
		{Token{URL: "https://hub:1\x7f", Secret: "s"}.String(), "hub url"},
	} {
		if _, err := ParseToken(test.token); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want %q", test.token, err, test.says)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	if _, err := NewClient(Options{URL: "https://a:1"}); err == nil || !strings.Contains(err.Error(), "key is required") {
		t.Error(err)
	}
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := Dial(t.Context(), Options{URL: "http://a:1", Key: key}, &scripted{}); err == nil || !strings.Contains(err.Error(), "want https") {
		t.Error(err)
	}
	err = Dial(t.Context(), Options{URL: "https://127.0.0.1:1", Key: key}, &scripted{})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
