package run

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
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

// data_version alone tells, where the file system gives no notices.
func TestDataVersionMovesForOthersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	v := versions{path: path}
	defer v.close()
	if v.changed() {
		t.Fatal("a missing file changed")
	}
	c, err := sqlite.Open(path, sqlite.Options{WAL: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := sqlite.Script(c, "CREATE TABLE t(a)"); err != nil {
		t.Fatal(err)
	}
	if !v.changed() {
		t.Fatal("a new file is a change")
	}
	if v.changed() {
		t.Fatal("changed without a write")
	}
	if err := sqlite.Exec(c, "INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	if !v.changed() {
		t.Fatal("did not see another connection's commit")
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
