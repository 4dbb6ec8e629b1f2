package e2e

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// devices is how large the fleet is that the console is measured with.
var devices = flag.Int("devices", 10_000, "devices in the fleet that the console shows")

// A large fleet is usable: it is there, it is searched, sorted and scrolled. The figures
// are printed (-v), not judged: they are the machine's as well.
func TestConsole_Fleet(t *testing.T) {
	chromium := needPage(t)
	c := newClinic(t)
	link := c.link()
	c.hub.stop(t)
	seedFleet(t, c.data, *devices)
	c.open()
	before := resident(t, c.hub)
	at, orders := office(t)
	s := stage{URL: "https://" + c.people, Setup: link, Key: c.key(), Office: at, Chromium: chromium, Shots: t.TempDir()}
	out := play(t, "fleet", 10*time.Minute, s, orders, c.carry)
	for line := range strings.Lines(out) {
		if figure, ok := strings.CutPrefix(strings.TrimSpace(line), "FIGURE "); ok {
			t.Log(figure)
		}
	}
	after := resident(t, c.hub)
	const most = 110 << 20 // about 66 MB is usual, 145 MB while the login's memory is kept
	eventually(t, time.Minute, "the hub's own memory is below 110 MiB", func() bool { return resident(t, c.hub) < most })
	t.Logf("%d devices; the hub's own memory: %d MB after its start, %d MB after the measurement, then %d MB", *devices, before>>20, after>>20, resident(t, c.hub)>>20)
}

// seedFleet puts down devices as a fleet has them: most are well, some are not.
func seedFleet(t *testing.T, data string, n int) {
	t.Helper()
	office, err := serve.OpenOffice(t.Context(), serve.OfficeConfig{Dir: serve.HubDir(data), Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = office.Close() }()
	err = office.Store.Update(t.Context(), func(tx hub.Tx) error {
		cur, err := tx.Cursor()
		if err != nil {
			return err
		}
		now := clock.System{}.Now()
		for i := range n {
			d := oneOf(i, now, cur)
			body, err := json.Marshal(d)
			if err != nil {
				return err
			}
			if err := tx.PutRecord("device", d.ID.String(), body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("seed %d devices: %v", n, err)
	}
}

func oneOf(i int, now time.Time, cur change.Cursor) *hub.Device {
	seen := now.Add(-time.Duration(i%600) * time.Second)
	d := &hub.Device{Name: fmt.Sprintf("branch %03d till %02d", i/25, i%25), State: hub.Active, Created: now.AddDate(0, -3, 0), Seen: seen, Progress: seen,
		Grants: []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, Agent: fmt.Sprintf("tidemark 0.%d.0", 4+i%3), Cursor: cur,
		Status: wire.EdgeStatus{App: "sqlite 3.46.1", FreeDisk: uint64(2+i%40) << 30}}
	d.ID[0], d.ID[6], d.ID[8] = 0xf1, 0x70, 0x80
	d.ID[12], d.ID[13], d.ID[14], d.ID[15] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
	d.Key = change.Hash{1, byte(i >> 16), byte(i >> 8), byte(i)}
	switch {
	case i == 42: // there is one of its name
		d.Name = "harbour kiosk"
	case i%500 == 7: // days of work that nobody else has
		d.Seen, d.Status.OutboxDepth, d.Status.OldestUnsafe = now.Add(-72*time.Hour), 140, 5*time.Hour
	case i%97 == 3:
		d.Status.OutboxDepth, d.Status.OldestUnsafe = uint64(1+i%9), time.Duration(i%50)*time.Minute
	case i%211 == 5:
		d.State, d.Reason = hub.Revoked, "replaced"
	}
	return d
}

// resident is a process's own resident memory, in bytes: without the pages of its
// binary, which are the machine's to keep.
func resident(t *testing.T, p *proc) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("the kernel does not tell a process's resident memory")
	return 0
}
