package edge

import (
	"context"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// atTheHub is any other program writing the hub's file.
func (b *branch) atTheHub(sql string) {
	b.t.Helper()
	conn, err := sqlite.Open(b.path, sqlite.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	if err := sqlite.Script(conn, sql); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// settled runs sessions until nothing waits any more and no gap is open.
func (b *branch) settled() {
	b.t.Helper()
	for range 6 {
		b.session()
		gaps, err := b.e.openGaps()
		if err != nil {
			b.t.Fatal(err)
		}
		quiet, err := b.e.quiet()
		if err != nil {
			b.t.Fatal(err)
		}
		if quiet && len(gaps) == 0 {
			return
		}
	}
	b.t.Fatal("the file does not come to rest")
}

// same compares a table here with the hub's, by the hub's columns.
func (b *branch) same(local, atHub string) {
	b.t.Helper()
	b.atHub("SELECT coalesce(group_concat(line, char(10)),'') FROM (SELECT "+atHub+" ORDER BY 1)",
		b.rows("SELECT coalesce(group_concat(line, char(10)),'') FROM (SELECT "+local+" ORDER BY 1)"))
}

func shaped(t *testing.T) *branch {
	t.Helper()
	b := newBranch(t, hub.Limits{})
	b.session()
	b.tx(`INSERT INTO patient VALUES ('a',1,'ann',1,'c1'),('b',1,'bob',2,'c2'),('c',2,'cy',3,NULL)`,
		`INSERT INTO visit VALUES ('v1','a','first'),('v2','b','second'),('v3','c','third')`)
	b.settled()
	return b
}

const rebuild = `CREATE TABLE new_patient (id TEXT PRIMARY KEY, branch INTEGER, name TEXT, visits INTEGER, card TEXT UNIQUE);
INSERT INTO new_patient SELECT * FROM patient; DROP TABLE patient; ALTER TABLE new_patient RENAME TO patient;`

// What was written while capture was missing is the application's work: it reaches
// the hub (I8), and nothing is overwritten.
func TestTrapS18_LostTriggersLoseNoWork(t *testing.T) {
	b := shaped(t)
	b.exec("PRAGMA foreign_keys=OFF; BEGIN;" + rebuild + `
UPDATE patient SET name='uncaptured' WHERE id='a';
DELETE FROM patient WHERE id='c'; INSERT INTO patient VALUES ('n',1,'new',0,NULL); COMMIT`)
	b.exec(`DELETE FROM visit WHERE id='v3'; UPDATE patient SET visits=9 WHERE id='a'`)
	b.settled()
	b.atHub("SELECT group_concat(id||':'||name||':'||visits) FROM (SELECT * FROM patient ORDER BY id)", "'a:uncaptured:9,b:bob:2,n:new:0'")
	b.same("id||name||visits||coalesce(card,'-') AS line FROM patient", "id||name||visits||coalesce(card,'-') AS line FROM patient")
	b.want("SELECT count(*) FROM _tidemark_rescue", "0")
	b.want("SELECT count(*) FROM _tidemark_shadow", "0")
	if d, err := b.e.CheckDrift(); err != nil || len(d.Gap) != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
}

// A row that the hub changed meanwhile wins, and what stood here is kept.
func TestTrapS18_LostTriggersKeepWhatGivesWay(t *testing.T) {
	b := shaped(t)
	b.atTheHub(`UPDATE patient SET name='at the hub' WHERE id='a'; DELETE FROM visit WHERE id='v2'`)
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + `UPDATE patient SET name='uncaptured' WHERE id='a'`)
	b.settled()
	b.want("SELECT name FROM patient WHERE id='a'", "'at the hub'")
	b.want("SELECT count(*) FROM visit WHERE id='v2'", "0")
	list, err := b.e.Rescues(0, 10)
	if err != nil || len(list) != 1 || list[0].Tx.Ops[0].New[2] != text("uncaptured") {
		t.Fatalf("%+v, %v", list, err)
	}
}

// A table that was made anew without its rows was not emptied by anybody.
func TestTrapS18_TableMadeAnewIsFilled(t *testing.T) {
	b := shaped(t)
	b.exec("PRAGMA foreign_keys=OFF; DROP TABLE visit; " + clinicDDL[1])
	b.settled()
	b.want("SELECT count(*) FROM visit", "3")
	b.atHub("SELECT count(*) FROM visit", "3")
}

// The hub had the column first: rows here get its values when the column comes.
func TestSchema_ColumnAtTheHubFirst(t *testing.T) {
	b := shaped(t)
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT DEFAULT 'none'; UPDATE patient SET email='ann@x' WHERE id='a'`)
	b.serve(hub.Limits{})
	b.settled()
	b.exec(`UPDATE patient SET name='Ann' WHERE id='a'; INSERT INTO patient VALUES ('d',1,'dan',0,NULL)`)
	b.settled()
	b.atHub("SELECT group_concat(id||':'||name||':'||email) FROM (SELECT * FROM patient ORDER BY id)", "'a:Ann:ann@x,b:bob:none,c:cy:none,d:dan:none'")
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='dan@here' WHERE id='d'`)
	b.settled()
	b.want("SELECT id, email FROM patient ORDER BY id", "'a'|'ann@x'\n'b'|'none'\n'c'|'none'\n'd'|'dan@here'")
	b.same("id||name||email AS line FROM patient", "id||name||email AS line FROM patient")
	b.agrees()
}

// The file had the column first: its values reach the hub when the hub has it.
func TestSchema_ColumnHereFirst(t *testing.T) {
	b := shaped(t)
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT DEFAULT ''; UPDATE patient SET email=id||'@here' WHERE id<>'c'`)
	b.settled()
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='c@hub' WHERE id='c'; UPDATE patient SET email='b@hub', name='Bob' WHERE id='b'`)
	b.serve(hub.Limits{})
	b.settled()
	b.want("SELECT id, email FROM patient ORDER BY id", "'a'|'a@here'\n'b'|'b@here'\n'c'|'c@hub'")
	b.want("SELECT name FROM patient WHERE id='b'", "'Bob'")
	b.same("id||name||email AS line FROM patient", "id||name||email AS line FROM patient")
	list, err := b.hub.Receipts(t.Context(), hub.ReceiptFilter{Table: "patient"})
	if err != nil || len(list) != 1 || list[0].Hub != text("b@hub") {
		t.Fatalf("%+v, %v", list, err) // both had set it: the policy decided, and says so
	}
	b.agrees()
}

// agrees compares everything with the hub, rows and digests.
func (b *branch) agrees() {
	b.t.Helper()
	_, sums, err := b.hub.Digests(context.Background(), []rule.ScopeID{rule.ScopeAll})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, want := range sums {
		own, err := b.e.Digest(want.Table)
		if err != nil {
			b.t.Fatal(err)
		}
		if own.Sums != want.Sums {
			b.t.Fatalf("table %s differs:\n%s", want.Table, b.rows("SELECT * FROM "+want.Table))
		}
	}
	b.want("SELECT count(*) FROM _tidemark_pending", "0")
	b.want("SELECT count(*) FROM _tidemark_shadow", "0")
}
