package change

// Buckets is how many key buckets a Digest has.
const Buckets = 256

// RowHash is the 128-bit hash of one row's canonical typed encoding.
type RowHash struct{ Hi, Lo uint64 }

// A Digest sums row hashes (mod 2^128) per key bucket: equal tables give equal
// digests whatever the order of rows, and a differing bucket narrows the search.
type Digest struct {
	Table string
	Rows  int64
	Sums  [Buckets]RowHash
}
