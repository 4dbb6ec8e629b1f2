package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestReadsOnlyNamesWhatADeviceCannotWrite(t *testing.T) {
	tables := []rule.Table{
		{Name: "product", Scope: rule.Scope{All: true}},
		{Name: "branch", Scope: rule.Scope{All: true}, Reference: true},
		{Name: "sale", Scope: rule.Scope{Kind: "branch", Column: "branch_id"}},
	}
	for _, c := range []struct {
		grants []rule.Grant
		want   string
	}{
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Every}}, "product"},
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Read}}, ""},
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Every}, {Scope: rule.ScopeAll, Verbs: rule.Read}}, ""},
		{[]rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, ""},
	} {
		if got := strings.Join(readsOnly(tables, c.grants), " "); got != c.want {
			t.Errorf("grants %v: %q, want %q", c.grants, got, c.want)
		}
	}
}

func TestWhoActsAtTheMachineNamesThemselves(t *testing.T) {
	w := newWorld(t)
	w.admin()
	w.quarrel(2)
	here := w.service.Local()
	res, err := here.Conflicts.List(t.Context(), req(&pb.ListReceiptsRequest{}))
	w.must(err)
	list := res.Msg.GetReceipts()
	op := w.browser(w.person("Ben", people.Operator))
	op.refused("Conflicts/Undo", fmt.Sprintf(`{"id":%q,"by":"Ann"}`, list[0].GetId()), "invalid")
	op.refused("Conflicts/Accept", fmt.Sprintf(`{"ids":[%q],"by":"Ann"}`, list[0].GetId()), "invalid")
	undone, err := here.Conflicts.Undo(t.Context(), req(&pb.UndoRequest{Id: list[0].GetId(), By: "Ann"}))
	w.must(err)
	back, err := here.Conflicts.Get(t.Context(), req(&pb.GetReceiptRequest{Id: undone.Msg.GetUndone()}))
	w.must(err)
	if by := back.Msg.GetReceipt().GetBy(); by != "Ann" {
		t.Errorf("undone by %q", by)
	}
	_, err = here.Conflicts.Accept(t.Context(), req(&pb.AcceptRequest{Ids: []string{list[1].GetId()}, By: "Ann"}))
	w.must(err)
	if e := w.audit(); e.Who != Machine {
		t.Errorf("the audit says %q", e.Who)
	}
}

func TestAStartOfAnIDNamesADevice(t *testing.T) {
	w := newWorld(t)
	w.admin()
	op := w.browser(w.person("Ben", people.Operator))
	id := op.ok("Fleet/Add", `{"name":"north"}`)["device"].(map[string]any)["id"].(string)
	op.ok("Fleet/Add", `{"name":"south"}`)
	op.ok("Fleet/Add", `{"name":"south"}`)
	if got := op.ok("Fleet/Get", fmt.Sprintf(`{"id":%q}`, id[:12]))["device"].(map[string]any)["name"]; got != "north" {
		t.Errorf("%s is %v", id[:12], got)
	}
	op.refused("Fleet/Get", fmt.Sprintf(`{"id":%q}`, id[:3]), "no-such-device")
	op.refused("Fleet/Get", `{"id":"south"}`, "ambiguous")
}

