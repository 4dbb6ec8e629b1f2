package edge

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func TestTrapS10_TransactionIdentity(t *testing.T) {
	c := capture(t, plain, "t")
	// Unaware: everything visible is one group, whatever the commits were.
	c.shell(`UPDATE t SET a=2 WHERE id='k'; UPDATE t SET a=3 WHERE id='l';`)
	txs := c.sync()
	if len(txs) != 1 || !txs[0].Unaware || len(txs[0].Ops) != 2 {
		t.Fatalf("unaware: %d transactions", len(txs))
	}
	// Aware: one statement at the start of each transaction keeps them apart.
	c.shell(`UPDATE t SET b='before' WHERE id='k';
BEGIN; UPDATE _tidemark_tx SET id=id+1; UPDATE t SET a=10 WHERE id='k'; INSERT INTO t VALUES ('m',1,'',NULL); COMMIT;
BEGIN; UPDATE _tidemark_tx SET id=id+1; COMMIT;
BEGIN; UPDATE _tidemark_tx SET id=id+1; UPDATE t SET a=11 WHERE id='k'; DELETE FROM t WHERE id='m'; COMMIT;`)
	txs = c.sync()
	if len(txs) != 3 {
		t.Fatalf("aware: %d transactions, want 3 (an empty one leaves none)", len(txs))
	}
	if !txs[0].Unaware || txs[1].Unaware || txs[2].Unaware {
		t.Error("which group was announced is wrong")
	}
	if got := opLine(&txs[1].Ops[1]); got != `insert t 'm': id='m' a=1 b='' u=NULL` {
		t.Errorf("the value between two transactions is lost: %s", got)
	}
	if got := opLine(&txs[2].Ops[0]); got != `update t 'k': a=11 (10)` {
		t.Errorf("second transaction: %s", got)
	}
	c.replays()
}

func TestExportChain(t *testing.T) {
	c := capture(t, plain, "t")
	if n, err := c.Export(); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	c.exec(`UPDATE t SET a=2 WHERE id='k'`)
	a := c.sync()[0]
	c.exec(`UPDATE t SET a=3 WHERE id='k'`)
	b := c.sync()[0]
	dev, inc := c.Identity()
	if a.Device != dev || a.Incarnation != inc || dev != deviceNo(1) {
		t.Error("identity")
	}
	if a.Seq != 1 || b.Seq != 2 || b.Prev != a.Sum() || b.HLC <= a.HLC || a.ID == b.ID {
		t.Error("chain")
	}
	if want := c.setup.Schema.Hash(); a.Schema != want {
		t.Errorf("schema %s, want %s", a.Schema, want)
	}
	if len(a.Ops[0].Rows) != 1 || len(a.Bases) != 1 || !a.Bases[0].IsZero() {
		t.Errorf("records %v, bases %v", a.Ops[0].Rows, a.Bases)
	}
	if few, err := c.Outbox(0, 1); err != nil || len(few) != 1 || few[0].Seq != 1 {
		t.Errorf("a small window gives %d transactions, want the first", len(few))
	}
	at, _, err := sqlite.One(c.conn, `SELECT at FROM _tidemark_outbox WHERE seq=1`)
	if err != nil || at.Int() != testDay.UnixMilli() || a.HLC.Millis() != testDay.UnixMilli() {
		t.Errorf("dated %d and %d: a change of the future counts as of now, %d", at.Int(), a.HLC.Millis(), testDay.UnixMilli())
	}
}

// A clock that jumps back must not make later work look older.
func TestExportHLCIsMonotone(t *testing.T) {
	if h := nextHLC(change.NewHLC(5000, 9), 4000); h != change.NewHLC(5000, 10) {
		t.Error(h)
	}
	if h := nextHLC(change.NewHLC(5000, 9), 6000); h != change.NewHLC(6000, 0) {
		t.Error(h)
	}
}

