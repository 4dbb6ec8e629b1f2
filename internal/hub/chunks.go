package hub

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Chunks keeps encoded bootstrap chunks that many devices ask for, in this process or
// for several of the same hub. It is optional.
type Chunks interface {
	// Get returns what is filed under a key, and files what fill makes when nothing
	// is. Of those who ask for one key at a time, few call fill. A cache may forget at
	// any time. It may be called concurrently; the value is not to be modified.
	Get(ctx context.Context, key string, fill func(context.Context) ([]byte, error)) ([]byte, error)
}

// A shelf is where chunks are kept. A chunk is filed under all that it depends on: the
// hub's life, setup and limits, the set of scopes, the place that it begins at, and the
// state that its reader had before, which is that of the chunk before it. So chunks
// form chains: each one shows a state at or after the one that it is filed under, and
// whoever follows a chain sees states that only move forward, from the first chunk's
// cursor on, which is where the delta begins that closes the bootstrap. That holds
// while others write, and for one chunk that was forgotten and read again: what
// follows it is another chain. Nothing of who reads goes into a chunk.
type shelf struct {
	cache Chunks // nil: every chunk is read for its reader
	hub   string // tells this hub's from another's in the same cache
	news  *news  // nil: every delta is read for its reader

	beside wire.Beside // nil: a chunk is read when the one before it is sent
}

func newShelf(c, deltas Chunks, secret []byte) shelf {
	sum := sha256.Sum256(append([]byte("tidemark chunks\x00"), secret...))
	return shelf{cache: c, hub: hex.EncodeToString(sum[:8]), news: newNews(deltas)}
}

// aFew is how long devices that begin with nothing begin at one state: the delta that
// closes their bootstrap reaches back so much further.
const aFew = 30 * time.Second

// A portion is one chunk that a session asks for.
type portion struct {
	at     place
	first  bool          // the bootstrap begins
	seen   change.Cursor // the state that the reader's last chunk shows
	scopes []rule.ScopeID
	key    string        // "" when it cannot be shared
	need   change.Cursor // what it must show at least; zero: it is read from the database itself
	onward chan portion  // where the next one begins, as soon as this one is read; nil: nobody wants to know
}

// start is a state, a few seconds old, at which a device may begin its bootstrap that
// never had any; zero for others. One that had, or is given scopes beside those that it
// holds, must not be shown a state before that.
func (s *Session) start(ctx context.Context, m *wire.Fetch) (c change.Cursor, err error) {
	if s.hub.shelf.cache == nil || m.Table != "" || m.After != nil || !s.hello.At.IsZero() || !s.tenure.given.IsZero() {
		return c, nil
	}
	key := fmt.Sprintf("start:%s:%d", s.hub.shelf.hub, s.hub.clock.Now().Unix()/int64(aFew/time.Second))
	b, err := s.hub.shelf.cache.Get(ctx, key, func(ctx context.Context) (b []byte, err error) {
		err = s.hub.store.View(ctx, func(v View) error {
			c, err := v.Cursor()
			b = []byte(c.String())
			return err
		})
		return b, err
	})
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	if c, err = change.ParseCursor(string(b)); err != nil {
		return change.Cursor{}, nil //nolint:nilerr // what is filed there is none of ours
	}
	return c, nil
}

// share says where a portion is filed, as of a snapshot of which the reader's rights
// were read.
func (s *Session) share(v View, p *portion, start change.Cursor) error {
	if s.hub.shelf.cache == nil {
		return nil
	}
	now, err := v.Cursor()
	if err != nil {
		return err
	}
	before := p.seen
	if p.first {
		before = now
		if !start.IsZero() {
			switch err := v.Check(start); {
			case err == nil:
				before = start
			case !errors.Is(err, ErrBelowFloor) && !errors.Is(err, ErrOtherHistory):
				return fmt.Errorf("check cursor: %w", err)
			}
		}
	}
	if before.IsZero() { // a device that does not say where it was
		return nil
	}
	p.scopes = slices.Compact(slices.Sorted(slices.Values(p.scopes)))
	h := sha256.New()
	for _, part := range []string{s.hub.shelf.hub, fmt.Sprint(chunkFormat, wire.MaxProtocol, s.hub.limits.Part, p.first), now.Epoch.String(),
		s.told.String(), hashScopes(p.scopes).String(), p.at.table, p.at.after.ID(), before.String()} {
		fmt.Fprintf(h, "%d:%s\n", len(part), part)
	}
	p.key = "chunk:" + hex.EncodeToString(h.Sum(nil))
	return nil
}

// shared returns a portion from the shelf, or reads it for everybody.
func (s *Session) shared(ctx context.Context, p *portion) (*wire.Chunk, error) {
	read := func(ctx context.Context) ([]byte, error) {
		c, err := s.read(ctx, p)
		if err != nil {
			return nil, err
		}
		return encodeChunk(c)
	}
	b, err := s.hub.shelf.cache.Get(ctx, p.key, read)
	if err != nil {
		return nil, err
	}
	c, err := decodeChunk(b)
	if err != nil { // a cache that mixes things up costs time
		s.hub.log.Warn("cached chunk", "error", err.Error())
		if b, err = read(ctx); err != nil {
			return nil, err
		}
		return decodeChunk(b)
	}
	return c, nil
}

// chunkFormat is the version of the encoding below: a header's length as uvarint, the
// header as JSON, the body.
const chunkFormat = 1

type chunkHead struct {
	At    string
	Table string           `json:",omitempty"`
	After []byte           `json:",omitempty"` // change.Key.ID
	Done  bool             `json:",omitempty"`
	Total map[string]int64 `json:",omitempty"`
}

func encodeChunk(c *wire.Chunk) ([]byte, error) {
	head, err := json.Marshal(chunkHead{At: c.At.String(), Table: c.Table, After: []byte(c.After.ID()), Done: c.Done, Total: c.Total})
	if err != nil {
		return nil, fmt.Errorf("encode chunk: %w", err)
	}
	out := binary.AppendUvarint(make([]byte, 0, len(head)+len(c.Body)+binary.MaxVarintLen64), uint64(len(head)))
	return append(append(out, head...), c.Body...), nil
}

// decodeChunk keeps b as the chunk's body.
func decodeChunk(b []byte) (*wire.Chunk, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, errors.New("decode chunk: its header is cut short")
	}
	var head chunkHead
	if err := json.Unmarshal(b[used:used+int(n)], &head); err != nil {
		return nil, fmt.Errorf("decode chunk: %w", err)
	}
	at, err := change.ParseCursor(head.At)
	if err != nil {
		return nil, fmt.Errorf("decode chunk: %w", err)
	}
	after, err := change.ParseKeyID(string(head.After))
	if err != nil {
		return nil, fmt.Errorf("decode chunk: %w", err)
	}
	c := &wire.Chunk{At: at, Table: head.Table, After: after, Done: head.Done, Total: head.Total}
	if body := b[used+int(n):]; len(body) > 0 {
		c.Body = slices.Clip(body)
	}
	return c, nil
}
