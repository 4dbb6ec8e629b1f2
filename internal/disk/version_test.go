package disk

import (
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// data_version alone tells, where the file system gives no notices.
func TestDataVersionMovesForOthersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	v := Versions{Path: path}
	defer v.Close()
	if v.Changed() {
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
	if !v.Changed() {
		t.Fatal("a new file is a change")
	}
	if v.Changed() {
		t.Fatal("changed without a write")
	}
	if err := sqlite.Exec(c, "INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	if !v.Changed() {
		t.Fatal("did not see another connection's commit")
	}
}
