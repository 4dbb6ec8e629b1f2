package change

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
)

// How a column of values is stored. The numbers are part of the encoding.
const (
	colConst = 0 // one value for all rows
	colInt   = 1
	colFloat = 2
	colText  = 3
	colBlob  = 4
	colMixed = 5 // a column of kinds, then a column per kind
	colSame  = 6 // as an earlier column of the group
)

// How a column of integers is stored.
const (
	intConst  = 0
	intVarint = 1 // zigzag varints
	intDelta  = 2 // zigzag varints of differences
	intWide1  = 3 // least value, then the difference from it in 1 byte each
	intWide2  = 4
	intWide4  = 5
	intWide8  = 6
)

// How a column of doubles is stored.
const (
	floatRaw     = 0
	floatDecimal = 1 // integers, and the power of ten that divides them
)

// How a column of texts or blobs is stored.
const (
	strPlain = 0 // lengths, then the bytes
	strUUID  = 1 // 16 bytes for each canonical lower-case UUID
	strDict  = 2 // the distinct ones, then an index each
	strFront = 3 // length shared with the one before, lengths of the rest, the rests
	strAside = 4 // as strUUID, but the bytes stand beside the body
)

// A columnWriter encodes columns. It chooses among the encodings by what one
// cheap pass over the column tells: zstd comes afterwards and evens out the rest.
type columnWriter struct {
	b     []byte
	aside []byte  // what compression could do nothing for
	vals  []Value // scratch: one column, gathered
	num   []int64 // scratch: one column of integers
	more  []int64 // scratch: a second one
	dict  dictionary
}

// columnWriters keeps the writers' buffers: growing them anew for each batch
// costs a sixth of sealing it. Like the pools of zstd it is a cache, not state.
var columnWriters = sync.Pool{New: func() any { return &columnWriter{} }}

// maxKept is the largest buffer that is kept, in bytes.
const maxKept = 4 << 20

func newColumnWriter() *columnWriter {
	w, ok := columnWriters.Get().(*columnWriter)
	if !ok {
		return &columnWriter{}
	}
	return w
}

// release gives the buffers back, without the values they held on to.
func (w *columnWriter) release() {
	if cap(w.b)+cap(w.aside)+cellSize*cap(w.vals) > maxKept {
		return
	}
	w.b, w.aside = w.b[:0], w.aside[:0]
	clear(w.vals[:cap(w.vals)])
	clear(w.dict.entries[:cap(w.dict.entries)])
	columnWriters.Put(w)
}

func (w *columnWriter) uvarint(u uint64) { w.b = binary.AppendUvarint(w.b, u) }

// gathered returns scratch for n values.
func (w *columnWriter) gathered(n int) []Value {
	if cap(w.vals) < n {
		w.vals = make([]Value, n)
	}
	return w.vals[:n]
}

func (w *columnWriter) scratch(n int) []int64 {
	if cap(w.num) < n {
		w.num = make([]int64, n)
	}
	return w.num[:n]
}

func (w *columnWriter) scratch2(n int) []int64 {
	if cap(w.more) < n {
		w.more = make([]int64, n)
	}
	return w.more[:n]
}

// column writes vals. An empty column takes no bytes.
func (w *columnWriter) column(vals []Value) {
	if len(vals) == 0 {
		return
	}
	var kinds uint8
	same := true
	for i := range vals {
		kinds |= 1 << vals[i].kind
		same = same && vals[i] == vals[0]
	}
	switch {
	case same:
		w.b = append(w.b, colConst)
		w.b = appendValue(w.b, vals[0])
	case kinds == 1<<KindInt:
		w.b = append(w.b, colInt)
		num := w.scratch(len(vals))
		for i := range vals {
			num[i] = int64(vals[i].num)
		}
		w.ints(num)
	case kinds == 1<<KindFloat:
		w.b = append(w.b, colFloat)
		w.floats(vals)
	case kinds == 1<<KindText:
		w.b = append(w.b, colText)
		w.strings(vals)
	case kinds == 1<<KindBlob:
		w.b = append(w.b, colBlob)
		w.strings(vals)
	default:
		w.mixed(vals, kinds)
	}
}

