package page

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A world is a hub and its devices in this process, over real files and sockets.
type world struct {
	t    *testing.T
	dir  string
	hub  *serve.Hub
	addr string
}

// poison would run, and be seen, if anything took it for a page.
const poison = `<img src=x onerror=alert(1)></script><script>alert(2)</script>`

const shopSQL = `PRAGMA journal_mode=WAL;
CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, n INTEGER UNIQUE, note TEXT);
INSERT INTO item VALUES('a',1,'x'),('b',2,'y');`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	sh(t, w.path("app.db"), shopSQL)
	conf := "hub:\n  name: Lakeside Clinics\ntables:\n  item: {scope: all}\n"
	if err := os.WriteFile(w.path("tidemark.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	w.up()
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) up() {
	w.t.Helper()
	cfg := serve.HubConfig{Dir: serve.HubDir(w.path("hub")), Listen: w.addr, Clock: clock.System{}, Rand: rand.Reader, NoSync: true}
	if _, err := os.Stat(cfg.Dir.DB()); err != nil {
		cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.path("app.db")
	}
	h, err := serve.NewHub(cfg)
	w.must(err)
	w.must(h.Start(context.Background()))
	w.t.Cleanup(func() { _ = h.Stop() })
	w.hub, w.addr = h, strings.TrimPrefix(h.Endpoint().URL, "https://")
}

func (w *world) down() {
	w.t.Helper()
	w.must(w.hub.Stop())
}

// join enrols a file, and fills it.
func (w *world) join(file, name string) run.Edge {
	w.t.Helper()
	inv, err := w.hub.Core().AddDevice(w.t.Context(), name, []rule.Grant{{Scope: "all", Verbs: rule.Every}}, 0)
	w.must(err)
	at := w.hub.Endpoint()
	token := transport.Token{URL: at.URL, Pin: at.Pin, Secret: inv.Secret, Name: name}.String()
	e := run.Edge{File: w.path(file), Agent: "test 1.2", Clock: clock.System{}, Rand: rand.Reader, NoSync: true, RetryMost: time.Second}
	_, err = run.Join(w.t.Context(), run.JoinConfig{Edge: e, Token: token})
	w.must(err)
	w.sync(e)
	return e
}

func (w *world) sync(e run.Edge) {
	w.t.Helper()
	_, err := run.Once(w.t.Context(), run.OnceConfig{Edge: e})
	w.must(err)
}

// device is the hub's record of an edge.
func (w *world) device(e run.Edge) *hub.Device {
	w.t.Helper()
	id, err := run.ReadIdentity(e.File)
	w.must(err)
	d, err := w.hub.Core().Device(w.t.Context(), id.Device)
	w.must(err)
	return d
}

func (w *world) agent(list ...run.Edge) *run.Agent {
	w.t.Helper()
	cfg := run.AgentConfig{Edge: list[0], Poll: 20 * time.Millisecond}
	for _, e := range list {
		cfg.Files = append(cfg.Files, e.File)
	}
	a, err := run.NewAgent(cfg)
	w.must(err)
	w.must(a.Start(context.Background()))
	w.t.Cleanup(func() { _ = a.Stop() })
	return a
}

// page serves the page over files, on a free port.
func (w *world) page(list ...run.Edge) *Page {
	w.t.Helper()
	return serving(w.t, Config{Files: list, Clock: clock.System{}, Version: "Tidemark 1.2", Zone: time.UTC})
}

func serving(t *testing.T, cfg Config) *Page {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	p, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

// A reply is a response, read.
type reply struct {
	code int
	head http.Header
	body string
}

// ask sends a request with more headers, given as names and values; Host is one of them.
func ask(t *testing.T, p *Page, method, path string, more ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, strings.TrimSuffix(p.Address(), "/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i] == "Host" {
			r.Host = more[i+1]
		}
		r.Header.Set(more[i], more[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(b)}
}

// shows waits until the page has all of the words.
func shows(t *testing.T, p *Page, words ...string) string {
	t.Helper()
	body, missing := "", ""
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		body, missing = ask(t, p, http.MethodGet, "/").body, ""
		for _, w := range words {
			if !strings.Contains(body, w) {
				missing = w
			}
		}
		if missing == "" {
			return body
		}
		<-tick.C
	}
	t.Fatalf("the page never showed %q:\n%s", missing, body)
	return ""
}

// status asks for the page's JSON.
func status(t *testing.T, p *Page) (out statusPage, code int) {
	t.Helper()
	r := ask(t, p, http.MethodGet, "/status.json")
	if err := json.Unmarshal([]byte(r.body), &out); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	return out, r.code
}

func sh(t *testing.T, file, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", file, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}
