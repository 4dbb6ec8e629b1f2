package sim

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/tidemark-sync/tidemark/change"
)

// backup copies a site's file as a backup program would: a consistent copy that
// knows nothing of what comes after.
func (w *world) backup(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	s.copies++
	path := fmt.Sprintf("%s.copy%d", s.path, s.copies)
	if err := s.app.conn.exec(`VACUUM INTO ?`, change.Text(path)); err != nil {
		return fmt.Errorf("copy e%d: %w", s.n, err)
	}
	s.backup, s.backupAt, s.backupHolds = path, s.app.n, maps.Clone(s.holds)
	w.logf("e%d is backed up at %d", s.n, s.app.n)
	return nil
}

// restore puts an old copy in a site's place (trap D4): the file goes on under the
// same identity, with a chain the hub has seen the rest of. What the site had
// written since and not handed in is gone with the disk, unless a copy has it.
func (w *world) restore(s *site) error {
	if s.backup == "" {
		return nil
	}
	w.cut(s)
	s.late = nil
	if err := errors.Join(s.app.conn.Close(), s.engine.Close()); err != nil {
		return err
	}
	if err := removeDatabase(s.path); err != nil {
		return err
	}
	if err := os.RemoveAll(s.path + "-tidemark"); err != nil {
		return err
	}
	if err := os.Rename(s.backup, s.path); err != nil {
		return err
	}
	w.bare(s, s.backupHolds)
	s.backup, s.holds = "", s.backupHolds
	w.logf("e%d is restored to %d", s.n, s.backupAt)
	w.sometimes("site restored from a backup")
	w.oracle.copied[s.app.name] = true
	n := s.app.n
	s.app = nil
	if err := w.bootSite(s); err != nil {
		return err
	}
	s.app.n = n
	if err := w.unaware(s); err != nil {
		return err
	}
	return w.forget()
}

// bare marks the deeds whose rows are in no file of their site any more: what a row had in
// a column that the hub did not have yet was handed in with none of them.
func (w *world) bare(s *site, left map[string]bool) {
	for _, d := range w.oracle.deeds {
		d.bare = d.bare || s.holds[d.ledger] && !left[d.ledger]
	}
}
