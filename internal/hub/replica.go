package hub

import (
	"context"
	"errors"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A Replicated is a Store with copies of its database on other servers, which follow it
// and may lag behind. It is optional. Only parts of bootstraps are read there.
type Replicated interface {
	// Replicas is how many copies there are; with none, Aside is not asked.
	Replicas() int
	// Aside runs fn over one snapshot of a copy that shows all that seen does, for Count
	// and Scan alone; what else a View offers is not for it. at is a state of the
	// database itself that shows all that fn saw; exact asks for fn to see no less, either.
	// ErrNoReplica says that no copy serves now, why is logged; fn may have run. It may be
	// called concurrently.
	Aside(ctx context.Context, seen change.Cursor, exact bool, fn func(View) error) (at change.Cursor, err error)
}

// ErrNoReplica says that the database itself must be asked.
var ErrNoReplica = errors.New("no replica serves")

// aside reads a chunk from a copy of the database, or returns nil.
//
// A bootstrap's rows may be newer than its first chunk's cursor, for the delta since
// then closes it, and never older: so the copy shows what the reader has seen. And they
// must not be newer than the last chunk's: by that it is found out that the hub lost a
// state of which a device has rows. Of a first chunk, which is both, nothing but the
// very state of its cursor will do.
func (s *Session) aside(ctx context.Context, p *portion) *draft {
	r, ok := s.hub.store.(Replicated)
	if !ok || r.Replicas() == 0 || p.need.IsZero() {
		return nil
	}
	var d *draft
	at, err := r.Aside(ctx, p.need, p.first, func(v View) (err error) {
		if err := s.hub.current(); err != nil {
			return err
		}
		if d, err = s.chunk(v, p.scopes, p.at, p.first); err != nil {
			return err
		}
		return s.abreast()
	})
	if err != nil { // whatever it is, the database itself says it again
		return nil
	}
	d.At = at
	return d
}

// read reads a portion for whoever asks for it.
func (s *Session) read(ctx context.Context, p *portion) (*wire.Chunk, error) {
	if d := s.aside(ctx, p); d != nil {
		return d.finish(p)
	}
	var d *draft
	err := s.hub.view(ctx, func(v View) (err error) {
		if d, err = s.chunk(v, p.scopes, p.at, p.first); err != nil {
			return err
		}
		return s.abreast() // the key names the setup
	})
	if err != nil {
		return nil, err
	}
	return d.finish(p)
}

// reach notes what a portion must show at least, and reports whether a copy of the
// database is to be asked for it.
func (s *Session) reach(v View, p *portion) (bool, error) {
	if r, ok := s.hub.store.(Replicated); !ok || r.Replicas() == 0 {
		return false, nil
	}
	p.need = p.seen
	if p.first || p.need.IsZero() {
		var err error
		if p.need, err = v.Cursor(); err != nil {
			return false, err
		}
	}
	return true, nil
}
