package edge

import (
	"testing"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

const plain = `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER, b TEXT, u TEXT UNIQUE);
INSERT INTO t VALUES ('k', 1, 'x', 'one'), ('l', 2, 'y', 'two');`

func TestCaptureOrdinary(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`INSERT INTO t VALUES ('m', 3, 'z', NULL)`)
	c.want(`insert t 'm': id='m' a=3 b='z' u=NULL`)
	c.exec(`UPDATE t SET b='xx', a=a WHERE id='k'`)
	c.want(`update t 'k': b='xx' ('x')`)
	c.exec(`DELETE FROM t WHERE id='l'`)
	c.want(`delete t 'l': id='l' a=2 b='y' u='two'`)
}

func TestCaptureNetEffect(t *testing.T) {
	for _, x := range []struct {
		name, sql string
		want      []string
	}{
		{"insert then update", `INSERT INTO t VALUES ('m',1,NULL,NULL); UPDATE t SET a=7 WHERE id='m'`, []string{`insert t 'm': id='m' a=7 b=NULL u=NULL`}},
		{"insert then delete", `INSERT INTO t VALUES ('m',1,NULL,NULL); DELETE FROM t WHERE id='m'`, nil},
		{"update and back", `UPDATE t SET a=9,b='q'; UPDATE t SET a=1,b='x' WHERE id='k'; UPDATE t SET a=2,b='y' WHERE id='l'`, nil},
		{"twice", `UPDATE t SET a=9 WHERE id='k'; UPDATE t SET a=10, b='q' WHERE id='k'`, []string{`update t 'k': a=10 (1) b='q' ('x')`}},
		{"delete then insert", `DELETE FROM t WHERE id='k'; INSERT INTO t VALUES ('k',5,'x','one')`, []string{`update t 'k': a=5 (1)`}},
		{"delete then insert the same", `DELETE FROM t WHERE id='k'; INSERT INTO t VALUES ('k',1,'x','one')`, nil},
		{"no change", `UPDATE t SET a=a, b=b`, nil},
		{"nothing at all", `BEGIN; COMMIT`, nil},
		{"rolled back", `BEGIN; UPDATE t SET a=5; ROLLBACK`, nil},
		{"to null and from null", `UPDATE t SET a=NULL, u=NULL WHERE id='k'`, []string{`update t 'k': a=NULL (1) u=NULL ('one')`}},
		{"upsert", `INSERT INTO t VALUES ('k',4,NULL,NULL) ON CONFLICT (id) DO UPDATE SET a=excluded.a`, []string{`update t 'k': a=4 (1)`}},
		{"upsert on unique", `INSERT INTO t VALUES ('z',4,NULL,'one') ON CONFLICT (u) DO UPDATE SET a=excluded.a`, []string{`update t 'k': a=4 (1)`}},
		{"nothing", `INSERT INTO t VALUES ('k',4,NULL,NULL) ON CONFLICT DO NOTHING`, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := capture(t, plain, "t")
			c.t = t
			c.shell(x.sql)
			c.want(x.want...)
		})
	}
}

func TestTrapS1_ReplaceDeletesSilently(t *testing.T) {
	for _, x := range []struct {
		name, sql string
		want      []string
	}{
		{"same key", `INSERT OR REPLACE INTO t VALUES ('k',5,'x','one')`, []string{`update t 'k': a=5 (1)`}},
		{"unique", `REPLACE INTO t VALUES ('m',5,'n','one')`, []string{`delete t 'k': id='k' a=1 b='x' u='one'`, `insert t 'm': id='m' a=5 b='n' u='one'`}},
		{"key and unique", `REPLACE INTO t VALUES ('k',5,'n','two')`, []string{`delete t 'l': id='l' a=2 b='y' u='two'`, `update t 'k': a=5 (1) b='n' ('x') u='two' ('one')`}},
		{"update or replace", `UPDATE OR REPLACE t SET u='two' WHERE id='k'`, []string{`delete t 'l': id='l' a=2 b='y' u='two'`, `update t 'k': u='two' ('one')`}},
		{"update or replace key", `UPDATE OR REPLACE t SET id='l' WHERE id='k'`, []string{`delete t 'k': id='k' a=1 b='x' u='one'`, `update t 'l': a=1 (2) b='x' ('y') u='one' ('two')`}},
		{"ignored", `INSERT OR IGNORE INTO t VALUES ('m',5,'n','one')`, nil},
		{"update ignored", `UPDATE OR IGNORE t SET u='two' WHERE id='k'`, nil},
		{"update key ignored", `UPDATE OR IGNORE t SET id='l' WHERE id='k'`, nil},
		{"replaced twice", `REPLACE INTO t VALUES ('m',5,'n','one'); REPLACE INTO t VALUES ('o',6,'n','one')`, []string{`delete t 'k': id='k' a=1 b='x' u='one'`, `insert t 'o': id='o' a=6 b='n' u='one'`}},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, recursive := range []string{"OFF", "ON"} {
				c := capture(t, plain, "t")
				c.t = t
				c.exec("PRAGMA recursive_triggers=" + recursive + ";" + x.sql)
				c.want(x.want...)
			}
		})
	}
}

