package hub

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A Snapshotter is a Store that can hand out a database file with every row of
// some scopes. It is optional: without it bootstraps fetch rows.
type Snapshotter interface {
	// Snapshot returns a file of the asked scopes that is recent enough to be worth
	// sending, and has one prepared when there is none. When that takes longer than
	// a few seconds it returns ErrPreparing, and asking again waits on. When no file
	// can hold what was asked for it returns ErrNoSnapshot. It may be called
	// concurrently and holds no lock that a writer waits for.
	Snapshot(ctx context.Context, ask SnapshotAsk) (SnapshotFile, error)
}

// The errors of a Snapshotter.
var (
	ErrPreparing  = errors.New("the snapshot is being prepared")
	ErrNoSnapshot = errors.New("no snapshot of these tables can be made")
)

// SnapshotAsk says what a file must hold.
type SnapshotAsk struct {
	ID     change.Hash // when it still serves: the very file begun earlier
	Setup  change.Hash
	DDL    []string // statements that create the tables in an empty file, in order
	Scopes []rule.ScopeID
}

// A SnapshotFile is a prepared file, compressed. It stays readable until it is
// closed, whatever becomes of it at its place.
type SnapshotFile interface {
	io.ReaderAt
	io.Closer
	// Info says what the file is.
	Info() SnapshotInfo
}

// SnapshotInfo describes a prepared file.
type SnapshotInfo struct {
	ID     change.Hash   // SHA-256 of the compressed file
	At     change.Cursor // the snapshot it was made of
	Packed int64         // bytes compressed
	Size   int64         // bytes unpacked
}

// snapshot sends parts of a prepared file of everything the device may read now.
// The file holds other scopes' rows never (I6): it is made, found and resumed by
// the set of scopes that the device has at this moment.
func (s *Session) snapshot(ctx context.Context, m *wire.Snapshot, emit func(wire.Message) error) error {
	s.hold(nil)
	maker, ok := s.hub.store.(Snapshotter)
	if !ok {
		return emit(&wire.SnapshotPart{Reason: "this hub prepares no snapshots"})
	}
	var ask SnapshotAsk
	err := s.hub.view(ctx, func(v View) (err error) {
		setup := s.hub.shape.Load().setup
		ask = SnapshotAsk{ID: m.ID, Setup: setup.Hash, DDL: setup.DDL}
		ask.Scopes, err = s.readable(v, nil)
		return err
	})
	switch {
	case err != nil:
		return s.fail("snapshot", err)
	case hashScopes(ask.Scopes) != m.Scopes:
		return emit(&wire.SnapshotPart{Reason: "the device's scopes changed"})
	case ask.Setup != m.Setup:
		return emit(&wire.SnapshotPart{Reason: "the hub's setup changed"})
	case len(ask.DDL) == 0:
		return emit(&wire.SnapshotPart{Reason: "this hub hands out no table definitions"})
	}
	f, err := maker.Snapshot(ctx, ask)
	switch {
	case errors.Is(err, ErrPreparing):
		return emit(&wire.SnapshotPart{Wait: true})
	case errors.Is(err, ErrNoSnapshot):
		return emit(&wire.SnapshotPart{Reason: err.Error()})
	case err != nil:
		return s.fail("snapshot", err)
	}
	err = s.sendFile(f, m, emit)
	if e := f.Close(); err == nil {
		err = e
	}
	s.hub.note(s.device, func(p *presence) { p.progress = p.seen })
	return err
}

// snapshotPart is how many bytes of a prepared file one message carries.
const snapshotPart = 256 << 10

// sendFile sends a window of a prepared file.
func (s *Session) sendFile(f SnapshotFile, m *wire.Snapshot, emit func(wire.Message) error) error {
	info := f.Info()
	at := int64(0)
	if info.ID == m.ID && m.Offset <= uint64(info.Packed) {
		at = int64(m.Offset)
	}
	for range max(m.Window, 1) {
		body := make([]byte, min(snapshotPart, info.Packed-at))
		if _, err := f.ReadAt(body, at); err != nil && !errors.Is(err, io.EOF) {
			return s.fail("snapshot", fmt.Errorf("read snapshot: %w", err))
		}
		p := &wire.SnapshotPart{ID: info.ID, At: info.At, Packed: uint64(info.Packed), Size: uint64(info.Size), Offset: uint64(at), Body: body}
		at += int64(len(body))
		p.Done = at == info.Packed
		s.gave(Download{Sent: uint64(at), Size: uint64(info.Packed)}, p.Done)
		if err := emit(p); err != nil || p.Done {
			return err
		}
	}
	return nil
}
