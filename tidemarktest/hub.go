package tidemarktest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cable"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A Hub serves a database of its own until the test ends. Its methods may be
// called concurrently.
type Hub struct {
	dir  string
	addr string // where it listens
	pin  change.Hash
	run  *serve.Hub

	mu    sync.Mutex
	links map[string]*Link // by device; guarded by mu
}

// A Link is the network between one device and the hub.
type Link struct{ c *cable.Link }

// Cut breaks the device's connections and lets no new ones through.
func (l *Link) Cut() { l.c.Cut() }

// Restore lets connections through again.
func (l *Link) Restore() { l.c.Restore() }

// NewHub starts a hub with the tables of an SQL script and the rules of a
// tidemark.yaml, in a directory of the test.
func NewHub(t T, ddl, rules string) *Hub {
	t.Helper()
	dir := t.TempDir()
	script, conf := filepath.Join(dir, "schema.sql"), filepath.Join(dir, "rules.yaml")
	for path, text := range map[string]string{script: ddl, conf: rules} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatalf("start hub: %v", err)
		}
	}
	r, err := serve.NewHub(serve.HubConfig{Dir: serve.HubDir(filepath.Join(dir, "hub")), ConfigFile: conf, Schema: script,
		Listen: "127.0.0.1:0", Clock: clock.System{}, Rand: rand.Reader, NoSync: true})
	if err == nil {
		err = r.Start(context.Background())
	}
	if err != nil {
		t.Fatalf("start hub: %v", err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Fatalf("stop hub: %v", err)
		}
	})
	at := r.Endpoint()
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatalf("start hub: %v", err)
	}
	h := &Hub{dir: dir, addr: u.Host, pin: at.Pin, run: r, links: map[string]*Link{}}
	t.Cleanup(func() { // before the hub stops
		for _, l := range h.links {
			l.c.Close()
		}
	})
	return h
}

// Link is the network of a device, by its name.
func (h *Hub) Link(device string) *Link {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.links[device]
	if l == nil {
		c, err := cable.New(h.addr)
		if err != nil {
			panic(err) // the loopback interface has no free port
		}
		l = &Link{c}
		h.links[device] = l
	}
	return l
}

// Token is a join token for a new device with every right in the scopes, which
// reaches the hub over the link of its name.
func (h *Hub) Token(t T, device string, scopes ...string) string {
	t.Helper()
	var grants []rule.Grant
	for _, s := range scopes {
		grants = append(grants, rule.Grant{Scope: rule.ScopeID(s), Verbs: rule.Every})
	}
	inv, err := h.run.Core().AddDevice(context.Background(), device, grants, 0)
	if err != nil {
		t.Fatalf("add device %s: %v", device, err)
	}
	return transport.Token{URL: "https://" + h.Link(device).c.Addr(), Pin: h.pin, Secret: inv.Secret, Name: device}.String()
}

// Open opens a new file for a new device, and syncs it once. It is closed when the
// test ends.
func (h *Hub) Open(t T, device string, scopes ...string) *tidemark.DB {
	t.Helper()
	db, err := tidemark.Open(context.Background(), tidemark.Config{Path: filepath.Join(t.TempDir(), device+".db"), Token: h.Token(t, device, scopes...)})
	if err != nil {
		t.Fatalf("open %s: %v", device, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Fatalf("close %s: %v", device, err)
		}
	})
	if err := db.Sync(context.Background()); err != nil {
		t.Fatalf("sync %s: %v", device, err)
	}
	return db
}

// Revoke takes all rights from a device, by its name.
func (h *Hub) Revoke(t T, device string) {
	t.Helper()
	list, err := h.run.Core().Devices(context.Background())
	if err != nil {
		t.Fatalf("revoke %s: %v", device, err)
	}
	i := slices.IndexFunc(list, func(d hub.Device) bool { return d.Name == device })
	if i < 0 {
		t.Fatalf("revoke %s: no such device", device)
	}
	if err := h.run.Core().Revoke(context.Background(), list[i].ID, "by a test"); err != nil {
		t.Fatalf("revoke %s: %v", device, err)
	}
}

// Discard decides that a parked transaction is not to be applied. Its device gets a
// rescue copy at its next sync.
func (h *Hub) Discard(t T, id change.TxID, reason string) {
	t.Helper()
	if _, err := h.run.Core().Discard(context.Background(), id, reason); err != nil {
		t.Fatalf("discard: %v", err)
	}
}

// A Receipt is one automatic decision: a value that lost against another one.
type Receipt struct {
	Table, Key, Column string
	Hub, Edge, Result  change.Value // what the hub held, what the edge wrote, what stands
	Rule               string       // the policy that decided
}

// Receipts lists the hub's automatic decisions, oldest first.
func (h *Hub) Receipts(t T) []Receipt {
	t.Helper()
	list, err := h.run.Core().Receipts(context.Background(), hub.ReceiptFilter{})
	if err != nil {
		t.Fatalf("receipts: %v", err)
	}
	var out []Receipt
	for _, r := range list {
		out = append(out, Receipt{Table: r.Table, Key: r.Key.String(), Column: r.Column, Hub: r.Hub, Edge: r.Edge, Result: r.Result, Rule: r.Rule})
	}
	return out
}

// Exec runs plain SQL at the hub, as any other program may: one or more
// statements.
func (h *Hub) Exec(t T, sql string) {
	t.Helper()
	h.with(t, func(c *sqlite.Conn) error {
		return sqlite.Immediate(c, func() error { return sqlite.Script(c, sql) })
	})
}

// Query reads the hub's database: a line for each row, its values as SQL literals
// between bars.
func (h *Hub) Query(t T, sql string) string {
	t.Helper()
	var lines []string
	h.with(t, func(c *sqlite.Conn) error {
		return sqlite.Query(c, sql, func(s *sqlite.Stmt) error {
			row := make([]string, s.ColumnCount())
			for i := range row {
				row[i] = sqlite.Column(s, i).String()
			}
			lines = append(lines, strings.Join(row, "|"))
			return nil
		})
	})
	return strings.Join(lines, "\n")
}

func (h *Hub) with(t T, f func(*sqlite.Conn) error) {
	t.Helper()
	c, err := sqlite.Open(h.run.Dir().DB(), sqlite.Options{MustExist: true, NoSync: true})
	if err == nil {
		err = errors.Join(f(c), c.Close())
	}
	if err != nil {
		t.Fatalf("at the hub: %v", err)
	}
}

// Settle syncs the files until nothing moves any more: everything written anywhere
// is at the hub with an outcome, or parked there, and everything the hub has for
// them is in the files. Their links must be up.
func (h *Hub) Settle(t T, dbs ...*tidemark.DB) {
	t.Helper()
	last := unsettled
	Eventually(t, "settled", func() bool {
		for _, db := range dbs {
			if err := db.Sync(context.Background()); err != nil {
				t.Fatalf("sync %s: %v", db.Path(), err)
			}
		}
		now := h.state(t, dbs)
		still := now != unsettled && now == last
		last = now
		return still
	})
}

const unsettled = ""

// state tells two states apart: where the hub's log ends, and what waits where.
func (h *Hub) state(t T, dbs []*tidemark.DB) string {
	t.Helper()
	text := h.Query(t, "SELECT max(pos) FROM _tidemark_log")
	for _, db := range dbs {
		st, err := db.Status(context.Background())
		if err != nil {
			t.Fatalf("status of %s: %v", db.Path(), err)
		}
		if st.Unsafe+st.Unsettled > 0 {
			return unsettled
		}
		text += fmt.Sprintf("|%d", st.Quarantined)
	}
	return text
}
