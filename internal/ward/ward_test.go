package ward

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is, in a process of its own, a test binary that starts a server and
// dies without a word.
func TestMain(m *testing.M) {
	if os.Getenv("WARD_DIES") == "" {
		os.Exit(m.Run())
	}
	d, err := Open("postgres")
	if err != nil {
		panic(err)
	}
	p, err := d.Start(context.Background(), "/bin/sh", func(context.Context) error { return nil }, "-c", "sleep 600; : "+d.Path)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString(d.Path + "\n" + strconv.Itoa(p.Pid()) + "\n")
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func TestServersDoNotOutliveAKilledTestBinary(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "WARD_DIES=1")
	out, _ := cmd.Output() // it ends by a signal: that is the point
	path, rest, _ := strings.Cut(string(out), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(rest))
	if err != nil {
		t.Fatalf("the process said %q", out)
	}
	limit := time.NewTimer(20 * time.Second)
	look := time.NewTicker(20 * time.Millisecond)
	for {
		_, gone := os.Stat(path)
		if errors.Is(gone, os.ErrNotExist) && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		select {
		case <-limit.C:
			t.Fatalf("%s or process %d is still there", path, pid)
		case <-look.C:
		}
	}
}

func den(t *testing.T) *Den {
	t.Helper()
	d, err := Open("postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestAServerThatEndsAtOnceSaysWhy(t *testing.T) {
	d := den(t)
	_, err := d.Start(t.Context(), "/bin/sh", func(context.Context) error { return errors.New("no answer") }, "-c", "echo the port is taken; exit 1")
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatNeverAnswersIsEnded(t *testing.T) {
	d := den(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p, err := d.Start(ctx, "/bin/sh", func(context.Context) error { return errors.New("no answer") }, "-c", "sleep 600; : "+d.Path)
	if !errors.Is(err, context.DeadlineExceeded) && (err == nil || !strings.Contains(err.Error(), "no answer")) {
		t.Errorf("got %v", err)
	}
	if p.Pid() != 0 {
		t.Errorf("process %d is still running", p.Pid())
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	_, err := Find("/nowhere/*/thing", "thing")
	if err == nil || !strings.Contains(err.Error(), "scripts/setup") {
		t.Errorf("got %v", err)
	}
	if _, err := Open("nobody-of-that-name"); os.Getuid() == 0 && (err == nil || !strings.Contains(err.Error(), "scripts/setup")) {
		t.Errorf("got %v", err)
	}
}

func TestFilesAndCommandsBelongToTheDen(t *testing.T) {
	d := den(t)
	path, err := d.File("word", "kept")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), "/bin/sh", "-c", "cp word copy"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(d.Path, "copy")); err != nil || string(b) != "kept" {
		t.Errorf("copy of %s: %q, %v", path, b, err)
	}
	if err := d.Run(t.Context(), "/bin/sh", "-c", "echo wrong; exit 3"); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