func TestTheHubTellsOfItsLivesAndItsFilesLives(t *testing.T) {
	w := newWorld(t)
	w.admin()
	w.device("north")
	op := w.browser(w.person("Ben", people.Viewer))
	o := op.ok("Fleet/Overview", `{}`)
	lineage := o["lineage"].([]any)
	if len(lineage) != 1 || lineage[0].(map[string]any)["epoch"] != o["epoch"] || o["tables"] != float64(1) || o["cursor"] == "" || o["rollback"] != nil {
		t.Errorf("the overview is %v", o)
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	out := &pb.OverviewResponse{}
	addPast(out, &hub.Health{Rollback: &hub.Behind{At: at, Name: "north"}, Histories: hub.Histories{Restored: 2, Copied: 1}})
	if r := out.GetRollback(); r.GetDevice() != "north" || !r.GetAt().AsTime().Equal(at) || out.GetRestored() != 2 || out.GetCopied() != 1 {
		t.Errorf("%v", out)
	}
}

func TestSchemasAreToldInDetail(t *testing.T) {
	w := newWorld(t)
	w.admin()
	w.device("north")
	op := w.browser(w.person("Ben", people.Viewer))
	m := op.ok("Data/Schemas", `{}`)
	var tables []change.Table
	w.must(json.Unmarshal([]byte(m["tables"].(string)), &tables))
	if len(tables) != 1 || tables[0].Name != "item" || m["hub"] != w.hub.Setup().Schema.Hash().String() {
		t.Errorf("the hub's are %v", m)
	}
	uses := m["schemas"].([]any)[0].(map[string]any)
	if users := uses["users"].([]any); len(users) != 1 || users[0].(map[string]any)["name"] != "north" {
		t.Errorf("the devices' are %v", uses)
	}
	gate := op.ok("Data/Droppable", `{"table":"item","column":"note"}`)
	if gate["open"] != nil || gate["hub"] != true || gate["name"] != "item.note" {
		t.Errorf("the gate is %v", gate)
	}
	op.refused("Data/Droppable", `{}`, "invalid")
	op.refused("Data/Droppable", `{"table":"item","column":"fax"}`, "no-such-name")
	if m := op.ok("Data/Leases", `{}`); len(m) != 0 {
		t.Errorf("leases: %v", m)
	}
}

func TestLeasesAreToldWithNames(t *testing.T) {
	id := change.DeviceID{1}
	out := seriesOut(&hub.SeriesReport{Name: "invoice.no", Next: 121, Size: 20, Ranges: []hub.NumberGrant{{Device: id, Inc: change.Incarnation{2}, First: 101, Last: 120}},
		Left: []hub.NumberReport{{Device: id, Left: 7, Highest: 120}}}, map[change.DeviceID]string{id: "north"})
	if r := out.GetRanges()[0]; r.GetDeviceName() != "north" || r.GetFirst() != 101 || r.GetLast() != 120 || r.GetIncarnation() != (change.Incarnation{2}).String() {
		t.Errorf("%v", out)
	}
	if n := out.GetLeft()[0]; n.GetLeft() != 7 || n.GetHighest() != 120 || n.GetDeviceName() != "north" || out.GetNext() != 121 {
		t.Errorf("%v", out)
	}
}

func TestWhatIsParkedIsExported(t *testing.T) {
	w := newWorld(t)
	w.admin()
	d := w.device("north")
	d.push(hub.Applied, insert("a", 1, "x"))
	id := d.push(hub.Quarantined, insert("b", 1, "y"))
	op := w.browser(w.person("Ben", people.Viewer))
	raw, err := base64.StdEncoding.DecodeString(op.ok("Quarantine/Export", fmt.Sprintf(`{"id":%q}`, id))["json"].(string))
	w.must(err)
	var body hub.Detail
	w.must(json.Unmarshal(raw, &body))
	if body.Parked.ID != id || len(body.Tx.Ops) != 1 {
		t.Errorf("exported %s", raw)
	}
	op.refused("Quarantine/Export", `{"id":"x"}`, "no-such-transaction")
	op.refused("Quarantine/Export", fmt.Sprintf(`{"id":%q}`, change.TxID{9}), "no-such-transaction")
}

func TestTheAuditIsCheckedFromAfar(t *testing.T) {
	w := newWorld(t)
	w.admin()
	op := w.browser(w.person("Ben", people.Operator))
	op.ok("Fleet/Add", `{"name":"north"}`)
	n := op.ok("People/CheckAudit", `{}`)
	if n["entries"] != "1" || n["wrong"] != nil {
		t.Fatalf("whole: %v", n)
	}
	err := w.store.Update(t.Context(), func(tx hub.Tx) error {
		list, err := tx.Records("audit", "", "", 1)
		if err != nil {
			return err
		}
		return tx.PutRecord("audit", list[0].ID, []byte(strings.Replace(string(list[0].Body), `"action":"`, `"action":"X`, 1)))
	})
	w.must(err)
	if n := op.ok("People/CheckAudit", `{}`); !strings.Contains(n["wrong"].(string), "entry 1 of the audit was changed") {
		t.Errorf("changed: %v", n)
	}
}

func TestKeysGoThereAndBack(t *testing.T) {
	key := change.Key{change.Int(1), change.Text("a"), change.Null}
	for i, v := range Values(KeyOf(key).GetValues()) {
		if v != key[i] || Value(ValueOf(v)) != v {
			t.Errorf("%v became %v", key[i], v)
		}
	}
}

func TestGrantsSurviveMessages(t *testing.T) {
	list := []rule.Grant{{Scope: "all", Verbs: rule.Read}, {Scope: "branch/7", Verbs: rule.Every}, {Scope: "branch/8", Verbs: rule.Read | rule.Delete}, {Scope: "x/1", Verbs: rule.Read | rule.Insert | rule.Update}}
	got := Grants(GrantsOf(list))
	for i := range list {
		if got[i] != list[i] {
			t.Errorf("%v became %v", list[i], got[i])
		}
	}
}
