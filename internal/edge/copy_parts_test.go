package edge

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// While a column is new to the file, an update of it and of another one has two bases
// and travels in two parts. The file is put back to before it was handed in, and the
// application goes on: neither part is done again, or undone.
func TestTrapD22_BackupOfAnUpdateInParts(t *testing.T) {
	for _, gap := range []bool{false, true} {
		b := shaped(t)
		b.atTheHub(`ALTER TABLE patient ADD COLUMN email TEXT`)
		b.serve(hub.Limits{})
		b.settled()
		b.exec(`ALTER TABLE patient ADD COLUMN email TEXT`)
		if _, err := b.e.CheckDrift(); err != nil {
			t.Fatal(err)
		}
		if !gap {
			b.settled()
		}
		b.exec(`UPDATE patient SET name='n1', email='e1' WHERE id='a'`)
		put := b.keepFile()
		b.settled()
		put()
		b.exec(`UPDATE patient SET branch=7 WHERE id='a'`)
		b.settled()
		b.want("SELECT name, email, branch FROM patient WHERE id='a'", "'n1'|'e1'|7")
		b.atHub("SELECT name||email||branch FROM patient WHERE id='a'", "'n1e17'")
		if n := len(b.waiting()); n != 0 {
			t.Errorf("gap %v: %d parked", gap, n)
		}
		b.agrees()
	}
}

// keepFile copies the application's file; put brings the copy back in its place.
func (b *branch) keepFile() (put func()) {
	b.t.Helper()
	old := filepath.Join(filepath.Dir(b.clinic.path), "backup.db")
	if err := sqlite.Exec(b.app, "VACUUM INTO ?", change.Text(old)); err != nil {
		b.t.Fatal(err)
	}
	return func() {
		b.t.Helper()
		b.close()
		for _, end := range []string{"-wal", "-shm"} {
			_ = os.Remove(b.clinic.path + end)
		}
		if err := os.Rename(old, b.clinic.path); err != nil {
			b.t.Fatal(err)
		}
		b.open()
	}
}
