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

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// built is where program puts what it builds; TestMain removes it.
var built string

// program is the tidemark binary, built once, when a test needs it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "tidemark")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/tidemark").CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "fleet"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

func settings(t *testing.T, devices int) Config {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Program: path, Dir: t.TempDir(), Devices: devices, Changes: 20, Clock: clock.System{}, Rand: rand.Reader}
}

// opened is a fleet whose test goes through its steps; it is closed at the test's end.
func opened(t *testing.T, cfg Config) *fleet {
	t.Helper()
	f, err := open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func complete(t *testing.T, r *Report) {
	t.Helper()
	if !r.Whole() || len(r.Errors) > 0 {
		t.Errorf("%+v", r)
	}
	if r.P50 <= 0 || r.P99 < r.P50 || r.Answer99 < r.Answer50 || r.Took < r.P99 {
		t.Errorf("times of %+v", r)
	}
}

// All of a fleet that comes back at one moment is served, by a hub of its own process.
func TestAFleetComesBack(t *testing.T) {
	r, err := Run(t.Context(), settings(t, 40))
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
	cfg := settings(t, 25)
	f := opened(t, cfg)
	if err := f.enrol(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := f.hubs[0].dir.Config()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	narrow := strings.Replace(string(b), "hub:\n", "hub:\n  limits: {in_flight: 1, queue: 1}\n", 1)
	if err := os.WriteFile(path, []byte(narrow), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := f.comeBack(t.Context())
	if err = errors.Join(err, f.stop()); err != nil {
		t.Fatal(err)
	}
	if err := f.count(t.Context(), r); err != nil {
		t.Error(err)
	}
	complete(t, r)
	if r.Refused == 0 {
		t.Error("nobody was asked to come back later: the hub was not narrow")
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
