package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A mutant is one classic mistake, made in the real core by replacing text in one
// of its files while compiling (go test -overlay). The production code carries no
// switches for it. A text that is not found fails the test: mutants must be kept alive.
type mutant struct {
	name   string
	file   string // below the module root
	before string
	after  string
	also   []patch // made together with it
	seeds  int     // how many histories it may take to be caught; 0 means 60
	play   Family  // the families to play; 0: those that each seed draws
	server bool    // the hub's database is on a PostgreSQL server
}

// A patch is one replacement of text.
type patch struct{ file, before, after string }

// TestMutants makes each mistake in turn and wants the simulator to notice.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the core once per mutant")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(mutants, serverMutants...) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			catch(t, root, m)
		})
	}
}

func catch(t *testing.T, root string, m mutant) {
	tmp := t.TempDir()
	overlay, binary := m.overlay(t, root, tmp), filepath.Join(tmp, "sim.test")
	build := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, "./internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	if m.seeds == 0 {
		m.seeds = 60
	}
	run := exec.Command(binary, "-test.run", "^TestUntilFailure$", "-test.timeout", "10m")
	run.Dir = filepath.Join(root, "internal", "sim")
	run.Env = append(os.Environ(), "GOMAXPROCS=1", "TIDEMARK_MUTANT_SEEDS="+jsonInt(m.seeds), "TIDEMARK_MUTANT_FAMILIES="+jsonInt(int(m.play)))
	if m.server {
		run.Env = append(run.Env, "TIDEMARK_MUTANT_SERVER=1")
	}
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("not caught in %d histories:\n%s", m.seeds, out)
	}
	if !strings.Contains(string(out), "seed ") {
		t.Fatalf("failed, but not by an invariant:\n%s", out)
	}
	t.Logf("caught: %s", line(string(out), "seed "))
}

// overlay writes the mutated files and the list of them that the compiler takes.
func (m mutant) overlay(t *testing.T, root, tmp string) string {
	replace, text := map[string]string{}, map[string]string{}
	for i, p := range append([]patch{{m.file, m.before, m.after}}, m.also...) {
		path := filepath.Join(root, filepath.FromSlash(p.file))
		if replace[path] == "" {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			replace[path], text[path] = filepath.Join(tmp, fmt.Sprintf("mutated%d.go", i)), string(src)
		}
		if n := strings.Count(text[path], p.before); n != 1 {
			t.Fatalf("%s holds the text to mutate %d times, want once:\n%s", p.file, n, p.before)
		}
		text[path] = strings.Replace(text[path], p.before, p.after, 1)
	}
	for path, mutated := range replace {
		if err := os.WriteFile(mutated, []byte(text[path]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	js, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(overlay, js, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

func jsonInt(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func line(s, with string) string {
	for _, l := range strings.Split(s, "\n") {
		if strings.Contains(l, with) {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// TestUntilFailure is what a mutant's binary runs: seeds in turn until one breaks.
func TestUntilFailure(t *testing.T) {
	var n int
	if err := json.Unmarshal([]byte(os.Getenv("TIDEMARK_MUTANT_SEEDS")), &n); err != nil {
		n = 3 // run by itself, on the unmutated core, it must pass
	}
	var play Family
	if err := json.Unmarshal([]byte(os.Getenv("TIDEMARK_MUTANT_FAMILIES")), &play); err != nil {
		play = 0
	}
	var at *server
	if os.Getenv("TIDEMARK_MUTANT_SERVER") != "" {
		at = startServer(t)
	}
	for seed := uint64(1); seed <= uint64(n); seed++ {
		opt := Options{Seed: seed, Dir: dir(t), Families: play}
		if at != nil {
			opt.base = at.base(seed)
		}
		if _, err := Run(opt); err != nil {
			t.Fatal(shorten(err))
		}
	}
}
