package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

func TestNamesFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.db")
	if err := NamesFile(file); !errors.Is(err, ErrNoFile) {
		t.Errorf("nothing there: %v", err)
	}
	if err := NamesFile(dir); !errors.Is(err, ErrDir) {
		t.Errorf("a directory: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NamesFile(file); err != nil {
		t.Error(err)
	}
}

// An attempt that cannot succeed leaves nothing behind, and one that may have
// succeeded keeps the key.
func TestJoinLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	w.up()
	token := w.token("one", rule.ScopeID("branch/1"))
	try := func(file string) error {
		_, err := Join(context.Background(), JoinConfig{Edge: w.edge(file), Token: token})
		return err
	}
	if err := try("none/one.db"); !errors.Is(err, ErrNoDir) {
		t.Fatalf("into a directory that is not there: %v", err)
	}
	if _, err := os.Stat(w.path("none")); err == nil {
		t.Error("a directory was made")
	}
	if err := try("."); !errors.Is(err, ErrDir) {
		t.Fatalf("a directory: %v", err)
	}
	if err := os.WriteFile(w.path("noise.db"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try("noise.db"); err == nil {
		t.Fatal("joined a file of zeros")
	}
	if _, err := os.Stat(SideDir(w.path("noise.db"))); err == nil {
		t.Error("a refused file has a side directory")
	}
	if err := try("one.db"); err != nil {
		t.Fatalf("the token was spent on mistakes: %v", err)
	}
	var f *wire.Fault
	if err := try("two.db"); !errors.As(err, &f) || f.Code != "token-used" {
		t.Fatalf("a second file: %v", err)
	}
	if _, err := os.Stat(SideDir(w.path("two.db"))); err == nil {
		t.Error("a refused device keeps a key")
	}
	w.down()
	if err := try("three.db"); err == nil {
		t.Fatal("joined without a hub")
	}
	if !hasKey(w.path("three.db")) {
		t.Error("the key that might have been enrolled is gone")
	}
}
