package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSmallFilesAreReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	var got map[string]int
	if err := ReadJSON(path, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("not there: %v", err)
	}
	for n := range 2 {
		if err := WriteJSON(path, map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
		if err := ReadJSON(path, &got); err != nil || got["n"] != n {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if s, err := os.Stat(path); err != nil || s.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", s.Mode(), err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Fatalf("something was left behind: %v, %v", list, err)
	}
	if err := WriteJSON(path, func() {}); err == nil {
		t.Fatal("what has no JSON was written")
	}
	if err := WriteFile(filepath.Join(path, "below"), nil); err == nil {
		t.Fatal("wrote below a file")
	}
	if err := os.Mkdir(path+"x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path+"x", nil); err == nil {
		t.Fatal("wrote over a directory")
	}
	if err := WriteFile(path, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := ReadJSON(path, &got); err == nil {
		t.Fatal("a torn file was read")
	}
}

func TestVersionsOfWhatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := os.WriteFile(path, []byte("a text that is long enough to be taken for the header of a database, if it were one ......"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := Versions{Path: path}
	defer v.Close()
	if v.Changed() {
		t.Fatal("a text changed")
	}
}
