package change

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"
)

// strings writes a column of texts or blobs, all of one kind.
func (w *columnWriter) strings(vals []Value) {
	uuids := areUUIDs(vals)
	if w.dict.build(vals, uuids) {
		w.b = append(w.b, strDict)
		w.uvarint(uint64(len(w.dict.entries)))
		w.texts(w.dict.entries, uuids)
		w.ints(w.dict.index)
		return
	}
	w.texts(vals, uuids)
}

func (w *columnWriter) texts(vals []Value, uuids bool) {
	if uuids {
		w.uuids(vals)
	} else {
		w.plain(vals)
	}
}

// plain writes texts in order, leaving out what each shares with the one before
// when that saves enough to be worth putting them together again.
func (w *columnWriter) plain(vals []Value) {
	lengths, shared := w.scratch(len(vals)), w.scratch2(len(vals))
	total, saved := 0, 0
	prev := ""
	for i := range vals {
		s := vals[i].str
		n := sharedPrefix(prev, s)
		lengths[i], shared[i] = int64(len(s)), int64(n)
		total += len(s)
		saved += n
		prev = s
	}
	if saved*3 < total {
		w.b = append(w.b, strPlain)
		w.ints(lengths)
		for i := range vals {
			w.b = append(w.b, vals[i].str...)
		}
		return
	}
	w.b = append(w.b, strFront)
	for i := range lengths {
		lengths[i] -= shared[i]
	}
	w.ints(shared)
	w.ints(lengths)
	for i := range vals {
		w.b = append(w.b, vals[i].str[shared[i]:]...)
	}
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// areUUIDs reports whether all values are canonical lower-case UUIDs.
func areUUIDs(vals []Value) bool {
	for i := range vals {
		if !isUUID(vals[i].str) {
			return false
		}
	}
	return len(vals) > 0
}

// uuids writes UUIDs packed. Those that begin alike, as UUIDs made of the time do,
// compress; random ones stand aside.
func (w *columnWriter) uuids(vals []Value) {
	alike := 0
	for i := 1; i < len(vals); i++ {
		if vals[i].str[:8] == vals[i-1].str[:8] {
			alike++
		}
	}
	if alike*2 >= len(vals) {
		w.b = append(w.b, strUUID)
		for i := range vals {
			w.b = packUUID(w.b, vals[i].str)
		}
		return
	}
	w.b = append(w.b, strAside)
	for i := range vals {
		w.aside = packUUID(w.aside, vals[i].str)
	}
}

// unhex maps a lower-case hex digit to its value, anything else to 0xff.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i] = byte(10 + i)
	}
	return t
}()

// uuidAt is where the 16 bytes of a UUID stand in its text.
var uuidAt = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

func isUUID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	var bad byte
	for _, at := range uuidAt {
		bad |= unhex[s[at]] | unhex[s[at+1]]
	}
	return bad&0xf0 == 0
}

// packUUID appends the 16 bytes of a text that isUUID accepts.
func packUUID(b []byte, s string) []byte {
	var out [16]byte
	for i, at := range uuidAt {
		out[i] = unhex[s[at]]<<4 | unhex[s[at+1]]
	}
	return append(b, out[:]...)
}

// hexPair is the two lower-case hex digits of a byte, as two bytes of text.
var hexPair = func() (t [256]uint16) {
	const digits = "0123456789abcdef"
	for i := range t {
		t[i] = uint16(digits[i>>4]) | uint16(digits[i&15])<<8
	}
	return t
}()

// unpackUUID writes the text of the 16 bytes in s to dst, which has room for 36.
func unpackUUID(dst []byte, s string) {
	_, _ = dst[35], s[15]
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
	for i, at := range uuidAt {
		binary.LittleEndian.PutUint16(dst[at:], hexPair[s[i]])
	}
}

// The dictionary's bounds: a column shorter than dictMin, or with more distinct
// values than one in dictShare or dictMax, is written plainly.
const (
	dictMin    = 16
	dictShare  = 4
	dictMax    = 1 << 12
	dictSample = 32
	dictUUIDs  = 1 << 16 // of UUIDs: nothing else finds the repeats in a foreign key
)

// A dictionary finds the distinct values of a column. Its table is open
// addressing over xxh3: a Go map costs three times as much here.
type dictionary struct {
	entries []Value
	index   []int64
	table   []int32 // entry number + 1; 0 is free
}

// build reports whether the column is worth a dictionary. It gives up early.
func (d *dictionary) build(vals []Value, uuids bool) bool {
	if len(vals) < dictMin || !uuids && !repeats(vals) {
		return false
	}
	limit := min(len(vals)/dictShare, dictMax)
	if uuids { // an index is 2 bytes, a UUID 16
		limit = min(len(vals)*3/4, dictUUIDs)
	}
	size := 64
	for size < 2*limit+2 {
		size *= 2
	}
	if cap(d.table) < size {
		d.table = make([]int32, size)
	}
	d.table = d.table[:size]
	clear(d.table)
	d.entries, d.index = d.entries[:0], d.index[:0]
	mask := uint64(size - 1)
	for i := range vals {
		s := vals[i].str
		at := xxh3.HashString(s) & mask
		for d.table[at] != 0 && d.entries[d.table[at]-1].str != s {
			at = (at + 1) & mask
		}
		if d.table[at] == 0 {
			if len(d.entries) == limit {
				return false
			}
			d.entries = append(d.entries, vals[i])
			d.table[at] = int32(len(d.entries))
		}
		d.index = append(d.index, int64(d.table[at]-1))
	}
	return true
}

// repeats looks at a sample spread over the column: does a value come twice?
func repeats(vals []Value) bool {
	n := min(len(vals), dictSample)
	step := len(vals) / n
	for i := 1; i < n; i++ {
		for j := range i {
			if vals[i*step].str == vals[j*step].str {
				return true
			}
		}
	}
	return false
}