func TestTrapS1_ReplaceOddIndexes(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT COLLATE NOCASE UNIQUE, live INT, slot INT, e TEXT, "x y" TEXT, g TEXT AS (upper("x y")) UNIQUE);
CREATE UNIQUE INDEX part ON t(slot) WHERE live=1;
CREATE UNIQUE INDEX expr ON t(lower(e) COLLATE NOCASE DESC, length("x y"));
INSERT INTO t(id,n,live,slot,e,"x y") VALUES (1,'Ann',1,10,'E1','p'),(2,'Bob',0,10,'E2','q'),(3,'Cy',1,30,'E3','r');`, "t")
	for _, sql := range []string{
		`REPLACE INTO t(n) VALUES ('ANN')`,                                             // NOCASE, key chosen by SQLite
		`UPDATE OR REPLACE t SET live=1 WHERE id=2`,                                    // enters the partial index
		`UPDATE OR REPLACE t SET slot=30 WHERE id=2`,                                   // collides in it
		`REPLACE INTO t(id,e,"x y") VALUES (9,'e2','z')`,                               // expression
		`UPDATE OR REPLACE t SET e='E9' WHERE id=9`,                                    //
		`REPLACE INTO t(id,"x y") VALUES (12,'Z')`,                                     // generated column
		`INSERT INTO t(id,n) VALUES (20,'dd'); REPLACE INTO t(n) VALUES ('DD'),('dD')`, // three generations
		`UPDATE OR REPLACE t SET rowid=20 WHERE id=12`,                                 // the key under another name
	} {
		c.exec(sql)
		c.sync()
		c.replays()
	}
}

func TestTrapS2_AppTriggersInAnyOrder(t *testing.T) {
	const table = `CREATE TABLE t (id %s, a INTEGER, b TEXT, n INTEGER DEFAULT 0);`
	const triggers = `
CREATE TRIGGER %[1]s_ai AFTER INSERT ON t BEGIN UPDATE t SET n=n+1, b=b||'!' WHERE id=NEW.id; END;
CREATE TRIGGER %[1]s_bu BEFORE UPDATE OF a ON t BEGIN UPDATE t SET n=n+10 WHERE id=OLD.id; END;
CREATE TRIGGER %[1]s_au AFTER UPDATE OF a ON t BEGIN UPDATE t SET n=n+100, b=b||'?' WHERE id=NEW.id; END;
CREATE TRIGGER %[1]s_bd BEFORE DELETE ON t BEGIN UPDATE t SET n=n+1000 WHERE id<>OLD.id; END;`
	for _, key := range []string{"INTEGER PRIMARY KEY", "TEXT PRIMARY KEY NOT NULL", "INTEGER PRIMARY KEY AUTOINCREMENT"} {
		c := capture(t, replace(table, "%s", key)+replace(triggers, "%[1]s", "early"), "t")
		c.exec(replace(triggers, "%[1]s", "late")) // after ours: SQLite runs these first
		if key == "TEXT PRIMARY KEY NOT NULL" {
			c.exec(`INSERT INTO t(id,a,b) VALUES ('1',1,'x'),('2',2,'y')`)
		} else {
			c.exec(`INSERT INTO t(a,b) VALUES (1,'x'),(2,'y')`)
		}
		c.sync()
		c.replays()
		c.exec(`UPDATE t SET a=a+1`)
		c.sync()
		c.replays()
		c.exec(`UPDATE t SET a=a+1; DELETE FROM t WHERE id='1'`)
		c.sync()
		c.replays()
	}
}

func TestTrapS3_BlobsNeverAbortTheWrite(t *testing.T) {
	c := capture(t, plain, "t")
	c.shell(`INSERT INTO t VALUES (x'00ff', x'deadbeef', zeroblob(300), x''); UPDATE t SET b=x'01' WHERE id='k'; UPDATE t SET b=x'01' WHERE id='k'`)
	c.want(`insert t x'00ff': id=x'00ff' a=x'deadbeef' b=x'`+zeros(600)+`' u=x''`, `update t 'k': b=x'01' ('x')`)
}

func TestTrapS4_ValuesBitForBit(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v, r REAL, n NUMERIC, s TEXT, i INTEGER, j JSON);`, "t")
	c.python(`
con.execute("insert into t values('a', 0.1+0.2, 1e308, 9007199254740993, 'nul'||char(0)||'in', -9223372036854775808, '')")
con.execute("insert into t values('b', 1, 5e-324, 1.5, '', 9223372036854775807, '0x')")
con.execute("insert into t values('c', 1.0, -0.0, 'abc', 'é', 'no number', x'00')")
con.commit()`)
	c.sync()
	c.replays()
	c.python(`
con.execute("update t set v=0.30000000000000004, s='nul'||char(0)||'out' where id='a'")
con.execute("update t set v=1.0 where id='b'")
con.execute("update t set v=1, n='12.50', j='{\"a\":1}' where id='c'")
con.execute("update t set j=0")
con.commit()`)
	txs := c.sync()
	c.replays()
	if len(txs) != 1 || len(txs[0].Ops) != 3 {
		t.Fatalf("%d transactions, want one of three operations: 1 and 1.0 differ", len(txs))
	}
}

