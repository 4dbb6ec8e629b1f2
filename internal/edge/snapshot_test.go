package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cable"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A depot is a hub behind its real transport, over a link that can be cut.
type depot struct {
	t     *testing.T
	dir   string
	conn  *sqlite.Conn // another program's, to the hub's file
	store *sqlitestore.Store
	hub   *hub.Hub
	link  *cable.Link
	pin   change.Hash
	bend  func(*wire.SnapshotPart) // changes what the hub sends; may be nil
}

const depotSQL = `CREATE TABLE customer (id TEXT PRIMARY KEY, branch INTEGER NOT NULL, name TEXT NOT NULL, email TEXT UNIQUE, score REAL);
CREATE TABLE invoice (id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT NOT NULL REFERENCES customer(id), total, twice INTEGER AS (total * 2) VIRTUAL);
CREATE INDEX invoice_customer ON invoice (customer);
CREATE TABLE product (code TEXT COLLATE NOCASE PRIMARY KEY, label TEXT, picture BLOB) WITHOUT ROWID;
CREATE VIEW dear AS SELECT * FROM invoice WHERE total > 100;`

func depotRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "customer", Scope: rule.Scope{Kind: "branch", Column: "branch"}, Policy: rule.Latest},
		{Name: "invoice", Scope: rule.Scope{Via: "customer"}, Policy: rule.Latest, Keys: rule.KeysAppAssigned},
		{Name: "product", Scope: rule.Scope{All: true}, Policy: rule.Latest},
	}}
}

