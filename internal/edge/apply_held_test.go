package edge

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// TestSchema_FullFetchKeepsHeldColumns: work that is pending is taken off the table while
// everything is fetched anew, and comes back with the values that no operation has.
func TestSchema_FullFetchKeepsHeldColumns(t *testing.T) {
	b := shaped(t)
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT; INSERT INTO patient (id, branch, name, visits, email) VALUES ('q',1,'sent',0,'q@here')`)
	b.export()
	b.exec(`UPDATE patient SET name='twice' WHERE id='q'`)
	b.export()
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT`)
	b.serve(hub.Limits{})
	b.pruned()
	b.settled()
	b.fetched()
	b.want("SELECT email FROM patient WHERE id='q'", "'q@here'")
	b.atHub("SELECT email FROM patient WHERE id='q'", "'q@here'")
	b.agrees()
}

// TestSchema_ParkedRowKeepsHeldColumns: a row that waits at the hub has a value in a column
// that the hub did not have when it was handed in.
func TestSchema_ParkedRowKeepsHeldColumns(t *testing.T) {
	b := shaped(t)
	grantTo(t, b.hub, b.dev, rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Read | rule.Update})
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT DEFAULT 'none'; INSERT INTO patient (id, branch, name, visits, email) VALUES ('p',1,'parked',0,'p@here'), ('s',1,'start',0,'none')`)
	b.settled()
	if n := len(b.waiting()); n != 1 {
		t.Fatalf("%d parked", n)
	}
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT`)
	b.serve(hub.Limits{})
	b.settled()
	grantTo(t, b.hub, b.dev, rule.Grant{Scope: rule.ScopeAll, Verbs: rule.Every})
	b.retried()
	b.settled()
	b.want("SELECT id||coalesce(email,'') FROM patient WHERE id>'m' ORDER BY id", "'pp@here'\n's'")
	b.same("id||name||coalesce(email,'') AS line FROM patient", "id||name||coalesce(email,'') AS line FROM patient")
	b.agrees()
}

// TestTrapS18_UncapturedOnPendingRowSurvivesFullFetch: a row with work that the hub takes
// in only now was written without capture, too; everything is fetched anew before the
// comparison comes to it.
func TestTrapS18_UncapturedOnPendingRowSurvivesFullFetch(t *testing.T) {
	b := shaped(t)
	b.exec(`INSERT INTO patient (id, branch, name, visits) VALUES ('q',1,'sent',0)`)
	b.export()
	b.exec("PRAGMA foreign_keys=OFF;" + rebuild + `UPDATE patient SET name='uncaptured' WHERE id='q'`)
	b.pruned()
	b.settled()
	b.fetched()
	b.want("SELECT name FROM patient WHERE id='q'", "'uncaptured'")
	b.atHub("SELECT name FROM patient WHERE id='q'", "'uncaptured'")
	b.want("SELECT count(*) FROM _tidemark_rescue", "0")
	b.agrees()
}

// pruned makes the hub's log end after what the file has seen: it fetches everything anew.
func (b *branch) pruned() {
	b.t.Helper()
	b.atTheHub(`UPDATE visit SET note='First' WHERE id='v1'`)
	if _, err := b.store.Prune(context.Background(), b.clk.Now().Add(time.Hour)); err != nil {
		b.t.Fatal(err)
	}
}

// fetched makes sure that everything was fetched anew.
func (b *branch) fetched() {
	b.t.Helper()
	all, err := b.e.Events()
	if err != nil || !slices.ContainsFunc(all, func(e Event) bool { return e.Kind == EventAnew }) {
		b.t.Fatalf("%+v, %v", all, err)
	}
}

// TestSchema_FetchKeepsColumnsThatOnlyTheFileHas: the hub has no such column, and nobody
// knows when it will: what the application wrote there is in this file alone.
func TestSchema_FetchKeepsColumnsThatOnlyTheFileHas(t *testing.T) {
	b := shaped(t)
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT; INSERT INTO patient (id, branch, name, visits, email) VALUES ('q',1,'sent',0,'q@here')`)
	b.export()
	b.atTheHub(`INSERT INTO patient (id, branch, name, visits) VALUES ('r',1,'new',0)`)
	b.pruned()
	b.settled()
	b.fetched()
	b.want("SELECT email FROM patient WHERE id='q'", "'q@here'")
	b.agrees()
}

// TestSchema_EditBeforeTheColumnWasCompared: the application writes a column that the
// file has just got, before anybody looked what the hub has there. It has not seen that.
func TestSchema_EditBeforeTheColumnWasCompared(t *testing.T) {
	b := shaped(t)
	b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email='a@hub' WHERE id='a'`)
	b.serve(hub.Limits{})
	b.settled()
	b.exec(`ALTER TABLE patient ADD COLUMN email TEXT`)
	if _, err := b.e.CheckDrift(); err != nil {
		t.Fatal(err)
	}
	b.exec(`UPDATE patient SET email='a@here' WHERE id='a'`)
	b.export()
	b.settled()
	b.same("id||coalesce(email,'') AS line FROM patient", "id||coalesce(email,'') AS line FROM patient")
	list, err := b.hub.Receipts(t.Context(), hub.ReceiptFilter{Table: "patient"})
	if err != nil || len(list) == 0 || list[0].Hub != text("a@hub") || list[0].Edge != text("a@here") {
		t.Fatalf("%+v, %v", list, err) // the comparison that follows may leave a second one
	}
	b.agrees()
}