func TestTrapS7_DeleteWithoutWhere(t *testing.T) {
	c := capture(t, plain, "t")
	c.shell(`DELETE FROM t`)
	c.want(`delete t 'k': id='k' a=1 b='x' u='one'`, `delete t 'l': id='l' a=2 b='y' u='two'`)
}

func TestTrapS8_KeyChangeIsAMove(t *testing.T) {
	c := capture(t, plain, "t")
	c.exec(`UPDATE t SET id='m', a=9 WHERE id='k'`)
	c.want(`delete t 'k'~1: id='k' a=1 b='x' u='one'`, `insert t 'm'~1: id='m' a=9 b='x' u='one'`)
	c.exec(`UPDATE t SET id='n' WHERE id='m'; UPDATE t SET id='o' WHERE id='n'; UPDATE t SET a=10 WHERE id='o'`)
	c.want(`delete t 'm'~1: id='m' a=9 b='x' u='one'`, `insert t 'o'~1: id='o' a=10 b='x' u='one'`)
	c.exec(`UPDATE t SET id='tmp' WHERE id='o'; UPDATE t SET id='o' WHERE id='l'; UPDATE t SET id='l' WHERE id='tmp'`)
	if ops := c.ops(); len(ops) != 2 || ops[0].Move != 0 {
		t.Errorf("swapped keys: %d operations, want two plain updates", len(ops))
	}
	c.replays()
	c.exec(`UPDATE t SET id=id||'.'`)
	if ops := c.ops(); len(ops) != 4 {
		t.Errorf("%d operations, want two moves", len(ops))
	}
	c.replays()
}

func TestTrapS9_OddTables(t *testing.T) {
	c := capture(t, `
CREATE TABLE "select from" ("the ""key""" TEXT, "group" INT, [x y] BLOB, PRIMARY KEY ("group", "the ""key""")) WITHOUT ROWID;
CREATE TABLE Gen (id INTEGER PRIMARY KEY, a INT, twice INT GENERATED ALWAYS AS (a*2) STORED, thrice INT AS (a*3), b ANY) STRICT;
CREATE TABLE anykey (k PRIMARY KEY NOT NULL, v);
CREATE TABLE nc (k TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, v);
CREATE TABLE computed (k TEXT PRIMARY KEY NOT NULL DEFAULT (hex(randomblob(8))), v);`,
		"Gen", "anykey", "computed", "nc", "select from")
	c.shell(`
INSERT INTO "select from" VALUES ('a',1,x'01'),('a',2,NULL),('b',1,'text');
UPDATE "select from" SET [x y]=3 WHERE "group"=1;
REPLACE INTO "select from" VALUES ('a',1,NULL);
UPDATE "select from" SET "group"=7 WHERE "the ""key"""='b';
INSERT INTO Gen(a,b) VALUES (1,'one'),(2,2.5); UPDATE Gen SET a=5,b=b WHERE id=1; UPDATE Gen SET b='2' WHERE id=2;
INSERT INTO anykey VALUES (1,1),('1',2),(x'31',3); REPLACE INTO anykey VALUES (1.0,4); UPDATE anykey SET k=2.0 WHERE k='1';
INSERT INTO nc VALUES ('a',1); REPLACE INTO nc VALUES ('A',2); UPDATE nc SET k='a'; INSERT OR IGNORE INTO nc VALUES ('A',9);
INSERT INTO computed(v) VALUES (1),(2); UPDATE computed SET v=v+1;`)
	c.sync()
	c.replays()
	c.shell(`UPDATE anykey SET k=1 WHERE k=1.0; UPDATE nc SET k='A'; DELETE FROM Gen WHERE id=2; DELETE FROM "select from" WHERE "group"=2;`)
	c.sync()
	c.replays()
}

