package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// What makes no sense is refused before anything is made.
func TestFleetRefusals(t *testing.T) {
	refused := func(cfg Config, want string) {
		t.Helper()
		r, err := Run(t.Context(), cfg)
		if err == nil || r != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want %s", r, err, want)
		}
	}
	refused(Config{Devices: 0, Changes: 1}, "one device")
	refused(Config{Devices: 1, Changes: 1, Hubs: -1}, "one hub")
	cfg := settings(t, 1)
	cfg.Hubs = 2
	refused(cfg, "--database")
	if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrOneFile) {
		t.Error(err)
	}
	cfg = settings(t, 1)
	cfg.Program = filepath.Join(cfg.Dir, "nothing")
	refused(cfg, "nothing")
	cfg = settings(t, 1)
	cfg.Program = "/bin/false"
	refused(cfg, "hub.log")
	cfg = settings(t, 1)
	cfg.Rand = iotest.ErrReader(errors.New("no randomness"))
	refused(cfg, "no randomness")
	cfg = settings(t, 1)
	cfg.Redis = "http://nowhere"
	refused(cfg, "hub.redis")
	cfg = settings(t, 1)
	cfg.Dir = filepath.Join(cfg.Dir, "nowhere")
	refused(cfg, "nowhere")
}

// A hub without an address of its own would serve what the environment names: somebody's
// database would be full of the fleet's rows.
func TestAFleetTakesNobodysDatabase(t *testing.T) {
	t.Setenv(serve.EnvDatabase, "postgres:///shop")
	cfg := Config{Program: "/bin/false", Dir: t.TempDir(), Devices: 1, Changes: 1, Clock: clock.System{}, Rand: rand.Reader}
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), serve.EnvDatabase) {
		t.Errorf("with a database in the environment: %v", err)
	}
}

func TestOfNothing(t *testing.T) {
	f := &fleet{Config: Config{Dir: t.TempDir(), Devices: 1, Changes: 1, Clock: clock.System{}}}
	f.hubs, f.base = []*process{newProcess(f.Dir, 0)}, file("nowhere")
	if _, err := f.comeBack(t.Context()); err == nil {
		t.Error("came back to nothing")
	}
	if err := f.count(t.Context(), &Report{}); err == nil {
		t.Error("counted in no database")
	}
	if err := twin("nowhere", f.Dir); err == nil {
		t.Error("copied no keys")
	}
	if got := newProcess(f.Dir, 1).lastWords(); !strings.Contains(got, "hub-2.log") {
		t.Errorf("the last words of a hub that never was: %s", got)
	}
	if peak(-1) != 0 || quantile(nil, 50) != 0 || drawn(iotest.ErrReader(errors.New("none")), time.Second) != 0 {
		t.Error("something of nothing")
	}
}

// A row counts as there when a device wrote it just like that, and once.
func TestRowsAreComparedWithWhatWasWritten(t *testing.T) {
	f := &fleet{Config: Config{Devices: 12, Changes: 3}}
	for _, c := range []struct {
		id, branch, text string
		n                int64
		at               int
		ok               bool
	}{
		{"0-0", "0", note, 0, 0, true},
		{"11-2", "1", note, 2, 35, true},
		{"11-2", "0", note, 2, 0, false}, // somebody else's branch
		{"11-2", "1", "other", 2, 0, false},
		{"11-2", "1", note, 1, 0, false},
		{"11-3", "1", note, 3, 0, false},
		{"11-03", "1", note, 3, 0, false},
		{"12-0", "1", note, 0, 0, false},
		{"-1-0", "0", note, 0, 0, false},
		{"x", "", "", -1, 0, false},
	} {
		if at, ok := f.place(c.id, c.branch, c.text, c.n); at != c.at || ok != c.ok {
			t.Errorf("%v: %d, %v", c, at, ok)
		}
	}
	f.base = rows{{"0-0", "0", note, 0}, {"0-0", "0", note, 0}, {"0-1", "7", note, 1}}
	r := &Report{Devices: 12, Done: 12}
	if err := f.count(t.Context(), r); err != nil || r.Lost != 35 || r.Wrong != 2 || r.Whole() {
		t.Errorf("%+v, %v", r, err)
	}
}

// rows is a table as it should never be.
type rows []struct {
	id, branch, note string
	n                int64
}

func (r rows) rows(_ context.Context, each func(id, branch, note string, n int64)) error {
	for _, x := range r {
		each(x.id, x.branch, x.note, x.n)
	}
	return nil
}

func (rows) address() string              { return "" }
func (rows) hasty() string                { return "" }
func (rows) remove(context.Context) error { return nil }
func (rows) String() string               { return "" }

// Who goes round between hubs of which none is there gives up when it is told to.
func TestADeviceGoesRound(t *testing.T) {
	key, err := transport.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	none := transport.Options{URL: "https://127.0.0.1:1", DialTimeout: time.Second}
	d := &device{clock: clock.System{}, key: key, setup: &wire.Setup{}, hubs: []transport.Options{none, none}}
	turns := 0
	err = d.run(ctx, func(time.Duration) time.Duration {
		if turns++; turns == 3 {
			cancel()
		}
		return 0
	})
	if !errors.Is(err, context.Canceled) || d.moved != 3 || d.at != 1 {
		t.Errorf("%v, moved %d times, now at %d", err, d.moved, d.at)
	}
	d = &device{hubs: []transport.Options{{URL: "no address"}}, key: key}
	if err := d.run(t.Context(), nil); err == nil {
		t.Error("went nowhere")
	}
}

// A hub that does not say what was wrong says what it wrote last.
func TestLastWords(t *testing.T) {
	p := newProcess(t.TempDir(), 0)
	if err := os.WriteFile(p.log(), []byte(strings.Repeat("x", 2000)+" the end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.lastWords(); !strings.HasSuffix(got, " the end") || len(got) > 1100 {
		t.Errorf("%s", got)
	}
}
