package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// build builds the binary that the story is told with.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark")
	out, err := exec.Command("go", "build", "-o", path, "github.com/tidemark-sync/tidemark/cmd/tidemark").CombinedOutput()
	if err != nil {
		t.Fatalf("build tidemark: %v\n%s", err, out)
	}
	return path
}

// A screenful collects what is shown, and tells when something appears.
type screenful struct {
	mu   sync.Mutex
	text strings.Builder
	want string
	seen chan struct{}
}

func (s *screenful) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.text.Write(b)
	if s.want != "" && strings.Contains(s.text.String(), s.want) {
		s.want = ""
		close(s.seen)
	}
	return n, err
}

func (s *screenful) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await returns a channel that is closed once text was shown.
func (s *screenful) await(text string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = make(chan struct{})
	s.want = text
	if strings.Contains(s.text.String(), text) {
		s.want = ""
		close(s.seen)
	}
	return s.seen
}

func TestTheWholeStoryThenEverythingGoesOn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, dir := &screenful{}, filepath.Join(t.TempDir(), "kept")
	in, keys := io.Pipe()
	var told *Report
	ended := make(chan error, 1)
	program := build(t)
	go func() {
		ended <- Run(ctx, Config{Program: program, Dir: dir, Quick: true, Stay: true, Out: out, In: in, Clock: clock.System{},
			Told: func(r *Report) error { told = r; return nil }})
	}()
	step := func(text string) {
		t.Helper()
		select {
		case <-out.await(text):
		case err := <-ended:
			t.Fatalf("the story ended: %v\n%s", err, out)
		}
	}
	step("Ctrl-C stops everything")
	for _, text := range []string{"The network is cut. Enter restores it.", "The network is back"} {
		if _, err := io.WriteString(keys, "\n"); err != nil {
			t.Fatal(err)
		}
		step(text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("after Ctrl-C: %v", err)
	}
	for _, re := range []string{
		`serves at https://127\.0\.0\.1:\d+, with all 9,203 rows`,
		`both agents say: online`, `both agents say: offline`,
		`outbox: 26 transactions at north, 26 at south`,
		`still 6,000 visits, and 0 bytes came through`,
		`north: agent back after .*, its 26 transactions`,
		`the quarantine is empty`,
		`nothing twice: 6,050 visits at the hub, 6,000 \+ 25 \+ 25`,
		`stands: 555-0199, of south\n +gave way: 555-0100, of north`,
		`5,000 - \d+ - \d+ = 4,\d+, at the hub and in both branches`,
		`north\.db equals the hub: 4 tables, 5,\d+ rows, 0 differ`,
		`south\.db equals the hub: 4 tables, 5,\d+ rows, 0 differ`,
		`\d+ claims, each checked and true`,
		`tidemark conflicts undo [0-9a-f]+-[0-9a-f]+ --data hub`,
		`The hub and the agents are stopped\.\n$`,
	} {
		if !regexp.MustCompile(re).MatchString(out.String()) {
			t.Errorf("the screen does not show %q", re)
		}
	}
	for l := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(l, "\n"))); n > screenWidth && !strings.Contains(l, dir) {
			t.Errorf("a line of %d columns: %s", n, l)
		}
	}
	if told == nil || !told.True || len(told.Claims) < 15 || told.Seconds <= 0 {
		t.Errorf("the report is %+v", told)
	}
	// The directory was chosen, so it is kept, and nobody works in it any more.
	if _, err := os.Stat(filepath.Join(dir, "hub", "hub.db")); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("the screen:\n%s", out)
	}
}

