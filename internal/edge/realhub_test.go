package edge

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	store "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A branch is an edge, its application and a real hub with the clinic's tables.
type branch struct {
	*clinic
	hub   *hub.Hub
	store *store.Store
	path  string // of the hub's file
	dev   change.DeviceID
	rules *rule.Rules
	up    []wire.Message // what the edge sent in the present session
	lost  func(n int, m wire.Message) bool
}

func newBranch(t *testing.T, lim hub.Limits) *branch {
	t.Helper()
	c := &clinic{t: t, path: filepath.Join(t.TempDir(), "app.db"), clk: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	b := &branch{clinic: c, path: filepath.Join(t.TempDir(), "hub.db"), rules: &rule.Rules{Tables: []rule.Table{
		{Name: "patient", Scope: rule.Scope{All: true}},
		{Name: "visit", Scope: rule.Scope{Via: "patient_id"}},
	}}}
	if err := store.Create(b.path, clinicDDL); err != nil {
		t.Fatal(err)
	}
	b.serve(lim)
	inv, err := b.hub.AddDevice(t.Context(), "b1", []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if b.dev, _, err = b.hub.Join(t.Context(), inv.Secret, []byte("key")); err != nil {
		t.Fatal(err)
	}
	c.open()
	t.Cleanup(func() {
		c.close()
		_ = b.store.Close()
	})
	return b
}

// serve starts the hub, anew when it runs.
func (b *branch) serve(lim hub.Limits) {
	b.t.Helper()
	if b.store != nil {
		if err := b.store.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	var key [32]byte
	b.seed++
	binary.LittleEndian.PutUint64(key[:], b.seed)
	key[8] = 99
	var err error
	rnd := rand.NewChaCha8(key)
	if b.store, err = store.Open(store.Config{Path: b.path, Rules: b.rules, Clock: b.clk, Rand: rnd, NoSync: true}); err != nil {
		b.t.Fatal(err)
	}
	b.hub, err = hub.New(context.Background(), hub.Config{Store: b.store, Rules: b.rules, Clock: b.clk, Rand: rnd, Limits: lim,
		DDL: func(context.Context) ([]string, error) { return clinicDDL, nil }})
	if err != nil {
		b.t.Fatal(err)
	}
}

// session runs one session until both sides are idle, or until lost says that the
// line is cut at the edge's n-th message.
func (b *branch) session() {
	b.t.Helper()
	ctx := context.Background()
	es, hs := NewSession(b.e, SessionConfig{Device: b.dev}), b.hub.NewSession(b.dev)
	defer es.Close()
	b.up = nil
	err := converse(ctx, es, hs, func(m wire.Message) (wire.Message, bool) {
		b.up = append(b.up, m)
		if b.lost != nil && b.lost(len(b.up), m) {
			return nil, false
		}
		if p, ok := m.(*wire.Push); ok && len(p.Body) > 0 {
			m = copied(b.t, m)
		}
		return m, true
	}, passes)
	if err != nil {
		b.t.Fatal(err)
	}
}

// parts counts the frames of pushes that the present session sent, and the largest.
func (b *branch) parts() (n, largest int) {
	for _, m := range b.up {
		if p, ok := m.(*wire.Push); ok {
			n++
			largest = max(largest, len(p.Body))
		}
	}
	return n, largest
}

// atHub reads the hub's file as any other program would.
func (b *branch) atHub(sql, want string) {
	b.t.Helper()
	conn, err := sqlite.Open(b.path, sqlite.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	v, _, err := sqlite.One(conn, sql)
	if err != nil {
		b.t.Fatal(err)
	}
	if v.String() != want {
		b.t.Fatalf("%s\n got %s\nwant %s", sql, v, want)
	}
}

func (b *branch) waiting() []hub.Parked {
	b.t.Helper()
	list, err := b.hub.Queue(context.Background(), b.dev)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// retried has the hub try once more what it parked, until nothing waits.
func (b *branch) retried() {
	b.t.Helper()
	for len(b.waiting()) > 0 {
		if _, err := b.hub.Retry(context.Background(), b.waiting()[0].ID); err != nil {
			b.t.Fatal(err)
		}
	}
}

// big is a transaction of about n bytes that do not compress.
func (b *branch) big(id string, n int) {
	b.t.Helper()
	b.tx(fmt.Sprintf("INSERT INTO patient VALUES ('%s', 1, hex(randomblob(%d)), 0, NULL)", id, n/2),
		fmt.Sprintf("INSERT INTO visit VALUES ('v%s', '%s', 'x')", id, id))
}
