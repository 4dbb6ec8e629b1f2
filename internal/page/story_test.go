package page

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// What an agent at work and its hub go through, as the page tells it.
func TestThePageTellsHowTheFileStands(t *testing.T) {
	w := newWorld(t)
	one, two := w.join("one.db", "till 1"), w.join("two.db", "till 2")
	a := w.agent(one)
	p := w.page(one)
	shows(t, p, "All work is safe", `<span class="tag ok">online</span>`, "Lakeside Clinics", "2 rows", "test 1.2", "Tidemark 1.2", w.hub.Endpoint().URL)

	w.down()
	shows(t, p, "The hub cannot be reached.", "All work so far is safe", `<span class="tag notice">offline</span>`, "Local work is kept and handed in when the hub is back.")
	sh(t, one.File, `INSERT INTO item VALUES('late',7,'SECRET')`)
	body := shows(t, p, "1 transaction is not at the hub yet", "added <b><bdi>item</bdi></b> <bdi class=\"mono\">&#39;late&#39;</bdi>", "until the hub can be reached again", "The oldest was made")
	if strings.Contains(body, "SECRET") {
		t.Error("the page shows a row's value")
	}
	// Another one takes the number first: what waits is refused, and what builds on it with it.
	sh(t, one.File, `UPDATE item SET note='SECRET too' WHERE id='late'`)
	shows(t, p, "2 transactions are not at the hub yet")
	sh(t, two.File, `INSERT INTO item VALUES('early',7,'x')`)
	w.must(a.Stop()) // so that the other one is first
	w.up()
	w.sync(two)
	w.agent(one)
	body = shows(t, p, "All work is at the hub, 2 transactions were refused", "2 refused", "another row of item already has this value", "1 more waits for it", "it depends on transaction", "tidemark queue show ")
	if strings.Contains(body, "SECRET") {
		t.Error("the page shows a refused row's value")
	}
	s, code := status(t, p)
	if code != http.StatusOK || len(s.Files) != 1 || s.Files[0].Quarantined != 2 || !s.Files[0].Agent.Running || s.Files[0].Rows == 0 || s.Files[0].FreeDisk == 0 || len(s.Files[0].Schema) != 32 {
		t.Errorf("%d %+v", code, s)
	}
	cli, err := run.FileStatus(t.Context(), one)
	w.must(err)
	if a := s.Files[0]; a.Cursor != cli.Cursor || a.Device != cli.Device || a.Schema != cli.Schema || a.Name != cli.Name || a.HubName != "Lakeside Clinics" {
		t.Errorf("the page says %+v, the command line %+v", a, cli)
	}
}

// What the hub's operator decides about a device is told apart from a network that is away.
func TestThePageTellsWhatTheOperatorDecided(t *testing.T) {
	w := newWorld(t)
	e := w.join("one.db", "till 1")
	w.agent(e)
	p := w.page(e)
	shows(t, p, "All work is safe")
	core, d := w.hub.Core(), w.device(e)

	_, err := core.Isolate(t.Context(), d.ID, "odd figures", "")
	w.must(err)
	sh(t, e.File, `INSERT INTO item VALUES('i',8,'x')`)
	shows(t, p, `<span class="tag warning">isolated</span>`, "The hub’s operator isolated this device", "odd figures", "1 refused")
	_, _, err = core.Release(t.Context(), d.ID, "")
	w.must(err)

	_, err = core.Pause(t.Context(), d.ID, "stocktaking", "")
	w.must(err)
	shows(t, p, `<span class="tag warning">paused</span>`, "The hub’s operator paused this device.", "stocktaking")
	sh(t, e.File, `INSERT INTO item VALUES('p',9,'x')`)
	shows(t, p, "not at the hub yet", "until the hub’s operator lets this device go on")

	// A device that was paused calls only now and then: another one hears of its end at once.
	other := w.join("two.db", "till 2")
	w.agent(other)
	p = w.page(other)
	shows(t, p, "All work is safe", `<span class="tag ok">online</span>`)
	w.must(core.Revoke(t.Context(), w.device(other).ID, "stolen"))
	shows(t, p, "This device was revoked at the hub.")
	sh(t, other.File, `INSERT INTO item VALUES('r',10,'x')`)
	body := shows(t, p, `<span class="tag alarm">revoked</span>`, "This device was revoked at the hub.", "stolen", `<div class="answer alarm">`, "Next try in ")
	if !strings.Contains(body, "ask the hub&#39;s operator to add the device again") {
		t.Errorf("the hint is missing:\n%s", body)
	}
	s, _ := status(t, p)
	if s.Files[0].Agent.Code != "revoked" {
		t.Errorf("the agent says %+v", s.Files[0].Agent)
	}
}

