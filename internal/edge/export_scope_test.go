package edge

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// grantTo gives a device these grants, and no others.
func grantTo(t *testing.T, h *hub.Hub, dev change.DeviceID, list ...rule.Grant) {
	t.Helper()
	if err := h.SetGrants(t.Context(), dev, list); err != nil {
		t.Fatal(err)
	}
}

// branchGrants are for doing everything in some branches.
func branchGrants(branches ...int64) []rule.Grant {
	var list []rule.Grant
	for _, n := range branches {
		list = append(list, rule.Grant{Scope: rule.Of("branch", change.Int(n)), Verbs: rule.Every})
	}
	return list
}

// A row left the device's scopes and stays in its file for the sake of parked work. The
// device is told nothing more of it, so what it writes there next has seen nothing of
// what others wrote meanwhile, whatever its cursor says: the value that loses leaves a
// receipt (I7).
func TestTrapD15_EditOfARowThatLeftTheScopes(t *testing.T) {
	b := shaped(t)
	b.rules.Tables[0].Scope = rule.Scope{Kind: "branch", Column: "branch"}
	b.serve(hub.Limits{})
	grantTo(t, b.hub, b.dev, branchGrants(1, 2)...)
	b.settled()
	b.exec(`UPDATE patient SET name='mine' WHERE id='c'`)
	grantTo(t, b.hub, b.dev, branchGrants(1)...)
	b.settled()
	if n := len(b.waiting()); n != 1 {
		t.Fatalf("%d parked", n)
	}
	b.atTheHub(`UPDATE patient SET card='hub' WHERE id='c'`)
	b.settled()
	b.want("SELECT name||coalesce(card,'-') FROM patient WHERE id='c'", "'mine-'")
	b.exec(`UPDATE patient SET card='edge' WHERE id='c'`)
	grantTo(t, b.hub, b.dev, branchGrants(1, 2)...)
	if _, err := b.hub.Retry(t.Context(), b.waiting()[0].ID); err != nil {
		t.Fatal(err)
	}
	b.settled()
	list, err := b.hub.Receipts(t.Context(), hub.ReceiptFilter{Table: "patient"})
	if err != nil || len(list) != 1 || list[0].Column != "card" || list[0].Hub != change.Text("hub") || list[0].Edge != change.Text("edge") {
		t.Fatalf("%+v, %v", list, err)
	}
	b.atHub("SELECT name||card FROM patient WHERE id='c'", b.rows("SELECT name||card FROM patient WHERE id='c'"))
}

// A column came to the file that the hub had before, and was not compared yet. A delete
// takes the row whatever stands there at the hub (I3); a new key takes it along (I7).
func TestTrapD16_RemovalBeforeAColumnWasCompared(t *testing.T) {
	for name, pruned := range map[string]bool{"log": false, "below the floor": true} {
		t.Run(name, func(t *testing.T) {
			b := shaped(t)
			b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT; UPDATE patient SET email=id||'@hub'`)
			b.serve(hub.Limits{})
			b.exec(`INSERT INTO patient VALUES ('new',1,'x',0,NULL)`) // so that no delta goes past it
			b.settled()
			b.exec(`ALTER TABLE patient ADD COLUMN email TEXT`)
			b.exec(`DELETE FROM visit WHERE id<>'v1'; DELETE FROM patient WHERE id='c'; UPDATE patient SET id='z' WHERE id='b'`)
			if pruned {
				b.pruned()
			}
			b.settled()
			b.atHub("SELECT group_concat(id||coalesce(email,'-')) FROM (SELECT * FROM patient ORDER BY id)", "'aa@hub,new-,zb@hub'")
			b.want("SELECT group_concat(id||coalesce(email,'-')) FROM (SELECT * FROM patient ORDER BY id)", "'aa@hub,new-,zb@hub'")
		})
	}
}

// A scope was granted for a while, and the device never heard of it: what it wrote there
// is at the hub, and is not the device's to keep (I6).
func TestTrapD15_RowsOfAScopeThatWasGrantedForAWhile(t *testing.T) {
	b := shaped(t)
	b.rules.Tables[0].Scope = rule.Scope{Kind: "branch", Column: "branch"}
	b.serve(hub.Limits{})
	grantTo(t, b.hub, b.dev, branchGrants(1)...)
	b.settled()
	b.want("SELECT count(*) FROM patient WHERE branch<>1", "0")
	b.tx("INSERT INTO patient VALUES ('x', 2, 'Eve', 0, NULL)", "INSERT INTO visit VALUES ('vx', 'x', 'here')",
		"INSERT INTO patient VALUES ('y', 1, 'Eva', 0, NULL)", "INSERT INTO visit VALUES ('vy', 'y', 'there')")
	b.tx("UPDATE patient SET branch=2 WHERE id='a'")
	b.settled()
	grantTo(t, b.hub, b.dev, branchGrants(1, 2)...)
	for _, p := range b.waiting() {
		if _, err := b.hub.Retry(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.waiting()); n != 0 {
		t.Fatalf("%d parked", n)
	}
	grantTo(t, b.hub, b.dev, branchGrants(1)...)
	b.settled()
	b.want("SELECT group_concat(id) FROM (SELECT id FROM patient ORDER BY id)", "'b,y'")
	b.want("SELECT group_concat(id) FROM (SELECT id FROM visit ORDER BY id)", "'v2,vy'")
	b.atHub("SELECT group_concat(id) FROM (SELECT id FROM visit ORDER BY id)", "'v1,v2,v3,vx,vy'")
	b.want("SELECT count(*) FROM pragma_foreign_key_check", "0")
}
