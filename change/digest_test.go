package change

import (
	"testing"

	"pgregory.net/rapid"
)

func TestHashRowIgnoresOrderCaseAndNulls(t *testing.T) {
	base := HashRow([]string{"id", "name", "total"}, []Value{Int(1), Text("x"), Float(2)})
	for _, same := range []struct {
		cols []string
		vals []Value
	}{
		{[]string{"total", "id", "name"}, []Value{Float(2), Int(1), Text("x")}},
		{[]string{"ID", "Name", "TOTAL"}, []Value{Int(1), Text("x"), Float(2)}},
		{[]string{"added", "id", "name", "total"}, []Value{Null, Int(1), Text("x"), Float(2)}},
	} {
		if HashRow(same.cols, same.vals) != base {
			t.Errorf("%v %v hashes differently", same.cols, same.vals)
		}
	}
	for _, other := range []struct {
		cols []string
		vals []Value
	}{
		{[]string{"id", "name", "total"}, []Value{Int(1), Text("x"), Int(2)}},
		{[]string{"id", "name", "total"}, []Value{Int(1), BlobString("x"), Float(2)}},
		{[]string{"id", "name", "totals"}, []Value{Int(1), Text("x"), Float(2)}},
		{[]string{"id", "name", "total", "added"}, []Value{Int(1), Text("x"), Float(2), Text("")}},
		{[]string{"id", "total", "name"}, []Value{Int(1), Text("x"), Float(2)}},
	} {
		if HashRow(other.cols, other.vals) == base {
			t.Errorf("%v %v hashes the same", other.cols, other.vals)
		}
	}
}

// A name's length and a value's content must not run into each other.
func TestHashRowKeepsColumnsApart(t *testing.T) {
	a := HashRow([]string{"a", "b"}, []Value{Text("x"), Text("yz")})
	b := HashRow([]string{"a", "b"}, []Value{Text("xy"), Text("z")})
	if a == b {
		t.Error("values ran together")
	}
}

func TestRowHasherEqualsHashRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRows(t)
		h := NewRowHasher(r.Columns)
		for i := range r.Len() {
			if h.Hash(r.Row(i)) != HashRow(r.Columns, r.Row(i)) {
				t.Fatal("differ")
			}
		}
	})
}

// Rows in any order give one digest, and a changed row another.
func TestDigestIsASum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		order := rapid.Permutation(make([]int, n)).Draw(t, "ignored")
		_ = order
		var a, b, c Digest
		for i := range n {
			j := n - 1 - i
			a.Add(Key{Int(int64(i))}, RowHash{Hi: 1 << 63, Lo: ^uint64(i)})
			b.Add(Key{Int(int64(j))}, RowHash{Hi: 1 << 63, Lo: ^uint64(j)})
			c.Add(Key{Int(int64(i))}, RowHash{Hi: 1 << 63, Lo: ^uint64(i) - 1})
		}
		if a != b || a == c || a.Rows != int64(n) {
			t.Fatal("digest depends on order, or not on rows")
		}
	})
}

func TestDigestCarries(t *testing.T) {
	if got := add128(RowHash{Hi: 1, Lo: ^uint64(0)}, RowHash{Hi: 2, Lo: 2}); got != (RowHash{Hi: 4, Lo: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestBucketSpreads(t *testing.T) {
	var count [Buckets]int
	for i := range 64 * Buckets {
		count[Bucket(Key{Int(int64(i))})]++
	}
	for b, n := range count {
		if n < 16 || n > 192 {
			t.Errorf("bucket %d has %d keys of an expected 64", b, n)
		}
	}
}
