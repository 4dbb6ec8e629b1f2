package cache

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
)

// DefaultBytes is how much a Memory keeps.
const DefaultBytes = 64 << 20

// entryPart is the largest part of all room that one value may take.
const entryPart = 8

// Memory keeps values in this process, up to a number of bytes, and lets go of those
// first that were not asked for the longest. Its methods may be called concurrently.
type Memory struct {
	limit int64

	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu, as all below
	recent  list.List                // of *entry, the last one asked for first
	size    int64
	flights map[string]*flight

	hits, misses atomic.Int64
}

type entry struct {
	key   string
	value []byte
}

// A flight is a value that somebody is making.
type flight struct {
	done  chan struct{}
	value []byte // after done; nil when it went wrong
}

// NewMemory makes an empty cache of at most so many bytes; 0 means DefaultBytes.
func NewMemory(limit int64) *Memory {
	if limit <= 0 {
		limit = DefaultBytes
	}
	return &Memory{limit: limit, entries: map[string]*list.Element{}, flights: map[string]*flight{}}
}

// Get returns what is filed under a key. When nothing is, one of those who ask calls
// fill, and the others wait for what it makes; an error is the caller's alone, and the
// next one tries. The value belongs to everybody: it must not be modified.
func (m *Memory) Get(ctx context.Context, key string, fill func(context.Context) ([]byte, error)) ([]byte, error) {
	for {
		m.mu.Lock()
		if e := m.entries[key]; e != nil {
			m.recent.MoveToFront(e)
			m.mu.Unlock()
			m.hits.Add(1)
			return e.Value.(*entry).value, nil
		}
		f := m.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			m.flights[key] = f
			m.mu.Unlock()
			return m.fly(ctx, key, f, fill)
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if f.value != nil {
			m.hits.Add(1)
			return f.value, nil
		}
	}
}

// fly makes a value for all who wait.
func (m *Memory) fly(ctx context.Context, key string, f *flight, fill func(context.Context) ([]byte, error)) (value []byte, err error) {
	m.misses.Add(1)
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.flights, key)
		if err == nil && value != nil {
			f.value = value
			m.put(key, value)
		}
		close(f.done)
	}()
	return fill(ctx)
}

// put is called with mu held.
func (m *Memory) put(key string, value []byte) {
	n := weight(key, value)
	if n > m.limit/entryPart {
		return
	}
	m.entries[key] = m.recent.PushFront(&entry{key, value})
	m.size += n
	for m.size > m.limit {
		last := m.recent.Back()
		e := m.recent.Remove(last).(*entry)
		delete(m.entries, e.key)
		m.size -= weight(e.key, e.value)
	}
}

// weight is what an entry takes, in bytes, with what it takes to keep it.
func weight(key string, value []byte) int64 {
	const around = 200
	return int64(2*len(key)+len(value)) + around
}

// Stats says how often a cache helped.
type Stats struct {
	Bytes  int64 `json:"bytes"`
	Hits   int64 `json:"hits"`
	Misses int64 `json:"misses"`
}

// Stats counts since the start.
func (m *Memory) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{Bytes: m.size, Hits: m.hits.Load(), Misses: m.misses.Load()}
}
