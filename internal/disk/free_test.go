package disk_test

import (
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/disk"
)

func TestFree(t *testing.T) {
	dir := t.TempDir()
	if disk.Free(filepath.Join(dir, "app.db")) == 0 {
		t.Error("nothing is free where this test writes")
	}
	if n := disk.Free(filepath.Join(dir, "gone", "app.db")); n != 0 {
		t.Errorf("%d bytes are free in a directory that is not there", n)
	}
}
