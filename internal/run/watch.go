package run

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tidemark-sync/tidemark/internal/disk"
)

// DefaultPoll is how often a file is asked for changes when the file system
// does not tell (network mounts, containers).
const DefaultPoll = 250 * time.Millisecond

// lookFirst is how soon after a notice a file is asked whether a commit came of
// it; later looks double the wait, up to the poll.
const lookFirst = time.Millisecond

// A watch tells when other programs may have written to a SQLite file. The file
// system's notices make it quick; PRAGMA data_version on a connection of its own
// makes it sure.
//
// A notice comes when the application writes to the WAL, which is before its
// commit can be seen: the fsync of synchronous=FULL, SQLite's default, lies
// between. So after a notice the version is looked at in quick steps until it
// moves.
type watch struct {
	path string
	poll time.Duration
	wake func() // must not block
}

// run watches until ctx ends. A file that is missing, locked or replaced is
// tried again at the next tick.
func (w *watch) run(ctx context.Context) {
	notes := make(chan fsnotify.Event)
	if n, err := fsnotify.NewWatcher(); err == nil {
		defer func() { _ = n.Close() }()
		if n.Add(filepath.Dir(w.path)) == nil {
			notes = n.Events
		}
	}
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	look, step := time.NewTimer(w.poll), w.poll
	defer look.Stop()
	v := disk.Versions{Path: w.path}
	defer v.Close()
	base := filepath.Base(w.path)
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-notes:
			if !open {
				notes = nil
				continue
			}
			if ours(filepath.Base(e.Name), base) {
				w.wake()
				step = lookFirst
				look.Reset(step)
			}
		case <-look.C:
			if v.Changed() {
				w.wake()
			} else if step *= 2; step < w.poll {
				look.Reset(step)
			}
		case <-tick.C:
			if v.Changed() {
				w.wake()
			}
		}
	}
}

// ours reports whether a name in the directory is the file, its WAL or its
// rollback journal. The -shm file changes at reads too.
func ours(name, base string) bool {
	rest, ok := strings.CutPrefix(name, base)
	return ok && (rest == "" || rest == "-wal" || rest == "-journal")
}
