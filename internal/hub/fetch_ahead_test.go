package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// here does work in its place: what is ahead is ahead as far as it may be.
func here(work func()) func() {
	work()
	return func() {}
}

// errLine ends a session in the middle of its answers.
var errLine = errors.New("the line broke")

// A watched store notes which chunks were read, may fail at one, and says how many of its
// snapshots are open.
type watched struct {
	hub.Store
	fail  int64 // the read that fails; 0: none does
	reads atomic.Int64
	open  atomic.Int64
	most  atomic.Int64 // snapshots open at once
	hook  func()       // in a read; may be nil
}

func (s *watched) View(ctx context.Context, fn func(hub.View) error) error {
	s.most.Store(max(s.most.Load(), s.open.Add(1)))
	defer s.open.Add(-1)
	return s.Store.View(ctx, func(v hub.View) error { return fn(watchedView{v, s}) })
}

type watchedView struct {
	hub.View
	s *watched
}

func (v watchedView) Scan(table string, after change.Key, scopes []rule.ScopeID, limit int) (*change.Rows, change.Key, error) {
	if table == "product" {
		n := v.s.reads.Add(1)
		if v.s.hook != nil {
			v.s.hook()
		}
		if n == v.s.fail {
			return nil, nil, errors.New("the disk is gone")
		}
	}
	return v.View.Scan(table, after, scopes, limit)
}

// ahead makes a hub over 200 products, in parts of few, and one device of it.
func ahead(t *testing.T, beside wire.Beside, shared hub.Chunks) (*site, *watched) {
	t.Helper()
	var store *watched
	w := newWorld(t, func(c *hub.Config) {
		store = &watched{Store: c.Store}
		c.Store, c.Chunks, c.Beside, c.Limits.Part = store, shared, beside, 1000
	})
	w.products(200)
	return w.device("d", everywhere), store
}

// window asks for so many chunks, and stops taking them where it is told to.
func (s *site) window(ctx context.Context, n uint32, each func(i int, c *wire.Chunk) error) (out []*wire.Chunk, err error) {
	err = s.session.Receive(ctx, &wire.Fetch{Window: n}, func(m wire.Message) error {
		c, ok := m.(*wire.Chunk)
		if !ok {
			return fmt.Errorf("fetch answered %#v", m)
		}
		out = append(out, c)
		if each == nil {
			return nil
		}
		return each(len(out)-1, c)
	})
	return out, err
}

// Reading ahead changes when chunks are made, not which ones.
func TestReadingAheadMakesTheSameChunks(t *testing.T) {
	s, _ := ahead(t, nil, nil)
	want, err := s.window(t.Context(), 1000, nil)
	s.must(err)
	if len(want) < 10 || !want[len(want)-1].Done {
		t.Fatalf("%d chunks", len(want))
	}
	for name, beside := range map[string]wire.Beside{"here": here, "beside": transport.Beside} {
		for _, shared := range []hub.Chunks{nil, cache.NewMemory(0)} {
			s, _ := ahead(t, beside, shared)
			for range 2 { // the second time from the cache
				got, err := s.window(t.Context(), 1000, nil)
				s.must(err)
				if !slices.EqualFunc(got, want, sameChunk) {
					t.Errorf("%s, shared %v: %d chunks, not the %d of one after the other", name, shared != nil, len(got), len(want))
				}
			}
		}
	}
}

func sameChunk(a, b *wire.Chunk) bool {
	return a.Table == b.Table && a.After.Equal(b.After) && bytes.Equal(a.Body, b.Body) && a.Done == b.Done && len(a.Total) == len(b.Total)
}

// However slow the device is, one chunk is made before it takes the last one; none
// beyond the window, none at all where the window is one; and one snapshot is open.
func TestReadingAheadIsBounded(t *testing.T) {
	for _, window := range []uint32{1, 2, 7} {
		s, store := ahead(t, here, nil)
		_, err := s.window(t.Context(), window, func(i int, _ *wire.Chunk) error {
			if n, want := store.reads.Load(), min(i+2, int(window)); int(n) != want {
				t.Errorf("window %d, at chunk %d: %d were read, not %d", window, i, n, want)
			}
			return nil
		})
		s.must(err)
	}
	s, store := ahead(t, transport.Beside, nil)
	store.most.Store(0)
	_, err := s.window(t.Context(), 1000, func(int, *wire.Chunk) error { return nil })
	s.must(err)
	if n := store.most.Load(); n != 1 {
		t.Errorf("one device had %d snapshots open at once", n)
	}
}

