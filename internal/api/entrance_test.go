package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/tidemark-sync/tidemark/internal/people"
)

// take keeps the cookie and the CSRF token of an answer to a login.
func (c *caller) take(a *answer) *caller {
	c.w.t.Helper()
	if a.status != http.StatusOK {
		c.w.t.Fatalf("login: %d %s", a.status, a.body)
	}
	var out struct{ Csrf string }
	c.w.must(json.Unmarshal(a.body, &out))
	set, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	c.w.must(err)
	if set.Name != cookieName || !set.Secure || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Path != "/" || set.Domain != "" || set.MaxAge <= 0 {
		c.w.t.Errorf("the cookie is %s", set)
	}
	return c.with("Cookie", cookieName+"="+set.Value).with(csrfHeader, out.Csrf)
}

func login(name, password string) string {
	return fmt.Sprintf(`{"name":%q,"password":%q}`, name, password)
}

func TestTheFirstOneComesInByTheLink(t *testing.T) {
	w := newWorld(t)
	if s := w.nobody().ok("Entrance/State", "{}"); s["setUp"] != nil || s["hub"] != nil || s["version"] != nil {
		t.Errorf("a stranger hears %v", s)
	}
	l, err := w.book.SetUpLink(w.ctx)
	w.must(err)
	if link := w.service.Link(l.Secret); link != "https://hub.example.com/#/setup/"+l.Secret {
		t.Errorf("the link is %s", link)
	}
	setup := fmt.Sprintf(`{"secret":%q,"name":"Ada","password":%q}`, l.Secret, good)
	c := w.nobody().take(w.nobody().call("Entrance/SetUp", setup))
	s := c.ok("Entrance/State", "{}")
	you, _ := s["you"].(map[string]any)
	if s["setUp"] != true || s["csrf"] != c.header.Get(csrfHeader) || s["hub"] != "test hub" || you["role"] != "ROLE_ADMIN" {
		t.Errorf("the admin hears %v", s)
	}
	if e := w.audit(); e.Action != "Entrance/SetUp" || e.Who != "Ada" || e.From == "" || strings.Contains(fmt.Sprint(e), good) {
		t.Errorf("put down as %+v", e)
	}
	w.nobody().refused("Entrance/SetUp", setup, "link-unknown")
	if e := w.audit(); e.Error == "" || e.Who != "" {
		t.Errorf("the refusal is put down as %+v", e)
	}
}

func TestAStolenCookieEndsWithTheLogout(t *testing.T) {
	w := newWorld(t)
	w.admin()
	c := w.nobody().take(w.nobody().call("Entrance/Login", login("ada", good)))
	c.ok("Fleet/Overview", "{}")
	again := c.take(c.call("Entrance/Login", login("ada", good))) // a login over a session ends that one
	c.refused("Fleet/Overview", "{}", "login")
	thief := again.with("User-Agent", "elsewhere")
	thief.ok("Fleet/Overview", "{}")
	a := again.call("Entrance/Logout", "{}")
	if set, err := http.ParseSetCookie(a.header.Get("Set-Cookie")); err != nil || set.MaxAge >= 0 || set.Value != "" {
		t.Errorf("the browser keeps its cookie: %v, %v", set, err)
	}
	thief.refused("Fleet/Overview", "{}", "login")
	one, two := w.nobody().take(w.nobody().call("Entrance/Login", login("ada", good))), w.nobody().take(w.nobody().call("Entrance/Login", login("ada", good)))
	one.ok("Entrance/Logout", `{"everywhere":true}`)
	two.refused("Fleet/Overview", "{}", "login")
	w.script(people.Admin).refused("Entrance/Logout", "{}", "not-a-person")
}

