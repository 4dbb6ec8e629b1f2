package parcel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKey_File(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "parcel.key")
	var list [8]*Key
	var g sync.WaitGroup
	for i := range list { // as when a hub and its administration start at one time
		g.Go(func() {
			k, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			list[i] = k
		})
	}
	g.Wait()
	for _, k := range list {
		if k == nil || k.Recipient() != list[0].Recipient() || !strings.HasPrefix(k.Recipient(), "age1") {
			t.Fatal("two keys, or none")
		}
	}
	s, err := os.Stat(path)
	if err != nil || s.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", s, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".key-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, old.list[0].String()...), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := LoadOrCreateKey(path); err != nil || len(k.list) != 2 || k.Recipient() != list[0].Recipient() {
		t.Fatal(err)
	}
}

func TestKey_Refusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, path := range []string{
		write("open", "x", 0o644),
		write("nonsense", "x", 0o600),
		filepath.Join(dir, "nowhere", "key"),
		dir,
	} {
		if _, err := LoadOrCreateKey(path); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
}

func TestWriter_OnlyEd25519Signs(t *testing.T) {
	f := newFixture(t)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(&strings.Builder{}, f.head)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(k); err == nil {
		t.Fatal("signed with an ECDSA key")
	}
}
