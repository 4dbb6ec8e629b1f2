package run

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsHeldOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Fatalf("second lock: %v", err)
	}
	if !held(path) {
		t.Fatal("held does not see the lock")
	}
	l.release()
	l.release()
	if held(path) || held(path+"-none") {
		t.Fatal("held sees a lock that is not there")
	}
	again, err := lockFile(path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	again.release()
	if _, err := lockFile(filepath.Join(path, "below")); err == nil || errors.Is(err, ErrLocked) {
		t.Fatalf("lock below a file: %v", err)
	}
}
