package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once per run by TestMain; page says why it has
// no console.
var (
	binary string
	page   error
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tidemark-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "tidemark")
	if out, err := exec.Command("../scripts/console").CombinedOutput(); err != nil {
		page = fmt.Errorf("%w\n%s", err, out)
	}
	build := exec.Command("go", "build", "-o", binary, "../cmd/tidemark")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// need fails the test when a tool is missing: scripts/setup installs them all, and
// a test that skips itself looks green.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: run scripts/setup", tool)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this test needs root")
		}
		t.Skip("this test needs root: it mounts or makes a network namespace")
	}
}

// A proc is a program of ours under way.
type proc struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func (p *proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *proc) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start runs the binary in the background, in netns when that is set, and kills it at the test's end.
func start(t *testing.T, netns string, args ...string) *proc {
	t.Helper()
	name, argv := binary, args
	if netns != "" {
		name, argv = "ip", append([]string{"netns", "exec", netns, binary}, args...)
	}
	p := &proc{cmd: exec.Command(name, argv...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v printed:\n%s", args, tail(p.log(), 60))
		}
	})
	return p
}

// kill is kill -9.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks politely and wants the process gone within ten seconds.
func (p *proc) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Errorf("still running ten seconds after SIGTERM:\n%s", tail(p.log(), 30))
		p.kill()
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// try runs the binary to its end.
func try(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("tidemark %v: %v", args, err)
	}
	return out.String(), errb.String(), cmd.ProcessState.ExitCode()
}

// must runs the binary and wants exit code 0.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := try(t, args...)
	if code != 0 {
		t.Fatalf("tidemark %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// mustJSON runs a verb with --json and decodes what it prints.
func mustJSON[T any](t *testing.T, args ...string) T {
	t.Helper()
	var v T
	out := must(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("tidemark %v --json: %v in %s", args, err, out)
	}
	return v
}

// shell runs SQL through the C library's own shell, with foreign keys on and a
// busy timeout, as a careful application would.
func shell(t *testing.T, file, sql string) string {
	t.Helper()
	out, err := tryShell(file, sql)
	if err != nil {
		t.Fatalf("sqlite3 %s: %v\n%s\n%s", file, err, sql, out)
	}
	return out
}

func tryShell(file, sql string) (string, error) {
	cmd := exec.Command("sqlite3", "-batch", "-bail", "-cmd", ".timeout 20000", "-cmd", "PRAGMA foreign_keys=ON", file, sql)
	out, err := cmd.CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

// python runs a program with Python's own sqlite3 module.
func python(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command("python3", append([]string{"-c", program}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// eventually waits until ok says yes, looking every 50 ms, and fails after the limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %v: %s", limit, what)
		case <-look.C:
		}
	}
}
