package run

import (
	"encoding/binary"
	"io"
	"time"
)

// Reconnecting: the first try comes soon, so that a short cut is hardly seen;
// later ones back off, so that ten thousand devices returning at once do not
// hammer a hub that is just getting up (trap D13).
const backoffFirst = 250 * time.Millisecond

// A backoff doubles the wait up to most, and draws each one at random between
// half and the whole ("equal jitter").
type backoff struct {
	rand        io.Reader
	first, most time.Duration
	n           int
}

// next is how long to wait before the coming try. after is what the hub asked
// for with Retry-After; the wait is never shorter.
func (b *backoff) next(after time.Duration) time.Duration {
	d := b.first
	for i := 0; i < b.n && d < b.most; i++ {
		d *= 2
	}
	d = min(d, b.most)
	b.n++
	d = d/2 + b.draw(d/2)
	if after > 0 {
		d = max(d, after+b.draw(after/4))
	}
	return d
}

// reset starts over after a session that worked.
func (b *backoff) reset() { b.n = 0 }

func (b *backoff) draw(limit time.Duration) time.Duration {
	var raw [8]byte
	if limit <= 0 {
		return 0
	}
	if _, err := io.ReadFull(b.rand, raw[:]); err != nil {
		return limit // without randomness, the longest wait is the polite one
	}
	return time.Duration(binary.LittleEndian.Uint64(raw[:]) % uint64(limit))
}
