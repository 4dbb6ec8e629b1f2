package edge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A reporter is what testing.T and rapid.T have in common.
type reporter interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// A clinic is an edge with an application, and a fake hub to talk to.
type clinic struct {
	t    reporter
	path string
	e    *Engine
	h    *fakeHub
	app  *sqlite.Conn
	clk  *clock.Manual
	line *line // the latest
	seed uint64
}

var testDevice = change.DeviceID{0xde, 0x71, 0xce}

var clinicDDL = []string{
	`CREATE TABLE patient (id TEXT PRIMARY KEY, branch INTEGER, name TEXT, visits INTEGER, card TEXT UNIQUE)`,
	`CREATE TABLE visit (id TEXT PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patient ON DELETE CASCADE, note TEXT)`,
}

func clinicSetup(t testing.TB, ddl ...string) *wire.Setup {
	t.Helper()
	if ddl == nil {
		ddl = clinicDDL
	}
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range ddl {
		if err := sqlite.Script(c, s); err != nil {
			t.Fatal(err)
		}
	}
	names, _, err := sqlite.TableNames(c)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := sqlite.Describe(c, names)
	if err != nil {
		t.Fatal(err)
	}
	s := &wire.Setup{Schema: schema, DDL: ddl, Hash: change.Hash{1}}
	for _, n := range names {
		r := rule.Table{Name: n, Scope: rule.Scope{All: true}}
		switch n {
		case "patient":
			r.Scope = rule.Scope{Kind: "branch", Column: "branch"}
			r.Columns = map[string]rule.Column{"visits": {Policy: rule.Counter}}
		case "visit":
			r.Scope = rule.Scope{Via: "patient_id"}
		}
		s.Rules.Tables = append(s.Rules.Tables, r)
	}
	return s
}

// newClinic makes an edge that is not enrolled yet.
func newClinic(t testing.TB, ddl ...string) *clinic {
	t.Helper()
	c := &clinic{t: t, path: filepath.Join(t.TempDir(), "app.db"), clk: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))}
	c.h = newFakeHub(t, clinicSetup(t, ddl...))
	c.open()
	t.Cleanup(c.close)
	return c
}

func (c *clinic) open() {
	c.t.Helper()
	c.seed++
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], c.seed) // all of it: two lives of a file must not draw alike
	key[8] = 77
	e, err := Open(Config{Path: c.path, Clock: c.clk, Rand: rand.NewChaCha8(key), NoSync: true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.e = e
	app, err := sqlite.Open(c.path, sqlite.Options{NoSync: true, Busy: -1})
	if err != nil {
		c.t.Fatal(err)
	}
	c.app = app
	c.exec("PRAGMA foreign_keys=ON")
}

func (c *clinic) close() {
	if c.line != nil {
		_ = c.line.s.Close()
	}
	if c.app != nil {
		_ = c.app.Close()
	}
	_ = c.e.Close()
	c.app = nil
}

// reopen is a crash of the agent and a restart of everything.
func (c *clinic) reopen() {
	c.t.Helper()
	c.close()
	c.open()
}

// enrolled makes a clinic that has synced once.
func enrolled(t testing.TB, ddl ...string) *clinic {
	t.Helper()
	c := newClinic(t, ddl...)
	c.dial().sync()
	return c
}

func (c *clinic) dial() *line {
	c.t.Helper()
	return c.dialAs(SessionConfig{})
}

func (c *clinic) dialAs(cfg SessionConfig) *line {
	c.t.Helper()
	if c.line != nil {
		_ = c.line.s.Close()
	}
	c.line = dial(c.t, c.e, c.h, cfg)
	return c.line
}

// exec is the application writing, one statement or several.
func (c *clinic) exec(sql string) {
	c.t.Helper()
	if err := c.try(sql); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

func (c *clinic) try(sql string) error {
	for sql = strings.TrimSpace(sql); sql != ""; sql = strings.TrimSpace(sql) {
		st, rest, err := c.app.PrepareTransient(sql)
		if err != nil {
			return err
		}
		sql = sql[len(sql)-rest:]
		if st == nil {
			continue
		}
		for more := true; more && err == nil; {
			more, err = st.Step()
		}
		if e := st.Finalize(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tx is the application writing one transaction.
func (c *clinic) tx(sql ...string) {
	c.t.Helper()
	c.exec("BEGIN; UPDATE _tidemark_tx SET id=id+1; " + strings.Join(sql, ";") + "; COMMIT")
}

func (c *clinic) export() {
	c.t.Helper()
	if _, err := c.e.Export(); err != nil {
		c.t.Fatal(err)
	}
}

// rows reads a query's result as text, one line a row.
func (c *clinic) rows(sql string) string {
	c.t.Helper()
	var out []string
	err := sqlite.Query(c.app, sql, func(s *sqlite.Stmt) error {
		var parts []string
		for i := range s.ColumnCount() {
			parts = append(parts, sqlite.Column(s, i).String())
		}
		out = append(out, strings.Join(parts, "|"))
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func (c *clinic) want(sql, want string) {
	c.t.Helper()
	if got := c.rows(sql); got != want {
		c.t.Fatalf("%s\n got %s\nwant %s", sql, got, want)
	}
}

// foreign checks that foreign keys hold in the file.
func (c *clinic) foreign() {
	c.t.Helper()
	c.want("PRAGMA foreign_key_check", "")
}

// agree checks that the hub's view of every table equals the hub (I2), and with
// quiet that the tables show it.
func (c *clinic) agree(quiet bool) {
	c.t.Helper()
	for i := range c.h.setup.Schema.Tables {
		name := c.h.setup.Schema.Tables[i].Name
		var hub change.Digest
		cols := c.h.setup.Schema.Tables[i].StoredNames()
		for _, row := range c.h.rows[name] {
			if c.h.readable(c.h.scope(name, row)) {
				hub.Add(c.h.key(name, row), change.HashRow(cols, row))
			}
		}
		own, err := c.e.Digest(name)
		if err != nil {
			c.t.Fatal(err)
		}
		if own.Rows != hub.Rows || own.Sums != hub.Sums {
			c.t.Fatalf("table %s: %d rows here, %d at the hub, sums equal: %v\n%s\nhub: %v", name, own.Rows, hub.Rows, own.Sums == hub.Sums,
				c.rows("SELECT * FROM "+name), c.h.rows[name])
		}
		if quiet {
			c.want("SELECT count(*) FROM "+name, fmt.Sprint(hub.Rows))
		}
	}
	if quiet {
		c.want("SELECT count(*) FROM _tidemark_shadow", "0")
		c.want("SELECT count(*) FROM _tidemark_pending", "0")
	}
	c.want("SELECT count(*) FROM _tidemark_applying", "0")
}

func text(s string) change.Value { return change.Text(s) }
func num(n int64) change.Value   { return change.Int(n) }

func (c *clinic) queue() []Queued {
	c.t.Helper()
	q, err := c.e.Queue(0, 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	return q
}

func (c *clinic) status() Status {
	c.t.Helper()
	st, err := c.e.Status()
	if err != nil {
		c.t.Fatal(err)
	}
	return st
}

// seedPatients puts n patients, each with a visit, into the hub.
func (c *clinic) seedPatients(n int) {
	for i := range n {
		id := fmt.Sprintf("p%04d", i)
		c.h.put("patient", text(id), num(int64(i%3)), text("name "+id), num(1), change.Null)
		c.h.put("visit", text("v"+id), text(id), text("first"))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
