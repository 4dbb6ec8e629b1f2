package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/admit"
	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// started is a hub that serves until the test ends.
func started(t *testing.T, cfg HubConfig) *Hub {
	t.Helper()
	h, err := NewHub(cfg)
	if err == nil {
		err = h.Start(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Stop() })
	return h
}

func startFault(t *testing.T, cfg HubConfig) error {
	t.Helper()
	h, err := NewHub(cfg)
	if err != nil {
		return err
	}
	err = h.Start(context.Background())
	if e := h.Stop(); e != nil {
		t.Fatal(e)
	}
	return err
}

func TestHubRefusesWhatItCannotServe(t *testing.T) {
	w := newWorld(t)
	if _, err := NewHub(HubConfig{}); err == nil {
		t.Fatal("without a clock")
	}
	cfg := w.config()
	if err := startFault(t, cfg); !errors.Is(err, ErrNoConfig) {
		t.Fatalf("no configuration: %v", err)
	}
	cfg.ConfigFile = w.path("tidemark.yaml")
	if err := startFault(t, cfg); !errors.Is(err, ErrNoTables) {
		t.Fatalf("no tables: %v", err)
	}
	cfg.Import = w.path("none.db")
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "none.db") {
		t.Fatalf("import of nothing: %v", err)
	}
	cfg.Import = w.path("tidemark.yaml")
	if err := startFault(t, cfg); err == nil || cfg.Dir.exists() == nil {
		t.Fatalf("import of a text: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg.Import, cfg.Listen = w.path("app.db"), taken.Addr().String()
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "listen on") {
		t.Fatalf("port taken: %v", err)
	}
	cfg.Listen = "127.0.0.1:0"
	if err := startFault(t, cfg); !errors.Is(err, ErrHubExists) {
		t.Fatalf("import into a hub: %v", err)
	}
	w.up()
	if err := w.hub.Start(context.Background()); err == nil {
		t.Fatal("started twice")
	}
	cfg.Import = ""
	if err := startFault(t, cfg); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("a second hub: %v", err)
	}
	if err := os.WriteFile(w.path("bad.yaml"), []byte("tables: {item: {scope: all, policy: lates}, x: 1}"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.down()
	cfg.ConfigFile = w.path("bad.yaml")
	var faults config.Faults
	if err := startFault(t, cfg); !errors.As(err, &faults) || len(faults) != 3 {
		t.Fatalf("bad configuration: %v", err)
	}
	if err := os.WriteFile(w.path("bad.yaml"), []byte("tables: {nope: {scope: all}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startFault(t, cfg); !errors.As(err, &faults) || len(faults) != 1 {
		t.Fatalf("a configuration for other tables: %v", err)
	}
	if b, err := os.ReadFile(cfg.Dir.Config()); err != nil || string(b) != shopYAML {
		t.Fatalf("the configuration in force changed: %s, %v", b, err)
	}
}

// A hub may start with tables alone; the first device's rows fill it.
func TestHubStartsWithTablesAlone(t *testing.T) {
	script := "CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, branch INTEGER NOT NULL, n INTEGER UNIQUE, note); CREATE INDEX by_n ON item(n)"
	for _, from := range []string{"app.db", "app.sql"} {
		t.Run(from, func(t *testing.T) {
			w := newWorld(t)
			if err := os.WriteFile(w.path("app.sql"), []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			sh(t, w.path("app.db"), "CREATE VIRTUAL TABLE found USING fts5(note); CREATE VIEW seen AS SELECT * FROM item")
			cfg := w.config()
			cfg.ConfigFile, cfg.Schema = w.path("tidemark.yaml"), w.path(from)
			if err := startFault(t, cfg); err != nil {
				t.Fatal(err)
			}
			w.up()
			sh(t, w.path("one.db"), shopSQL)
			e := w.join("one.db", "branch/1")
			reads(t, cfg.Dir.DB(), "SELECT group_concat(id) FROM (SELECT id FROM item ORDER BY id)", "a,c")
			if s := w.sync(e); s.Waiting != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
	w := newWorld(t)
	cfg := w.config()
	cfg.ConfigFile = w.path("tidemark.yaml")
	for _, from := range []string{"none.sql", "tidemark.yaml"} {
		cfg.Schema = w.path(from)
		if err := startFault(t, cfg); err == nil || cfg.Dir.exists() == nil {
			t.Fatalf("%s: %v", from, err)
		}
	}
	cfg.Import = w.path("app.db")
	if _, err := NewHub(cfg); err == nil {
		t.Fatal("both import and schema")
	}
}

func TestHubTellsWhereItIs(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	at, err := h.Dir().ReadEndpoint()
	if err != nil || at != h.Endpoint() || !h.Dir().Serving() || !strings.HasPrefix(at.URL, "https://127.0.0.1:") {
		t.Fatalf("%+v, %v", at, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := h.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	office, err := OpenOffice(context.Background(), OfficeConfig{Dir: h.Dir(), Clock: clock.System{}, Rand: rand.Reader, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{"": at.URL, "https://h:1": "https://h:1"} {
		if got, err := office.Endpoint(url); err != nil || got.URL != want || got.Pin != at.Pin {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if err := os.Remove(h.Dir().endpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := office.Endpoint(""); !errors.Is(err, ErrNoURL) || h.Dir().Serving() {
		t.Fatalf("without an endpoint: %v", err)
	}
	office.Config.Hub.URL = "https://c:1"
	if got, err := office.Endpoint(""); err != nil || got.URL != "https://c:1" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := office.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenOffice(context.Background(), OfficeConfig{Dir: HubDir(w.path("none"))}); !errors.Is(err, ErrNoHub) {
		t.Fatalf("no hub: %v", err)
	}
}

func TestReachableAddress(t *testing.T) {
	if got := reachable(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5}); got != "10.0.0.1:5" {
		t.Error(got)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := reachable(&net.TCPAddr{IP: net.IPv6unspecified, Port: 5}); got != name+":5" {
		t.Error(got)
	}
	if got := reachable(&net.UnixAddr{Name: "x"}); got != "x" {
		t.Error(got)
	}
}

func TestCheckHub(t *testing.T) {
	w := newWorld(t)
	dir := w.config().Dir
	if list := CheckHub(context.Background(), dir, clock.System{}); level(t, list, "data") != checkup.Bad {
		t.Fatalf("%+v", list)
	}
	w.up()
	list := CheckHub(context.Background(), dir, clock.System{})
	for _, c := range []string{"file", "integrity", "journal", "config", "serving"} {
		if level(t, list, c) != checkup.Good {
			t.Errorf("%s: %+v", c, list)
		}
	}
	at := w.hub.Endpoint()
	at.URL = "https://127.0.0.1:1"
	if err := disk.WriteJSON(dir.endpoint(), at); err != nil {
		t.Fatal(err)
	}
	if list := CheckHub(context.Background(), dir, clock.System{}); level(t, list, "serving") != checkup.Bad {
		t.Errorf("%+v", list)
	}
	w.down()
	if err := os.WriteFile(dir.Config(), []byte("tables: {nope: {scope: all}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	list = CheckHub(context.Background(), dir, clock.System{})
	if level(t, list, "serving") != checkup.Note || level(t, list, "config") != checkup.Bad {
		t.Errorf("%+v", list)
	}
}

func TestHubLooksAfterItself(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	e := w.join("one.db", "branch/1")
	conf, err := loadConfig(h.Dir().Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range h.chores(conf) {
		if err := c.do(context.Background()); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
	}
	sh(t, h.Dir().DB(), "ALTER TABLE item ADD COLUMN extra")
	if err := h.chores(conf)[0].do(context.Background()); err != nil {
		t.Fatal(err)
	}
	if h.Core().Setup().Schema.Table("item").Column("extra") < 0 {
		t.Fatal("a new column at the hub was not seen")
	}
	w.sync(e)
	ctx, stop := context.WithCancel(context.Background())
	var log strings.Builder
	h.log = slog.New(slog.NewTextHandler(&log, nil))
	done := make(chan struct{})
	n := 0
	go func() {
		h.care(ctx, chore{"fail", time.Millisecond, func(context.Context) error {
			if n++; n == 3 {
				stop()
			}
			return errors.New("no luck")
		}})
		close(done)
	}()
	<-done
	if strings.Count(log.String(), "no luck") != 2 {
		t.Fatalf("log: %s", log.String())
	}
}

// A hub that has as many sessions as it takes asks devices to come back later,
// and they do.
func TestTrapD13_HubTurnsAwayPolitely(t *testing.T) {
	w := newWorld(t)
	w.yaml("hub: {limits: {sessions: 1}}\n" + shopYAML)
	w.up()
	one, two := w.join("one.db", "branch/1"), w.join("two.db", "branch/1")
	a := w.agent(one)
	eventually(t, "online", func() bool { return state(a) == run.StateOnline })
	_, err := run.Once(context.Background(), run.OnceConfig{Edge: two})
	if after, ok := transport.RetryAfter(err); !ok || after < admit.Soonest || after > 2*admit.Soonest {
		t.Fatalf("second session: %v", err)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "let in", func() bool {
		_, err := run.Once(context.Background(), run.OnceConfig{Edge: two})
		return err == nil
	})
}

func TestHubEndsWhenItCannotListenOn(t *testing.T) {
	w := newWorld(t)
	h := w.up()
	if err := h.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(context.Background()); err == nil {
		t.Fatal("goes on without its listener")
	}
}
