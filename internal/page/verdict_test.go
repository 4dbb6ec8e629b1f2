package page

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
)

func mustAddrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// sample is a file as it stands at noon, when all is well.
func sample() *seen {
	agent := run.AgentStatus{Running: true, State: run.StateOnline, Since: noon.Add(-time.Hour), Version: "tidemark 1.2"}
	return &seen{File: "/srv/till.db", Name: "Till 7", Agent: agent, At: noon, Sight: &run.Sight{Status: &run.EdgeStatus{
		File: "/srv/till.db", URL: "https://hub.example.com:8443", HubName: "Lakeside", Name: "Till 7", Complete: true, Rows: 1200, FreeDisk: 53_200_000_000, Agent: agent,
		LastProgress: noon.Add(-time.Minute)}}}
}

// unsafe adds work that is not at the hub.
func (s *seen) unsafe(n int64, age time.Duration) {
	s.Sight.Status.OutboxDepth, s.Sight.Status.OldestUnsafe = n, age.Seconds()
}

func (s *seen) state(state, code, text string) {
	s.Agent = run.AgentStatus{Running: state != run.StateStopped, State: state, Code: code, Error: text, Hint: "do this", Since: noon.Add(-90 * time.Minute), Next: noon.Add(20 * time.Second)}
}

func render(t *testing.T, list ...*seen) (*view, string) {
	t.Helper()
	v := viewer{now: noon, zone: time.UTC}
	flat := make([]seen, len(list))
	for i, s := range list {
		flat[i] = *s
	}
	shown := v.view(flat, "Tidemark 1.2")
	var b bytes.Buffer
	if err := template.Must(template.ParseFS(assets, "asset/page.html")).Execute(&b, shown); err != nil {
		t.Fatal(err)
	}
	return shown, b.String()
}

