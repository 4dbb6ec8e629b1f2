package change

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// cellSize is what a decoded cell weighs against Limits.Decoded.
const cellSize = 32

// spend takes n bytes of memory from the budget before they are allocated.
func (r *reader) spend(n int) bool {
	if r.err != nil {
		return false
	}
	if n < 0 || n > r.budget {
		r.tooLarge("decoded form takes more memory than the limit")
		return false
	}
	r.budget -= n
	return true
}

// spendRows takes n rows from the budget.
func (r *reader) spendRows(n uint64) int {
	if r.err == nil && n > uint64(r.rows) {
		r.tooLarge("more rows than the limit")
	}
	if r.err != nil {
		return 0
	}
	r.rows -= int(n)
	return int(n)
}

// column reads n values into out[0], out[stride], out[2*stride] …
func (r *reader) column(out []Value, n, stride int) {
	if n == 0 {
		return
	}
	switch mode := r.byte(); mode {
	case colConst:
		v := r.value()
		for i := range n {
			out[i*stride] = v
		}
	case colInt:
		num := r.ints(n)
		for i, x := range num {
			out[i*stride] = Value{kind: KindInt, num: uint64(x)}
		}
	case colFloat:
		r.floats(out, n, stride)
	case colText:
		r.strings(KindText, out, n, stride)
	case colBlob:
		r.strings(KindBlob, out, n, stride)
	case colMixed:
		r.mixed(out, n, stride)
	default:
		r.fail("unknown column encoding %d", mode)
	}
}

func (r *reader) mixed(out []Value, n, stride int) {
	if !r.spend(n * (cellSize + 8)) {
		return
	}
	kinds := append([]int64(nil), r.ints(n)...)
	var count [KindBlob + 1]int
	for _, k := range kinds {
		if k < 0 || k > int64(KindBlob) {
			r.fail("unknown value kind %d", k)
			return
		}
		count[k]++
	}
	part := make([]Value, n)
	for k := KindInt; k <= KindBlob; k++ {
		if count[k] == 0 {
			continue
		}
		if c := r.peek(); c == colMixed {
			r.fail("mixed column inside a mixed column")
		}
		r.column(part, count[k], 1)
		if r.err != nil {
			return
		}
		at := 0
		for i, kind := range kinds {
			if Kind(kind) == k {
				out[i*stride] = part[at]
				at++
			}
		}
	}
}

func (r *reader) peek() byte {
	if r.i >= len(r.s) {
		return 0xff
	}
	return r.s[r.i]
}

// ints reads n integers into scratch that the next call overwrites.
func (r *reader) ints(n int) []int64 {
	if r.err != nil || n == 0 {
		return nil
	}
	if cap(r.num) < n {
		if !r.spend(8 * n) {
			return nil
		}
		r.num = make([]int64, n)
	}
	num := r.num[:n]
	switch mode := r.byte(); mode {
	case intConst:
		x := r.varint()
		for i := range num {
			num[i] = x
		}
	case intVarint:
		for i := range num {
			num[i] = unzigzag(r.uvarint())
		}
	case intDelta:
		var prev int64
		for i := range num {
			prev += unzigzag(r.uvarint())
			num[i] = prev
		}
	case intWide1, intWide2, intWide4, intWide8:
		r.wide(num, r.varint(), 1<<(mode-intWide1))
	default:
		r.fail("unknown integer encoding %d", mode)
	}
	if r.err != nil {
		return nil
	}
	return num
}

