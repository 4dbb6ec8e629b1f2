package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A dependency is a decision: each direct one has its line.
func TestEveryDependencyHasItsLine(t *testing.T) {
	page := read(t, "docs", "dependencies.md")
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1)
	if len(direct) < 10 {
		t.Fatalf("read only %d direct dependencies in go.mod", len(direct))
	}
	for _, m := range direct {
		if !strings.Contains(page, "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md says nothing about %s", m[1])
		}
	}
}

// Every room of the plan stands in ARCHITECTURE.md's table.
func TestArchitectureShowsThePlan(t *testing.T) {
	page := read(t, "ARCHITECTURE.md")
	for room := range plan {
		if under(room, []string{"internal/wire", "internal/store", "internal/api"}) {
			room = strings.Join(strings.Split(room, "/")[:2], "/")
		}
		if !strings.Contains(page, "`"+room) {
			t.Errorf("ARCHITECTURE.md does not mention %s", room)
		}
	}
}

// Links between pages lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, glob := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(glob)))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range more {
			rel, err := filepath.Rel(filepath.Join("..", ".."), p)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, rel)
		}
	}
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(page), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

// README stays short enough to be read.
func TestREADMEIsShort(t *testing.T) {
	if n := strings.Count(read(t, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, more than 150", n)
	}
}