// Each state, as a person reads it.
func TestEveryStateHasItsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(s *seen)
		level  level // of the answer
		worst  level // of all
		answer string
		words  []string
	}{
		"safe": {func(*seen) {}, ok, ok, "All work is safe", []string{"Everything that was written in this file is at the hub.", "1,200 rows", "53.2 GB", "1 minute ago", "Lakeside"}},
		"on its way": {func(s *seen) { s.unsafe(1, 3*time.Second) }, notice, notice, "1 transaction is not at the hub yet",
			[]string{"<strong>3 seconds ago</strong>", "22 Nov 2026, 11:59:57 UTC", "on its way"}},
		"hours": {func(s *seen) { s.unsafe(3, 5*time.Hour+12*time.Minute) }, warning, warning, "3 transactions are not at the hub yet", []string{"5 hours 12 minutes ago"}},
		"days":  {func(s *seen) { s.unsafe(1234, 50*time.Hour) }, alarm, alarm, "1,234 transactions are not at the hub yet", []string{"2 days 2 hours ago"}},
		"offline": {func(s *seen) { s.state(run.StateOffline, "", "hub unreachable: no route") }, ok, notice, "All work so far is safe",
			[]string{"The hub cannot be reached.", "10:30:00 UTC, 1 hour 30 minutes ago", "hub unreachable: no route", "Do this.", "Next try in 20 seconds."}},
		"offline, with work": {func(s *seen) { s.state(run.StateOffline, "", "x"); s.unsafe(2, time.Minute) }, notice, notice, "2 transactions are not at the hub yet",
			[]string{"kept in this file until the hub can be reached again"}},
		"paused": {func(s *seen) { s.state(run.StatePaused, "paused", "paused: stocktaking") }, ok, warning, "All work so far is safe", []string{"The hub’s operator paused this device.", "stocktaking"}},
		"revoked": {func(s *seen) { s.state(run.StateRefused, "revoked", "revoked: lost") }, ok, alarm, "All work so far is safe",
			[]string{`<span class="tag alarm">revoked</span>`, "This device was revoked at the hub.", "until the hub’s operator enrols it again"}},
		"revoked, with work": {func(s *seen) { s.state(run.StateRefused, "revoked", "revoked: lost"); s.unsafe(1, time.Second) }, alarm, alarm, "1 transaction is not at the hub yet", nil},
		"unknown at the hub": {func(s *seen) { s.state(run.StateRefused, "unknown-device", "unknown-device: x") }, ok, alarm, "All work so far is safe",
			[]string{`<span class="tag alarm">refused</span>`, "The hub refuses this device."}},
		"no agent":  {func(s *seen) { s.state(run.StateStopped, "", "") }, ok, alarm, "All work so far is safe", []string{`<span class="tag alarm">no agent</span>`, "tidemark edge /srv/till.db"}},
		"locked":    {func(s *seen) { s.state(run.StateLocked, "", "busy"); s.unsafe(1, 1) }, notice, warning, "1 transaction is not at the hub yet", []string{"file locked", "lets go of the file"}},
		"full":      {func(s *seen) { s.state(run.StateFull, "", "full") }, ok, alarm, "All work so far is safe", []string{"The disk is full."}},
		"read-only": {func(s *seen) { s.state(run.StateReadOnly, "", "ro") }, ok, alarm, "All work so far is safe", []string{"cannot be written"}},
		"damaged":   {func(s *seen) { s.state(run.StateDamaged, "", "malformed"); s.unsafe(1, 1) }, alarm, alarm, "1 transaction is not at the hub yet", []string{"nowhere but in this file", "The file is damaged."}},
		"failed":    {func(s *seen) { s.state(run.StateFailed, "", "odd") }, ok, warning, "All work so far is safe", []string{"Something went wrong"}},
		"starting":  {func(s *seen) { s.state(run.StateStarting, "", "") }, ok, ok, "All work is safe", []string{"starting"}},
		"missing": {func(s *seen) { s.state(run.StateMissing, "", "gone"); s.Err = errors.New("open /srv/till.db: gone") }, notice, alarm, "All work was safe",
			[]string{"The file is not in its place.", "The file cannot be read now.", "last seen of it"}},
		"missing, with work": {func(s *seen) { s.state(run.StateMissing, "", "gone"); s.unsafe(1, 1); s.At = noon.Add(-time.Hour) }, alarm, alarm, "1 transaction is not at the hub yet",
			[]string{"<strong>1 hour ago</strong>"}}, // what was seen an hour ago is an hour older now
		"never read":                {func(s *seen) { s.Sight, s.Err, s.Name = nil, errors.New("no"), "" }, warning, warning, "Nobody can tell now", []string{"<bdi>till.db</bdi>"}},
		"first download":            {func(s *seen) { s.Sight.Status.Complete = false }, notice, notice, "The first download is not done yet", []string{"1,200 rows, not complete yet"}},
		"first download, with work": {func(s *seen) { s.Sight.Status.Complete = false; s.unsafe(1, 1) }, notice, notice, "1 transaction is not at the hub yet", []string{"rows of others are missing here"}},
		"refused":                   {func(s *seen) { s.Sight.Status.Quarantined = 1 }, warning, warning, "All work is at the hub, 1 transaction was refused", []string{"1 refused", "waits for somebody to decide"}},
		"little disk":               {func(s *seen) { s.Sight.Status.FreeDisk = 500 << 20 }, ok, warning, "All work is safe", []string{"Only 524 MB of disk are free."}},
		"no disk":                   {func(s *seen) { s.Sight.Status.FreeDisk = 1 << 20 }, ok, alarm, "All work is safe", []string{"Only 1.0 MB of disk are free."}},
		"disk unknown":              {func(s *seen) { s.Sight.Status.FreeDisk = 0 }, ok, ok, "All work is safe", nil},
		"clock":                     {func(s *seen) { s.Sight.Status.ClockOffset = 600 }, ok, warning, "All work is safe", []string{"This machine’s clock is 10 minutes slow."}},
		"clock fast":                {func(s *seen) { s.Sight.Status.ClockOffset = -7200 }, ok, warning, "All work is safe", []string{"2 hours fast"}},
		"rescues":                   {func(s *seen) { s.Sight.Status.Rescues = 2 }, ok, notice, "All work is safe", []string{"2 rescue copies of work", "tidemark queue export /srv/till.db"}},
		"one rescue":                {func(s *seen) { s.Sight.Status.Rescues = 1 }, ok, notice, "All work is safe", []string{"1 rescue copy of work", "is kept here"}},
		"salvage":                   {func(s *seen) { s.Sight.Status.Salvage = 4 }, ok, notice, "All work is safe", []string{"4 rows that the hub lost are still here."}},
		"unsettled":                 {func(s *seen) { s.Sight.Status.Unsettled = 1 }, ok, ok, "All work is safe", []string{"At the hub, outcome on its way"}},
		"state unknown":             {func(s *seen) { s.Agent.State = "" }, ok, ok, "All work is safe", []string{"unknown"}},
		"history": {func(s *seen) {
			s.Sight.Status.Events = make([]run.Event, 9)
			s.Sight.Status.Events[0] = run.Event{At: noon.Add(-time.Hour), Detail: "the file was restored"}
		}, ok, ok, "All work is safe",
			[]string{"What happened to this file", "the file was restored"}},
	} {
		s := sample()
		c.set(s)
		v, body := render(t, s)
		if f := v.Files[0]; f.Safety.Level != c.level || f.Level != c.worst || v.Level != c.worst || f.Safety.Answer != c.answer {
			t.Errorf("%s: %q (%s, worst %s), want %q (%s, worst %s)", name, f.Safety.Answer, f.Safety.Level, f.Level, c.answer, c.level, c.worst)
		}
		for _, w := range append(c.words, `<div class="answer `+c.level.String()+`">`, c.answer) {
			if !strings.Contains(body, w) {
				t.Errorf("%s: the page lacks %q", name, w)
			}
		}
		if n := strings.Count(body, "<li><p><bdi>"); n > eventsShown {
			t.Errorf("%s: %d events", name, n)
		}
	}
}

