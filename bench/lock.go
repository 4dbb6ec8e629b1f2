package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// writeLock is the byte of a WAL database's -shm file that a writer locks
// (WAL_WRITE_LOCK at UNIX_SHM_BASE in SQLite's os_unix.c).
const writeLock = 120

// A watch looks from outside how long another process holds a database's write
// lock. It only asks, so it never gets in the way; and it must not run in the
// process that has the database open, whose locks its closing would drop.
type watch struct {
	stop chan struct{}
	held chan time.Duration
}

// watchLock starts to look at the database at path, which must be open elsewhere.
func watchLock(path string) (*watch, error) {
	f, err := os.Open(path + "-shm")
	if err != nil {
		return nil, err
	}
	w := &watch{make(chan struct{}), make(chan time.Duration, 1)}
	go w.look(f)
	return w, nil
}

// longest ends the watch and returns the longest time the lock was held.
func (w *watch) longest() time.Duration {
	close(w.stop)
	return <-w.held
}

func (w *watch) look(f *os.File) {
	defer func() { _ = f.Close() }()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	var longest time.Duration
	var since time.Time
	for {
		select {
		case <-w.stop:
			w.held <- longest
			return
		case <-tick.C:
		}
		if !locked(f) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		longest = max(longest, time.Since(since))
	}
}

func locked(f *os.File) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: writeLock, Len: 1}
	return unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}
