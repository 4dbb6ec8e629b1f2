package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// get asks for a file.
// A head is an answer without its body.
type head struct {
	StatusCode int
	Header     http.Header
}

func (w *world) get(path string, header ...string) (head, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, w.server.URL+path, nil)
	w.must(err)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := w.server.Client().Do(r)
	w.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	w.must(err)
	return head{res.StatusCode, res.Header}, string(b)
}

func TestThePageComesWithAStrictPolicy(t *testing.T) {
	w := newWorld(t)
	res, body := w.get("/")
	policy := res.Header.Get("Content-Security-Policy")
	_, rest, _ := strings.Cut(policy, "'nonce-")
	nonce, _, _ := strings.Cut(rest, "'")
	if len(nonce) < 20 || !strings.Contains(body, `content="`+nonce+`"`) {
		t.Errorf("the page %q does not have the nonce of %q", body[:60], policy)
	}
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "connect-src 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Strict-Transport-Security": ""} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	again, _ := w.get("/index.html")
	if again.Header.Get("Content-Security-Policy") == policy {
		t.Error("the nonce is used again")
	}
	if deep, body := w.get("/devices/till"); deep.StatusCode != 200 || !strings.Contains(body, "csp-nonce") {
		t.Errorf("a deep link: %d", deep.StatusCode)
	}
	if res, body := w.get("/healthz"); res.StatusCode != 200 || body != "ok\n" {
		t.Errorf("health: %d %q", res.StatusCode, body)
	}
}

// The page learns from its own frame that it may ask ahead: a script that asked without a
// login would be refused, and say so in the browser's console.
func TestTheFrameTellsWhetherSomebodySeemsToBeIn(t *testing.T) {
	w := newWorld(t)
	if _, body := w.get("/"); !strings.Contains(body, `data-in=""`) {
		t.Errorf("to nobody: %.60s", body)
	}
	if _, body := w.get("/", "Cookie", cookieName+"=x"); !strings.Contains(body, `data-in="yes"`) {
		t.Errorf("to somebody: %.60s", body)
	}
}

func TestFilesAreKeptAndPacked(t *testing.T) {
	w := newWorld(t)
	var res head
	for accept, want := range map[string]string{"gzip": "packed with gzip", "gzip, deflate, br, zstd": "packed with brotli", "identity": "let a = 1;", "br;q=0.1": "let a = 1;"} {
		var body string
		res, body = w.get("/assets/app-1a.js", "Accept-Encoding", accept)
		if !strings.HasPrefix(body, want) || (res.Header.Get("Content-Encoding") == "") != strings.HasPrefix(want, "let") {
			t.Errorf("accepting %s: %v, %.40q", accept, res.Header, body)
		}
		if !strings.Contains(res.Header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript") || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("accepting %s: %v", accept, res.Header)
		}
	}
	if res, _ = w.get("/assets/app-1a.js", "If-None-Match", res.Header.Get("ETag")); res.StatusCode != http.StatusNotModified {
		t.Errorf("kept: %d", res.StatusCode)
	}
	if res, _ = w.get("/assets/pic-2b.png"); res.Header.Get("Content-Type") != "image/png" {
		t.Errorf("a picture is %s", res.Header.Get("Content-Type"))
	}
	for _, gone := range []string{"/assets/none.js", "/.keep", "/assets/app-1a.js.gz", "/assets/../.keep"} {
		if res, body := w.get(gone); res.StatusCode == http.StatusOK && (strings.Contains(body, "secret") || strings.Contains(body, "packed")) {
			t.Errorf("%s: %d", gone, res.StatusCode)
		}
	}
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.server.URL+"/", nil)
	w.must(err)
	posted, err := w.server.Client().Do(r)
	w.must(err)
	_ = posted.Body.Close()
	if posted.StatusCode != http.StatusNotFound {
		t.Errorf("a post to the page: %d", posted.StatusCode)
	}
	if a := newPage(nil).load()["/index.html"]; !strings.Contains(string(a.body), "make build") {
		t.Errorf("without a build: %s", a.body)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t)
	if a := w.nobody().call("Entrance/Login", `{"name":"`+strings.Repeat("x", maxEntrance)+`"}`); a.status != http.StatusTooManyRequests {
		t.Errorf("a stranger sent %d bytes: %d %s", maxEntrance, a.status, a.body)
	}
}

func TestWatchTellsWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.admin()
	ctx, stop := context.WithTimeout(w.ctx, 30*time.Second)
	defer stop()
	s, err := w.local.Fleet.Watch(ctx, req(&pb.WatchRequest{}))
	w.must(err)
	if !s.Receive() || s.Msg().GetKind() != "hello" {
		t.Fatalf("it began with %v, %v", s.Msg(), s.Err())
	}
	for i := range 100 {
		w.service.StirredDevice(change.DeviceID{byte(i)}.String())
	}
	if !s.Receive() || s.Msg().GetKind() != "device" || s.Msg().GetId() != "" { // too many: all of them
		t.Errorf("it told %v, %v", s.Msg(), s.Err())
	}
	w.browser(w.person("Ben", people.Operator)).ok("Fleet/Add", `{"name":"till"}`)
	seen := map[string]bool{}
	for !seen["device"] || !seen["fleet"] || !seen["people"] {
		if !s.Receive() {
			t.Fatalf("it told %v and ended: %v", seen, s.Err())
		}
		seen[s.Msg().GetKind()] = true
	}
	w.service.Stop()
	for s.Receive() {
		seen[s.Msg().GetKind()] = true
	}
	w.refused(s.Err(), "stopping")
	w.service.Stop()
}

func TestTheMachineIsAnAdmin(t *testing.T) {
	w := newWorld(t)
	w.admin()
	res, err := w.local.People.Reset(w.ctx, req(&pb.ResetRequest{Id: "Ada"})) // the last one
	w.must(err)
	if !strings.Contains(res.Msg.GetLink(), "#/setup/") {
		t.Errorf("the link is %s", res.Msg.GetLink())
	}
	if e := w.audit(); e.Who != Machine || e.From != "here" {
		t.Errorf("put down as %+v", e)
	}
	s, err := w.local.Entrance.State(w.ctx, req(&pb.StateRequest{}))
	w.must(err)
	if s.Msg.GetYou().GetRole() != pb.Role_ROLE_ADMIN || s.Msg.GetSetUp() {
		t.Errorf("the machine hears %v", s.Msg)
	}
	_, err = w.local.People.Remove(w.ctx, req(&pb.RemovePersonRequest{Id: "Eve"}))
	w.refused(err, "no-such-person")
	ctx, stop := context.WithCancel(w.ctx)
	stop()
	if _, err := w.local.People.List(ctx, req(&pb.ListPeopleRequest{})); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("a call that was given up: %v", err)
	}
}

func TestErrorsAreExplained(t *testing.T) {
	w := newWorld(t)
	for code, err := range map[string]error{
		"too-slow": context.DeadlineExceeded, "internal": errors.New("disk"), "hub-behind": &wire.Fault{Code: "hub-behind", Message: "x"},
		"absent": hub.ErrAbsent, "depends": hub.ErrDepends, "no-such-thing": hub.ErrNotFound, "stale": hub.ErrStale,
	} {
		w.refused(w.service.explain(err, "thing"), code)
	}
	if w.service.explain(nil, "") != nil {
		t.Error("nothing is an error")
	}
	w.refused(w.service.recovered(w.ctx, connect.Spec{}, nil, "x"), "panic")
	if _, err := New(Config{}); err == nil {
		t.Error("a service of nothing")
	}
	if _, err := NewDoor(DoorConfig{}); err == nil {
		t.Error("a door of nothing")
	}
	for from, want := range map[string]string{"10.0.0.1:5": "10.0.0.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "x": "x", "y:1": "y"} {
		if got := host(from); got != want {
			t.Errorf("%s is %s, want %s", from, got, want)
		}
	}
}

// serve runs a door of its own over a keeper, and returns its address.
func (w *world) serve(k *Keeper) (address string, stop func()) {
	w.t.Helper()
	d, err := NewDoor(DoorConfig{Service: w.service, Keeper: k, Rand: rand.Reader, Strict: true})
	w.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, ln) }()
	return "https://" + ln.Addr().String(), func() {
		cancel()
		w.must(<-done)
	}
}

