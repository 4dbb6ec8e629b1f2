package run

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestIdentityIsKeptForTheOwnerOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.db")
	if _, err := ReadIdentity(file); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("before joining: %v", err)
	}
	if _, err := makeSide(file); err != nil {
		t.Fatal(err)
	}
	want := &Identity{URL: "https://h:1", Pin: change.Hash{1}, Device: change.DeviceID{2}, Name: "till"}
	if err := writeIdentity(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadIdentity(file)
	if err != nil || *got != *want {
		t.Fatalf("got %+v, %v", got, err)
	}
	s, err := os.Stat(SideDir(file))
	if err != nil || s.Mode().Perm() != 0o700 {
		t.Fatalf("side directory: %v, %v", s.Mode(), err)
	}
	s, err = os.Stat(filepath.Join(SideDir(file), "agent.json"))
	if err != nil || s.Mode().Perm() != 0o600 {
		t.Fatalf("identity: %v, %v", s.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(SideDir(file), "agent.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIdentity(file); err == nil || errors.Is(err, ErrNotJoined) {
		t.Fatalf("a torn identity: %v", err)
	}
	if err := writeIdentity(filepath.Join(file, "nowhere"), want); err == nil {
		t.Fatal("wrote into a directory that does not exist")
	}
}
