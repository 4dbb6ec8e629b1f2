package page

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// nobody is a file that was never enrolled: enough where the page's content does not matter.
func nobody(t *testing.T) Config {
	t.Helper()
	return Config{Files: []run.Edge{{File: t.TempDir() + "/none.db"}}, Clock: clock.System{}}
}

func TestOnlyLoopbackIsServed(t *testing.T) {
	cfg := nobody(t)
	for at, want := range map[string]string{
		"127.0.0.1:8441": "", "[::1]:8441": "", "127.8.9.1:1": "", "localhost:8441": "", "[::ffff:127.0.0.1]:2": "",
		"0.0.0.0:8441":             "0.0.0.0 can be reached from other machines",
		"[::]:8441":                ":: can be reached from other machines",
		":8441":                    "without a host it would be open to the whole network",
		"192.168.1.7:8441":         "192.168.1.7 can be reached from other machines",
		"[fe80::1%eth0]:8441":      "fe80::1 can be reached from other machines",
		"[::ffff:10.0.0.1]:8441":   "10.0.0.1 can be reached from other machines",
		"8441":                     "want HOST:PORT",
		"127.0.0.1":                "want HOST:PORT",
		"127.0.0.1:http":           `port "http" is not a number`,
		"127.0.0.1:65536":          `port "65536" is not a number`,
		"no-such-name.invalid:844": "look up no-such-name.invalid",
	} {
		cfg.Listen = at
		_, err := New(t.Context(), cfg)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", at, err)
			}
			continue
		}
		if !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
	if _, err := New(t.Context(), Config{Listen: Default}); err == nil {
		t.Error("a page of no file")
	}
}

