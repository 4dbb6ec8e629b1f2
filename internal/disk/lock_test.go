package disk

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsHeldOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(path); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Fatalf("second lock: %v", err)
	}
	if !Held(path) {
		t.Fatal("held does not see the lock")
	}
	l.Release()
	l.Release()
	if Held(path) || Held(path+"-none") {
		t.Fatal("held sees a lock that is not there")
	}
	again, err := Take(path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	again.Release()
	if _, err := Take(filepath.Join(path, "below")); err == nil || errors.Is(err, ErrLocked) {
		t.Fatalf("lock below a file: %v", err)
	}
}
