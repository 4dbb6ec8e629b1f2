package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
)

const xss = `<img src=x onerror=alert(1)>"'&`

// quarrel has two devices write one value: the hub's stays.
func (w *world) quarrel(n int) {
	w.t.Helper()
	a, b := w.device("north"), w.device("south")
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		a.see()
		a.push(hub.Applied, insert(id, int64(i), "first"))
		a.see()
		b.see()
		a.push(hub.Applied, update(id, "note", change.Text("first"), change.Text(xss)))
		b.push(hub.Merged, update(id, "note", change.Text("first"), change.Text("south's")))
	}
}

func TestConflictsAreLookedAtUndoneAndAccepted(t *testing.T) {
	w := newWorld(t)
	w.admin()
	op := w.browser(w.person("Ben", people.Operator))
	w.quarrel(3)
	page := op.ok("Conflicts/List", `{"page":{"pageSize":2},"table":"item"}`)
	list := page["receipts"].([]any)
	r := list[0].(map[string]any)
	if len(list) != 2 || page["nextPageToken"] == nil || r["winner"] != "hub" || r["winnerName"] != "north" || r["loserName"] != "south" ||
		r["result"].(map[string]any)["text"] != xss || r["state"] != "RECEIPT_STATE_NEW" {
		t.Fatalf("the list is %v", page)
	}
	rest := op.ok("Conflicts/List", fmt.Sprintf(`{"page":{"pageSize":2,"pageToken":%q},"device":"south"}`, page["nextPageToken"]))
	last := rest["receipts"].([]any)[0].(map[string]any)
	id := r["id"].(string)
	one := op.ok("Conflicts/Get", fmt.Sprintf(`{"id":%q}`, id))
	if len(one["now"].([]any)) != 5 || len(one["columns"].([]any)) != 5 || one["others"] != nil {
		t.Errorf("one is %v", one)
	}
	undone := op.ok("Conflicts/Undo", fmt.Sprintf(`{"id":%q}`, id))
	if undone["state"] != "RECEIPT_STATE_UNDONE" || undone["undone"] == nil {
		t.Errorf("undone is %v", undone)
	}
	if e := w.audit(); e.Subject != id || e.Before == "" || e.After == "" || e.Before == e.After {
		t.Errorf("put down as %+v", e)
	}
	op.refused("Conflicts/Undo", fmt.Sprintf(`{"id":%q}`, id), "already-undone")
	if one = op.ok("Conflicts/Get", fmt.Sprintf(`{"id":%q}`, id)); len(one["others"].([]any)) != 1 || one["now"].([]any)[3].(map[string]any)["text"] != "south's" {
		t.Errorf("afterwards it is %v", one)
	}
	if n := op.ok("Conflicts/Accept", fmt.Sprintf(`{"ids":[%q,%q],"note":"seen"}`, last["id"], list[1].(map[string]any)["id"])); n["accepted"] != 2.0 {
		t.Errorf("accepted %v", n)
	}
	op.refused("Conflicts/Accept", `{}`, "invalid")
	op.refused("Conflicts/Accept", `{"ids":["x"]}`, "no-such-receipt")
	op.refused("Conflicts/Get", `{"id":"x"}`, "no-such-receipt")
	op.refused("Conflicts/Undo", `{"id":"x"}`, "no-such-receipt")
	op.refused("Conflicts/List", `{"device":"nobody"}`, "no-such-device")
	oldest := op.ok("Conflicts/List", `{"oldestFirst":true,"page":{"pageSize":1}}`)
	second := op.ok("Conflicts/List", fmt.Sprintf(`{"oldestFirst":true,"page":{"pageSize":1,"pageToken":%q}}`, oldest["nextPageToken"]))
	first := oldest["receipts"].([]any)[0].(map[string]any)["id"]
	after := op.ok("Conflicts/List", fmt.Sprintf(`{"oldestFirst":true,"page":{"pageSize":1},"after":%q}`, first))
	if a, b := second["receipts"].([]any)[0].(map[string]any)["id"], after["receipts"].([]any)[0].(map[string]any)["id"]; a != b || a == first {
		t.Errorf("oldest first: %v, then %v and %v", first, a, b)
	}
	if l, _ := op.ok("Conflicts/List", `{"state":"RECEIPT_STATE_ACCEPTED"}`)["receipts"].([]any); len(l) != 3 || l[0].(map[string]any)["kind"] != "undo" || l[1].(map[string]any)["by"] != "Ben" || l[1].(map[string]any)["note"] != "seen" {
		t.Errorf("accepted are %v", l)
	}
	if w := op.ok("Conflicts/WhatIf", `{"table":"item","column":"note","policy":"edge"}`); w["lookedAt"] != 3.0 || w["differ"] == nil || w["cases"].([]any)[0].(map[string]any)["winner"] != "edge" {
		t.Errorf("what if: %v", w)
	}
	if w := op.ok("Conflicts/WhatIf", `{"table":"item","policy":"manual","last":2}`); w["wouldWait"] != 2.0 {
		t.Errorf("what if: %v", w)
	}
	op.refused("Conflicts/WhatIf", `{"table":"item","policy":"coin"}`, "invalid")
	op.refused("Conflicts/WhatIf", `{"table":"moon","policy":"hub"}`, "invalid")
}

