package run

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// DefaultPoll is how often a file is asked for changes when the file system
// does not tell (network mounts, containers).
const DefaultPoll = 250 * time.Millisecond

// A watch tells when other programs may have written to a SQLite file. The file
// system's notices make it quick; PRAGMA data_version on a connection of its own
// makes it sure.
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
	v := versions{path: w.path}
	defer v.close()
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
			}
		case <-tick.C:
			if v.changed() {
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

// versions asks PRAGMA data_version, which moves when another connection commits.
type versions struct {
	path string
	conn *sqlite.Conn
	last int64
}

func (v *versions) changed() bool {
	if v.conn == nil {
		c, err := sqlite.Open(v.path, sqlite.Options{ReadOnly: true, MustExist: true, Busy: -1})
		if err != nil {
			return false
		}
		v.conn, v.last = c, -1
	}
	n, ok, err := sqlite.One(v.conn, "PRAGMA data_version")
	if err != nil || !ok {
		v.close() // replaced or unreadable: start over at the next tick
		return false
	}
	moved := n.Int() != v.last
	v.last = n.Int()
	return moved
}

func (v *versions) close() {
	if v.conn != nil {
		_ = v.conn.Close()
		v.conn = nil
	}
}
