package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A seal goes out with every cursor: 6 bytes, when it was given, in Unix ms, and 8
// bytes of HMAC-SHA256 over device, time and cursor. It lets the hub believe a
// device that names a state the hub does not know: it must have known it once. The
// time says in which life that was, even one that no database remembers.
const (
	sealTime = 6
	sealSum  = 8
)

// SealKeySize is how many random bytes Config.SealKey should have.
const SealKeySize = 32

func (h *Hub) seal(device change.DeviceID, c change.Cursor) []byte {
	return h.sealAt(device, c, h.clock.Now())
}

func (h *Hub) sealAt(device change.DeviceID, c change.Cursor, at time.Time) []byte {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(at.UnixMilli(), 0)))
	head := ms[8-sealTime:]
	mac := hmac.New(sha256.New, h.past.key)
	mac.Write(device[:])
	mac.Write(head)
	mac.Write([]byte(c.String()))
	return append(head, mac.Sum(nil)[:sealSum]...)
}

// given tells when the hub gave a cursor to a device; ok is false for a seal that
// is not the hub's.
func (h *Hub) given(device change.DeviceID, c change.Cursor, seal []byte) (at time.Time, ok bool) {
	if len(seal) != sealTime+sealSum || c.IsZero() {
		return at, false
	}
	var ms [8]byte
	copy(ms[8-sealTime:], seal)
	at = time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:])))
	return at, hmac.Equal(seal, h.sealAt(device, c, at))
}

// believe tells when the hub gave a cursor that this session names: by the seal
// that came with it, or because this very session gave it. A copy that became a
// device of its own still has the seal of the one that its key belongs to.
func (s *Session) believe(m *wire.Hello, c change.Cursor) (at time.Time, ok bool) {
	if c == s.tenure.given && !c.IsZero() {
		return s.hub.clock.Now(), true
	}
	if m == nil || m.At != c {
		return at, false
	}
	if at, ok = s.hub.given(s.device, c, m.Seal); ok {
		return at, true
	}
	return s.hub.given(m.Device, c, m.Seal)
}