func TestInterruptedStoryCleansUp(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &screenful{}
	seen := out.await("2  Two branches join")
	go func() {
		<-seen
		cancel()
	}()
	err := Run(ctx, Config{Program: build(t), Quick: true, Out: out, Clock: clock.System{}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted story ends with %v", err)
	}
	if list, err := filepath.Glob(filepath.Join(temp, "tidemark-demo-*")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestFailureKeepsEverythingForALook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	program := stage(t, `echo "no such luck" >&2; exit 1`).program
	t.Setenv("PATH", "") // no sqlite3 shell
	var out strings.Builder
	err := Run(t.Context(), Config{Program: program, Dir: dir, Quick: true, Out: &out, Clock: clock.System{}})
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a hub that cannot start: %v", err)
	}
	for _, want := range []string{"Everything is kept for a look", "the applications are built in"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the screen does not show %q:\n%s", want, out.String())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "hub.log")); err != nil {
		t.Error(err)
	}
	// The same directory again is refused.
	if err := Run(t.Context(), Config{Program: program, Dir: dir, Out: &out, Clock: clock.System{}}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a directory that is not empty: %v", err)
	}
	if err := Run(t.Context(), Config{Program: program, Dir: filepath.Join(program, "x"), Out: &out, Clock: clock.System{}}); err == nil {
		t.Error("a directory that cannot be made is no error")
	}
}

// What the verbs say is judged, not just shown.
func TestUntrueOutcomesEndTheStory(t *testing.T) {
	receipt := `{"id":"r1","table":"patient","key":["` + hotPatient + `"],"column":"phone","rule":"latest","hub":"1","edge":"2","result":"1","winner":"north","loser":"south"}`
	for name, tc := range map[string]struct{ says, want string }{
		"no receipt":     {`{"receipts":[]}`, "there are 0"},
		"two receipts":   {`{"receipts":[` + receipt + `,` + receipt + `]}`, "there are 2"},
		"another winner": {`{"receipts":[` + receipt + `]}`, "the later edit stands"},
		"no JSON":        {`nothing`, "read what tidemark"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := newScreen(Style{})
			st := &story{s: s, cast: stage(t, "echo '"+tc.says+"'"), cfg: Config{Quick: true}}
			st.done[0].phone, st.done[1].phone = "1", "2"
			if err := st.conflict(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the error is %v, want %q in it", err, tc.want)
			}
		})
	}
	t.Run("one file missing", func(t *testing.T) {
		st := &story{cast: stage(t, `echo '{"files":[{}]}'`), north: &app{file: "n"}, south: &app{file: "s"}}
		if _, _, err := st.status(t.Context()); err == nil || !strings.Contains(err.Error(), "1 files instead of two") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestCounterThatDisagreesWithTheSum(t *testing.T) {
	dir := t.TempDir()
	if err := makeClinic(dir); err != nil {
		t.Fatal(err)
	}
	s, _, _ := newScreen(Style{})
	a := &app{dir: dir, file: clinicFile}
	st := &story{s: s, cast: stage(t, ""), cfg: Config{Quick: true}, hub: a, north: a, south: a, stock: boxes}
	if err := st.counter(t.Context()); err != nil {
		t.Errorf("nothing sold: %v", err)
	}
	st.done[0].sold = 1
	if err := st.counter(t.Context()); err == nil || !strings.Contains(err.Error(), "5,000 - 1 - 0 = 4,999") {
		t.Errorf("a lost sale: %v", err)
	}
}

func TestPathsForTheShell(t *testing.T) {
	for path, want := range map[string]string{"/tmp/demo-1": "/tmp/demo-1", "/a b": "'/a b'", "/it's": `'/it'\''s'`} {
		if got := quoted(path); got != want {
			t.Errorf("quoted(%q) = %s, want %s", path, got, want)
		}
	}
}

// Nothing that ought to go on is waited for once it has ended.
func TestWaitingEndsWithItsReason(t *testing.T) {
	st := &story{cast: stage(t, `exit 4`), cfg: Config{}}
	never := func() (bool, error) { return false, nil }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.until(ctx, "x", never); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := st.beat(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled pause: %v", err)
	}
	if err := st.beat(t.Context(), time.Millisecond); err != nil {
		t.Errorf("a pause: %v", err)
	}
	broken := errors.New("broken")
	if err := st.until(t.Context(), "it works", func() (bool, error) { return false, broken }); !errors.Is(err, broken) || !strings.Contains(err.Error(), "wait until it works") {
		t.Errorf("a question that fails: %v", err)
	}
	if err := st.cast.start("hub", "hub"); err != nil {
		t.Fatal(err)
	}
	<-st.cast.list[0].done
	if err := st.until(t.Context(), "x", never); !errors.Is(err, errEnded) {
		t.Errorf("an ended process: %v", err)
	}
}

func TestAgentText(t *testing.T) {
	now := time.Unix(1000, 0)
	var f fileState
	f.Agent.State = "online"
	for _, tc := range []struct {
		next time.Duration
		want string
	}{{0, "trying now"}, {1200 * time.Millisecond, "next try in 2 s"}} {
		f.Agent.State, f.Agent.Next = "offline", now.Add(tc.next)
		if got := agentText(f, now); got != tc.want {
			t.Errorf("%v before the next try: %q, want %q", tc.next, got, tc.want)
		}
	}
	f.Agent.State = "refused"
	if got := agentText(f, now); got != "refused" {
		t.Errorf("any other state: %q", got)
	}
}
