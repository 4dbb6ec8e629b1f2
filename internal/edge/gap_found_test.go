package edge

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// The hub renames a column that is still to be compared: the gap goes by the new name,
// and closes.
func TestSchema_ColumnRenamedWhileItIsToBeCompared(t *testing.T) {
	b := shaped(t)
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='b@hub' WHERE id='b'`)
	b.serve(hub.Limits{})
	b.settled()
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='a@here' WHERE id='a'`)
	if _, err := b.e.CheckDrift(); err != nil {
		t.Fatal(err)
	}
	b.atTheHub(`ALTER TABLE patient RENAME COLUMN email TO mail; UPDATE patient SET name='moved' WHERE id='a'`)
	b.rules.Tables[0].Columns = map[string]rule.Column{"mail": {Was: []string{"email"}}}
	b.serve(hub.Limits{})
	b.settled()
	if all, err := b.e.gaps(); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	b.same("id||name||coalesce(email,'') AS line FROM patient", "id||name||coalesce(mail,'') AS line FROM patient")
	b.atHub("SELECT group_concat(id||coalesce(mail,'-')) FROM (SELECT * FROM patient ORDER BY id)", "'aa@here,bb@hub,c-'")
	b.agrees()
}

// The hub's value came while work on the column waited there, and was hidden by it:
// whoever wrote the column without capture has not seen it either.
func TestTrapS18_UncapturedOnPendingRowHasSeenNoMore(t *testing.T) {
	b := shaped(t)
	grantTo(t, b.hub, b.dev, rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Read})
	b.exec(`UPDATE patient SET name='mine' WHERE id='a'`)
	b.session()
	if n := len(b.waiting()); n != 1 {
		t.Fatalf("%d parked", n)
	}
	b.atTheHub(`UPDATE patient SET name='hub' WHERE id='a'`)
	b.session() // the hub's value comes, beneath the work
	b.want("SELECT name FROM patient WHERE id='a'", "'mine'")
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + `UPDATE patient SET name='uncaptured', visits=5 WHERE id='a'`)
	b.session()
	b.want("SELECT name FROM patient WHERE id='a'", "'uncaptured'")
	grantTo(t, b.hub, b.dev, rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Every})
	b.retried()
	b.settled()
	b.same("id||name||visits AS line FROM patient", "id||name||visits AS line FROM patient")
	list, err := b.hub.Receipts(t.Context(), hub.ReceiptFilter{Table: "patient"})
	told := false
	for _, r := range list {
		told = told || r.Edge == text("uncaptured")
	}
	if err != nil || !told {
		t.Errorf("I7: no receipt tells of the edit nobody captured: %+v, %v", list, err)
	}
	b.atHub("SELECT name||visits FROM patient WHERE id='a'", "'hub5'")
	b.agrees()
}

// A row with pending work was deleted without capture, and another inserted again.
func TestTrapS18_UncapturedDeleteOfPendingRow(t *testing.T) {
	b := shaped(t)
	b.exec(`INSERT INTO patient VALUES ('q',1,'sent',0,NULL); INSERT INTO visit VALUES ('vq','q','sent'); UPDATE patient SET name='Cy' WHERE id='c'; DELETE FROM patient WHERE id='b'`)
	b.export()
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + strings.ReplaceAll(strings.ReplaceAll(rebuild, "patient", "visit"), "branch INTEGER, name TEXT, visits INTEGER, card TEXT UNIQUE", "patient_id TEXT NOT NULL REFERENCES patient ON DELETE CASCADE, note TEXT") + `
DELETE FROM patient WHERE id='q'; DELETE FROM visit WHERE id='vq'; INSERT INTO patient VALUES ('b',2,'again',9,'c2')`)
	b.settled()
	b.want("SELECT group_concat(id||name) FROM (SELECT * FROM patient ORDER BY id)", "'aann,bagain,cCy'")
	b.same("id||name||visits||coalesce(card,'-') AS line FROM patient", "id||name||visits||coalesce(card,'-') AS line FROM patient")
	b.want("SELECT count(*) FROM visit WHERE id='vq'", "0")
	if n := len(b.waiting()); n != 0 {
		t.Errorf("%d parked", n)
	}
	b.agrees()
}

// The hub serves a table no more, and again later: what was written to it here meanwhile
// gives way, is kept, and an event says so.
func TestSchema_TableBackAtTheHub(t *testing.T) {
	b := shaped(t)
	all := b.rules.Tables
	b.rules.Tables = all[:1]
	b.serve(hub.Limits{})
	b.settled()
	b.exec(`UPDATE visit SET note='mine' WHERE id='v1'; INSERT INTO visit VALUES ('new','a','mine'); DELETE FROM visit WHERE id='v3'`)
	b.settled()
	b.rules.Tables = all
	b.serve(hub.Limits{})
	b.settled()
	b.want("SELECT group_concat(id||note) FROM (SELECT * FROM visit ORDER BY id)", "'v1first,v2second,v3third'")
	b.want("SELECT count(*) FROM _tidemark_rescue", "2")
	list, err := b.e.Events()
	if err != nil || len(list) == 0 {
		t.Fatal(err)
	}
	n := 0
	for _, e := range list {
		if e.Kind == EventKept && strings.HasPrefix(e.Detail, "2 rows of visit ") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("events %+v", list)
	}
	b.agrees()
}