// A state of the agent that the page has no words for would look as if all were well.
func TestEveryStateIsKnown(t *testing.T) {
	well := []string{run.StateStarting, run.StateConnecting, run.StateOnline}
	for _, s := range []string{run.StateOffline, run.StateRefused, run.StatePaused, run.StateMissing, run.StateLocked, run.StateFull, run.StateReadOnly, run.StateDamaged, run.StateFailed, run.StateStopped} {
		if p := plights[s]; p.text == "" || p.until == "" || p.level == ok {
			t.Errorf("nothing is said of %s", s)
		}
	}
	for _, s := range well {
		if _, there := plights[s]; there {
			t.Errorf("%s is no plight", s)
		}
	}
}

// The device and the hub call the same thing by the same level.
func TestTheLevelsAreTheHubs(t *testing.T) {
	if warningUnsafe != hub.WarningUnsafe || alarmUnsafe != hub.AlarmUnsafe || warningDisk != hub.WarningDisk || alarmDisk != hub.AlarmDisk {
		t.Error("the hub has other levels")
	}
	for l, h := range map[level]hub.Level{ok: hub.OK, notice: hub.Notice, warning: hub.Warning, alarm: hub.Alarm} {
		if l.String() != h.String() {
			t.Errorf("%s is called %s at the hub", l, h)
		}
	}
}

func parked(n byte, reason string, ops int) run.Work {
	return run.Work{Queued: edge.Queued{ID: change.TxID{n, 2, 3}, At: noon.Add(-time.Hour), State: "quarantined", Reason: reason, Ops: ops, Aside: n == 1},
		Rows: []run.Row{{Table: "visit", Kind: "insert", Key: change.Key{change.Text(strings.Repeat("é", 200))}}, {Table: "visit", Kind: "delete", Key: change.Key{change.Text("a\x1b[2J\u0085b")}}}}
}

// What was refused is grouped with what waits for it, also through others.
func TestWhatDependsOnARefusedOneIsWithIt(t *testing.T) {
	s := sample()
	first, other := parked(1, "the room is taken", 9), parked(9, "the device may not write here", 2)
	second := parked(2, "it depends on transaction "+first.ID.String()+", which is in quarantine", 2)
	third := parked(3, "it depends on transaction "+second.ID.String()+", which is in quarantine", 2)
	stranger := parked(4, "it depends on transaction "+change.TxID{77}.String()+", which is in quarantine", 2)
	s.Sight.Parked = []run.Work{first, second, other, third, stranger}
	s.Sight.Status.Quarantined = 8
	v, body := render(t, s)
	f := v.Files[0]
	if len(f.Refused) != 3 || len(f.Refused[0].After) != 2 || f.Refused[0].After[1].ID != third.ID.String() || len(f.Refused[1].After)+len(f.Refused[2].After) != 0 {
		t.Fatalf("%+v", f.Refused)
	}
	for _, w := range []string{"2 more wait for it", "the room is taken", "and 7 more rows", "taken out of the tables here", "tidemark queue show 01020300 /srv/till.db", "and 3 more: ",
		"tidemark queue list /srv/till.db", strings.Repeat("é", 79) + "…", "&#39;a·[2J·b&#39;", "deleted <b>"} {
		if !strings.Contains(body, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
}

func TestWhatWaitsIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		depth  int64
		listed int
		want   string
	}{
		"all shown":           {5, 5, ""},
		"more than shown":     {9, 9, "4 more"},
		"more than is listed": {100_000, run.LookMost, "99,995 more"},
		"just written":        {4, 3, "what was written since the agent last looked"},
		"only just written":   {1, 0, "what was written since the agent last looked"},
		"handed in meanwhile": {0, 2, ""},
	} {
		s := sample()
		s.unsafe(c.depth, time.Minute)
		for i := range c.listed {
			s.Sight.Waiting = append(s.Sight.Waiting, parked(byte(i+10), "", 2))
		}
		if v, _ := render(t, s); v.Files[0].WaitingMore != c.want || len(v.Files[0].Waiting) != min(c.listed, waitingShown) {
			t.Errorf("%s: %d shown, %q", name, len(v.Files[0].Waiting), v.Files[0].WaitingMore)
		}
	}
}

