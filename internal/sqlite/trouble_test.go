package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestTroubleIsRecognised(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	c, err := Open(path, Options{Busy: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := Script(c, "CREATE TABLE t(a)"); err != nil {
		t.Fatal(err)
	}
	other, err := Open(path, Options{Busy: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	err = Immediate(c, func() error {
		return fmt.Errorf("wrapped: %w", Immediate(other, func() error { return nil }))
	})
	if !IsBusy(err) || IsFull(err) || IsDamaged(err) {
		t.Fatalf("busy: %v", err)
	}
	if err := Exec(c, "PRAGMA max_page_count=3"); err != nil {
		t.Fatal(err)
	}
	if err := Exec(c, "INSERT INTO t VALUES(randomblob(100000))"); !IsFull(err) {
		t.Fatalf("full: %v", err)
	}
	ro, err := Open(path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ro.Close() }()
	if err := Exec(ro, "INSERT INTO t VALUES(1)"); !IsReadOnly(err) {
		t.Fatalf("read-only: %v", err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("a text that is certainly longer than a header of SQLite, which has one hundred bytes, and then some more"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad, err := Open(text, Options{MustExist: true})
	if err == nil {
		_, _, err = One(bad, "SELECT count(*) FROM sqlite_schema")
		_ = bad.Close()
	}
	if !IsDamaged(err) {
		t.Fatalf("no database: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none", "a.db"), Options{MustExist: true}); !IsGone(err) {
		t.Fatalf("missing: %v", err)
	}
	if IsBusy(nil) || IsBusy(errors.New("other")) || IsGone(errors.New("other")) {
		t.Fatal("trouble where there is none")
	}
}
