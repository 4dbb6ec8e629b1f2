package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func (w *world) list(m *pb.ListDevicesRequest) *pb.ListDevicesResponse {
	w.t.Helper()
	res, err := w.local.Fleet.List(w.ctx, req(m))
	w.must(err)
	return res.Msg
}

func TestDevicesAreAddedAndEdited(t *testing.T) {
	w := newWorld(t)
	w.admin()
	op := w.browser(w.person("Ben", people.Operator))
	add := op.ok("Fleet/Add", `{"name":"<b>till</b>","grants":[{"scope":"branch/1","read":true,"insert":true}],"goodFor":"3600s"}`)
	if !strings.HasPrefix(add["token"].(string), "token of <b>till</b>") {
		t.Errorf("added %v", add)
	}
	d := add["device"].(map[string]any)
	id, version := d["id"].(string), d["version"].(string)
	if e := w.audit(); e.Subject != id || e.Who != "Ben" || !strings.Contains(e.After, "branch/1=ri") || strings.Contains(fmt.Sprint(e), add["token"].(string)) {
		t.Errorf("put down as %+v", e)
	}
	op.refused("Fleet/Add", `{"name":" "}`, "invalid")
	op.refused("Fleet/Add", `{"name":"x","goodFor":"-1s"}`, "invalid")
	op.refused("Fleet/Add", `{"name":"x","grants":[{"scope":"moon/1"}]}`, "invalid")
	renamed := op.ok("Fleet/Rename", fmt.Sprintf(`{"id":%q,"name":"till 7","version":%q}`, id, version))
	a := op.refused("Fleet/Rename", fmt.Sprintf(`{"id":%q,"name":"till 8","version":%q}`, id, version), "stale")
	if !strings.Contains(string(a.body), "Ben changed this device") {
		t.Errorf("it does not say who was faster: %s", a.body)
	}
	if renamed["version"] == version {
		t.Error("its version stayed")
	}
	op.refused("Fleet/Rename", fmt.Sprintf(`{"id":%q,"name":""}`, id), "invalid")
	for _, step := range [][2]string{
		{"SetGrants", `"grants":[{"scope":"branch/2","update":true,"delete":true}]`}, {"Pause", `"reason":"stocktaking"`}, {"Resume", `"x":1`},
		{"Isolate", `"reason":"odd work"`}, {"Release", `"x":1`}, {"AskSync", `"x":1`}, {"AskVerify", `"x":1`}, {"Revoke", `"reason":"stolen"`},
	} {
		d = op.ok("Fleet/"+step[0], fmt.Sprintf(`{"id":"till 7",%s}`, step[1]))
		if e := w.audit(); e.Before == "" || e.After == "" || e.Before == e.After || e.Subject != id {
			t.Errorf("%s is put down as %+v", step[0], e)
		}
	}
	if d["state"] != "DEVICE_STATE_REVOKED" || d["reason"] != "stolen" || d["asked"] != "sync, verify" {
		t.Errorf("at last it is %v", d)
	}
	op.refused("Fleet/Pause", fmt.Sprintf(`{"id":%q}`, id), "revoked")
	op.refused("Fleet/SetGrants", fmt.Sprintf(`{"id":%q}`, id), "invalid")
	op.refused("Fleet/Judge", fmt.Sprintf(`{"id":%q}`, id), "not-held")
	op.refused("Fleet/Judge", fmt.Sprintf(`{"id":%q,"allow":true}`, id), "not-held")
	for _, unknown := range []string{"nobody", "00000000-0000-0000-0000-000000000000", ""} {
		for _, m := range []string{"Get", "Rename", "Pause", "Timeline"} {
			op.refused("Fleet/"+m, fmt.Sprintf(`{"id":%q,"name":"x"}`, unknown), map[bool]string{true: "no-such-device", false: "no-such-device"}[true])
		}
	}
	op.ok("Fleet/Add", `{"name":"till 7"}`)
	op.refused("Fleet/Get", `{"id":"till 7"}`, "ambiguous")
}