// The window's title tells of the file that needs somebody most.
func TestTheTitleIsTheWorst(t *testing.T) {
	well, waits, lost := sample(), sample(), sample()
	waits.Name, lost.Name = "Till 8", "Till 9"
	waits.unsafe(1, time.Minute)
	lost.state(run.StateRefused, "revoked", "x")
	lost.unsafe(2, time.Minute)
	v, body := render(t, well, waits, lost)
	if v.Title != "2 transactions are not at the hub yet · Till 9" || v.Level != alarm {
		t.Errorf("%q, %s", v.Title, v.Level)
	}
	if strings.Contains(v.Say, "ago") || !strings.Contains(v.Say, "Till 7: All work is safe. Till 8: 1 transaction is not at the hub yet.") || !strings.Contains(body, `data-say="Till 7: `) {
		t.Errorf("it says %q", v.Say)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", 900 * time.Millisecond: "0 seconds", time.Second: "1 second", 59 * time.Second: "59 seconds", 61 * time.Second: "1 minute", 59 * time.Minute: "59 minutes",
		time.Hour: "1 hour", 25 * time.Hour: "1 day 1 hour", 3 * time.Hour: "3 hours", 62*time.Minute + time.Second: "1 hour 2 minutes", 240 * time.Hour: "10 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q", n, got)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1500: "1.5 kB", 123_456: "123 kB", 53_200_000_000: "53.2 GB", 1 << 63: "9223 PB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q", n, got)
		}
	}
	for s, want := range map[string]string{"": "", "free some space": "Free some space.", "tidemark doctor FILE tells more": "tidemark doctor FILE tells more.", "really?": "Really?", "été.": "Été."} {
		if got := sentence(s); got != want {
			t.Errorf("sentence(%q) = %q", s, got)
		}
	}
	v := viewer{now: noon, zone: time.FixedZone("CET", 3600)}
	for off, want := range map[time.Duration]string{0: "just now", time.Second: "just now", -time.Millisecond: "just now", -time.Hour: "in 1 hour", 4 * time.Minute: "4 minutes ago"} {
		if m := v.moment(noon.Add(-off)); m.Ago != want {
			t.Errorf("%s before noon is %q", off, m.Ago)
		}
	}
	if m := v.moment(noon); m.Exact != "22 Nov 2026, 13:00:00 CET" || m.ISO != "2026-11-22T12:00:00Z" || v.moment(time.Time{}) != (moment{}) {
		t.Errorf("%+v", m)
	}
	if clockText(500*time.Millisecond) != "right" {
		t.Error("a clock that is right")
	}
}

// However many look, the file is read once a second, and counted once a minute.
func TestFilesAreReadSparingly(t *testing.T) {
	w := newWorld(t)
	e := w.join("one.db", "till 1")
	clk := clock.NewManual(noon)
	e.Clock = clk
	g := &glance{edge: e}
	rows := func() int64 {
		s := g.look(context.Background(), clk.Now())
		if s.Err != nil {
			t.Fatal(s.Err)
		}
		return s.Sight.Status.Rows
	}
	depth := func() int64 { return g.look(context.Background(), clk.Now()).Sight.Status.OutboxDepth }
	if rows() != 2 || depth() != 0 {
		t.Fatal("the first look")
	}
	sh(t, e.File, `INSERT INTO item VALUES('n',5,'x')`)
	if depth() != 0 {
		t.Error("it was read twice in a second")
	}
	clk.Advance(fresh)
	if depth() != 1 || rows() != 2 {
		t.Error("a second later the file is read, and not counted")
	}
	clk.Advance(recount)
	if rows() != 3 {
		t.Error("a minute later the rows are counted")
	}
	sh(t, e.File, `INSERT INTO item VALUES('m',6,'x')`)
	clk.Advance(-time.Hour)
	if rows() != 4 {
		t.Error("a clock that was set back keeps the file from being read")
	}
}