func TestWritingNeedsTheSessionsOwnCSRF(t *testing.T) {
	w := newWorld(t)
	ada := w.admin()
	c, other := w.browser(ada), w.browser(ada)
	add := `{"name":"till"}`
	for name, bad := range map[string]string{"missing": "", "wrong": "x", "another session's": other.header.Get(csrfHeader)} {
		if a := c.with(csrfHeader, bad).refused("Fleet/Add", add, "csrf"); a.status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	c.with(csrfHeader, "").ok("Fleet/Overview", "{}") // reading needs none
	c.ok("Fleet/Add", add)
	for _, h := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example.com"}} {
		c.with(h[0], h[1]).refused("Fleet/Add", add, "cross-origin")
		w.nobody().with(h[0], h[1]).refused("Entrance/Login", login("ada", good), "cross-origin")
	}
	c.with("Sec-Fetch-Site", "same-origin").ok("Fleet/Overview", "{}")
}

func TestATokenCountsBeforeACookie(t *testing.T) {
	w := newWorld(t)
	c := w.browser(w.admin())
	c.with("Authorization", "Bearer nonsense").refused("Fleet/Overview", "{}", "token")
	c.with("Authorization", "Basic eDp5").refused("Fleet/Overview", "{}", "token")
	s := w.script(people.Viewer).ok("Entrance/State", "{}")
	if you, _ := s["you"].(map[string]any); you["token"] != true || s["csrf"] != nil {
		t.Errorf("a token hears %v", s)
	}
	w.nobody().with("Cookie", ";=; a\"b=c").ok("Entrance/State", "{}")
}

func TestGuessingIsSlowedDown(t *testing.T) {
	w := newWorld(t)
	w.admin()
	for range 6 {
		w.nobody().refused("Entrance/Login", login("Ada", "not the password"), "wrong-login")
	}
	a := w.nobody().refused("Entrance/Login", login("Ada", good), "too-many-tries")
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	w.clock.Advance(time.Minute)
	w.nobody().ok("Entrance/Login", login("Ada", good))
	for range 21 {
		w.nobody().with("Authorization", "Bearer tidemark_x_y").refused("Fleet/Overview", "{}", "token")
	}
	w.nobody().with("Authorization", "Bearer tidemark_x_y").refused("Fleet/Overview", "{}", "too-many-tries")
	w.clock.Advance(time.Hour)
	for i := range 100 { // knocking does not fill the disk
		w.nobody().call("Entrance/SetUp", `{"secret":"x"}`)
		if i%4 == 0 {
			w.clock.Advance(100 * time.Millisecond)
		}
		w.service.gates.places.Done("127.0.0.1")
	}
	list, _, err := w.book.Audit(w.ctx, people.AuditFilter{Action: "Entrance/SetUp", Limit: 1000})
	w.must(err)
	if len(list) > mostKnocks {
		t.Errorf("%d knocks were put down", len(list))
	}
}

func TestCodesOfTheApp(t *testing.T) {
	w := newWorld(t)
	ada := w.admin()
	c := w.browser(ada)
	begun := c.ok("Entrance/BeginTotp", "{}")
	secret, _ := begun["secret"].(string)
	code := func() string {
		out, err := totp.GenerateCode(secret, w.clock.Now())
		w.must(err)
		return out
	}
	c.refused("Entrance/FinishTotp", `{"code":"000000x"}`, "wrong-code")
	c.ok("Entrance/FinishTotp", fmt.Sprintf(`{"code":%q}`, code()))
	w.clock.Advance(time.Minute)
	if out := w.nobody().ok("Entrance/Login", login("Ada", good)); out["totpNeeded"] != true || out["you"] != nil {
		t.Errorf("without a code: %v", out)
	}
	with := func(code string) string { return fmt.Sprintf(`{"name":"Ada","password":%q,"totp":%q}`, good, code) }
	now := code()
	w.nobody().ok("Entrance/Login", with(now))
	w.nobody().refused("Entrance/Login", with(now), "wrong-code") // replayed
	for range 5 {
		w.nobody().refused("Entrance/Login", with("000000x"), "wrong-code")
	}
	w.clock.Advance(30 * time.Second)
	for i := 0; ; i++ { // and so on: the waits grow
		if a := w.nobody().call("Entrance/Login", with("000000x")); a.code == "too-many-tries" {
			break
		} else if i > 10 {
			t.Fatal("codes can be guessed without end")
		}
	}
	w.clock.Advance(time.Hour)
	proof := func(password, code string) string { return fmt.Sprintf(`{"password":%q,"code":%q}`, password, code) }
	c = w.browser(ada)
	c.refused("Entrance/BeginTotp", "{}", "wrong-password")
	c.refused("Entrance/RemoveTotp", proof("not the password", code()), "wrong-password")
	c.refused("Entrance/RemoveTotp", proof(good, "000000x"), "wrong-code")
	if p := c.ok("Entrance/RemoveTotp", proof(good, code())); p["totp"] != nil {
		t.Errorf("it is still on: %v", p)
	}
	if e := w.audit(); e.Action != "Entrance/RemoveTotp" || e.Who != "Ada" || e.Error != "" || strings.Contains(e.Before+e.After, good) {
		t.Errorf("put down as %+v", e)
	}
	w.script(people.Admin).refused("Entrance/RemoveTotp", "{}", "not-a-person")
	w.script(people.Admin).refused("Entrance/BeginTotp", "{}", "not-a-person")
	w.script(people.Admin).refused("Entrance/FinishTotp", "{}", "not-a-person")
}