func TestTrapS9_NullKeys(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id TEXT PRIMARY KEY, a); INSERT INTO t VALUES ('x',1)`, "t")
	c.exec(`INSERT INTO t VALUES (NULL, 1), ('k', 2); UPDATE t SET a=a+1; DELETE FROM t WHERE id IS NULL`)
	c.want(`insert t 'k': id='k' a=3`, `update t 'x': a=2 (1)`)
}

func TestTrapS16_OuterConflictClause(t *testing.T) {
	c := capture(t, plain, "t")
	for _, or := range []string{"IGNORE", "REPLACE", "ABORT", "FAIL", "ROLLBACK"} {
		c.shell(`BEGIN; INSERT OR ` + or + ` INTO t VALUES ('` + or + `',1,'x',NULL); UPDATE OR ` + or + ` t SET a=a+1; COMMIT`)
		c.exec(`DELETE FROM t WHERE id='` + or + `'`)
	}
	c.sync()
	c.replays()
	c.exec(`UPDATE OR IGNORE t SET a=a+1; INSERT OR IGNORE INTO t VALUES ('p',1,'x',NULL),('p',2,'x',NULL)`)
	if n := len(c.ops()); n != 3 {
		t.Errorf("%d operations, want 3", n)
	}
	c.replays()
}

func TestTrapS17_CaseOnlyChange(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id TEXT PRIMARY KEY COLLATE NOCASE NOT NULL, n TEXT COLLATE NOCASE, r TEXT COLLATE RTRIM, d COLLATE NOCASE); INSERT INTO t VALUES ('k','a','x','e')`, "t")
	c.exec(`UPDATE t SET n='A', r='x  ', d='E'`)
	c.want(`update t 'k': n='A' ('a') r='x  ' ('x') d='E' ('e')`)
	c.exec(`UPDATE t SET id='K'`)
	c.want(`delete t 'k'~1: id='k' n='A' r='x  ' d='E'`, `insert t 'K'~1: id='K' n='A' r='x  ' d='E'`)
}

func TestTrapD1_FlagMutesCapture(t *testing.T) {
	c := capture(t, plain, "t")
	err := sqlite.Immediate(c.conn, func() error {
		return sqlite.Script(c.conn, `INSERT INTO _tidemark_applying VALUES (1);
UPDATE t SET a=100; INSERT INTO t VALUES ('z',1,1,1); DELETE FROM t WHERE id='l'; REPLACE INTO t VALUES ('k',1,1,1);
DELETE FROM _tidemark_applying`)
	})
	if err != nil {
		t.Fatal(err)
	}
	if txs := c.sync(); len(txs) != 0 {
		t.Fatalf("captured its own writes: %d transactions", len(txs))
	}
	c.exec(`UPDATE t SET a=7 WHERE id='k'`)
	if n := len(c.ops()); n != 1 {
		t.Fatalf("%d operations after an apply, want 1", n)
	}
}

func TestTrapS22_RollbackJournal(t *testing.T) {
	c := capture(t, plain, "t")
	if err := c.app.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.shell(`PRAGMA journal_mode=DELETE`)
	var err error
	if c.Engine, err = Open(config(c.path)); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.shell(`UPDATE t SET a=5 WHERE id='k'`)
	if c.app, err = sqlite.Open(c.path, sqlite.Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	defer c.app.Close()
	c.want(`update t 'k': a=5 (1)`)
}

func TestCaptureKeepsLastInsertRowid(t *testing.T) {
	c := capture(t, `CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)`, "t")
	c.python(`
cur=con.execute("insert into t(a) values (5)")
assert cur.lastrowid==1 and cur.rowcount==1, (cur.lastrowid, cur.rowcount)
cur=con.execute("update t set a=a+1")
assert cur.rowcount==1
con.commit()`)
	c.want(`insert t 1: id=1 a=6`)
}

// A column whose type in the file is another than at the hub may hold what marks a
// value that was left alone.
func TestTrapS18_TypeOfItsOwn(t *testing.T) {
	c := capture(t, plain, "t")
	c.shell(`UPDATE t SET b='0', a=5 WHERE id='k'; BEGIN; CREATE TABLE n (id TEXT PRIMARY KEY NOT NULL, a TEXT, b INTEGER, u);
INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t; COMMIT`)
	want := func(line string) {
		t.Helper()
		if _, err := c.Export(); err != nil {
			t.Fatal(err)
		}
		all, err := c.Outbox(0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got := opLine(&all[len(all)-1].Ops[0]); got != line {
			t.Errorf("got %s, want %s", got, line)
		}
	}
	want(`update t 'k': a='5' (1) b=0 ('x')`) // written by the old triggers, and read as they meant it
	c.exec(`UPDATE t SET b=7 WHERE id='k'`)
	want(`update t 'k': b=7 (0)`)
	c.exec(`UPDATE t SET u=x'00', a='0' WHERE id='k'`)
	want(`update t 'k': a='0' ('5') u=x'00' ('one')`)
	c.exec(`UPDATE t SET a=NULL, b='0' WHERE id='k'`)
	want(`update t 'k': a=NULL ('0') b=0 (7)`)
}