// mixed writes a column of several kinds: most often values and NULLs.
func (w *columnWriter) mixed(vals []Value, kinds uint8) {
	w.b = append(w.b, colMixed)
	num := w.scratch(len(vals))
	for i := range vals {
		num[i] = int64(vals[i].kind)
	}
	w.ints(num)
	part := make([]Value, 0, len(vals))
	for k := KindInt; k <= KindBlob; k++ {
		if kinds&(1<<k) == 0 {
			continue
		}
		part = part[:0]
		for i := range vals {
			if vals[i].kind == k {
				part = append(part, vals[i])
			}
		}
		w.column(part)
	}
}

// ints writes a column of integers in the smallest of its forms.
func (w *columnWriter) ints(v []int64) {
	if len(v) == 0 {
		return
	}
	least, most := v[0], v[0]
	plain, delta := 0, 0
	var prev int64
	for _, x := range v {
		least, most = min(least, x), max(most, x)
		plain += uvarintLen(zigzag(x))
		delta += uvarintLen(zigzag(x - prev))
		prev = x
	}
	if least == most {
		w.b = append(w.b, intConst)
		w.uvarint(zigzag(least))
		return
	}
	mode, width := wideMode(uint64(most) - uint64(least))
	wide := width*len(v) + uvarintLen(zigzag(least))
	switch {
	case wide <= plain && wide <= delta:
		w.b = append(w.b, mode)
		w.uvarint(zigzag(least))
		w.wide(v, least, width)
	case plain <= delta:
		w.b = append(w.b, intVarint)
		for _, x := range v {
			w.b = binary.AppendUvarint(w.b, zigzag(x))
		}
	default:
		w.b = append(w.b, intDelta)
		prev = 0
		for _, x := range v {
			w.b = binary.AppendUvarint(w.b, zigzag(x-prev))
			prev = x
		}
	}
}

func wideMode(span uint64) (mode byte, width int) {
	switch {
	case span <= math.MaxUint8:
		return intWide1, 1
	case span <= math.MaxUint16:
		return intWide2, 2
	case span <= math.MaxUint32:
		return intWide4, 4
	}
	return intWide8, 8
}

func (w *columnWriter) wide(v []int64, least int64, width int) {
	b := w.b
	switch width {
	case 1:
		for _, x := range v {
			b = append(b, byte(x-least))
		}
	case 2:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint16(b, uint16(x-least))
		}
	case 4:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, uint32(x-least))
		}
	default:
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, uint64(x-least))
		}
	}
	w.b = b
}

func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

// tens are the powers of ten that decimal doubles are tried with: money, rates,
// coordinates.
var tens = [...]float64{1, 10, 100, 1000, 1e4, 1e5, 1e6}

// floats writes doubles, as decimals when every one of them is one: 12.99 is
// then three bytes, and comes back bit for bit.
func (w *columnWriter) floats(vals []Value) {
	num := w.scratch(len(vals))
	for power := range tens {
		if !asDecimals(num, vals, tens[power]) {
			continue
		}
		w.b = append(w.b, floatDecimal, byte(power))
		w.ints(num)
		return
	}
	w.b = append(w.b, floatRaw)
	for i := range vals {
		w.b = binary.LittleEndian.AppendUint64(w.b, vals[i].num)
	}
}

func asDecimals(num []int64, vals []Value, ten float64) bool {
	for i := range vals {
		scaled := math.RoundToEven(math.Float64frombits(vals[i].num) * ten)
		if !(math.Abs(scaled) < 1<<53) {
			return false
		}
		num[i] = int64(scaled) // a negative zero ends here
		if math.Float64bits(float64(num[i])/ten) != vals[i].num {
			return false
		}
	}
	return true
}
