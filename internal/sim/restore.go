package sim

import (
	"errors"
	"fmt"
	"os"

	"github.com/tidemark-sync/tidemark/change"
	tsqlite "github.com/tidemark-sync/tidemark/internal/sqlite"
)

// backup copies a site's file as a backup program would: a consistent copy that
// knows nothing of what comes after.
func (w *world) backup(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	s.copies++
	path := fmt.Sprintf("%s.copy%d", s.path, s.copies)
	if err := tsqlite.Exec(s.app.conn, `VACUUM INTO ?`, change.Text(path)); err != nil {
		return fmt.Errorf("copy e%d: %w", s.n, err)
	}
	s.backup, s.backupAt = path, s.app.n
	w.logf("e%d is backed up at %d", s.n, s.app.n)
	return nil
}

// restore puts an old copy in a site's place (trap D4): the file goes on under the
// same identity, with a chain the hub has seen the rest of. What the site had
// written since and not handed in is gone with the disk; the oracle forgets it.
func (w *world) restore(s *site) error {
	if s.backup == "" {
		return nil
	}
	w.cut(s)
	s.late = nil
	if err := errors.Join(s.app.conn.Close(), s.engine.Close()); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(s.path + suffix); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if err := os.RemoveAll(s.path + "-tidemark"); err != nil {
		return err
	}
	if err := os.Rename(s.backup, s.path); err != nil {
		return err
	}
	s.backup = ""
	w.logf("e%d is restored to %d", s.n, s.backupAt)
	w.sometimes("site restored from a backup")
	if err := w.forget(s); err != nil {
		return err
	}
	n := s.app.n
	s.app = nil
	if err := w.bootSite(s); err != nil {
		return err
	}
	s.app.n = n
	return nil
}

// forget drops the deeds that went down with a site's disk: written after the
// backup, and neither at the hub nor parked there.
func (w *world) forget(s *site) error {
	parked, err := w.received()
	if err != nil {
		return err
	}
	kept := w.oracle.deeds[:0]
	for _, d := range w.oracle.deeds {
		at, err := w.atHubNow(d)
		if err != nil {
			return err
		}
		if d.by == s.app.name && d.n > s.backupAt && !at && !parked[d.ledger] {
			continue
		}
		kept = append(kept, d)
	}
	w.oracle.deeds = kept
	return nil
}