func (r *reader) wide(num []int64, least int64, width int) {
	s := r.take(len(num) * width)
	if r.err != nil {
		return
	}
	b := unsafe.Slice(unsafe.StringData(s), len(s)) // read only
	switch width {
	case 1:
		for i := range num {
			num[i] = least + int64(b[i])
		}
	case 2:
		for i := range num {
			num[i] = least + int64(binary.LittleEndian.Uint16(b[2*i:]))
		}
	case 4:
		for i := range num {
			num[i] = least + int64(binary.LittleEndian.Uint32(b[4*i:]))
		}
	default:
		for i := range num {
			num[i] = least + int64(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
}

func (r *reader) floats(out []Value, n, stride int) {
	switch mode := r.byte(); mode {
	case floatRaw:
		s := r.take(8 * n)
		if r.err != nil {
			return
		}
		b := unsafe.Slice(unsafe.StringData(s), len(s)) // read only
		for i := range n {
			out[i*stride] = Value{kind: KindFloat, num: binary.LittleEndian.Uint64(b[8*i:])}
		}
	case floatDecimal:
		power := int(r.byte())
		if power >= len(tens) {
			r.fail("decimal power %d", power)
			return
		}
		ten := tens[power]
		for i, x := range r.ints(n) {
			out[i*stride] = Value{kind: KindFloat, num: math.Float64bits(float64(x) / ten)}
		}
	default:
		r.fail("unknown double encoding %d", mode)
	}
}

func (r *reader) strings(kind Kind, out []Value, n, stride int) {
	switch mode := r.byte(); mode {
	case strPlain:
		r.plain(kind, out, n, stride)
	case strUUID:
		r.uuids(r.take(16*n), kind, out, n, stride)
	case strAside:
		r.uuids(r.beside(16*n), kind, out, n, stride)
	case strDict:
		r.dictionary(kind, out, n, stride)
	case strFront:
		r.front(kind, out, n, stride)
	default:
		r.fail("unknown text encoding %d", mode)
	}
}

func (r *reader) plain(kind Kind, out []Value, n, stride int) {
	for i, size := range r.ints(n) {
		out[i*stride] = Value{kind: kind, str: r.cut(size)}
	}
}

// cut takes size bytes, where size was read and may be anything.
func (r *reader) cut(size int64) string {
	if size < 0 || size > int64(r.left()) {
		r.fail("cut short, %d bytes wanted", size)
		return ""
	}
	return r.take(int(size))
}

func (r *reader) uuids(packed string, kind Kind, out []Value, n, stride int) {
	if !r.spend(36 * n) {
		return
	}
	arena := make([]byte, 36*n)
	text := unsafe.String(unsafe.SliceData(arena), len(arena)) // arena is complete before anyone reads
	for i := range n {
		unpackUUID(arena[36*i:], packed[16*i:])
		out[i*stride] = Value{kind: kind, str: text[36*i : 36*i+36]}
	}
}

func (r *reader) dictionary(kind Kind, out []Value, n, stride int) {
	claim := r.uvarint()
	if claim == 0 || claim > uint64(n) {
		r.fail("dictionary of %d entries for %d values", claim, n)
		return
	}
	d := int(claim)
	if !r.spend(cellSize * d) {
		return
	}
	entries := make([]Value, d)
	switch mode := r.byte(); mode {
	case strPlain:
		r.plain(kind, entries, d, 1)
	case strFront:
		r.front(kind, entries, d, 1)
	case strUUID:
		r.uuids(r.take(16*d), kind, entries, d, 1)
	case strAside:
		r.uuids(r.beside(16*d), kind, entries, d, 1)
	default:
		r.fail("unknown dictionary encoding %d", mode)
	}
	for i, at := range r.ints(n) {
		if at < 0 || at >= int64(d) {
			r.fail("dictionary entry %d of %d", at, d)
			return
		}
		out[i*stride] = entries[at]
	}
}

// front puts texts together from what they share with the one before. The sum
// of their lengths is checked first: a few bytes could claim gigabytes.
func (r *reader) front(kind Kind, out []Value, n, stride int) {
	if !r.spend(8 * n) {
		return
	}
	shared := append([]int64(nil), r.ints(n)...)
	rest := r.ints(n)
	if r.err != nil {
		return
	}
	total, length := 0, int64(0)
	for i, size := range rest {
		if size < 0 || size > int64(r.left()) || shared[i] < 0 || shared[i] > length {
			r.fail("text shares %d bytes of %d and has %d more", shared[i], length, size)
			return
		}
		length = shared[i] + size
		total += int(length)
	}
	if !r.spend(total) {
		return
	}
	arena := make([]byte, total)
	text := unsafe.String(unsafe.SliceData(arena), len(arena)) // each part is complete before it is cut out
	at, prev := 0, 0
	for i, size := range rest {
		copy(arena[at:], arena[prev:prev+int(shared[i])])
		copy(arena[at+int(shared[i]):], r.cut(size))
		if r.err != nil {
			return
		}
		prev = at
		at += int(shared[i] + size)
		out[i*stride] = Value{kind: kind, str: text[prev:at]}
	}
}
