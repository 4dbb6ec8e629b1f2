package change

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// Kind is the storage class of a Value: exactly SQLite's five.
type Kind uint8

// The five storage classes. The numbers are part of the encoding (FORMAT.md).
const (
	KindNull Kind = iota
	KindInt
	KindFloat
	KindText
	KindBlob
)

func (k Kind) String() string {
	switch k {
	case KindNull:
		return "null"
	case KindInt:
		return "integer"
	case KindFloat:
		return "real"
	case KindText:
		return "text"
	case KindBlob:
		return "blob"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// A Value is one cell, bit for bit as SQLite holds it: int64, double, text
// (any bytes, NUL included), blob or NULL. The zero Value is NULL.
//
// Values are comparable with ==, and == means identical storage: 1 and 1.0
// differ, ” and NULL differ, and a NaN equals itself. Numbers live in num and
// bytes in str, so a Value never shares memory with a driver's buffer.
type Value struct {
	kind Kind
	num  uint64
	str  string
}

// Null is the NULL value.
var Null = Value{}

// Int returns an integer value.
func Int(v int64) Value { return Value{kind: KindInt, num: uint64(v)} }

// Float returns a double. Its bits are kept as they are.
func Float(v float64) Value { return Value{kind: KindFloat, num: math.Float64bits(v)} }

// Text returns a text value. The bytes need not be valid UTF-8.
func Text(s string) Value { return Value{kind: KindText, str: s} }

// Blob returns a blob value holding a copy of b.
func Blob(b []byte) Value { return Value{kind: KindBlob, str: string(b)} }

// BlobString returns a blob value holding the bytes of s, without a copy.
func BlobString(s string) Value { return Value{kind: KindBlob, str: s} }

// Bool returns 1 or 0, as SQLite stores a boolean.
func Bool(b bool) Value {
	if b {
		return Int(1)
	}
	return Int(0)
}

// Kind reports the storage class.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is NULL.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Int returns the integer, or 0 when v is of another kind.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.num)
}

// Float returns the double, or the integer converted, or 0.
func (v Value) Float() float64 {
	switch v.kind {
	case KindFloat:
		return math.Float64frombits(v.num)
	case KindInt:
		return float64(int64(v.num))
	}
	return 0
}

// Str returns the bytes of a text or blob value, or "".
func (v Value) Str() string { return v.str }

// Size is what v weighs for limits: 8 bytes for a number, the bytes of a text
// or blob, and 1 for the kind.
func (v Value) Size() int {
	switch v.kind {
	case KindInt, KindFloat:
		return 9
	case KindText, KindBlob:
		return 1 + len(v.str)
	}
	return 1
}

// String renders v as an SQL literal, for people and logs of keys. It is not
// part of any format: use the codec to keep or send a value.
func (v Value) String() string {
	switch v.kind {
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindFloat:
		s := strconv.FormatFloat(v.Float(), 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0"
		}
		return s
	case KindText:
		return "'" + strings.ReplaceAll(v.str, "'", "''") + "'"
	case KindBlob:
		return "x'" + hex.EncodeToString([]byte(v.str)) + "'"
	}
	return "NULL"
}

// A Key is a primary key's values in key order.
type Key []Value

// String renders a key for people: literals joined by commas.
func (k Key) String() string {
	parts := make([]string, len(k))
	for i, v := range k {
		parts[i] = v.String()
	}
	return strings.Join(parts, ",")
}

// Equal reports whether two keys are identical in storage.
func (k Key) Equal(o Key) bool {
	if len(k) != len(o) {
		return false
	}
	for i := range k {
		if k[i] != o[i] {
			return false
		}
	}
	return true
}

// ID is a string usable as a map key: equal keys, and only those, give equal IDs.
func (k Key) ID() string {
	if len(k) == 1 {
		return string(appendKeyPart(make([]byte, 0, len(k[0].str)+9), k[0]))
	}
	var b []byte
	for _, v := range k {
		b = appendKeyPart(b, v)
	}
	return string(b)
}

func appendKeyPart(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	switch v.kind {
	case KindInt, KindFloat:
		return append(b, byte(v.num>>56), byte(v.num>>48), byte(v.num>>40), byte(v.num>>32),
			byte(v.num>>24), byte(v.num>>16), byte(v.num>>8), byte(v.num))
	case KindText, KindBlob:
		n := len(v.str)
		b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		return append(b, v.str...)
	}
	return b
}