func TestTheFleetInPages(t *testing.T) {
	w := newWorld(t)
	for i := range 25 {
		_, err := w.hub.AddDevice(w.ctx, fmt.Sprintf("till %02d", (i*7)%25), nil, 0)
		w.must(err)
	}
	worst := w.device("worst")
	worst.push(hub.Applied, insert("a", 1, "x"))
	worst.push(hub.Quarantined, insert("b", 1, "y"))
	for _, sort := range []string{"", "worst", "-worst", "name", "-name", "seen", "unsafe", "outbox", "quarantined", "clock", "agent", "schema", "-schema"} {
		seen := map[string]bool{}
		var order []string
		m := &pb.ListDevicesRequest{Sort: sort, Page: &pb.Page{PageSize: 4}}
		for pages := 0; ; pages++ {
			out := w.list(m)
			if out.GetTotal() < 26 || pages > 20 {
				t.Fatalf("%q: total %d, page %d", sort, out.GetTotal(), pages)
			}
			for _, d := range out.GetDevices() {
				if seen[d.GetId()] {
					t.Errorf("%q lists %s twice", sort, d.GetName())
				}
				seen[d.GetId()] = true
				order = append(order, d.GetName())
			}
			if out.GetNextPageToken() == "" {
				break
			}
			if m.Page.PageToken = out.GetNextPageToken(); pages == 2 { // pages stay what they are
				_, err := w.hub.AddDevice(w.ctx, "till 00 a", nil, 0)
				w.must(err)
				w.service.fleet.forget()
			}
		}
		if len(seen) < 26 {
			t.Errorf("%q lists %d devices", sort, len(seen))
		}
		if first := order[0]; (sort == "" || sort == "worst") && first != "worst" || sort == "name" && first != "till 00" || sort == "-name" && first != "worst" {
			t.Errorf("%q begins with %s", sort, first)
		}
	}
	_, err := w.local.Fleet.List(w.ctx, req(&pb.ListDevicesRequest{Sort: "colour"}))
	w.refused(err, "invalid")
	token := w.list(&pb.ListDevicesRequest{Page: &pb.Page{PageSize: 1}}).GetNextPageToken()
	_, err = w.local.Fleet.List(w.ctx, req(&pb.ListDevicesRequest{Sort: "name", Page: &pb.Page{PageToken: token}}))
	w.refused(err, "invalid")
	_, err = w.local.Fleet.List(w.ctx, req(&pb.ListDevicesRequest{Page: &pb.Page{PageToken: "x"}}))
	w.refused(err, "page-token")
}

func TestTheFleetIsSearched(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"Oslo north", "Oslo south", "Berlin"} {
		_, err := w.hub.AddDevice(w.ctx, n, nil, 0)
		w.must(err)
	}
	bad := w.device("Rome")
	bad.push(hub.Applied, insert("a", 1, "x"))
	bad.push(hub.Quarantined, insert("b", 1, "y"))
	for _, c := range []struct {
		m    *pb.ListDevicesRequest
		want int
	}{
		{&pb.ListDevicesRequest{Search: "oslo"}, 2}, {&pb.ListDevicesRequest{Search: "NORTH oslo"}, 1}, {&pb.ListDevicesRequest{Search: "branch/1"}, 1},
		{&pb.ListDevicesRequest{Search: bad.id.String()[:8]}, 1}, {&pb.ListDevicesRequest{Search: "paris"}, 0},
		{&pb.ListDevicesRequest{States: []pb.DeviceState{pb.DeviceState_DEVICE_STATE_INVITED}}, 3},
		{&pb.ListDevicesRequest{Levels: []pb.Level{pb.Level_LEVEL_WARNING, pb.Level_LEVEL_ALARM}}, 1},
		{&pb.ListDevicesRequest{ConnectedOnly: true}, 1},
	} {
		if out := w.list(c.m); int(out.GetTotal()) != c.want || len(out.GetDevices()) != c.want {
			t.Errorf("%v: %d of %d devices, want %d", c.m, len(out.GetDevices()), out.GetTotal(), c.want)
		}
	}
}

func TestTheHeadline(t *testing.T) {
	w := newWorld(t)
	d := w.device("till")
	d.push(hub.Applied, insert("a", 1, "x"))
	d.push(hub.Quarantined, insert("b", 1, "y"))
	w.clock.Advance(time.Hour)
	for range 3 {
		w.must(w.service.Sample(w.ctx))
		w.clock.Advance(time.Minute)
	}
	res, err := w.local.Fleet.Overview(w.ctx, req(&pb.OverviewRequest{}))
	w.must(err)
	o := res.Msg
	if o.GetDevices() != 1 || o.GetQuarantined() != 1 || o.GetOldestQuarantined().AsDuration() < time.Hour || o.GetLevels()["warning"] != 1 ||
		len(o.GetLevels()) != 4 || o.GetSessions() != 3 || o.GetWaiting() != 1 || o.GetMemory() == 0 || o.GetEpoch() == "" || len(o.GetUnsafeHistory()) != 3 || o.GetBehind() != "" {
		t.Errorf("the headline is %v", o)
	}
	if list := o.GetReplicas(); len(list) != 2 || list[0].GetReads() != 7 || list[0].GetFault() != "" || list[1].GetAddress() != "postgres://db3/shop" || list[1].GetFault() == "" {
		t.Errorf("the replicas are %v", list)
	}
	w.clock.Advance(pastFor + time.Hour)
	w.must(w.service.Sample(w.ctx))
	if n := len(w.service.past.list()); n != 1 {
		t.Errorf("%d points are remembered", n)
	}
	got, err := w.local.Fleet.Get(w.ctx, req(&pb.GetDeviceRequest{Id: "till"}))
	w.must(err)
	if got.Msg.GetDevice().GetQuarantined() != 1 {
		t.Errorf("the device is %v", got.Msg)
	}
	line, err := w.local.Fleet.Timeline(w.ctx, req(&pb.TimelineRequest{Id: "till", Page: &pb.Page{PageSize: 1}}))
	w.must(err)
	next, err := w.local.Fleet.Timeline(w.ctx, req(&pb.TimelineRequest{Id: "till", Page: &pb.Page{PageSize: 1, PageToken: line.Msg.GetNextPageToken()}}))
	w.must(err)
	if len(line.Msg.GetEntries()) != 1 || len(next.Msg.GetEntries()) != 1 || line.Msg.GetEntries()[0].GetKind() == next.Msg.GetEntries()[0].GetKind() {
		t.Errorf("the timeline is %v, %v", line.Msg, next.Msg)
	}
}

