package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A town is a hub and the files of its sites.
type town struct {
	dir    string
	data   string // the hub's data directory
	netns  string
	listen string
	hub    *proc
	files  []string
	agents []*proc
}

// newTown starts a hub over an existing file with the given rules, or with what
// `tidemark init` proposes when rules is empty.
func newTown(t *testing.T, source, rules, netns string) *town {
	t.Helper()
	dir := t.TempDir()
	tn := &town{dir: dir, data: filepath.Join(dir, "hub"), netns: netns, listen: "127.0.0.1:0"}
	conf := filepath.Join(dir, "tidemark.yaml")
	if rules == "" {
		must(t, "init", source, "-o", conf)
	} else if err := os.WriteFile(conf, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	tn.startHub(t, "--config", conf, "--import", source)
	return tn
}

func (tn *town) db() string { return filepath.Join(tn.data, "hub.db") }

// startHub starts the hub and waits until it serves; the port it got is kept for later starts.
func (tn *town) startHub(t *testing.T, more ...string) {
	t.Helper()
	endpoint := filepath.Join(tn.data, "endpoint.json")
	before, _ := os.ReadFile(endpoint)
	_ = os.Remove(endpoint)
	tn.hub = start(t, tn.netns, append([]string{"hub", "--data", tn.data, "--listen", tn.listen}, more...)...)
	eventually(t, 60*time.Second, "the hub serves", func() bool {
		select {
		case <-tn.hub.done:
			t.Fatalf("the hub ended:\n%s", tn.hub.log())
		default:
		}
		b, err := os.ReadFile(endpoint)
		return err == nil && len(b) > 0 && strings.Contains(tn.hub.log(), "serving ") // what it has to say comes before
	})
	if len(before) == 0 { // first start: fix the port
		ep := readJSON[struct {
			URL string `json:"url"`
		}](t, endpoint)
		tn.listen = strings.TrimPrefix(ep.URL, "https://")
	}
}

// join enrols a new site and bootstraps its file.
func (tn *town) join(t *testing.T, name string, scopes ...string) string {
	t.Helper()
	args := []string{"device", "add", name, "--data", tn.data}
	for _, s := range scopes {
		args = append(args, "--scope", s)
	}
	invite := mustJSON[struct {
		Token string `json:"token"`
	}](t, args...)
	file := filepath.Join(tn.dir, name+".db")
	tn.mustIn(t, "join", invite.Token, file)
	tn.files = append(tn.files, file)
	return file
}

// mustIn runs a verb inside the town's network.
func (tn *town) mustIn(t *testing.T, args ...string) {
	t.Helper()
	if tn.netns == "" {
		must(t, args...)
		return
	}
	p := start(t, tn.netns, args...)
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("tidemark %v: exit code %d\n%s", args, code, p.log())
	}
}

func (tn *town) startAgent(t *testing.T, i int) {
	t.Helper()
	for len(tn.agents) <= i {
		tn.agents = append(tn.agents, nil)
	}
	tn.agents[i] = start(t, tn.netns, "edge", tn.files[i])
}

// status is what `tidemark status --json` says of a file.
type status struct {
	OutboxDepth  int64   `json:"outbox_depth"`
	OldestUnsafe float64 `json:"oldest_unsafe_seconds"`
	Quarantined  int64   `json:"quarantined"`
	Complete     bool    `json:"complete"`
}

func edgeStatus(t *testing.T, file string) status {
	t.Helper()
	return mustJSON[struct {
		Files []status `json:"files"`
	}](t, "status", file).Files[0]
}

// settle runs `sync --once` on every file until nothing is under way anywhere.
func (tn *town) settle(t *testing.T) {
	t.Helper()
	for range 2 { // the second round brings what the last one handed in
		for _, f := range tn.files {
			tn.mustIn(t, "sync", "--once", "--wait", "60s", f)
		}
	}
}

// dump is a table's rows, by the C library's own reading, with types.
func dump(t *testing.T, file, table, where string) string {
	t.Helper()
	cols := strings.Split(shell(t, file, fmt.Sprintf(`SELECT name FROM pragma_table_xinfo('%s') WHERE hidden=0 ORDER BY name`, table)), "\n")
	var exprs []string
	for _, c := range cols {
		q := `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		exprs = append(exprs, fmt.Sprintf("typeof(%s)||':'||quote(%s)", q, q))
	}
	if where != "" {
		where = " WHERE " + where
	}
	return shell(t, file, fmt.Sprintf(`SELECT %s AS line FROM "%s"%s ORDER BY line`, strings.Join(exprs, "||'|'||"), table, where))
}

// sameRows compares a table at the hub and in every file.
func (tn *town) sameRows(t *testing.T, tables ...string) {
	t.Helper()
	for _, table := range tables {
		want := dump(t, tn.db(), table, "")
		for _, f := range tn.files {
			if got := dump(t, f, table, ""); got != want {
				t.Errorf("I2: %s differs from the hub in %s:\n%s", filepath.Base(f), table, firstDifference(want, got))
			}
		}
	}
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "(nothing)", "(nothing)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("row %d of %d and %d\n  hub:  %s\n  edge: %s", i, len(a), len(b), x, y)
		}
	}
	return "no difference"
}

func tables(t *testing.T, file string) []string {
	t.Helper()
	return strings.Split(shell(t, file, `SELECT name FROM pragma_table_list WHERE schema='main' AND type='table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\_tidemark%' ESCAPE '\' ORDER BY name`), "\n")
}
