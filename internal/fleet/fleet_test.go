package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// program is the tidemark binary, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tidemark")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/tidemark").CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func config(t *testing.T, devices int) Config {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Program: path, Dir: t.TempDir(), Devices: devices, Changes: 20, Clock: clock.System{}, Rand: rand.Reader}
}

func complete(t *testing.T, r *Report) {
	t.Helper()
	if r.Done != r.Devices || r.Lost != 0 || len(r.Errors) > 0 {
		t.Errorf("%+v", r)
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.Answer99 < r.Answer50 || r.Took < r.P99 {
		t.Errorf("times of %+v", r)
	}
}

// All of a fleet that comes back at one moment is served, by a hub of its own process.
func TestAFleetComesBack(t *testing.T) {
	r, err := Run(t.Context(), config(t, 40))
	if err != nil {
		t.Fatal(err)
	}
	complete(t, r)
	if r.Memory <= 0 {
		t.Error("the hub's memory is not known")
	}
}

// One that finds a hub which does one thing at a time is turned away, comes back, and
// loses nothing.
func TestTrapD13_AFleetGetsThroughANarrowHub(t *testing.T) {
	cfg := config(t, 25)
	f := &fleet{Config: cfg}
	f.data = f.directory()
	if err := f.enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := f.data.Config()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	narrow := strings.Replace(string(b), "hub:\n", "hub:\n  limits: {in_flight: 1, queue: 1}\n", 1)
	if err := os.WriteFile(path, []byte(narrow), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, err := f.serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := f.comeBack(t.Context())
	if err := stop(); err != nil {
		t.Error(err)
	}
	if r.Lost, err = f.lost(); err != nil {
		t.Error(err)
	}
	complete(t, r)
	if r.Refused == 0 {
		t.Error("nobody was asked to come back later: the hub was not narrow")
	}
}

func TestFleetRefusals(t *testing.T) {
	if _, err := Run(t.Context(), Config{Devices: 0, Changes: 1}); err == nil {
		t.Error("no devices were let in")
	}
	cfg := config(t, 1)
	cfg.Program = filepath.Join(cfg.Dir, "nothing")
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Error("nothing serves")
	}
	cfg = config(t, 1)
	cfg.Program = "/bin/false"
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "hub.log") {
		t.Errorf("a hub that ends at once: %v", err)
	}
	cfg = config(t, 1)
	cfg.Rand = iotest.ErrReader(errors.New("none"))
	if _, err := Run(t.Context(), cfg); err == nil {
		t.Error("keys without randomness")
	}
	f := &fleet{Config: config(t, 1), data: "nowhere"}
	if r := f.comeBack(t.Context()); len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := f.lost(); err == nil {
		t.Error("counted in no database")
	}
	if peak(-1) != 0 || quantile(nil, 50) != 0 || drawn(cfg.Rand, time.Second) != 0 {
		t.Error("something of nothing")
	}
}

// What a hub must not answer ends the device's work with an error.
func TestADeviceTakesNoWrongAnswer(t *testing.T) {
	emit := func(wire.Message) error { return nil }
	for _, m := range []wire.Message{&wire.PushResult{Fork: true}, &wire.PushResult{Durable: 1, Results: []wire.TxResult{{Seq: 1, Status: 3}}}, &wire.Rebase{}, &wire.Fault{Code: "x"}} {
		d := &device{clock: clock.System{}, txs: make([]*change.Transaction, 1)}
		if err := d.Receive(context.Background(), m, emit); err == nil || errors.Is(err, errDone) {
			t.Errorf("%T: %v", m, err)
		}
	}
}
