package change

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Cursor is a place in a hub's history, minted by the hub's store and opaque
// to everyone else: SQLite mints log position and nonce, PostgreSQL an MVCC
// snapshot. Cursors of different epochs cannot be compared. The zero Cursor is
// "before everything".
type Cursor struct {
	Epoch Epoch
	Token string
}

// IsZero reports whether c is "before everything".
func (c Cursor) IsZero() bool { return c == Cursor{} }

// String is "epoch:token", or "" for the zero cursor.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return c.Epoch.String() + ":" + c.Token
}

// ParseCursor reads the form String writes.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	head, token, ok := strings.Cut(s, ":")
	if !ok {
		return Cursor{}, fmt.Errorf("parse cursor %q: no ':' after the epoch", s)
	}
	e, err := strconv.ParseUint(head, 16, 64)
	if err != nil {
		return Cursor{}, fmt.Errorf("parse cursor %q: %w", s, err)
	}
	return Cursor{Epoch: Epoch(e), Token: token}, nil
}

// HLC is a hybrid logical clock reading: 48 bits of Unix milliseconds, 16 bits
// of counter (Kulkarni et al., "Logical Physical Clocks", 2014). Later is larger.
type HLC uint64

// NewHLC builds a reading from wall milliseconds and a counter.
func NewHLC(ms int64, n uint16) HLC { return HLC(uint64(ms)<<16 | uint64(n)) }

// Millis is the wall part, in Unix milliseconds.
func (h HLC) Millis() int64 { return int64(h >> 16) }

// Count is the logical part.
func (h HLC) Count() uint16 { return uint16(h) }

// Time is the wall part as a time.
func (h HLC) Time() time.Time { return time.UnixMilli(h.Millis()).UTC() }