func TestTrapS24_ExportInsideTheApply(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=5 WHERE id='k'`)
	err := sqlite.Immediate(c.conn, func() error {
		// The application committed after a first export and before this transaction.
		n, err := c.export(testDay)
		if err != nil || n != 1 {
			t.Errorf("export inside apply: %d %v", n, err)
		}
		return sqlite.Script(c.conn, `INSERT INTO _tidemark_applying VALUES (1); UPDATE t SET a=99 WHERE id='k'; DELETE FROM _tidemark_applying`)
	})
	if err != nil {
		t.Fatal(err)
	}
	txs, err := c.Outbox(0, 1<<20)
	if err != nil || len(txs) != 1 || opLine(&txs[0].Ops[0]) != `update t 'k': a=5 (1)` {
		t.Fatalf("the hub's value was taken for the app's: %v %v", txs, err)
	}
	if n, err := c.Export(); n != 0 || err != nil {
		t.Errorf("export afterwards: %d %v", n, err)
	}
}

func TestTrapD22_CopiesExportUnderOneID(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=2 WHERE id='k'`)
	other := filepath.Join(t.TempDir(), "copy.db")
	c.shell("VACUUM INTO " + sqlite.Literal(other))
	cfg := config(other)
	cfg.Rand = &ones{}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	app := open(t, other)
	if err := sqlite.Script(app, `INSERT INTO t VALUES ('only','in','copy',NULL)`); err != nil {
		t.Fatal(err)
	}
	mine := c.sync()
	if _, err := e.Export(); err != nil {
		t.Fatal(err)
	}
	theirs, err := e.Outbox(0, 1<<20)
	if err != nil || len(theirs) != 1 {
		t.Fatal(len(theirs), err)
	}
	if mine[0].ID != theirs[0].ID {
		t.Error("two copies of one piece of work have two ids")
	}
	if mine[0].Content() == theirs[0].Content() {
		t.Error("different work has one content")
	}
	if a, b := mine[0].Ops[0].Rows, theirs[0].Ops[0].Rows; len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Errorf("the shared record has ids %v and %v", a, b)
	}
	// What comes after is each copy's own.
	c.exec(`UPDATE t SET a=3 WHERE id='k'`)
	if err := sqlite.Script(app, `UPDATE t SET a=3 WHERE id='k'`); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Export(); err != nil {
		t.Fatal(err)
	}
	more, err := e.Outbox(1, 1<<20)
	if err != nil || len(more) != 1 {
		t.Fatal(len(more), err)
	}
	if c.sync()[0].ID == more[0].ID {
		t.Error("later work of two copies shares an id")
	}
}

// What cancels out goes along with its events: the hub takes it off what a copy hands
// in that was made in between. A row that was never otherwise is left out.
func TestTrapD22_WhatCancelsOutIsTold(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=2 WHERE id='k'`)
	other := filepath.Join(t.TempDir(), "copy.db")
	c.shell("VACUUM INTO " + sqlite.Literal(other))
	c.exec(`UPDATE t SET a=1 WHERE id='k'; INSERT INTO t VALUES ('n',1,'',NULL); DELETE FROM t WHERE id='n';
		INSERT OR REPLACE INTO t VALUES ('l',2,'y','two'); INSERT OR REPLACE INTO t VALUES ('l',2,'y','two')`)
	e, err := Open(config(other))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Export(); err != nil {
		t.Fatal(err)
	}
	theirs, err := e.Outbox(0, 1<<20)
	if err != nil || len(theirs) != 1 {
		t.Fatal(len(theirs), err)
	}
	mine := c.sync()
	if len(mine) != 1 || mine[0].ID != theirs[0].ID {
		t.Fatalf("%+v", mine)
	}
	var got []string
	for _, op := range mine[0].Ops {
		if op.Kind != change.Update || len(op.Columns) > 0 || len(op.Rows) != 2 {
			t.Errorf("%s of events %v", opLine(&op), op.Rows)
		}
		got = append(got, op.Key.String())
	}
	if sorted(got) != sorted([]string{"'k'", "'n'"}) {
		t.Errorf("operations on %v", got)
	}
	if mine[0].Ops[0].Rows[0] != theirs[0].Ops[0].Rows[0] {
		t.Error("the shared record has two ids")
	}
}

// ones is a source of randomness that differs from config's.
type ones struct{ n byte }

func (o *ones) Read(p []byte) (int, error) {
	for i := range p {
		o.n++
		p[i] = o.n
	}
	return len(p), nil
}

// A column's base is what the author of its oldest unsettled edit had seen.
func TestExportBases(t *testing.T) {
	c := capture(t, plain, "t")
	at := func(token string) change.Cursor {
		cur := change.Cursor{Epoch: 7, Token: token}
		if err := c.setMeta(metaCursor, change.Text(cur.String())); err != nil {
			t.Fatal(err)
		}
		return cur
	}
	one := at("1.1")
	c.exec(`UPDATE t SET a=5 WHERE id='k'; DELETE FROM t WHERE id='l'`)
	c.sync()
	two := at("2.2")
	c.exec(`UPDATE t SET a=6, b='q' WHERE id='k'; INSERT INTO t VALUES ('l',0,'','new'),('m',0,'','m')`)
	tx := c.sync()[0]
	got := map[string]change.Cursor{}
	for i := range tx.Ops {
		got[opLine(&tx.Ops[i])] = tx.Bases[tx.Ops[i].BaseAt]
	}
	for line, want := range map[string]change.Cursor{
		`update t 'k': a=6 (5)`:                 one,
		`update t 'k': b='q' ('x')`:             two,
		`insert t 'l': id='l' a=0 b='' u='new'`: one,
		`insert t 'm': id='m' a=0 b='' u='m'`:   two,
	} {
		if b, ok := got[line]; !ok || b != want {
			t.Errorf("%s: base %v %v, want %v", line, b, ok, want)
		}
	}
	c.replays()
}

// The first pending work on a row keeps the hub's version; later work does not touch it.
func TestExportShadow(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=5 WHERE id='k'; INSERT INTO t VALUES ('m',1,'',NULL); DELETE FROM t WHERE id='l'`)
	c.sync()
	c.exec(`UPDATE t SET a=6, b='later'; INSERT INTO t VALUES ('n',1,'',NULL); DELETE FROM t WHERE id='n'`)
	c.sync()
	got := map[string]string{}
	err := sqlite.Query(c.conn, `SELECT key, row FROM _tidemark_shadow WHERE tbl='t'`, func(s *sqlite.Stmt) error {
		key, err := change.ParseKeyID(sqlite.Column(s, 0).Str())
		if err != nil {
			return err
		}
		got[key.String()] = "absent"
		if raw := sqlite.Column(s, 1); !raw.IsNull() {
			_, vals, err := change.DecodeRow([]byte(raw.Str()))
			if err != nil {
				return err
			}
			got[key.String()] = change.Key(vals).String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"'k'": "'k',1,'x','one'", "'l'": "'l',2,'y','two'", "'m'": "absent", "'n'": "absent"}
	if len(got) != len(want) {
		t.Errorf("shadows %v", got)
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("shadow of %s is %s, want %s", k, got[k], w)
		}
	}
}

