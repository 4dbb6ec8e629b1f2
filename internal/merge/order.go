package merge

import (
	"cmp"
	"math"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
)

// Compare orders values as SQLite's ORDER BY does: NULL, numbers by value, text
// by bytes, blobs by bytes. Values that SQLite calls equal but that differ in
// storage (1 and 1.0) are ordered by kind, so only identical values compare as 0.
func Compare(a, b change.Value) int {
	if c := cmp.Compare(class(a), class(b)); c != 0 {
		return c
	}
	switch a.Kind() {
	case change.KindInt, change.KindFloat:
		return compareNumber(a, b)
	case change.KindText, change.KindBlob:
		return strings.Compare(a.Str(), b.Str())
	}
	return 0
}

func class(v change.Value) int {
	switch v.Kind() {
	case change.KindInt, change.KindFloat:
		return 1
	case change.KindText:
		return 2
	case change.KindBlob:
		return 3
	}
	return 0
}

func compareNumber(a, b change.Value) int {
	aInt, bInt := a.Kind() == change.KindInt, b.Kind() == change.KindInt
	switch {
	case aInt && bInt:
		return cmp.Compare(a.Int(), b.Int())
	case aInt:
		if c := compareIntFloat(a.Int(), b.Float()); c != 0 {
			return c
		}
		return -1
	case bInt:
		if c := compareIntFloat(b.Int(), a.Float()); c != 0 {
			return -c
		}
		return 1
	}
	if c := cmp.Compare(a.Float(), b.Float()); c != 0 { // NaN first, equal to itself
		return c
	}
	// −0 and 0, or two NaNs: by bits, for a total order.
	return cmp.Compare(math.Float64bits(b.Float()), math.Float64bits(a.Float()))
}

// compareIntFloat compares exactly: a double cannot hold every int64.
func compareIntFloat(i int64, f float64) int {
	switch {
	case math.IsNaN(f):
		return 1
	case f >= 1<<63:
		return -1
	case f < -(1 << 63):
		return 1
	}
	whole := math.Trunc(f)
	if c := cmp.Compare(i, int64(whole)); c != 0 {
		return c
	}
	return cmp.Compare(0, f-whole)
}

// extreme keeps the smaller (sign −1) or larger (sign +1) value. NULL is no
// value and loses against any.
func extreme(hub, edge Versioned, sign int) Outcome {
	switch {
	case hub.Value.IsNull():
		return won(Edge, hub, edge)
	case edge.Value.IsNull():
		return won(Hub, hub, edge)
	case Compare(edge.Value, hub.Value)*sign > 0:
		return won(Edge, hub, edge)
	}
	return won(Hub, hub, edge)
}
