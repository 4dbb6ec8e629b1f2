package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

var morning = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

const good = "a long sentence is good"

// A world is a hub, its people, and the door, over a real store and real TLS.
type world struct {
	t       *testing.T
	ctx     context.Context
	clock   *clock.Manual
	store   *sqlitestore.Store
	hub     *hub.Hub
	book    *people.Book
	service *Service
	server  *httptest.Server
	local   *Clients
	stop    error // of what people's book writes
}

// stopping is a store that fails when the world says so.
type stopping struct {
	*sqlitestore.Store
	w *world
}

func (s stopping) Update(ctx context.Context, fn func(hub.Tx) error) error {
	if s.w.stop != nil {
		return s.w.stop
	}
	return s.Store.Update(ctx, fn)
}

// around is what serves the hub.
type around struct{ store *sqlitestore.Store }

func (around) Token(secret, name string) (string, error) {
	return "token of " + name + " " + secret, nil
}
func (around) TokenTTL() time.Duration { return time.Hour }
func (around) Load() Load {
	return Load{Sessions: 3, Waiting: 1, Replicas: []Replica{{"postgres://db2/shop", 7, ""}, {"postgres://db3/shop", 0, "it lags behind the primary"}}}
}
func (a around) Count(ctx context.Context, scopes []rule.ScopeID) (rows map[string]int64, err error) {
	err = a.store.View(ctx, func(v hub.View) error {
		rows, err = v.Count(scopes)
		return err
	})
	return rows, err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), clock: clock.NewManual(morning)}
	path := filepath.Join(t.TempDir(), "hub.db")
	w.must(sqlitestore.Create(path, []string{
		`CREATE TABLE item(id TEXT PRIMARY KEY NOT NULL, branch INTEGER NOT NULL, n INTEGER UNIQUE, note TEXT, pic BLOB)`}))
	rules := &rule.Rules{Tables: []rule.Table{{Name: "item", Scope: rule.Scope{Kind: "branch", Column: "branch"},
		Columns: map[string]rule.Column{"note": {Policy: rule.Hub}}}}}
	var err error
	w.store, err = sqlitestore.Open(sqlitestore.Config{Path: path, Rules: rules, Clock: w.clock, Rand: rand.Reader, NoSync: true})
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	w.hub, err = hub.New(w.ctx, hub.Config{Store: w.store, Rules: rules, Clock: w.clock, Rand: rand.Reader, DDL: w.store.DDL, Name: "test hub"})
	w.must(err)
	w.book, err = people.New(people.Config{Store: stopping{w.store, w}, Clock: w.clock, Rand: rand.Reader, Key: make([]byte, 32), Cost: people.Cost{Time: 1, Memory: 64, Threads: 1}})
	w.must(err)
	w.service, err = New(Config{Hub: w.hub, People: w.book, Serving: around{w.store}, Clock: w.clock, Name: "test hub", Version: "v1", URL: "https://hub.example.com"})
	w.must(err)
	w.local = w.service.Local()
	keeper, err := NewKeeper(KeeperConfig{Dir: filepath.Join(t.TempDir(), "tls"), Clock: clock.System{}})
	w.must(err)
	door, err := NewDoor(DoorConfig{Service: w.service, Keeper: keeper, Rand: rand.Reader, Page: fstest.MapFS{
		"index.html":          {Data: []byte(`<html data-in="__IN__"><meta name="csp-nonce" content="__NONCE__">` + strings.Repeat(" ", 2000))},
		"assets/app-1a.js":    {Data: []byte(strings.Repeat("let a = 1;\n", 500))},
		"assets/app-1a.js.gz": {Data: []byte("packed with gzip")}, "assets/app-1a.js.br": {Data: []byte("packed with brotli")},
		"assets/pic-2b.png": {Data: []byte("\x89PNG")},
		".keep":             {Data: []byte("secret")},
	}})
	w.must(err)
	w.server = httptest.NewUnstartedServer(door)
	w.server.EnableHTTP2 = true
	w.server.StartTLS()
	t.Cleanup(func() { w.service.Stop(); w.server.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// A caller is somebody at the door.
type caller struct {
	w      *world
	header http.Header
}

func (w *world) nobody() *caller { return &caller{w, http.Header{}} }

// admin sets the first admin up, past the door.
func (w *world) admin() *people.Person {
	w.t.Helper()
	l, err := w.book.SetUpLink(w.ctx)
	w.must(err)
	p, err := w.book.SetUp(w.ctx, l.Secret, "Ada", good)
	w.must(err)
	return p
}

func (w *world) person(name string, role people.Role) *people.Person {
	w.t.Helper()
	l, err := w.book.Invite(w.ctx, name, role)
	w.must(err)
	p, err := w.book.SetUp(w.ctx, l.Secret, "", good)
	w.must(err)
	return p
}

// browser is a person's, logged in.
func (w *world) browser(p *people.Person) *caller {
	w.t.Helper()
	secret, err := w.book.Begin(w.ctx, p.ID, "test")
	w.must(err)
	who, err := w.book.Session(w.ctx, secret)
	w.must(err)
	c := w.nobody()
	c.header.Set("Cookie", cookieName+"="+secret)
	c.header.Set(csrfHeader, who.CSRF)
	return c
}

// script has a token.
func (w *world) script(role people.Role) *caller {
	w.t.Helper()
	name, err := w.book.Tokens(w.ctx)
	w.must(err)
	_, secret, err := w.book.AddToken(w.ctx, "script"+strings.Repeat("i", len(name)), role, "test")
	w.must(err)
	c := w.nobody()
	c.header.Set("Authorization", "Bearer "+secret)
	return c
}

func (c *caller) with(name, value string) *caller {
	out := &caller{c.w, c.header.Clone()}
	out.header.Set(name, value)
	return out
}

// An answer of the door. code and hint are of its ErrorInfo.
type answer struct {
	status     int
	header     http.Header
	body       []byte
	code, hint string
}

// call sends JSON, as curl does.
func (c *caller) call(method, body string) *answer {
	c.w.t.Helper()
	r, err := http.NewRequestWithContext(c.w.ctx, http.MethodPost, c.w.server.URL+"/tidemark.admin.v1."+method, strings.NewReader(body))
	c.w.must(err)
	r.Header = c.header.Clone()
	r.Header.Set("Content-Type", "application/json")
	res, err := c.w.server.Client().Do(r)
	c.w.must(err)
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header}
	a.body, err = io.ReadAll(res.Body)
	c.w.must(err)
	var e struct {
		Details []struct{ Value string }
	}
	if res.StatusCode != http.StatusOK && json.Unmarshal(a.body, &e) == nil && len(e.Details) > 0 {
		a.code, a.hint = c.w.info(e.Details[0].Value)
	}
	return a
}

// ok demands success, and decodes the answer.
func (c *caller) ok(method, body string) map[string]any {
	c.w.t.Helper()
	a := c.call(method, body)
	if a.status != http.StatusOK {
		c.w.t.Fatalf("%s %s: %d %s", method, body, a.status, a.body)
	}
	var out map[string]any
	c.w.must(json.Unmarshal(a.body, &out))
	return out
}

// refused demands an error of a code, with a hint.
func (c *caller) refused(method, body, code string) *answer {
	c.w.t.Helper()
	a := c.call(method, body)
	if a.status == http.StatusOK || a.code != code {
		c.w.t.Fatalf("%s %s: %d %s, want the code %q", method, body, a.status, a.body, code)
	}
	if a.hint == "" {
		c.w.t.Errorf("%s: %q does not say what to do", method, code)
	}
	return a
}

// info decodes an ErrorInfo.
func (w *world) info(text string) (code, hint string) {
	w.t.Helper()
	b, err := base64.RawStdEncoding.DecodeString(text)
	w.must(err)
	m := &pb.ErrorInfo{}
	w.must(proto.Unmarshal(b, m))
	return m.GetCode(), m.GetHint()
}

// refused demands a code of a typed error.
func (w *world) refused(err error, code string) {
	w.t.Helper()
	var c *connect.Error
	if !errors.As(err, &c) || len(c.Details()) == 0 {
		w.t.Fatalf("got %v, want an error with the code %q", err, code)
	}
	v, e := c.Details()[0].Value()
	w.must(e)
	if got := v.(*pb.ErrorInfo); got.GetCode() != code {
		w.t.Fatalf("got %v (%s), want the code %q", err, got.GetCode(), code)
	}
}

// audit is the newest entry.
func (w *world) audit() people.Entry {
	w.t.Helper()
	list, _, err := w.book.Audit(w.ctx, people.AuditFilter{Limit: 1})
	w.must(err)
	if len(list) == 0 {
		w.t.Fatal("the audit is empty")
	}
	return list[0]
}

// A device that hands work in.
type device struct {
	*world
	id   change.DeviceID
	inc  change.Incarnation
	seq  uint64
	prev change.Hash
	base change.Cursor
}

func (w *world) device(name string) *device {
	w.t.Helper()
	inv, err := w.hub.AddDevice(w.ctx, name, []rule.Grant{{Scope: "branch/1", Verbs: rule.Every}}, 0)
	w.must(err)
	id, _, err := w.hub.Join(w.ctx, inv.Secret, []byte("key of "+name))
	w.must(err)
	d := &device{world: w, id: id}
	d.inc, err = change.NewIncarnation(rand.Reader)
	w.must(err)
	d.see()
	return d
}

// see takes the hub's state for what the next work is based on.
func (d *device) see() {
	d.t.Helper()
	var err error
	d.base, _, err = d.hub.Digests(d.ctx, []rule.ScopeID{"branch/1"})
	d.must(err)
}

func insert(id string, n int64, note string) change.Op {
	return change.Op{Table: "item", Kind: change.Insert, Key: change.Key{change.Text(id)}, Columns: []string{"id", "branch", "n", "note", "pic"},
		New: []change.Value{change.Text(id), change.Int(1), change.Int(n), change.Text(note), change.Null}}
}

func update(id, column string, base, now change.Value) change.Op {
	return change.Op{Table: "item", Kind: change.Update, Key: change.Key{change.Text(id)}, Columns: []string{column}, Base: []change.Value{base}, New: []change.Value{now}}
}

// push hands a transaction in, and demands a status.
func (d *device) push(want hub.Status, ops ...change.Op) change.TxID {
	d.t.Helper()
	id, err := change.NewTxID(rand.Reader)
	d.must(err)
	d.seq++
	for i := range ops {
		ops[i].Rows = []uint64{d.seq*100 + uint64(i)}
	}
	t := &change.Transaction{ID: id, Device: d.id, Incarnation: d.inc, Seq: d.seq, Prev: d.prev, Bases: []change.Cursor{d.base},
		HLC: change.NewHLC(d.clock.Now().UnixMilli(), uint16(d.seq)), Ops: ops}
	d.prev = t.Sum()
	res, err := d.hub.Push(d.ctx, d.id, []*change.Transaction{t})
	d.must(err)
	if len(res.Results) != 1 || hub.Status(res.Results[0].Status) != want {
		d.t.Fatalf("the push ended as %+v, want %s", res, want)
	}
	d.service.fleet.forget()
	return id
}

func req[T any](m *T) *connect.Request[T] { return connect.NewRequest(m) }
