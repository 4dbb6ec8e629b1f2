package sim

import (
	"encoding/json"
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
	seeds  int // how many histories it may take to be caught; 0 means 60
}

// TestMutants makes each mistake in turn and wants the simulator to notice.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the core once per mutant")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { catch(t, root, m) })
	}
}

func catch(t *testing.T, root string, m mutant) {
	path := filepath.Join(root, filepath.FromSlash(m.file))
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), m.before); n != 1 {
		t.Fatalf("%s holds the text to mutate %d times, want once:\n%s", m.file, n, m.before)
	}
	tmp := t.TempDir()
	mutated, overlay := filepath.Join(tmp, "mutated.go"), filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(src), m.before, m.after, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	js, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, js, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(tmp, "sim.test")
	build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, "./internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not compile: %v\n%s", err, out)
	}
	if m.seeds == 0 {
		m.seeds = 60
	}
	run := exec.Command(binary, "-test.run", "^TestUntilFailure$", "-test.timeout", "10m")
	run.Dir = filepath.Join(root, "internal", "sim")
	run.Env = append(os.Environ(), "TIDEMARK_MUTANT_SEEDS="+jsonInt(m.seeds))
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("not caught in %d histories:\n%s", m.seeds, out)
	}
	if !strings.Contains(string(out), "seed ") {
		t.Fatalf("failed, but not by an invariant:\n%s", out)
	}
	t.Logf("caught: %s", line(string(out), "seed "))
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
	for seed := uint64(1); seed <= uint64(n); seed++ {
		if _, err := Run(Options{Seed: seed, Dir: dir(t)}); err != nil {
			t.Fatal(shorten(err))
		}
	}
}
