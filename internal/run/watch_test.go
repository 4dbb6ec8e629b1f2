package run

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func waitFor(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
		t.Fatal("no wake after " + what)
	}
}

func drain(c <-chan struct{}) {
	for {
		select {
		case <-c:
		default:
			return
		}
	}
}

// The file does not exist yet, appears, is written by another process, and is
// replaced: each wakes.
func TestWatchSeesOtherPrograms(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		t.Run(mode, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.db")
			woken := make(chan struct{}, 1)
			w := &watch{path: path, poll: 20 * time.Millisecond, wake: func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			}}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { w.run(ctx); close(done) }()
			sh := func(sql string) {
				t.Helper()
				if out, err := exec.Command("sqlite3", path, sql).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", sql, err, out)
				}
			}
			sh("PRAGMA journal_mode=" + mode + "; CREATE TABLE t(a)")
			waitFor(t, woken, "the file appeared")
			drain(woken)
			sh("INSERT INTO t VALUES(1)")
			waitFor(t, woken, "a write")
			stop()
			<-done
		})
	}
}

func TestOursNamesTheFileAndItsJournals(t *testing.T) {
	for name, want := range map[string]bool{
		"a.db": true, "a.db-wal": true, "a.db-journal": true, "a.db-shm": false, "b.db": false, "a.db-tidemark": false,
	} {
		if got := ours(name, "a.db"); got != want {
			t.Errorf("ours(%q) = %v", name, got)
		}
	}
}
