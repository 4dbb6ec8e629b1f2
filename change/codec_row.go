package change

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendRow appends one row with its column names: the form of stored images.
// vals must be parallel to cols.
func AppendRow(dst []byte, cols []string, vals []Value) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(cols)))
	for i, c := range cols {
		dst = appendString(dst, c)
		dst = appendValue(dst, vals[i])
	}
	return dst
}

// DecodeRow reads what AppendRow wrote, all of b. It keeps no part of b.
func DecodeRow(b []byte) (cols []string, vals []Value, err error) {
	r := &reader{s: string(b)}
	n := r.count("columns", 2)
	if n > maxColumns {
		r.fail("%d columns", n)
		n = 0
	}
	cols, vals = make([]string, n), make([]Value, n)
	for i := range cols {
		cols[i], vals[i] = r.string(), r.value()
	}
	if err := r.end(); err != nil {
		return nil, nil, fmt.Errorf("decode row: %w", err)
	}
	return cols, vals, nil
}

// AppendKey appends k in the form of Key.ID.
func AppendKey(dst []byte, k Key) []byte {
	for _, v := range k {
		dst = appendKeyPart(dst, v)
	}
	return dst
}

// ParseKeyID is the inverse of Key.ID. An empty id is the nil key.
func ParseKeyID(id string) (Key, error) {
	r := &reader{s: id}
	var k Key
	for r.left() > 0 {
		k = append(k, r.keyPart())
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("parse key id: %w", err)
	}
	return k, nil
}

func (r *reader) keyPart() Value {
	switch k := Kind(r.byte()); k {
	case KindNull:
		return Null
	case KindInt:
		return Int(int64(r.uint64()))
	case KindFloat:
		return Float(math.Float64frombits(r.uint64()))
	case KindText, KindBlob:
		n := r.take(4)
		if len(n) < 4 {
			return Null
		}
		size := uint32(n[0])<<24 | uint32(n[1])<<16 | uint32(n[2])<<8 | uint32(n[3])
		if uint64(size) > uint64(r.left()) {
			r.fail("cut short, %d bytes wanted", size)
			return Null
		}
		return Value{kind: k, str: r.take(int(size))}
	default:
		r.fail("unknown %v", k)
		return Null
	}
}
