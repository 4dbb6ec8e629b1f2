package hub_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestEnrol_JoinTokenIsGoodOnce(t *testing.T) {
	w := newWorld(t)
	inv, err := w.hub.AddDevice(w.ctx, "till 1", []rule.Grant{branchGrant("1")}, time.Hour)
	w.must(err)
	if d, err := w.hub.Device(w.ctx, inv.Device); err != nil || d.State != hub.Invited || d.Name != "till 1" {
		t.Fatalf("%+v, %v", d, err)
	}
	if strings.Contains(w.get("SELECT group_concat(body) FROM _tidemark_record"), inv.Secret) {
		t.Error("the secret is in the database")
	}
	key := []byte("a public key")
	if _, err := w.hub.Authenticate(w.ctx, hub.Fingerprint(key)); faultCode(err) != "unknown-device" {
		t.Errorf("before joining: %v", err)
	}
	if _, _, err := w.hub.Join(w.ctx, "wrong", key); faultCode(err) != "token-unknown" {
		t.Errorf("a wrong secret: %v", err)
	}
	for range 2 { // the answer may get lost
		id, setup, err := w.hub.Join(w.ctx, inv.Secret, key)
		if err != nil || id != inv.Device || setup.Hash != w.hub.Setup().Hash {
			t.Fatalf("join: %v, %v", id, err)
		}
	}
	if id, err := w.hub.Authenticate(w.ctx, hub.Fingerprint(key)); err != nil || id != inv.Device {
		t.Errorf("authenticate: %v, %v", id, err)
	}
	if _, _, err := w.hub.Join(w.ctx, inv.Secret, []byte("another key")); faultCode(err) != "token-used" {
		t.Errorf("a second device: %v", err)
	}
	late, err := w.hub.AddDevice(w.ctx, "till 2", nil, 0)
	w.must(err)
	if late.Expires != epochDay.Add(hub.DefaultInvite) {
		t.Errorf("expires %v", late.Expires)
	}
	if _, _, err := w.hub.Join(w.ctx, late.Secret, key); faultCode(err) != "key-taken" {
		t.Errorf("a key for two devices: %v", err)
	}
	w.clock.Advance(25 * time.Hour)
	if _, _, err := w.hub.Join(w.ctx, late.Secret, []byte("third")); faultCode(err) != "token-expired" {
		t.Errorf("an expired token: %v", err)
	}
	gone, err := w.hub.AddDevice(w.ctx, "till 3", nil, 0)
	w.must(err)
	w.must(w.hub.Revoke(w.ctx, gone.Device, ""))
	if _, _, err := w.hub.Join(w.ctx, gone.Secret, []byte("fourth")); faultCode(err) != "revoked" {
		t.Errorf("a revoked invitation: %v", err)
	}
	w.must(w.hub.Revoke(w.ctx, inv.Device, "sold"))
	if _, err := w.hub.Authenticate(w.ctx, hub.Fingerprint(key)); faultCode(err) != "revoked" {
		t.Errorf("a revoked device: %v", err)
	}
	list, err := w.hub.Devices(w.ctx)
	w.must(err)
	if len(list) != 3 {
		t.Errorf("%d devices", len(list))
	}
}

func TestEnrol_BadRequests(t *testing.T) {
	w := newWorld(t)
	if _, err := w.hub.AddDevice(w.ctx, " ", nil, 0); err == nil {
		t.Error("a device without a name")
	}
	for _, s := range []rule.ScopeID{"brunch/1", "branch/", "branch", ""} {
		_, err := w.hub.AddDevice(w.ctx, "x", []rule.Grant{{Scope: s, Verbs: rule.Every}}, 0)
		if err == nil || !strings.Contains(err.Error(), "branch/…") {
			t.Errorf("scope %q: %v", s, err)
		}
		if err := w.hub.SetGrants(w.ctx, change.DeviceID{}, []rule.Grant{{Scope: s}}); err == nil {
			t.Errorf("scope %q was granted", s)
		}
	}
	if err := w.hub.Revoke(w.ctx, change.DeviceID{1}, ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("revoke of nobody: %v", err)
	}
	if _, err := w.hub.Device(w.ctx, change.DeviceID{1}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("device nobody: %v", err)
	}
}

func TestNew_SaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	_, err := hub.New(w.ctx, hub.Config{})
	for _, name := range []string{"Store", "Rules", "Clock", "Rand"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	good := hub.Config{Store: w.store, Clock: w.clock, Rand: w.rand}
	for _, bad := range []rule.Table{
		{Name: "nothing", Scope: rule.Scope{All: true}},
		{Name: "product", Scope: rule.Scope{Kind: "x", Column: "nothing"}},
		{Name: "product", Scope: rule.Scope{All: true}, Checks: []rule.Check{{Name: "c", Expr: "row.nothing > 1"}}},
	} {
		good.Rules = &rule.Rules{Tables: []rule.Table{bad}}
		if _, err := hub.New(w.ctx, good); err == nil || !strings.Contains(err.Error(), bad.Name) {
			t.Errorf("rules %+v: %v", bad, err)
		}
	}
}

func TestRetention(t *testing.T) {
	w := newWorld(t)
	a, b := w.site("a", branchGrant("1"), everywhere), w.site("b", everywhere)
	a.applies(ins("product", "p", "tea"))
	a.pull()
	b.pull()
	b.applies(upd("product", "p", "name", "tea", "B"))
	a.merges(upd("product", "p", "name", "tea", "A"))
	parked := a.parks("not at the hub", ins("orders", "o1", "nobody"))
	w.clock.Advance(hub.DefaultKeep + time.Hour)
	floor, err := w.hub.Retain(w.ctx, 0)
	w.must(err)
	if n := len(w.receipts()); n != 0 {
		t.Errorf("%d receipts are left", n)
	}
	if q := w.queue(); len(q) != 1 || q[0].ID != parked {
		t.Fatalf("quarantine %+v", q)
	}
	if _, err := w.hub.Show(w.ctx, parked); err != nil {
		t.Errorf("the parked transaction is gone: %v", err)
	}
	if floor.IsZero() {
		t.Error("no floor")
	}
	w.sql("INSERT INTO customer(id,branch,name) VALUES ('nobody','1','N')")
	if out, err := w.hub.Retry(w.ctx, parked); err != nil || statuses(out) != "applied" {
		t.Errorf("retry: %+v, %v", out, err)
	}
}