// Names, keys, reasons and hints come from people and from other devices.
func TestNothingStoredBecomesPartOfThePage(t *testing.T) {
	w := newWorld(t)
	one, two := w.join("<b>one.db", "till "+poison), w.join("two.db", "two")
	a := w.agent(one)
	p := w.page(one)
	shows(t, p, "All work is safe")
	quoted := strings.ReplaceAll(poison, "'", "''")
	w.down()
	sh(t, one.File, `INSERT INTO item VALUES('`+quoted+`',7,'`+quoted+`')`)
	shows(t, p, "1 transaction is not at the hub yet", "&lt;img src=x onerror=alert(1)&gt;")
	sh(t, two.File, `INSERT INTO item VALUES('early',7,'x')`)
	w.must(a.Stop()) // so that the other one is first
	w.up()
	w.sync(two)
	w.agent(one)
	body := shows(t, p, "1 refused", "&lt;img src=x onerror=alert(1)&gt;")
	w.must(w.hub.Core().Revoke(t.Context(), w.device(one).ID, poison))
	body += shows(t, p, "revoked: device till &lt;img", "tidemark queue show")
	for _, bad := range []string{"<img src=x", "<script>", "</script><script", "<b>one.db"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	if r := ask(t, p, http.MethodGet, "/status.json"); strings.Contains(r.body, "<img") || r.head.Get("Content-Type") != "application/json" || r.head.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v %s", r.head, r.body)
	}
}

// Whoever writes to the file never waits for the page, and the page waits for nobody long.
func TestThePageStaysUpWhileTheFileIsLocked(t *testing.T) {
	w := newWorld(t)
	e := w.join("one.db", "till 1")
	sh(t, e.File, "PRAGMA journal_mode=DELETE") // where a writer can keep readers out
	w.agent(e)
	p := w.page(e)
	shows(t, p, "All work is safe", `<span class="tag ok">online</span>`)
	app, err := sqlite.Open(e.File, sqlite.Options{MustExist: true})
	w.must(err)
	defer func() { _ = app.Close() }()
	w.must(sqlite.Exec(app, "BEGIN IMMEDIATE"))
	if _, code := status(t, p); code != http.StatusOK {
		t.Errorf("beside a writer: %d", code)
	}
	w.must(sqlite.Exec(app, "COMMIT"))
	w.must(sqlite.Exec(app, "BEGIN EXCLUSIVE"))
	shows(t, p, "All work was safe", "The file cannot be read now. What follows is what was last seen of it.", "database is locked", "Lakeside Clinics")
	s, code := status(t, p)
	if code != http.StatusServiceUnavailable || len(s.Files) != 0 || len(s.Errors) != 1 || s.Errors[0].File != e.File || !s.Errors[0].Agent.Running {
		t.Errorf("%d %+v", code, s)
	}
	w.must(sqlite.Exec(app, "COMMIT"))
	shows(t, p, "All work is safe")
}

// Several files are one page; one that cannot be read takes nothing from the others.
func TestSeveralFilesAreOnePage(t *testing.T) {
	w := newWorld(t)
	one, two := w.join("one.db", "till 1"), w.join("two.db", "till 2")
	a := w.agent(one, two)
	p := w.page(one, two)
	shows(t, p, `<nav aria-label="Files">`, "<bdi>till 1</bdi>", "<bdi>till 2</bdi>", `id="file-2"`, "<title>All work is safe · till 1</title>")
	w.must(a.Stop())
	shows(t, p, "No agent is at work on this file.", "tidemark edge "+run.Word(one.File))
	w.must(os.Rename(two.File, two.File+".away"))
	sh(t, one.File, `INSERT INTO item VALUES('k',7,'x')`)
	shows(t, p, "what was written since the agent last looked", "until an agent runs again", "no such file or directory", "<title>1 transaction is not at the hub yet · till 1</title>")
	w.must(os.RemoveAll(run.SideDir(two.File)))
	other := w.page(two)
	shows(t, other, "Nobody can tell now", "two.db")
}
