package change

import (
	"encoding/hex"
	"fmt"
	"io"
)

// TxID is a transaction's uuid. It is born in the file with the transaction's
// first change, and is what makes every transaction apply exactly once (I1).
type TxID [16]byte

// DeviceID names a device for life. It is public; the device's key proves it.
type DeviceID [16]byte

// Incarnation names one life of one database file on one device. A file that is
// cloned or restored continues under a new incarnation.
type Incarnation [16]byte

// Epoch names one life of a hub: a restore or failover mints a new one.
type Epoch uint64

// Hash is a SHA-256 sum, used where tampering matters.
type Hash [32]byte

// NewTxID draws an id from r, which must be a cryptographic source in production.
func NewTxID(r io.Reader) (TxID, error) {
	id, err := newUUID(r)
	return TxID(id), err
}

// NewDeviceID draws an id from r.
func NewDeviceID(r io.Reader) (DeviceID, error) {
	id, err := newUUID(r)
	return DeviceID(id), err
}

// NewIncarnation draws an id from r.
func NewIncarnation(r io.Reader) (Incarnation, error) {
	id, err := newUUID(r)
	return Incarnation(id), err
}

func newUUID(r io.Reader) (id [16]byte, err error) {
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return id, fmt.Errorf("draw uuid: %w", err)
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}

func (id TxID) String() string        { return formatUUID(id) }
func (id DeviceID) String() string    { return formatUUID(id) }
func (id Incarnation) String() string { return formatUUID(id) }
func (e Epoch) String() string        { return fmt.Sprintf("%016x", uint64(e)) }
func (h Hash) String() string         { return hex.EncodeToString(h[:]) }

// IsZero reports whether the id was never set.
func (id TxID) IsZero() bool { return id == TxID{} }

// IsZero reports whether the id was never set.
func (id DeviceID) IsZero() bool { return id == DeviceID{} }

// IsZero reports whether the id was never set.
func (id Incarnation) IsZero() bool { return id == Incarnation{} }

// MarshalText implements encoding.TextMarshaler.
func (id TxID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id DeviceID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (id Incarnation) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TxID) UnmarshalText(b []byte) (err error) { *id, err = ParseTxID(string(b)); return err }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *DeviceID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseDeviceID(string(b))
	return err
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *Incarnation) UnmarshalText(b []byte) (err error) {
	*id, err = ParseIncarnation(string(b))
	return err
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 64 {
		return fmt.Errorf("parse hash %q: want 64 hex digits", b)
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("parse hash %q: %w", b, err)
	}
	return nil
}

// ParseTxID reads the form String writes.
func ParseTxID(s string) (TxID, error) {
	id, err := parseUUID("transaction id", s)
	return TxID(id), err
}

// ParseDeviceID reads the form String writes.
func ParseDeviceID(s string) (DeviceID, error) {
	id, err := parseUUID("device id", s)
	return DeviceID(id), err
}

// ParseIncarnation reads the form String writes.
func ParseIncarnation(s string) (Incarnation, error) {
	id, err := parseUUID("incarnation", s)
	return Incarnation(id), err
}

func formatUUID(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:], id[10:])
	return string(b[:])
}

func parseUUID(what, s string) (id [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("parse %s %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", what, s)
	}
	h := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(h)); err != nil {
		return id, fmt.Errorf("parse %s %q: %w", what, s, err)
	}
	return id, nil
}