func TestUndoOfWhatIsGoneIsRefused(t *testing.T) {
	w := newWorld(t)
	w.admin()
	w.quarrel(1)
	d := w.device("east")
	row := insert("r0", 0, xss)
	d.push(hub.Applied, change.Op{Table: "item", Kind: change.Delete, Key: row.Key, Columns: row.Columns, Base: row.New})
	op := w.script(people.Operator)
	id := op.ok("Conflicts/List", "{}")["receipts"].([]any)[0].(map[string]any)["id"]
	if one := op.ok("Conflicts/Get", fmt.Sprintf(`{"id":%q}`, id)); one["now"] != nil {
		t.Errorf("the row is there: %v", one)
	}
	op.refused("Conflicts/Undo", fmt.Sprintf(`{"id":%q}`, id), "missing")
}

func TestQuarantineIsMended(t *testing.T) {
	w := newWorld(t)
	w.admin()
	op := w.browser(w.person("Ben", people.Operator))
	d := w.device("till")
	d.push(hub.Applied, insert("a", 1, "x"))
	first := d.push(hub.Quarantined, insert("b", 1, xss), insert("c", 3, "y"), insert("d", 4, "z"))
	second := d.push(hub.Quarantined, update("b", "note", change.Text(xss), change.Text("later")))
	other := w.device("other")
	third := other.push(hub.Quarantined, insert("e", 1, "e"))
	list := op.ok("Quarantine/List", `{"page":{"pageSize":2}}`)
	if list["total"] != 3.0 || len(list["parked"].([]any)) != 2 {
		t.Fatalf("the list is %v", list)
	}
	rest := op.ok("Quarantine/List", fmt.Sprintf(`{"page":{"pageSize":2,"pageToken":%q}}`, list["nextPageToken"]))
	if len(rest["parked"].([]any)) != 1 || rest["nextPageToken"] != nil {
		t.Errorf("the rest is %v", rest)
	}
	for body, want := range map[string]float64{`{"device":"till"}`: 2, `{"code":"depends"}`: 1, `{"search":"ITEM till"}`: 2, `{"search":"paris"}`: 0} {
		got, _ := op.ok("Quarantine/List", body)["total"].(float64)
		if got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
	get := func(id change.TxID) (string, map[string]any) {
		t.Helper()
		out := op.ok("Quarantine/Get", fmt.Sprintf(`{"id":%q}`, id))
		return out["parked"].(map[string]any)["version"].(string), out
	}
	version, one := get(first)
	p := one["parked"].(map[string]any)
	if p["summary"] != "insert item '"+strings.ReplaceAll("b", "'", "''")+"', 2 of item" || p["operations"] != 3.0 || p["dependants"].([]any)[0] != second.String() || len(one["related"].([]any)) != 1 {
		t.Errorf("one is %v", one)
	}
	ops := one["operations"].([]any)
	if len(ops) != 3 || !strings.Contains(fmt.Sprint(ops[0]), "INTEGER") {
		t.Errorf("its operations are %v", ops)
	}
	edit := func(version, edits string) string {
		return fmt.Sprintf(`{"id":%q,"version":%q,"edits":[%s]}`, first, version, edits)
	}
	op.refused("Quarantine/Edit", edit(version, ""), "invalid")
	op.refused("Quarantine/Edit", edit(version, `{"place":9,"leaveOut":true}`), "invalid")
	op.refused("Quarantine/Edit", edit(version, `{"place":0,"set":{"colour":{"text":"red"}}}`), "invalid")
	op.refused("Quarantine/Edit", edit("stale", `{"place":0,"set":{"n":{"integer":"7"}}}`), "stale")
	op.refused("Quarantine/Retry", fmt.Sprintf(`{"id":%q}`, second), "depends")
	if a := op.call("Quarantine/Edit", `{"id":`); a.status != 400 {
		t.Errorf("damaged JSON: %d %s", a.status, a.body)
	}
	out := op.ok("Quarantine/Edit", edit(version, `{"place":0,"set":{"n":{"integer":"7"},"pic":{"blob":"AAE="}}},{"place":2,"leaveOut":true}`))
	if s := fmt.Sprint(out["settled"]); !strings.Contains(s, first.String()) || !strings.Contains(s, second.String()) {
		t.Errorf("settled %v", out)
	}
	if e := w.audit(); e.Subject != first.String() || !strings.Contains(e.Before, "onerror") || e.After == "" {
		t.Errorf("put down as %+v", e)
	}
	version, _ = get(third)
	op.refused("Quarantine/Discard", fmt.Sprintf(`{"id":%q,"version":%q}`, third, version), "invalid")
	op.ok("Quarantine/Retry", fmt.Sprintf(`{"id":%q}`, third))
	version, _ = get(third)
	op.ok("Quarantine/Discard", fmt.Sprintf(`{"id":%q,"version":%q,"reason":"twice"}`, third, version))
	for _, id := range []string{third.String(), "x", ""} {
		for _, m := range []string{"Get", "Retry", "Edit", "Discard"} {
			op.refused("Quarantine/"+m, fmt.Sprintf(`{"id":%q,"reason":"x"}`, id), "no-such-transaction")
		}
	}
	op.refused("Quarantine/List", `{"page":{"pageToken":"x"}}`, "page-token")
	op.refused("Quarantine/List", `{"device":"nobody"}`, "no-such-device")
}

func TestDataIsShown(t *testing.T) {
	w := newWorld(t)
	w.admin()
	v := w.script(people.Viewer)
	d := w.device("till")
	for i := range 5 {
		d.push(hub.Applied, insert(fmt.Sprintf("k%d", i), int64(i), xss))
	}
	d.push(hub.Applied, update("k0", "note", change.Text(xss), change.Text("a\xff")), update("k1", "pic", change.Null, change.Blob([]byte{1})), update("k2", "n", change.Int(2), change.Float(2.5)))
	tables := v.ok("Data/Tables", "{}")["tables"].([]any)
	tab := tables[0].(map[string]any)
	if tab["scope"] != "branch/{branch}" || tab["policy"] != "latest" || tab["rows"] == nil || len(tab["columns"].([]any)) != 5 || !strings.Contains(fmt.Sprint(tab), "policy:hub") {
		t.Errorf("tables are %v", tables)
	}
	if s := v.ok("Data/Scopes", "{}")["scopes"].([]any); len(s) != 2 {
		t.Errorf("scopes are %v", s)
	}
	page := v.ok("Data/Rows", `{"table":"item","scope":"branch/1","page":{"pageSize":2}}`)
	n := len(page["rows"].([]any))
	for page["nextPageToken"] != nil {
		page = v.ok("Data/Rows", fmt.Sprintf(`{"table":"item","page":{"pageSize":2,"pageToken":%q}}`, page["nextPageToken"]))
		n += len(page["rows"].([]any))
	}
	if n != 5 {
		t.Errorf("%d rows", n)
	}
	key := func(k string) string { return fmt.Sprintf(`"table":"item","key":{"values":[{"text":%q}]}`, k) }
	if r := v.ok("Data/Rows", "{"+key("k0")+"}"); !strings.Contains(fmt.Sprint(r), "rawText:Yf8=") || !strings.Contains(fmt.Sprint(r), "scope:branch/1") {
		t.Errorf("the row is %v", r)
	}
	h := v.ok("Data/History", "{"+key("k3")+"}")
	if vs := h["versions"].([]any); len(vs) != 1 || vs[0].(map[string]any)["deviceName"] != "till" || vs[0].(map[string]any)["kind"] != "insert" || len(h["now"].([]any)) != 5 {
		t.Errorf("its history is %v", h)
	}
	sum := v.ok("Data/Digests", "{}")
	same := v.ok("Data/Digests", `{"scopes":["branch/1","all"]}`)
	none := v.ok("Data/Digests", `{"scopes":["branch/9"]}`)
	if fmt.Sprint(sum) != fmt.Sprint(same) || fmt.Sprint(sum["tables"]) == fmt.Sprint(none["tables"]) {
		t.Errorf("digests are %v, %v, %v", sum, same, none)
	}
	if s := v.ok("Data/Schemas", "{}")["schemas"].([]any); len(s) != 1 {
		t.Errorf("schemas are %v", s)
	}
	v.refused("Data/Rows", `{"table":"moon"}`, "invalid")
	v.refused("Data/Rows", "{"+key("zz")+"}", "no-such-row")
	v.refused("Data/Rows", `{"table":"item","page":{"pageToken":"eyJhIjoiLy8vLyJ9"}}`, "invalid")
	v.refused("Data/History", `{"table":"item"}`, "invalid")
	v.refused("Data/History", "{"+key("k3")+`,"page":{"pageToken":"x"}}`, "page-token")
}

func TestValuesGoThereAndBack(t *testing.T) {
	for _, v := range []change.Value{change.Null, change.Int(-1 << 62), change.Float(0.1), change.Text(xss), change.Text("\xff"), change.Blob([]byte{0})} {
		if got := valueIn(valueOut(v)); got != v {
			t.Errorf("%s came back as %s", v, got)
		}
	}
	if valueIn(&pb.Value{}) != change.Null {
		t.Error("a value that says nothing is something")
	}
	if grantsOut(grantsIn([]*pb.Grant{{Scope: "a", Update: true}}))[0].GetRead() != true {
		t.Error("who may write may not read")
	}
}