func TestExportOps(t *testing.T) {
	c := capture(t, plain, "t")
	rows, err := c.readRow(c.tableNamed("T"), change.Key{change.Text("k")})
	if err != nil {
		t.Fatal(err)
	}
	ops := []change.Op{
		{Table: "t", Kind: change.Insert, Key: change.Key{change.Text("k")}, Columns: []string{"id", "a", "b", "u"}, New: rows},
		{Table: "t", Kind: change.Update, Key: change.Key{change.Text("l")}, Columns: []string{"a"}, New: rows[1:2], Base: rows[1:2]},
		{Table: "t", Kind: change.Delete, Key: change.Key{change.Text("z")}, Columns: []string{"id", "a", "b", "u"}, Base: rows},
	}
	err = sqlite.Immediate(c.conn, func() error {
		seq, err := c.exportOps(ops, true, testDay)
		if seq != 1 {
			t.Errorf("seq %d", seq)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	txs, err := c.Outbox(0, 1<<20)
	if err != nil || len(txs) != 1 || len(txs[0].Ops) != 3 || txs[0].HLC.Millis() != testDay.UnixMilli() {
		t.Fatal(txs, err)
	}
	n, _, err := sqlite.One(c.conn, `SELECT count(*) FROM _tidemark_shadow s JOIN _tidemark_pending p USING (tbl, key) WHERE (row IS NULL) = (length(key)=6 AND substr(key,6)=x'6b')`)
	if err != nil || n.Int() != 3 {
		t.Errorf("%v shadows fit, want 3; %v", n, err)
	}
	if _, err := c.exportOps([]change.Op{{Table: "nosuch"}}, true, testDay); err == nil {
		t.Error("an unknown table was accepted")
	}
}

func TestUnexported(t *testing.T) {
	c := capture(t, plain, "t")
	if n, at, err := c.unexported(); n != 0 || at != 0 || err != nil {
		t.Error(n, at, err)
	}
	c.exec(`UPDATE _tidemark_tx SET id=id+1; UPDATE t SET a=7`)
	c.cfg.Clock = clock.System{}
	n, at, err := c.unexported()
	now := (clock.System{}).Now().UnixMilli()
	if n != 2 || err != nil || at < now-60_000 || at > now+1000 {
		t.Error(n, at, err)
	}
}

// An export that fails half-way leaves the log as it was.
func TestExportRollsBack(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=7; DROP TABLE _tidemark_shadow`)
	if _, err := c.Export(); err == nil {
		t.Fatal("exported without a place for shadows")
	}
	if n, _, err := c.unexported(); n != 2 || err != nil {
		t.Errorf("the log holds %d records, want 2: %v", n, err)
	}
	if txs, err := c.Outbox(0, 1<<20); len(txs) != 0 || err != nil {
		t.Error(txs, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(Config{Path: "x"}); err == nil {
		t.Error("no clock")
	}
	bad := filepath.Join(t.TempDir(), "bad.db")
	if err := os.WriteFile(bad, []byte("this is not a database, whatever its name says, and long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(bad)); err == nil {
		t.Error("opened a text file")
	}
	c := capture(t, plain, "t")
	if err := c.setMeta(metaFormat, change.Int(99)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(c.path)); err == nil {
		t.Error("opened a newer layout")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error("second Close:", err)
	}
}

func TestReopenGoesOn(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET a=7 WHERE id='k'`)
	c.sync()
	_, inc := c.Identity()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.exec(`UPDATE t SET a=8 WHERE id='k'`)
	e, err := Open(config(c.path))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c.Engine = e
	if _, again := e.Identity(); again != inc || !e.Installed() || len(e.Setup().Schema.Tables) != 1 {
		t.Error("the file forgot who it is")
	}
	c.want(`update t 'k': a=8 (7)`)
}
