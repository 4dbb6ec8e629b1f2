package edge

import (
	"math/rand/v2"
	command "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A captured is an enrolled file, the engine beside it, and an application's own
// connection to it.
type captured struct {
	*Engine
	t     *testing.T
	path  string
	app   *sqlite.Conn
	setup *wire.Setup
	rep   *InstallReport
	start content
}

type fixedClock struct{ at time.Time }

func (c fixedClock) Now() time.Time { return c.at }

var testDay = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func deviceNo(n byte) change.DeviceID { return change.DeviceID{n, 15: n} }

func config(path string) Config {
	return Config{Path: path, Clock: fixedClock{testDay}, Rand: rand.NewChaCha8([32]byte{1}), NoSync: true}
}

// capture makes a file from the app's own SQL and enrols the named tables.
func capture(t *testing.T, sql string, tables ...string) *captured {
	t.Helper()
	c := &captured{t: t, path: filepath.Join(t.TempDir(), "app.db")}
	c.app = open(t, c.path)
	c.exec(sql)
	c.setup = setupOf(t, c.app, tables...)
	e, err := Open(config(c.path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c.Engine = e
	if c.rep, err = e.Install(c.setup, deviceNo(1), InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start = c.content()
	return c
}

func open(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.Open(path, sqlite.Options{NoSync: true, WAL: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// setupOf is the setup of a hub whose tables are exactly the file's.
func setupOf(t testing.TB, c *sqlite.Conn, tables ...string) *wire.Setup {
	t.Helper()
	schema, err := sqlite.Describe(c, tables)
	if err != nil {
		t.Fatal(err)
	}
	if len(schema.Tables) != len(tables) {
		t.Fatalf("described %d of %d tables", len(schema.Tables), len(tables))
	}
	s := &wire.Setup{Schema: schema}
	for _, n := range tables {
		err := sqlite.Query(c, `SELECT sql FROM sqlite_schema WHERE tbl_name=? AND type IN ('table','index') AND sql IS NOT NULL ORDER BY rowid`,
			func(st *sqlite.Stmt) error {
				s.DDL = append(s.DDL, st.ColumnText(0))
				return nil
			}, change.Text(n))
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (c *captured) exec(sql string) {
	c.t.Helper()
	if err := sqlite.Script(c.app, sql); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

// shell runs SQL in the C library's shell.
func (c *captured) shell(sql string) {
	c.t.Helper()
	cmd := command.Command("sqlite3", "-bail", c.path)
	cmd.Stdin = strings.NewReader(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("sqlite3: %v\n%s", err, out)
	}
}

// python runs a script with con as its connection.
func (c *captured) python(script string) {
	c.t.Helper()
	cmd := command.Command("python3", "-c", "import sqlite3,sys\ncon=sqlite3.connect(sys.argv[1])\n"+script, c.path)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("python3: %v\n%s", err, out)
	}
}

// sync exports and returns what was not in the outbox before.
func (c *captured) sync() []*change.Transaction {
	c.t.Helper()
	last := uint64(0)
	if all, err := c.Outbox(0, 1<<30); err != nil {
		c.t.Fatal(err)
	} else if len(all) > 0 {
		last = all[len(all)-1].Seq
	}
	n, err := c.Export()
	if err != nil {
		c.t.Fatal(err)
	}
	txs, err := c.Outbox(last, 1<<30)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(txs) != n {
		c.t.Fatalf("export said %d transactions, the outbox got %d", n, len(txs))
	}
	return txs
}

// ops is sync when one transaction is expected.
func (c *captured) ops() []change.Op {
	c.t.Helper()
	txs := c.sync()
	if len(txs) == 0 {
		return nil
	}
	if len(txs) > 1 {
		c.t.Fatalf("%d transactions, want one", len(txs))
	}
	return slices.DeleteFunc(txs[0].Ops, func(op change.Op) bool { return op.Kind == change.Update && len(op.Columns) == 0 })
}

// want exports and compares the one transaction's operations, in any order, with
// lines such as "insert t 1: a=2" (see opLine); none means no transaction.
func (c *captured) want(lines ...string) {
	c.t.Helper()
	var got []string
	for _, op := range c.ops() {
		got = append(got, opLine(&op))
	}
	if a, b := sorted(got), sorted(lines); a != b {
		c.t.Errorf("exported\n%s\nwant\n%s", a, b)
	}
	c.replays()
}

func sorted(lines []string) string {
	lines = append([]string(nil), lines...)
	for i := range lines {
		for j := i; j > 0 && lines[j] < lines[j-1]; j-- {
			lines[j], lines[j-1] = lines[j-1], lines[j]
		}
	}
	return strings.Join(lines, "\n")
}

// opLine writes an operation for people: "update t 1: a=2 (1)", with "~n" behind
// the key for half of a key change.
func opLine(op *change.Op) string {
	var b strings.Builder
	b.WriteString(op.Kind.String() + " " + op.Table + " " + op.Key.String())
	if op.Move != 0 {
		b.WriteString("~" + string(rune('0'+op.Move)))
	}
	b.WriteString(":")
	for i, n := range op.Columns {
		if op.Kind == change.Delete {
			b.WriteString(" " + n + "=" + op.Base[i].String())
			continue
		}
		b.WriteString(" " + n + "=" + op.New[i].String())
		if op.Kind == change.Update {
			b.WriteString(" (" + op.Base[i].String() + ")")
		}
	}
	return b.String()
}

// content is every synced row of a file: table → key → column → value.
type content map[string]map[string]map[string]change.Value

func (c *captured) content() content {
	c.t.Helper()
	out := content{}
	for i := range c.setup.Schema.Tables {
		tab := &c.setup.Schema.Tables[i]
		rows := map[string]map[string]change.Value{}
		names := tab.StoredNames()
		err := sqlite.Query(c.app, "SELECT "+sqlite.QuoteAll("", names)+" FROM "+sqlite.Quote(tab.Name), func(s *sqlite.Stmt) error {
			row := map[string]change.Value{}
			for i, n := range names {
				row[n] = sqlite.Column(s, i)
			}
			var key change.Key
			for _, k := range tab.KeyNames() {
				key = append(key, row[k])
			}
			rows[key.ID()] = row
			return nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		out[tab.Name] = rows
	}
	return out
}

// replays checks that the whole outbox, applied to the content at the start,
// gives the content now, and that every operation finds its base.
func (c *captured) replays() {
	c.t.Helper()
	if msg := c.replay(); msg != "" {
		c.t.Error(msg)
	}
}

func (c *captured) replay() string {
	txs, err := c.Outbox(0, 1<<30)
	if err != nil {
		return err.Error()
	}
	state := content{}
	for name, rows := range c.start {
		state[name] = map[string]map[string]change.Value{}
		for k, row := range rows {
			state[name][k] = clone(row)
		}
	}
	var prev change.Hash
	for i, tx := range txs {
		if tx.Seq != uint64(i+1) || tx.Prev != prev {
			return "chain broken at " + tx.ID.String()
		}
		prev = tx.Sum()
		for j := range tx.Ops {
			if msg := state.apply(&tx.Ops[j]); msg != "" {
				return msg + ": " + opLine(&tx.Ops[j])
			}
		}
	}
	now := c.content()
	for name, rows := range now {
		if len(rows) != len(state[name]) {
			return "replay has another number of rows in " + name
		}
		for k, row := range rows {
			for col, v := range row {
				if w := state[name][k][col]; w != v {
					return "replay differs in " + name + "." + col + ": " + w.String() + ", the file has " + v.String()
				}
			}
		}
	}
	return ""
}

func (s content) apply(op *change.Op) string {
	if op.Kind == change.Update && len(op.Columns) == 0 {
		return "" // it cancelled out
	}
	rows, key := s[op.Table], op.Key.ID()
	row, ok := rows[key]
	if ok == (op.Kind == change.Insert) {
		return "row presence does not fit"
	}
	for i, n := range op.Columns {
		if op.Kind != change.Insert && row[n] != op.Base[i] {
			return "base of " + n + " is " + op.Base[i].String() + ", the row has " + row[n].String()
		}
	}
	if op.Kind == change.Delete {
		delete(rows, key)
		return ""
	}
	if !ok {
		row = map[string]change.Value{}
		rows[key] = row
	}
	for i, n := range op.Columns {
		row[n] = op.New[i]
	}
	return ""
}

func clone(m map[string]change.Value) map[string]change.Value {
	out := make(map[string]change.Value, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func replace(s, old, new string) string { return strings.ReplaceAll(s, old, new) }

func zeros(n int) string { return strings.Repeat("0", n) }
