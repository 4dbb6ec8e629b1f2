package tidemark_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// What an application that imports this package builds in: a list to look at when
// it grows. The hub, its configuration and its rule language are not in it.
func TestTheClosureIsWhatTheGoldenFileSays(t *testing.T) {
	golden := filepath.Join("testdata", "closure.txt")
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Fields(string(out))
	slices.Sort(list)
	got := strings.Join(slices.Compact(list), "\n") + "\n"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the modules that the package needs are\n%s\nand %s says\n%s\nif that is meant: go test . -run Closure -rewrite, and a line in docs/dependencies.md", got, golden, want)
	}
	for _, bad := range []string{"github.com/spf13/cobra", "cel.dev/cel-go", "go.yaml.in/yaml/v3", "github.com/mattn/go-sqlite3"} {
		if slices.Contains(list, bad) {
			t.Errorf("%s has no place in an application", bad)
		}
	}
}