func TestOnesOwnPassword(t *testing.T) {
	w := newWorld(t)
	c := w.browser(w.admin())
	c.refused("Entrance/SetPassword", `{"old":"x","new":"another long sentence"}`, "wrong-password")
	c.refused("Entrance/SetPassword", fmt.Sprintf(`{"old":%q,"new":"short"}`, good), "weak-password")
	c.ok("Entrance/SetPassword", fmt.Sprintf(`{"old":%q,"new":"another long sentence"}`, good))
	c.ok("Fleet/Overview", "{}")
	w.nobody().ok("Entrance/Login", login("Ada", "another long sentence"))
	w.script(people.Admin).refused("Entrance/SetPassword", "{}", "not-a-person")
	if e := w.audit(); e.Error == "" || strings.Contains(fmt.Sprint(e), "sentence") {
		t.Errorf("put down as %+v", e)
	}
}

func TestPasskeysThroughTheDoor(t *testing.T) {
	w := newWorld(t)
	c := w.browser(w.admin())
	q := c.ok("Entrance/BeginPasskey", "{}")
	if !strings.Contains(q["json"].(string), `"hub.example.com"`) || q["ceremony"] == "" {
		t.Errorf("the browser is asked %v", q)
	}
	c.refused("Entrance/FinishPasskey", fmt.Sprintf(`{"ceremony":%q,"json":"{}"}`, q["ceremony"]), "passkey")
	c.refused("Entrance/RemovePasskey", `{"id":"x"}`, "no-such-passkey")
	q = w.nobody().ok("Entrance/BeginPasskeyLogin", "{}")
	for range 6 {
		w.nobody().refused("Entrance/FinishPasskeyLogin", fmt.Sprintf(`{"ceremony":%q,"json":"{}"}`, q["ceremony"]), "passkey")
	}
	w.nobody().refused("Entrance/FinishPasskeyLogin", `{}`, "too-many-tries")
	for _, m := range []string{"BeginPasskey", "FinishPasskey", "RemovePasskey"} {
		w.script(people.Admin).refused("Entrance/"+m, "{}", "not-a-person")
	}
}

