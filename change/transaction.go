package change

import (
	"crypto/sha256"
	"time"
)

// OpKind is what happened to a row.
type OpKind uint8

// The operations. The numbers are part of the encoding (FORMAT.md).
const (
	Insert OpKind = 1
	Update OpKind = 2
	Delete OpKind = 3
)

func (k OpKind) String() string {
	switch k {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return "op?"
}

// An Op is the net effect of one transaction on one row.
//
//   - Insert: Columns are all stored (not generated) columns, New their values,
//     Base nil.
//   - Update: Columns are the changed columns, none of them in the key; New and
//     Base are their values after and before.
//   - Delete: Columns are all stored columns, Base the last image, New nil.
//
// A changed primary key travels as a Delete of the old key and an Insert of the
// new one that share a non-zero Move number, unique within the transaction.
type Op struct {
	Table   string
	Kind    OpKind
	Key     Key
	Columns []string // may be shared between ops; never modified
	New     []Value  // parallel to Columns; nil for Delete
	Base    []Value  // parallel to Columns; nil for Insert
	BaseAt  int      // index into Transaction.Bases: what the author had seen
	Move    uint32   // links the two halves of a key change; 0 otherwise
	Rows    []uint64 // random ids of the capture log rows this op came from
}

// Column returns the index of a column in op.Columns, or -1.
func (op *Op) Column(name string) int {
	for i, c := range op.Columns {
		if c == name {
			return i
		}
	}
	return -1
}

// A Transaction is what an application committed at an edge, whole.
type Transaction struct {
	ID          TxID
	Device      DeviceID
	Incarnation Incarnation
	Seq         uint64        // 1, 2, 3 … within the incarnation, no holes
	Prev        Hash          // Sum of the transaction with Seq-1; zero for the first
	Schema      SchemaHash    // of the file when it was captured
	Bases       []Cursor      // what the author had seen; see Op.BaseAt
	HLC         HLC           // by the device's own clock
	Offset      time.Duration // hub clock − device clock, as last measured (ms precision)
	Unaware     bool          // grouped by export snapshot: the app gave no identity
	Ops         []Op
}

// Sum is the SHA-256 of the transaction's canonical encoding, Prev included: the
// hash chain that shows tampering, forks and clones.
func (t *Transaction) Sum() Hash {
	return Hash(sha256.Sum256(AppendTransaction(nil, t)))
}

// A Rows is current states of rows of one table, as a pull carries them.
// Values is row-major: len(Values) = number of rows × len(Columns).
// Gone is row-major too, over the key columns: rows that no longer exist for
// this reader (deleted, or left its scopes).
type Rows struct {
	Table   string
	Columns []string // stored columns, in table order
	Key     []int    // indices into Columns, in key order
	Values  []Value
	Gone    []Value
}

// Len is the number of present rows.
func (r *Rows) Len() int {
	if len(r.Columns) == 0 {
		return 0
	}
	return len(r.Values) / len(r.Columns)
}

// GoneLen is the number of absent rows.
func (r *Rows) GoneLen() int {
	if len(r.Key) == 0 {
		return 0
	}
	return len(r.Gone) / len(r.Key)
}

// Row returns row i's values: a view, not to be modified.
func (r *Rows) Row(i int) []Value {
	n := len(r.Columns)
	return r.Values[i*n : (i+1)*n : (i+1)*n]
}

// GoneKey returns absent row i's key: a view, not to be modified.
func (r *Rows) GoneKey(i int) Key {
	n := len(r.Key)
	return Key(r.Gone[i*n : (i+1)*n : (i+1)*n])
}

// KeyOf returns row i's key as a fresh slice.
func (r *Rows) KeyOf(i int) Key {
	row := r.Row(i)
	k := make(Key, len(r.Key))
	for j, c := range r.Key {
		k[j] = row[c]
	}
	return k
}

// Content is the SHA-256 of the operations alone, without place in the chain:
// two records with one ID and different Content come from copies of one file.
func (t *Transaction) Content() Hash {
	return Hash(sha256.Sum256(appendOps(nil, t.Ops)))
}