// A name that another site's name server points here, and other sites' pages, get nothing.
func TestOtherSitesGetNothing(t *testing.T) {
	p := serving(t, nobody(t))
	port := fmt.Sprint(p.at().Port())
	for host, want := range map[string]int{
		"127.0.0.1:" + port: 200, "localhost:" + port: 200, "LOCALHOST:" + port: 200, "[::1]:" + port: 200, "127.0.0.9:" + port: 200,
		"evil.example:" + port: 421, "127.0.0.1.evil.example:" + port: 421, "localhost.evil.example:" + port: 421, "10.0.0.1:" + port: 421,
		"127.0.0.1": 421, "localhost": 421, "127.0.0.1:1": 421, "localhost:": 421, "localhost:0" + port: 421, "0.0.0.0:" + port: 421,
	} {
		for _, path := range []string{"/", "/status.json", "/page.js"} {
			r := ask(t, p, http.MethodGet, path, "Host", host)
			if path == "/status.json" && want == 200 {
				r.code = 200 // the file cannot be read: 503 says so
			}
			if r.code != want {
				t.Errorf("Host %s, %s: %d, want %d", host, path, r.code, want)
			}
		}
	}
	for name, c := range map[string]struct {
		head []string
		want int
	}{
		"typed":                 {[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"its own script":        {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
		"a link elsewhere":      {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		"another site's script": {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		"another site's fetch":  {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors", "Origin", "https://evil.example"}, 403},
		"another port's fetch":  {[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403},
		"another site's frame":  {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
	} {
		r := ask(t, p, http.MethodGet, "/", c.head...)
		if r.code != c.want {
			t.Errorf("%s: %d, want %d", name, r.code, c.want)
		}
		for k := range r.head {
			if strings.HasPrefix(k, "Access-Control-") {
				t.Errorf("%s: it lets another origin in: %s", name, k)
			}
		}
	}
}

func TestThePageCanChangeNothing(t *testing.T) {
	p := serving(t, nobody(t))
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"} {
		for _, path := range []string{"/", "/status.json", "/page.css", "/x"} {
			if method == "CONNECT" && path != "/" {
				continue
			}
			if r := ask(t, p, method, path); r.code != http.StatusMethodNotAllowed || r.head.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, r.code, r.head.Get("Allow"))
			}
		}
	}
	if r := ask(t, p, http.MethodHead, "/"); r.code != 200 || r.body != "" || r.head.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("HEAD: %+v", r)
	}
}

func TestEveryAnswerComesWithAStrictPolicy(t *testing.T) {
	p := serving(t, nobody(t))
	for path, want := range map[string]struct {
		code int
		form string
	}{
		"/": {200, "text/html; charset=utf-8"}, "/page.css": {200, "text/css; charset=utf-8"}, "/page.js": {200, "text/javascript; charset=utf-8"},
		"/mark.svg": {200, "image/svg+xml"}, "/status.json": {503, "application/json"},
		"/asset/page.html": {404, "text/plain; charset=utf-8"}, "/page.html": {404, "text/plain; charset=utf-8"}, "/../doc.go": {404, "text/plain; charset=utf-8"}, "/none": {404, "text/plain; charset=utf-8"},
	} {
		r := ask(t, p, http.MethodGet, path)
		if r.code != want.code || r.head.Get("Content-Type") != want.form {
			t.Errorf("%s: %d %s", path, r.code, r.head.Get("Content-Type"))
		}
		for name, want := range map[string]string{"Content-Security-Policy": policy, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if got := r.head.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	body := ask(t, p, http.MethodGet, "/").body
	if strings.Contains(policy, "unsafe") || strings.Contains(body, " style=") || strings.Contains(body, "<style") || strings.Contains(body, "://") && !strings.Contains(body, "//none") {
		t.Errorf("the page wants more than it is allowed:\n%s", body)
	}
	if !strings.Contains(body, `<noscript><meta http-equiv="refresh" content="10"></noscript>`) {
		t.Error("without JavaScript the page stands still")
	}
}

// The files are kept in sync without the page, which comes once the port is free.
func TestAPortThatIsTakenIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	cfg := nobody(t)
	cfg.Listen, cfg.Retry, cfg.Ready = taken.Addr().String(), 10*time.Millisecond, func(at string) { ready <- at }
	p, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stop() }()
	if err := p.Start(context.Background()); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), cfg.Listen) {
		t.Fatalf("a port that is taken: %v", err)
	}
	if err := p.Start(context.Background()); err == nil {
		t.Error("it was started twice")
	}
	select {
	case at := <-ready:
		t.Fatalf("served at %s, where somebody else listens", at)
	case <-time.After(50 * time.Millisecond):
	}
	_ = taken.Close()
	if at := <-ready; at != p.Address() || at != "http://"+cfg.Listen+"/" {
		t.Errorf("it is at %s", at)
	}
	if r := ask(t, p, http.MethodGet, "/"); r.code != 200 {
		t.Errorf("then: %d", r.code)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := net.Dial("tcp", cfg.Listen); err == nil {
		_ = c.Close()
		t.Error("it listens after Stop")
	}
	cfg.Listen = "127.0.0.1:0"
	if p, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil { // never started
		t.Fatal(err)
	}
}

// An address of loopback that this machine does not have is another fault than a taken port.
func TestAnAddressThatIsNotThere(t *testing.T) {
	cfg := nobody(t)
	cfg.Listen = "127.0.0.1:1"
	p, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.address.at = mustAddrPort(t, "192.0.2.1:8441") // of no machine
	if err := p.Start(t.Context()); err == nil || errors.Is(err, ErrTaken) {
		t.Errorf("it began: %v", err)
	}
	if err := p.Start(t.Context()); err == nil || strings.Contains(err.Error(), "already started") {
		t.Errorf("it stands as if it had begun: %v", err)
	}
}

// Somebody who opens connections and says nothing keeps others from the page, not the
// agent from its work: there are few of them.
func TestConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	few := limit(ln, 1)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("here")) }), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(few) }()
	silent, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = second.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	_ = second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := bufio.NewReader(second).ReadString('\n'); err == nil {
		t.Error("the second one was heard while the first was there")
	}
	_ = silent.Close()
	_ = second.SetReadDeadline(time.Now().Add(20 * time.Second))
	if line, err := bufio.NewReader(second).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("then: %q, %v", line, err)
	}
	_ = s.Close()
	<-done
	_ = second.Close()
	if _, err := few.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