func TestTheCommandLineComesInByPinOrCertificate(t *testing.T) {
	w := newWorld(t)
	w.admin()
	dir := t.TempDir()
	k, err := NewKeeper(KeeperConfig{Dir: dir, Clock: clock.System{}})
	w.must(err)
	address, stop := w.serve(k)
	defer stop()
	_, secret, err := w.book.AddToken(w.ctx, "cli", people.Viewer, "test")
	w.must(err)
	pin, err := k.Pin()
	w.must(err)
	ca, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	w.must(err)
	for name, r := range map[string]Remote{"pin": {URL: address, Token: secret, Pin: pin}, "certificate": {URL: address, Token: secret, CA: ca}} {
		c, err := Dial(r)
		w.must(err)
		if _, err := c.Fleet.Overview(w.ctx, req(&pb.OverviewRequest{})); err != nil {
			t.Errorf("by %s: %v", name, err)
		}
		s, err := c.Fleet.Watch(w.ctx, req(&pb.WatchRequest{}))
		w.must(err)
		if !s.Receive() {
			t.Errorf("by %s: %v", name, s.Err())
		}
		_ = s.Close()
		_, err = c.Fleet.Add(w.ctx, req(&pb.AddDeviceRequest{Name: "x"}))
		w.refused(err, "role")
	}
	for name, r := range map[string]Remote{"another pin": {URL: address, Token: secret, Pin: change.Hash{1}}, "nobody's word": {URL: address, Token: secret}} {
		c, err := Dial(r)
		w.must(err)
		if _, err := c.Fleet.Overview(w.ctx, req(&pb.OverviewRequest{})); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("by %s: %v", name, err)
		}
	}
	for _, bad := range []Remote{{URL: "http://x"}, {URL: "x"}, {URL: address, CA: []byte("x")}} {
		if _, err := Dial(bad); err == nil {
			t.Errorf("dialled %+v", bad)
		}
	}
}

func TestTheOwnCertificateIsRenewedWithItsKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	c := clock.NewManual(morning)
	open := func(names ...string) *Keeper {
		t.Helper()
		k, err := NewKeeper(KeeperConfig{Dir: dir, Clock: c, Names: names})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	leaf := func(k *Keeper) *x509.Certificate {
		t.Helper()
		cert, err := k.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	k := open("hub.example.com", "", "10.1.2.3")
	first := leaf(k)
	for _, n := range []string{"localhost", "127.0.0.1", "::1", "hub.example.com", "10.1.2.3"} {
		if err := first.VerifyHostname(n); err != nil {
			t.Error(err)
		}
	}
	if again := leaf(open("hub.example.com")); !again.Equal(first) {
		t.Error("a new start made another certificate")
	}
	pin, _ := k.Pin()
	if other := leaf(open("new.example.com")); other.Equal(first) || other.VerifyHostname("new.example.com") != nil {
		t.Error("a new name has no certificate")
	}
	c.Advance(certFor - renewAt + time.Hour)
	if renewed := leaf(k); !renewed.NotAfter.After(first.NotAfter) {
		t.Error("it was not renewed before its end")
	}
	if now, _ := k.Pin(); now != pin || !k.Own() {
		t.Error("the key is another one")
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeeper(KeeperConfig{Dir: dir, Clock: c}); err == nil {
		t.Error("a damaged key was replaced without a word")
	}
}

func TestTheOperatorsCertificateIsReadAgain(t *testing.T) {
	c := clock.NewManual(morning)
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, err := NewKeeper(KeeperConfig{Dir: d, Clock: c}); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	k, err := NewKeeper(KeeperConfig{Certificate: cert, Key: key, Clock: c})
	if err != nil || k.Own() {
		t.Fatal(k, err)
	}
	before, _ := k.get(nil)
	replace := func(text []byte) *tls.Certificate {
		t.Helper()
		if err := os.WriteFile(cert, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c.Advance(lookAfter + time.Second)
		got, err := k.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := replace([]byte("damaged")); got != before {
		t.Error("a damaged file is served")
	}
	fresh, err := os.ReadFile(filepath.Join(other, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	freshKey, err := os.ReadFile(filepath.Join(other, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, freshKey, 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := pem.Decode(fresh)
	if got := replace(fresh); string(got.Certificate[0]) != string(b.Bytes) {
		t.Error("the new file is not served")
	}
	for _, bad := range []KeeperConfig{{}, {Clock: c}, {Clock: c, Certificate: cert}, {Clock: c, Certificate: "none", Key: "none"}} {
		if _, err := NewKeeper(bad); err == nil {
			t.Errorf("a keeper of %+v", bad)
		}
	}
}
