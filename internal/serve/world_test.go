package serve

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A world is a hub in this process, over real files and sockets.
type world struct {
	t    *testing.T
	dir  string
	hub  *Hub
	addr string // where the hub listens, from its first start on
	// dsn is the database, when it is on a server; source the file that its tables come
	// from, or "": they are there.
	dsn, source string
	served      bool // the database is on a server
}

const shopSQL = `PRAGMA journal_mode=WAL;
CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, branch INTEGER NOT NULL, n INTEGER UNIQUE, note);
INSERT INTO item VALUES('a',1,1,'x'),('b',2,2,'y'),('c',1,3,'z');`

const shopYAML = `tables:
  item: {scope: "branch/{branch}"}
`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	w.source = w.path("app.db")
	sh(t, w.path("app.db"), shopSQL)
	w.yaml(shopYAML)
	return w
}

func (w *world) yaml(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path("tidemark.yaml"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) config() HubConfig {
	return HubConfig{Dir: HubDir(w.path("hub")), Listen: w.addr, Database: w.dsn, Clock: clock.System{}, Rand: rand.Reader, NoSync: true}
}

// up starts the hub, which is created at the first time.
func (w *world) up() *Hub {
	w.t.Helper()
	cfg := w.config()
	if !w.served && !exists(cfg.Dir.DB()) || !cfg.Dir.Configured() {
		cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.source
	}
	h, err := NewHub(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := h.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			w.t.Error(err)
		}
	})
	w.hub, w.addr = h, strings.TrimPrefix(h.Endpoint().URL, "https://")
	return h
}

func (w *world) down() {
	w.t.Helper()
	if err := w.hub.Stop(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) token(name string, scopes ...rule.ScopeID) string {
	w.t.Helper()
	var grants []rule.Grant
	for _, s := range scopes {
		grants = append(grants, rule.Grant{Scope: s, Verbs: rule.Every})
	}
	inv, err := w.hub.Core().AddDevice(context.Background(), name, grants, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	at := w.hub.Endpoint()
	return transport.Token{URL: at.URL, Pin: at.Pin, Secret: inv.Secret, Name: name}.String()
}

func (w *world) edge(name string) run.Edge {
	return run.Edge{File: w.path(name), Agent: "test", Clock: clock.System{}, Rand: rand.Reader, NoSync: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// join enrols a file for the scopes, and fills it.
func (w *world) join(name string, scopes ...rule.ScopeID) run.Edge {
	w.t.Helper()
	e := w.edge(name)
	if _, err := run.Join(context.Background(), run.JoinConfig{Edge: e, Token: w.token(name, scopes...)}); err != nil {
		w.t.Fatal(err)
	}
	w.sync(e)
	return e
}

func (w *world) sync(e run.Edge) *run.Synced {
	w.t.Helper()
	s, err := run.Once(context.Background(), run.OnceConfig{Edge: e})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// agent starts an agent over files.
func (w *world) agent(edges ...run.Edge) *run.Agent {
	w.t.Helper()
	cfg := run.AgentConfig{Edge: edges[0], Poll: 20 * time.Millisecond}
	for _, e := range edges {
		cfg.Files = append(cfg.Files, e.File)
	}
	a, err := run.NewAgent(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := a.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = a.Stop() })
	return a
}

// eventually waits until ok, for at most 20 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatal("never: " + what)
}

// reads waits until a query of the sqlite3 shell gives want.
func reads(t *testing.T, file, sql, want string) {
	t.Helper()
	last := ""
	eventually(t, sql, func() bool {
		last = strings.TrimSpace(sh(t, file, ""+sql))
		return last == want
	})
	if last != want {
		t.Fatalf("%s: %q, want %q", sql, last, want)
	}
}

func state(a *run.Agent) string { return a.Status()[0].State }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sh(t *testing.T, file, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", file, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return string(out)
}

func level(t *testing.T, list []checkup.Finding, check string) checkup.Level {
	t.Helper()
	i := slices.IndexFunc(list, func(f checkup.Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("no finding %q in %+v", check, list)
	}
	return list[i].Level
}