// newDepot serves rows customers in two branches, and more SQL.
func newDepot(t *testing.T, rows int, more string) *depot {
	t.Helper()
	w := &depot{t: t, dir: t.TempDir()}
	path := filepath.Join(w.dir, "hub.db")
	var err error
	if w.conn, err = sqlite.Open(path, sqlite.Options{WAL: true, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close() })
	w.sql(depotSQL + more + fmt.Sprintf(`
		WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO customer SELECT printf('c%%06d', i*7919 %% 1000003), 1 + i%%2,
			CASE i%%2 WHEN 0 THEN 'open' ELSE 'hushhush' END || hex(randomblob(20)), 'm' || i, i / 3.0 FROM n;
		INSERT INTO invoice (customer, total) SELECT id, CASE abs(random() %% 3) WHEN 0 THEN NULL WHEN 1 THEN 'x' ELSE 250 END FROM customer;
		INSERT INTO product VALUES ('Ab', 'eins', x'00ff'), ('c', '', x'');`, rows))
	if w.store, err = sqlitestore.Open(sqlitestore.Config{Path: path, Rules: depotRules(), Clock: clock.System{}, Rand: rand.Reader, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	if w.hub, err = hub.New(context.Background(), hub.Config{Store: w.store, Rules: depotRules(), DDL: w.store.DDL, Clock: clock.System{}, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	w.listen()
	return w
}

func (w *depot) listen() {
	id, err := transport.LoadOrCreateIdentity(filepath.Join(w.dir, "tls"), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	server, err := transport.NewServer(transport.ServerConfig{Identity: id, Core: w})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ctx, l) }()
	if w.link, err = cable.New(l.Addr().String()); err != nil {
		w.t.Fatal(err)
	}
	w.pin = id.Pin()
	w.t.Cleanup(func() { w.link.Close(); stop(); <-done })
}

// Authenticate implements transport.Core.
func (w *depot) Authenticate(ctx context.Context, fingerprint change.Hash) (change.DeviceID, error) {
	return w.hub.Authenticate(ctx, fingerprint)
}

// Join implements transport.Core.
func (w *depot) Join(ctx context.Context, secret string, spki []byte) (change.DeviceID, error) {
	id, _, err := w.hub.Join(ctx, secret, spki)
	return id, err
}

// Session implements transport.Core.
func (w *depot) Session(_ context.Context, device change.DeviceID) (wire.Peer, func(context.Context) error, error) {
	return bender{w.hub.NewSession(device), w}, nil, nil
}

// A bender damages what a hub sends.
type bender struct {
	*hub.Session
	w *depot
}

func (b bender) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	return b.Session.Receive(ctx, m, func(m wire.Message) error {
		if p, ok := m.(*wire.SnapshotPart); ok && b.w.bend != nil {
			b.w.bend(p)
		}
		return emit(m)
	})
}

func (w *depot) sql(text string) {
	w.t.Helper()
	if err := sqlite.Script(w.conn, text); err != nil {
		w.t.Fatal(err)
	}
}

// A till is a device of the depot.
type till struct {
	w      *depot
	path   string
	device change.DeviceID
	opts   transport.Options
}

func (w *depot) till(name string, scopes ...rule.ScopeID) *till {
	w.t.Helper()
	var grants []rule.Grant
	for _, s := range scopes {
		grants = append(grants, rule.Grant{Scope: s, Verbs: rule.Every})
	}
	inv, err := w.hub.AddDevice(context.Background(), name, grants, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := transport.NewKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	x := &till{w: w, path: filepath.Join(w.dir, name), opts: transport.Options{URL: "https://" + w.link.Addr(), Pin: w.pin, Key: key}}
	c, err := transport.NewClient(x.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	j, err := c.Join(context.Background(), inv.Secret, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	x.device = j.Device
	return x
}

func (x *till) config() Config {
	return Config{Path: x.path, Clock: clock.System{}, Rand: rand.Reader, NoSync: true}
}

var errRidden = errors.New("enough")

// A ride drives a peer until done says so.
type ride struct {
	*Download
	done func() bool
}

func (r ride) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	if err := r.Download.Receive(ctx, m, emit); err != nil {
		return err
	}
	if r.Done() || r.done != nil && r.done() {
		return errRidden
	}
	return nil
}

func (x *till) download() *Download {
	x.w.t.Helper()
	d, err := NewDownload(DownloadConfig{Config: x.config(), Device: x.device, Agent: "test"})
	if err != nil {
		x.w.t.Fatal(err)
	}
	return d
}

// fetch receives until everything is here, or done.
func (x *till) fetch(d *Download, done func() bool) error {
	err := transport.Dial(context.Background(), x.opts, ride{d, done})
	if errors.Is(err, errRidden) {
		return nil
	}
	if err == nil {
		err = errors.New("the hub ended the session")
	}
	return err
}

// fill makes the file by snapshot.
func (x *till) fill() *Engine {
	x.w.t.Helper()
	d := x.download()
	if err := x.fetch(d, nil); err != nil {
		x.w.t.Fatal(err)
	}
	if err := d.Install(); err != nil {
		x.w.t.Fatal(err)
	}
	return x.open()
}

func (x *till) open() *Engine {
	x.w.t.Helper()
	e, err := Open(x.config())
	if err != nil {
		x.w.t.Fatal(err)
	}
	x.w.t.Cleanup(func() { _ = e.Close() })
	return e
}

// sync runs a session until everything is settled, and compares digests.
func (x *till) sync(e *Engine) {
	x.w.t.Helper()
	s := NewSession(e, SessionConfig{Device: x.device, Once: true})
	defer func() { _ = s.Close() }()
	err := transport.Dial(context.Background(), x.opts, until{s})
	if !errors.Is(err, errRidden) {
		x.w.t.Fatalf("sync: %v", err)
	}
}

// until ends a session when everything is synced.
type until struct{ *Session }

func (u until) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	if err := u.Session.Receive(ctx, m, emit); err != nil {
		return err
	}
	if done, err := u.Synced(); err != nil || !done {
		return err
	}
	return errRidden
}

// same compares what a till holds with the hub's rows of its branches.
func (x *till) same(branches string) {
	x.w.t.Helper()
	c, err := sqlite.Open(x.path, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		x.w.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, q := range []string{
		"SELECT * FROM customer WHERE branch IN (" + branches + ") ORDER BY id",
		"SELECT * FROM invoice WHERE customer IN (SELECT id FROM customer WHERE branch IN (" + branches + ")) ORDER BY id",
		"SELECT * FROM product WHERE 1 ORDER BY code",
	} {
		want := dump(x.w.t, x.w.conn, q)
		all, _, _ := strings.Cut(q, " WHERE")
		if got := dump(x.w.t, c, all+" ORDER BY 1"); got != want {
			x.w.t.Fatalf("%s: %d bytes here, %d at the hub", q, len(got), len(want))
		}
	}
}

func dump(t *testing.T, c *sqlite.Conn, q string) string {
	t.Helper()
	var b strings.Builder
	err := sqlite.Query(c, q, func(s *sqlite.Stmt) error {
		for i := range s.ColumnCount() {
			fmt.Fprintf(&b, "%#v|", sqlite.Column(s, i))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSnapshotFillsAFreshPath(t *testing.T) {
	w := newDepot(t, 3000, "")
	x := w.till("a.db", "branch/1")
	e := x.fill()
	x.same("1")
	st, err := e.Status()
	if err != nil || !st.Complete || st.Device != x.device || st.Cursor.IsZero() || st.Rows != 3002 {
		t.Fatalf("%+v, %v", st, err)
	}
	if _, err := os.Stat(x.path + "-tidemark"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the staging is left: %v", err)
	}
	// The application writes, the hub moves on: an ordinary session goes on from here.
	if err := sqlite.Exec(e.conn, "UPDATE customer SET name = 'renamed here' WHERE id = (SELECT min(id) FROM customer)"); err != nil {
		t.Fatal(err)
	}
	w.sql("UPDATE customer SET name = 'renamed there' WHERE id = (SELECT max(id) FROM customer WHERE branch = 1); DELETE FROM product WHERE code = 'c'")
	x.sync(e)
	x.same("1")
	if got := dump(t, w.conn, "SELECT count(*) FROM customer WHERE name LIKE 'renamed%'"); !strings.Contains(got, "2") {
		t.Fatal(got)
	}
}

// The bytes of the file, and of what is sent, never held a row of another scope.
func TestSnapshotHoldsNothingOfOtherScopes(t *testing.T) {
	w := newDepot(t, 4000, "")
	w.sql("DELETE FROM customer WHERE rowid % 10 = 0") // leaves free pages at the hub
	x := w.till("a.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, nil); err != nil {
		t.Fatal(err)
	}
	open, err := d.box.unpack()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(open)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "open") || strings.Contains(string(raw), "hushhush") || strings.Contains(string(raw), "_tidemark") {
		t.Fatal("the snapshot holds another branch's rows, or the hub's own tables")
	}
	if err := d.Drop(); err != nil {
		t.Fatal(err)
	}
	y := w.till("b.db", "branch/2")
	y.fill()
	y.same("2")
	both := w.till("c.db", "branch/1", "branch/2")
	both.fill()
	both.same("1,2")
}
