package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// roomText reads the Go files of rooms, without their tests.
func roomText(t *testing.T, rooms ...string) string {
	t.Helper()
	var b strings.Builder
	for _, room := range rooms {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(room), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
		}
	}
	return b.String()
}

// Whatever an operator can be shown has its place in a runbook.
func TestRunbooksKnowEveryWord(t *testing.T) {
	var pages string
	list, err := filepath.Glob(filepath.Join("..", "..", "docs", "runbooks", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		pages += read(t, "docs", "runbooks", filepath.Base(p))
	}
	for what, w := range map[string]struct {
		re    string
		rooms []string
		least int
	}{
		"agent state":        {`(?m)^\tState\w+\s*= "([a-z-]+)"`, []string{"internal/run"}, 12},
		"finding of doctor":  {`\.Add\("([a-z_]+)"`, []string{"internal/run", "internal/serve", "internal/checkup"}, 15},
		"code of quarantine": {`(?:refuse\(|refusal\{code: )"([a-z-]+)"`, []string{"internal/hub"}, 18},
	} {
		words := map[string]bool{}
		for _, m := range regexp.MustCompile(w.re).FindAllStringSubmatch(roomText(t, w.rooms...), -1) {
			words[m[1]] = true
			if !strings.Contains(pages, "`"+m[1]+"`") {
				t.Errorf("no runbook mentions the %s `%s`", what, m[1])
			}
		}
		if len(words) < w.least {
			t.Errorf("read only %d words for %s: did their form change?", len(words), what)
		}
	}
}
