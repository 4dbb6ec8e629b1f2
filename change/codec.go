package change

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Errors of the decoders. Every failure wraps one of the two.
var (
	// ErrCorrupt means that the bytes are not what an encoder wrote: cut short,
	// damaged, or of another format.
	ErrCorrupt = errors.New("corrupt encoding")
	// ErrTooLarge means that the bytes claim more than the given Limits allow.
	ErrTooLarge = errors.New("encoding too large")
)

// The defaults of Limits.
const (
	DefaultEncoded = 32 << 20
	DefaultDecoded = 256 << 20
	DefaultRows    = 1 << 20
)

// Limits bounds what a decoder accepts from a sealed batch. A zero field means
// its default.
type Limits struct {
	Encoded int // bytes as received
	Decoded int // bytes after decompression, plus 32 for each cell
	Rows    int // rows, or operations
}

func (l Limits) withDefaults() Limits {
	if l.Encoded <= 0 {
		l.Encoded = DefaultEncoded
	}
	if l.Decoded <= 0 {
		l.Decoded = DefaultDecoded
	}
	if l.Rows <= 0 {
		l.Rows = DefaultRows
	}
	return l
}

// maxColumns is SQLite's own hard limit on the columns of a table.
const maxColumns = 32767

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	switch v.kind {
	case KindInt:
		return binary.AppendUvarint(b, zigzag(int64(v.num)))
	case KindFloat:
		return binary.BigEndian.AppendUint64(b, v.num)
	case KindText, KindBlob:
		return appendString(b, v.str)
	}
	return b
}

// A reader walks encoded bytes. The first fault sticks: later reads return
// zeros, so that a decoder checks once per group of fields. It reads from a
// string so that texts are cut out of it without a copy.
type reader struct {
	s   string
	i   int
	err error

	aside string // of a sealed batch: what is not compressed; what is left of it

	// For sealed batches, where few bytes may claim many rows.
	budget int     // bytes that may still be allocated
	rows   int     // rows that may still come
	num    []int64 // scratch of ints
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d", ErrCorrupt, fmt.Sprintf(format, args...), r.i)
	}
	r.i = len(r.s)
}

// refuse makes err the reader's fault, if it is one.
func (r *reader) refuse(err error) {
	if err != nil {
		r.fail("%v", err)
	}
}

func (r *reader) tooLarge(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrTooLarge, what)
	}
	r.i = len(r.s)
}

func (r *reader) left() int { return len(r.s) - r.i }

func (r *reader) byte() byte {
	if r.i >= len(r.s) {
		r.fail("cut short")
		return 0
	}
	c := r.s[r.i]
	r.i++
	return c
}

func (r *reader) uvarint() uint64 {
	if r.i < len(r.s) && r.s[r.i] < 0x80 {
		c := r.s[r.i]
		r.i++
		return uint64(c)
	}
	return r.longUvarint()
}

// longUvarint accepts only the shortest form, so that one value has one encoding.
func (r *reader) longUvarint() uint64 {
	var v uint64
	for n := 0; n < binary.MaxVarintLen64; n++ {
		c := r.byte()
		if r.err != nil {
			return 0
		}
		if n == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			if c == 0 && n > 0 {
				r.fail("number not in its shortest form")
				return 0
			}
			return v
		}
	}
	r.fail("number longer than 64 bits")
	return 0
}

func (r *reader) varint() int64 { return unzigzag(r.uvarint()) }

// count reads a number of things that take at least size bytes each in what is
// left: a claim beyond that is a lie, caught before anything is allocated.
func (r *reader) count(what string, size int) int {
	n := r.uvarint()
	if r.err == nil && n > uint64(r.left()/max(size, 1)) {
		r.fail("%d %s cannot fit in %d bytes", n, what, r.left())
		return 0
	}
	return int(n)
}

func (r *reader) take(n int) string {
	if n < 0 || n > r.left() {
		r.fail("cut short, %d bytes wanted", n)
		return ""
	}
	s := r.s[r.i : r.i+n]
	r.i += n
	return s
}

// beside takes n bytes of what is not compressed.
func (r *reader) beside(n int) string {
	if n < 0 || n > len(r.aside) {
		r.fail("cut short, %d bytes wanted beside the body", n)
		return ""
	}
	s := r.aside[:n]
	r.aside = r.aside[n:]
	return s
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(r.left()) {
		r.fail("cut short, %d bytes wanted", n)
		return ""
	}
	return r.take(int(n))
}

func (r *reader) uint64() uint64 {
	s := r.take(8)
	if len(s) < 8 {
		return 0
	}
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

func (r *reader) value() Value {
	switch k := Kind(r.byte()); k {
	case KindNull:
		return Null
	case KindInt:
		return Int(r.varint())
	case KindFloat:
		return Float(math.Float64frombits(r.uint64()))
	case KindText, KindBlob:
		return Value{kind: k, str: r.string()}
	default:
		r.fail("unknown %v", k)
		return Null
	}
}

func (r *reader) values(n int) []Value {
	if n == 0 {
		return nil
	}
	out := make([]Value, n)
	for i := range out {
		out[i] = r.value()
	}
	return out
}

// end reports the first fault, or bytes left over.
func (r *reader) end() error {
	if n := r.left() + len(r.aside); r.err == nil && n > 0 {
		r.fail("%d bytes left over", n)
	}
	return r.err
}

// add128 sums two 128-bit numbers, mod 2^128.
func add128(a, b RowHash) RowHash {
	lo, carry := bits.Add64(a.Lo, b.Lo, 0)
	hi, _ := bits.Add64(a.Hi, b.Hi, carry)
	return RowHash{Hi: hi, Lo: lo}
}