// What goes wrong with a chunk is told in its turn, after those before it, in the words
// that it is told with when it is read then.
func TestReadingAheadFailsInItsTurn(t *testing.T) {
	s, store := ahead(t, nil, nil)
	store.fail = 5
	want, plain := s.window(t.Context(), 1000, nil)
	if plain == nil || len(want) != 4 {
		t.Fatalf("%d chunks, %v", len(want), plain)
	}
	for name, beside := range map[string]wire.Beside{"here": here, "beside": transport.Beside} {
		for _, shared := range []hub.Chunks{nil, cache.NewMemory(0)} {
			s, store := ahead(t, beside, shared)
			store.fail = 5
			got, err := s.window(t.Context(), 1000, nil)
			if !slices.EqualFunc(got, want, sameChunk) || fmt.Sprint(err) != plain.Error() {
				t.Errorf("%s, shared %v: %d chunks, %v; not %v", name, shared != nil, len(got), err, plain)
			}
		}
	}
}

// A device that goes away in the middle leaves no work behind.
func TestReadingAheadEndsWithItsDevice(t *testing.T) {
	var going atomic.Int64
	s, store := ahead(t, func(work func()) func() {
		going.Add(1)
		return transport.Beside(func() {
			defer going.Add(-1)
			work()
		})
	}, nil)
	for n := range 6 {
		left := make(chan struct{})
		reading := int64(-1)
		s.connect()
		store.reads.Store(0)
		store.hook = func() {
			if store.reads.Load() == int64(n)+2 { // the one ahead is under way as the line breaks
				<-left
				reading = going.Load()
			}
		}
		got, err := s.window(t.Context(), 1000, func(i int, _ *wire.Chunk) error {
			if i == n {
				close(left)
				return errLine
			}
			return nil
		})
		if !errors.Is(err, errLine) || len(got) != n+1 {
			t.Errorf("cut at %d: %d chunks, %v", n, len(got), err)
		}
		if going.Load() != 0 || store.open.Load() != 0 || reading < 1 {
			t.Fatalf("cut at %d: %d go on, %d snapshots are open, %d went on", n, going.Load(), store.open.Load(), reading)
		}
	}
	// Nor does one whose session is cancelled.
	store.hook = nil
	s.connect()
	ctx, stop := context.WithCancel(t.Context())
	got, err := s.window(ctx, 1000, func(i int, _ *wire.Chunk) error {
		if i == 3 {
			stop()
		}
		return nil
	})
	if err == nil || len(got) > 5 || going.Load() != 0 || store.open.Load() != 0 {
		t.Errorf("cancelled: %d chunks, %v, %d go on", len(got), err, going.Load())
	}
}

// A late cache files something else than what it was just given, as one does that
// another process was quicker with.
type late struct {
	w     *world
	calls int
}

func (l *late) Get(ctx context.Context, key string, fill func(context.Context) ([]byte, error)) ([]byte, error) {
	b, err := fill(ctx)
	l.calls++
	if err != nil || l.calls != 5 { // the first call is for where to begin
		return b, err
	}
	l.w.sql("UPDATE product SET name='a much longer name than any of them had, for there to be fewer in one part: ' || name || name || name")
	return fill(ctx)
}

// Then what was read ahead begins elsewhere than where the chunk ends, and does not count:
// no row is left out, and none comes as of an older state than the chunk before it.
func TestReadingAheadFollowsWhatWasSent(t *testing.T) {
	shared := &late{}
	s, _ := ahead(t, here, shared)
	shared.w = s.world
	s.base = change.Cursor{}
	next := &wire.Fetch{Window: 1000}
	for next != nil {
		var err error
		next, err = s.fetchOn(next, nil)
		s.must(err)
	}
	if n := len(s.rows["product"]); n != 200 || shared.calls < 10 {
		t.Errorf("%d rows of 200 came, in %d calls", n, shared.calls)
	}
	s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Echo: true}))
	s.same("product", "1")
}