func TestALookServesASecond(t *testing.T) {
	w := newWorld(t)
	if n := len(w.list(&pb.ListDevicesRequest{}).GetDevices()); n != 0 {
		t.Fatalf("%d devices", n)
	}
	_, err := w.hub.AddDevice(w.ctx, "till", nil, 0) // past the service
	w.must(err)
	if n := len(w.list(&pb.ListDevicesRequest{}).GetDevices()); n != 0 {
		t.Error("each look reads the store")
	}
	w.service.Stirred()
	w.clock.Advance(leastFresh)
	if n := len(w.list(&pb.ListDevicesRequest{}).GetDevices()); n != 1 {
		t.Error("what was stirred is not seen")
	}
	_, err = w.hub.AddDevice(w.ctx, "till 2", nil, 0)
	w.must(err)
	w.clock.Advance(sightFor)
	if n := len(w.list(&pb.ListDevicesRequest{}).GetDevices()); n != 2 {
		t.Error("a look serves longer than a second")
	}
}

func TestWhatIsToldOfADevice(t *testing.T) {
	d := &hub.DeviceStatus{Level: hub.Alarm, Why: "x"}
	d.State, d.CopyOf, d.Reason = hub.Active, change.DeviceID{1}, ""
	d.Control.Isolated = &hub.Bar{Reason: "odd"}
	d.Status.Verified = &wire.VerifyReport{Rows: 7, Differing: 2, Tables: []string{"item"}}
	out := deviceOut(d)
	if out.GetLevel() != pb.Level_LEVEL_ALARM || out.GetCopyOf() == "" || out.GetReason() != "odd" || !out.GetIsolated() || out.GetVerified().GetDiffering() != 2 {
		t.Errorf("told %v", out)
	}
	d.Control.Paused = &hub.Bar{Reason: "later"}
	if out := deviceOut(d); out.GetReason() != "later" || !out.GetPaused() {
		t.Errorf("told %v", out)
	}
	for level, name := range levelNames {
		if pb.Level(map[string]hub.Level{"ok": hub.OK, "notice": hub.Notice, "warning": hub.Warning, "alarm": hub.Alarm}[name])+pb.Level_LEVEL_OK != level {
			t.Errorf("level %s is not %s", level, name)
		}
	}
	for want, r := range map[string]rule.Table{"all": {Scope: rule.Scope{All: true}}, "that of the row that visit names": {Scope: rule.Scope{Via: "visit"}},
		"b/{c}": {Scope: rule.Scope{Kind: "b", Column: "c"}}, "wherever a row needs it": {Reference: true}, "": {}} {
		if got := scopeText(&r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	for asked, want := range map[uint32]int{0: 100, 7: 7, 5000: 1000} {
		if got := pageSize(&pb.Page{PageSize: asked}); got != want {
			t.Errorf("a page of %d has %d", asked, got)
		}
	}
}

func TestALifeIsShown(t *testing.T) {
	w := newWorld(t)
	d := w.device("till")
	s := w.hub.NewSession(d.id)
	hello := &wire.Hello{Min: 1, Max: 1, Device: d.id, Incarnation: d.inc, Clock: w.clock.Now(), Agent: "test", Rules: w.hub.Setup().Hash}
	w.must(s.Receive(w.ctx, hello, func(wire.Message) error { return nil }))
	got, err := w.local.Fleet.Get(w.ctx, req(&pb.GetDeviceRequest{Id: d.id.String()}))
	w.must(err)
	if l := got.Msg.GetLives(); len(l) != 1 || l[0].GetIncarnation() != d.inc.String() || l[0].GetBegan() == nil || l[0].GetEnded() != "" {
		t.Errorf("its lives are %v", l)
	}
	res, err := w.local.Fleet.Overview(w.ctx, req(&pb.OverviewRequest{}))
	w.must(err)
	if res.Msg.GetConnected() != 1 {
		t.Errorf("%d are connected", res.Msg.GetConnected())
	}
}
