package change

import (
	"encoding/binary"
	"fmt"
)

// What a decoded transaction and operation weigh against Limits.Decoded.
const (
	transactionSize = 256
	opSize          = 192
)

// SealTransactions encodes transactions as one compressed batch: their
// operations are grouped by table, kind and columns, and stored column by column.
func SealTransactions(txs []*Transaction) ([]byte, error) {
	w := newColumnWriter()
	defer w.release()
	ops := 0
	for _, t := range txs {
		if err := checkOps(t); err != nil {
			return nil, fmt.Errorf("seal transaction %s: %w", t.ID, err)
		}
		ops += len(t.Ops)
	}
	w.uvarint(uint64(len(txs)))
	w.uvarint(uint64(ops))
	w.heads(txs)
	w.bases(txs)
	for _, g := range w.groups(txs, ops) {
		w.group(g)
	}
	out, err := seal(kindTransactions, w.b, w.aside)
	if err != nil {
		return nil, fmt.Errorf("seal transactions: %w", err)
	}
	return out, nil
}

// heads writes what each transaction has one of, field by field.
func (w *columnWriter) heads(txs []*Transaction) {
	for _, t := range txs {
		w.b = append(w.b, t.ID[:]...)
	}
	for _, t := range txs {
		w.b = append(w.b, t.Prev[:]...)
	}
	col := w.gathered(len(txs))
	for i, t := range txs {
		col[i] = BlobString(string(t.Device[:]) + string(t.Incarnation[:]) + string(t.Schema[:]))
	}
	w.column(col)
	w.field(txs, func(t *Transaction) int64 { return int64(t.Seq) })
	w.field(txs, func(t *Transaction) int64 { return int64(t.HLC) })
	w.field(txs, func(t *Transaction) int64 { return int64(t.Offset) })
	w.field(txs, func(t *Transaction) int64 { return Bool(t.Unaware).Int() })
	w.field(txs, func(t *Transaction) int64 { return int64(len(t.Ops)) })
	w.field(txs, func(t *Transaction) int64 { return int64(len(t.Bases)) })
}

func (w *columnWriter) field(txs []*Transaction, of func(*Transaction) int64) {
	num := w.scratch(len(txs))
	for i, t := range txs {
		num[i] = of(t)
	}
	w.ints(num)
}

// bases writes the base cursors of all transactions, each distinct one once.
func (w *columnWriter) bases(txs []*Transaction) {
	var distinct []Cursor
	var index []int64
	number := map[Cursor]int64{}
	for _, t := range txs {
		for _, c := range t.Bases {
			at, ok := number[c]
			if !ok {
				at = int64(len(distinct))
				number[c] = at
				distinct = append(distinct, c)
			}
			index = append(index, at)
		}
	}
	w.uvarint(uint64(len(distinct)))
	for _, c := range distinct {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(c.Epoch))
		w.b = appendString(w.b, c.Token)
	}
	w.uvarint(uint64(len(index)))
	w.ints(index)
}

// An opGroup is the operations of a batch that have one table, kind, key length
// and set of columns, in the order in which they came.
type opGroup struct {
	shape opShape
	ops   []*Op
}

type opShape struct {
	table   string
	kind    OpKind
	keyLen  int
	columns []string
}

func (g *opShape) fits(op *Op) bool {
	return g.kind == op.Kind && g.keyLen == len(op.Key) && g.table == op.Table && sameNames(g.columns, op.Columns)
}

// groups sorts the operations into groups and writes the groups' shapes, then
// the group of each operation.
func (w *columnWriter) groups(txs []*Transaction, total int) []*opGroup {
	var groups []*opGroup
	var names shapes
	of := make([]int64, 0, total)
	byName := map[[3]int]int{}
	last := -1
	for _, t := range txs {
		for i := range t.Ops {
			op := &t.Ops[i]
			if last < 0 || !groups[last].shape.fits(op) {
				at, _ := names.find(op.Table, op.Columns)
				id := [3]int{at, int(op.Kind), len(op.Key)}
				g, ok := byName[id]
				if !ok {
					g = len(groups)
					byName[id] = g
					groups = append(groups, &opGroup{shape: opShape{op.Table, op.Kind, len(op.Key), op.Columns}})
				}
				last = g
			}
			groups[last].ops = append(groups[last].ops, op)
			of = append(of, int64(last))
		}
	}
	w.uvarint(uint64(len(groups)))
	for _, g := range groups {
		w.b = appendString(w.b, g.shape.table)
		w.b = append(w.b, byte(g.shape.kind))
		w.uvarint(uint64(g.shape.keyLen))
		w.b = appendNames(w.b, g.shape.columns)
	}
	w.ints(of)
	return groups
}

// group writes one group's operations: the images first, so that a key column
// that repeats a column of the image is one byte.
func (w *columnWriter) group(g *opGroup) {
	col := w.gathered(len(g.ops))
	for c := range newLen(g.shape.kind, len(g.shape.columns)) {
		for i, op := range g.ops {
			col[i] = op.New[c]
		}
		w.column(col)
	}
	for c := range baseLen(g.shape.kind, len(g.shape.columns)) {
		for i, op := range g.ops {
			col[i] = op.Base[c]
		}
		w.column(col)
	}
	for c := range g.shape.keyLen {
		w.keyColumn(g, c)
	}
	num := w.scratch(len(g.ops))
	for i, op := range g.ops {
		num[i] = int64(op.BaseAt)
	}
	w.ints(num)
	for i, op := range g.ops {
		num[i] = int64(op.Move)
	}
	w.ints(num)
	for i, op := range g.ops {
		num[i] = int64(len(op.Rows))
	}
	w.ints(num)
	for _, op := range g.ops {
		for _, id := range op.Rows {
			w.b = binary.LittleEndian.AppendUint64(w.b, id)
		}
	}
}

// keyColumn writes key column k, as a reference when a column of the image holds
// the same values: an operation does not know which columns are its key's.
func (w *columnWriter) keyColumn(g *opGroup, k int) {
	if g.shape.kind != Update {
		for c := range g.shape.columns {
			if repeatsKey(g, k, c) {
				w.b = append(w.b, colSame)
				w.uvarint(uint64(c))
				return
			}
		}
	}
	col := w.gathered(len(g.ops))
	for i, op := range g.ops {
		col[i] = op.Key[k]
	}
	w.column(col)
}

func repeatsKey(g *opGroup, k, c int) bool {
	for _, op := range g.ops {
		if image(op)[c] != op.Key[k] {
			return false
		}
	}
	return true
}

// image is the whole row that an insert or delete carries.
func image(op *Op) []Value {
	if op.Kind == Delete {
		return op.Base
	}
	return op.New
}
