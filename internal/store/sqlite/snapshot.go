package sqlitestore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// When a prepared file is still worth sending, and how much of them is kept. What
// happened since comes as an ordinary delta.
const (
	snapshotAge    = 10 * time.Minute // older than this, with anything new: made anew
	snapshotBehind = 20_000           // log entries after it: made anew
	snapshotWait   = 3 * time.Second  // longer than this a caller is asked to come again
	snapshotRoom   = 1 << 30          // bytes of prepared files that are kept
)

// photos are the prepared files of a store, in a directory beside its file. Only
// the process that serves makes any, and it starts with none.
type photos struct {
	turn chan struct{} // one is built at a time
	jobs sync.WaitGroup
	room int64         // bytes that are kept
	wait time.Duration // what a caller's patience is taken for

	mu     sync.Mutex
	swept  bool              // what an earlier process left is gone
	closed bool              // no job may start any more
	number int               // of files made, for their names
	ready  []*photo          // least recently used first
	making map[string]*build // by what they will hold
}

func (i *photos) prepare() {
	i.turn, i.making = make(chan struct{}, 1), map[string]*build{}
	i.room, i.wait = snapshotRoom, snapshotWait
}

// A photo is one prepared file.
type photo struct {
	hub.SnapshotInfo
	key   string // what it holds: tables and scopes
	path  string
	pos   int64 // log position of its cursor
	built time.Time
}

// A build is the making of a photo, for everyone who waits for it.
type build struct {
	done  chan struct{} // closed at the end
	photo *photo        // guarded by done
	err   error         // guarded by done
}

var _ hub.Snapshotter = (*Store)(nil)

// Snapshot implements hub.Snapshotter.
func (s *Store) Snapshot(ctx context.Context, ask hub.SnapshotAsk) (hub.SnapshotFile, error) {
	if err := fit(ask.DDL); err != nil {
		return nil, err
	}
	key := photoKey(ask.Setup, ask.Scopes)
	im, err := s.usable(ctx, key, ask.ID)
	if err != nil {
		return nil, err
	}
	if im == nil {
		if im, err = s.made(ctx, key, ask); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(im.path)
	if err != nil {
		s.photos.forget(im)
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &photoFile{File: f, info: im.SnapshotInfo}, nil
}

// A photoFile is a photo while it is sent.
type photoFile struct {
	*os.File
	info hub.SnapshotInfo
}

// Info implements hub.SnapshotFile.
func (f *photoFile) Info() hub.SnapshotInfo { return f.info }

// photoKey names what a file holds.
func photoKey(setup change.Hash, scopes []rule.ScopeID) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s", setup, ledger.ScopeList(scopes))
	return fmt.Sprintf("%x", h.Sum(nil)[:12])
}

// usable finds a prepared file: the one begun earlier while its cursor is served,
// otherwise the newest while it is fresh.
func (s *Store) usable(ctx context.Context, key string, id change.Hash) (*photo, error) {
	im := s.photos.find(key, id)
	if im == nil {
		return nil, nil
	}
	var tail int64
	err := s.View(ctx, func(hv hub.View) (err error) {
		v := hv.(*view)
		if err = v.Check(im.At); err == nil {
			tail, err = v.tail()
		}
		return err
	})
	switch {
	case errors.Is(err, hub.ErrBelowFloor), errors.Is(err, hub.ErrOtherHistory):
		s.photos.forget(im)
		return nil, nil
	case err != nil:
		return nil, err
	}
	old := s.cfg.Clock.Now().Sub(im.built) > snapshotAge && tail > im.pos
	if im.ID != id && (old || tail-im.pos > snapshotBehind) {
		return nil, nil
	}
	return im, nil
}

// made waits for the file that is being made, beginning it when nobody has.
func (s *Store) made(ctx context.Context, key string, ask hub.SnapshotAsk) (*photo, error) {
	b, err := s.join(key, ask)
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(s.photos.wait)
	defer patience.Stop()
	select {
	case <-b.done:
		return b.photo, b.err
	case <-patience.C:
		return nil, hub.ErrPreparing
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.done:
		return nil, errClosed
	}
}

// join returns the build of a file, which goes on whoever gives up waiting.
func (s *Store) join(key string, ask hub.SnapshotAsk) (*build, error) {
	s.photos.mu.Lock()
	defer s.photos.mu.Unlock()
	if b := s.photos.making[key]; b != nil {
		return b, nil
	}
	if s.photos.closed {
		return nil, errClosed
	}
	dir := s.cfg.Path + "-snapshots"
	if !s.photos.swept {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("remove old snapshots: %w", err)
		}
		s.photos.swept = true
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare snapshot: %w", err)
	}
	s.photos.number++
	path := filepath.Join(dir, fmt.Sprintf("%s-%d", key, s.photos.number))
	b := &build{done: make(chan struct{})}
	s.photos.making[key] = b
	s.photos.jobs.Go(func() {
		b.photo, b.err = s.build(path, key, ask)
		s.photos.end(key, b.photo)
		close(b.done)
	})
	return b, nil
}

// build makes one file when its turn comes. A failure is no reason to fail a
// bootstrap: rows can always be fetched.
func (s *Store) build(path, key string, ask hub.SnapshotAsk) (*photo, error) {
	select {
	case s.photos.turn <- struct{}{}:
		defer func() { <-s.photos.turn }()
	case <-s.done:
		return nil, errClosed
	}
	began := s.cfg.Clock.Now()
	im := &photo{key: key, path: path, built: began}
	if err := s.photograph(im, ask); err != nil {
		_ = os.Remove(path)
		select {
		case <-s.done:
			return nil, errClosed
		default:
		}
		s.cfg.Logger.Warn("a snapshot cannot be made, rows are sent instead", "error", err.Error())
		return nil, fmt.Errorf("%w: %w", hub.ErrNoSnapshot, err)
	}
	s.cfg.Logger.Info("snapshot prepared", "scopes", len(ask.Scopes), "bytes", im.Size, "packed", im.Packed,
		"took", s.cfg.Clock.Now().Sub(began))
	return im, nil
}

// find returns the photo with an id, or the newest that holds the same.
func (i *photos) find(key string, id change.Hash) *photo {
	i.mu.Lock()
	defer i.mu.Unlock()
	var best *photo
	at := -1
	for n, im := range i.ready {
		if im.key == key && (best == nil || im.ID == id || best.ID != id && im.pos >= best.pos) {
			best, at = im, n
		}
	}
	if best != nil { // the most recently used is last
		i.ready = append(slices.Delete(i.ready, at, at+1), best)
	}
	return best
}

// end takes a build's result in, and lets go of what is beyond the room.
func (i *photos) end(key string, im *photo) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.making, key)
	if im == nil {
		return
	}
	i.ready = append(i.ready, im)
	sum := int64(0)
	for n := len(i.ready) - 1; n >= 0; n-- {
		if sum += i.ready[n].Packed; sum > i.room && n < len(i.ready)-1 {
			for _, old := range i.ready[:n+1] {
				_ = os.Remove(old.path)
			}
			i.ready = slices.Clone(i.ready[n+1:])
			return
		}
	}
}

// forget drops a photo that serves no more.
func (i *photos) forget(im *photo) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ready = slices.DeleteFunc(i.ready, func(o *photo) bool { return o == im })
	_ = os.Remove(im.path)
}

// close lets no further build start and waits for the one under way, which
// ends early when the store's done is closed.
func (i *photos) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.jobs.Wait()
}