func TestRolesChangeAtOnce(t *testing.T) {
	w := newWorld(t)
	admin := w.browser(w.admin())
	ben := w.person("Ben", people.Operator)
	c := w.browser(ben)
	c.ok("Fleet/Add", `{"name":"till"}`)
	admin.ok("People/SetRole", fmt.Sprintf(`{"id":%q,"role":"ROLE_VIEWER","version":%q}`, ben.ID, ben.Version))
	c.refused("Fleet/Overview", "{}", "login")
	c = w.browser(ben)
	if a := c.refused("Fleet/Add", `{"name":"till"}`, "role"); a.status != http.StatusForbidden || !strings.Contains(string(a.body), "operator") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if e := w.audit(); e.Who != "Ben" || e.Error == "" || e.Action != "Fleet/Add" {
		t.Errorf("put down as %+v", e)
	}
	a := admin.refused("People/Remove", fmt.Sprintf(`{"id":"Ben","version":%q}`, ben.Version), "stale")
	if a.status != http.StatusConflict || !strings.Contains(string(a.body), "Ada changed this person") {
		t.Errorf("%d %s", a.status, a.body)
	}
	admin.ok("People/Remove", `{"id":"Ben"}`)
	c.refused("Fleet/Overview", "{}", "login")
	admin.refused("People/Remove", `{"id":"Ada"}`, "last-admin")
	admin.refused("People/SetRole", `{"id":"Ada","role":"ROLE_NOBODY"}`, "invalid")
	admin.refused("People/SetRole", `{"id":"Eve","role":"ROLE_ADMIN"}`, "no-such-person")
	admin.refused("People/Reset", `{"id":"Ada"}`, "last-admin")
}

func TestPeopleAndTokensAreManaged(t *testing.T) {
	w := newWorld(t)
	admin := w.browser(w.admin())
	in := admin.ok("People/Invite", `{"name":"<script>alert(1)</script>","role":"ROLE_OPERATOR"}`) // data, as any other
	if p, _ := in["person"].(map[string]any); p["name"] != "<script>alert(1)</script>" || p["invited"] != true || !strings.Contains(in["link"].(string), "#/setup/") {
		t.Errorf("invited %v", in)
	}
	admin.refused("People/Invite", `{"name":"x"}`, "invalid")
	admin.refused("People/Invite", `{"name":"ADA","role":"ROLE_VIEWER"}`, "name-taken")
	re := admin.ok("People/Reset", `{"id":"<script>alert(1)</script>"}`)
	if re["link"] == in["link"] {
		t.Error("the old link is shown again")
	}
	if list, _ := admin.ok("People/List", "{}")["people"].([]any); len(list) != 2 {
		t.Errorf("people are %v", list)
	}
	add := admin.ok("People/AddToken", `{"name":"nightly","role":"ROLE_VIEWER"}`)
	if e := w.audit(); e.Subject != "nightly" || strings.Contains(fmt.Sprint(e), add["secret"].(string)) {
		t.Errorf("put down as %+v", e)
	}
	w.nobody().with("Authorization", "bearer "+add["secret"].(string)).ok("Fleet/Overview", "{}")
	admin.refused("People/AddToken", `{"name":"nightly","role":"ROLE_VIEWER"}`, "name-taken")
	admin.refused("People/AddToken", `{"name":"nightly"}`, "invalid")
	if list, _ := admin.ok("People/ListTokens", "{}")["tokens"].([]any); len(list) != 1 || strings.Contains(fmt.Sprint(list), add["secret"].(string)) {
		t.Errorf("tokens are %v", list)
	}
	admin.ok("People/RemoveToken", `{"id":"nightly"}`)
	admin.refused("People/RemoveToken", `{"id":"nightly"}`, "no-such-token")
	w.nobody().with("Authorization", "Bearer "+add["secret"].(string)).refused("Fleet/Overview", "{}", "token")
	page := admin.ok("People/Audit", `{"page":{"pageSize":3}}`)
	first, _ := page["entries"].([]any)
	page = admin.ok("People/Audit", fmt.Sprintf(`{"page":{"pageSize":3,"pageToken":%q}}`, page["nextPageToken"]))
	if rest, _ := page["entries"].([]any); len(first) != 3 || len(rest) == 0 || first[2].(map[string]any)["id"] == rest[0].(map[string]any)["id"] {
		t.Errorf("pages of the audit: %v, %v", first, rest)
	}
	admin.refused("People/Audit", `{"page":{"pageToken":"!"}}`, "page-token")
}
