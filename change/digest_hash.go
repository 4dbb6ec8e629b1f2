package change

import (
	"encoding/binary"
	"strings"

	"github.com/zeebo/xxh3"
)

// Add counts one row in.
func (d *Digest) Add(key Key, h RowHash) {
	b := Bucket(key)
	d.Sums[b] = add128(d.Sums[b], h)
	d.Rows++
}

// Bucket is the number of the bucket that key's row counts in: 0 … Buckets-1.
func Bucket(key Key) int {
	var buf [64]byte
	return int(xxh3.Hash(AppendKey(buf[:0], key)) % Buckets)
}

// HashRow is the row's canonical hash. The order of the columns, the ASCII case
// of their names and columns that hold NULL do not matter: two ends whose tables
// differ only by a column that is new and still empty agree. For many rows of
// one table use a RowHasher.
func HashRow(cols []string, vals []Value) RowHash {
	return NewRowHasher(cols).Hash(vals)
}

// A RowHasher hashes rows of one set of columns. It may not be used
// concurrently.
type RowHasher struct {
	order  []int    // columns in name order
	prefix []string // per entry of order: the encoded name
	buf    []byte
}

// NewRowHasher prepares hashing rows with these columns.
func NewRowHasher(cols []string) *RowHasher {
	h := &RowHasher{order: make([]int, len(cols)), prefix: make([]string, len(cols))}
	for i, c := range cols {
		name := string(appendString(nil, lowerASCII(c)))
		j := i
		for ; j > 0 && h.prefix[j-1][1:] > name[1:]; j-- {
			h.order[j], h.prefix[j] = h.order[j-1], h.prefix[j-1]
		}
		h.order[j], h.prefix[j] = i, name
	}
	return h
}

// Hash is HashRow of vals, which are parallel to the hasher's columns.
func (h *RowHasher) Hash(vals []Value) RowHash {
	b := h.buf[:0]
	for i, c := range h.order {
		if vals[c].kind == KindNull {
			continue
		}
		b = append(b, h.prefix[i]...)
		b = appendHashed(b, vals[c])
	}
	h.buf = b
	u := xxh3.Hash128(b)
	return RowHash{Hi: u.Hi, Lo: u.Lo}
}

// appendHashed uses fixed widths: they cost nothing here and are quicker than
// varints.
func appendHashed(b []byte, v Value) []byte {
	b = append(b, byte(v.kind))
	switch v.kind {
	case KindInt, KindFloat:
		return binary.LittleEndian.AppendUint64(b, v.num)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v.str)))
	return append(b, v.str...)
}

// lowerASCII folds names as SQLite compares them.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
