package change

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// transactionVersion is the first byte of the single form.
const transactionVersion = 1

const flagUnaware = 1

// AppendTransaction appends t's canonical encoding: one transaction has one
// encoding, and Sum hashes it.
func AppendTransaction(dst []byte, t *Transaction) []byte {
	dst = append(dst, transactionVersion)
	dst = appendHead(dst, t)
	return appendOps(dst, t.Ops)
}

// DecodeTransaction reads what AppendTransaction wrote, all of b. It keeps no
// part of b. It refuses any other form than the canonical one.
func DecodeTransaction(b []byte) (*Transaction, error) {
	r := &reader{s: string(b)}
	if v := r.byte(); r.err == nil && v != transactionVersion {
		return nil, fmt.Errorf("decode transaction: %w: version %d, this build reads %d", ErrCorrupt, v, transactionVersion)
	}
	t := &Transaction{}
	r.head(t)
	t.Ops = r.ops()
	if r.err == nil {
		r.refuse(checkOps(t))
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("decode transaction: %w", err)
	}
	return t, nil
}

// appendHead writes all of t but its operations.
func appendHead(dst []byte, t *Transaction) []byte {
	dst = append(dst, t.ID[:]...)
	dst = append(dst, t.Device[:]...)
	dst = append(dst, t.Incarnation[:]...)
	dst = binary.AppendUvarint(dst, t.Seq)
	dst = append(dst, t.Prev[:]...)
	dst = append(dst, t.Schema[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(t.Bases)))
	for _, c := range t.Bases {
		dst = binary.BigEndian.AppendUint64(dst, uint64(c.Epoch))
		dst = appendString(dst, c.Token)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.HLC))
	dst = binary.AppendUvarint(dst, zigzag(int64(t.Offset)))
	var flags byte
	if t.Unaware {
		flags |= flagUnaware
	}
	return append(dst, flags)
}

func (r *reader) head(t *Transaction) {
	copy(t.ID[:], r.take(16))
	copy(t.Device[:], r.take(16))
	copy(t.Incarnation[:], r.take(16))
	t.Seq = r.uvarint()
	copy(t.Prev[:], r.take(32))
	copy(t.Schema[:], r.take(16))
	if n := r.count("base cursors", 9); n > 0 {
		t.Bases = make([]Cursor, n)
		for i := range t.Bases {
			t.Bases[i] = Cursor{Epoch: Epoch(r.uint64()), Token: r.string()}
		}
	}
	t.HLC = HLC(r.uint64())
	t.Offset = time.Duration(r.varint())
	flags := r.byte()
	if flags&^flagUnaware != 0 {
		r.fail("unknown transaction flags %#x", flags)
	}
	t.Unaware = flags&flagUnaware != 0
}

// appendOps writes operations. Table and column names are written where a
// shape occurs first; later operations name the shape by number.
func appendOps(dst []byte, ops []Op) []byte {
	var shapes shapes
	dst = binary.AppendUvarint(dst, uint64(len(ops)))
	for i := range ops {
		op := &ops[i]
		at, fresh := shapes.find(op.Table, op.Columns)
		dst = binary.AppendUvarint(dst, uint64(at))
		if fresh {
			dst = appendString(dst, op.Table)
			dst = appendNames(dst, op.Columns)
		}
		dst = append(dst, byte(op.Kind))
		dst = appendValues(dst, op.Key)
		dst = appendValues(dst, op.New)
		dst = appendValues(dst, op.Base)
		dst = binary.AppendUvarint(dst, uint64(op.BaseAt))
		dst = binary.AppendUvarint(dst, uint64(op.Move))
		dst = binary.AppendUvarint(dst, uint64(len(op.Rows)))
		for _, id := range op.Rows {
			dst = binary.BigEndian.AppendUint64(dst, id)
		}
	}
	return dst
}

func appendNames(dst []byte, names []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = appendString(dst, n)
	}
	return dst
}

func appendValues(dst []byte, vals []Value) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(vals)))
	for _, v := range vals {
		dst = appendValue(dst, v)
	}
	return dst
}

func (r *reader) names() []string {
	n := r.count("names", 1)
	if n == 0 {
		return nil
	}
	if n > maxColumns {
		r.fail("%d columns", n)
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = r.string()
	}
	return out
}

// minOp is the least number of bytes an operation takes.
const minOp = 8

func (r *reader) ops() []Op {
	n := r.count("operations", minOp)
	if n == 0 {
		return nil
	}
	var known shapes
	ops := make([]Op, 0, min(n, 1024))
	for range n {
		if r.err != nil {
			return nil
		}
		ops = append(ops, Op{})
		r.op(&ops[len(ops)-1], &known)
	}
	return ops
}

func (r *reader) op(op *Op, known *shapes) {
	at := r.uvarint()
	switch {
	case at < uint64(len(known.list)):
		op.Table, op.Columns = known.list[at].table, known.list[at].columns
	case at == uint64(len(known.list)):
		op.Table, op.Columns = r.string(), r.names()
		if _, fresh := known.find(op.Table, op.Columns); !fresh && r.err == nil {
			r.fail("shape of %q defined twice", op.Table)
		}
	default:
		r.fail("shape %d of %d", at, len(known.list))
	}
	op.Kind = OpKind(r.byte())
	op.Key = Key(r.values(r.count("key values", 1)))
	op.New = r.values(r.count("new values", 1))
	op.Base = r.values(r.count("base values", 1))
	op.BaseAt = r.index()
	move := r.uvarint()
	if move > 1<<32-1 {
		r.fail("move number %d", move)
	}
	op.Move = uint32(move)
	if n := r.count("capture rows", 8); n > 0 {
		op.Rows = make([]uint64, n)
		for i := range op.Rows {
			op.Rows[i] = r.uint64()
		}
	}
}

// index reads a small number that will be used as a slice index.
func (r *reader) index() int {
	n := r.uvarint()
	if n > 1<<31-1 {
		r.fail("index %d", n)
		return 0
	}
	return int(n)
}

// checkOp holds an operation to the form that Op's comment promises, so that
// nobody downstream indexes New or Base out of range.
func checkOp(op *Op, bases int) error {
	switch {
	case op.Kind < Insert || op.Kind > Delete:
		return fmt.Errorf("operation kind %d on table %q", op.Kind, op.Table)
	case len(op.Key) == 0:
		return fmt.Errorf("%v of %q without a key", op.Kind, op.Table)
	case len(op.New) != newLen(op.Kind, len(op.Columns)):
		return fmt.Errorf("%v of %q has %d new values for %d columns", op.Kind, op.Table, len(op.New), len(op.Columns))
	case len(op.Base) != baseLen(op.Kind, len(op.Columns)):
		return fmt.Errorf("%v of %q has %d base values for %d columns", op.Kind, op.Table, len(op.Base), len(op.Columns))
	case op.BaseAt < 0 || op.BaseAt > 0 && op.BaseAt >= bases:
		return fmt.Errorf("%v of %q refers to base cursor %d of %d", op.Kind, op.Table, op.BaseAt, bases)
	}
	return nil
}

// checkOps is checkOp for all of t. An op may name base 0 of none: its author
// has seen nothing.
func checkOps(t *Transaction) error {
	for i := range t.Ops {
		if err := checkOp(&t.Ops[i], len(t.Bases)); err != nil {
			return err
		}
	}
	return nil
}

// newLen is how many new values an operation on some columns carries.
func newLen(k OpKind, columns int) int {
	if k == Delete {
		return 0
	}
	return columns
}

// baseLen is how many base values an operation on some columns carries.
func baseLen(k OpKind, columns int) int {
	if k == Insert {
		return 0
	}
	return columns
}

// shapes numbers the distinct (table, columns) pairs in order of appearance.
type shapes struct {
	list []shape
	byID map[string]int // built once list outgrows a linear search
}

type shape struct {
	table   string
	columns []string
}

// linearShapes is how many shapes are searched one by one.
const linearShapes = 16

func (s *shapes) find(table string, columns []string) (at int, fresh bool) {
	if s.byID != nil {
		return s.findByID(table, columns)
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].table == table && sameNames(s.list[i].columns, columns) {
			return i, false
		}
	}
	s.list = append(s.list, shape{table, columns})
	if len(s.list) > linearShapes {
		s.byID = make(map[string]int, 2*len(s.list))
		for i, p := range s.list {
			s.byID[shapeID(p.table, p.columns)] = i
		}
	}
	return len(s.list) - 1, true
}

func (s *shapes) findByID(table string, columns []string) (at int, fresh bool) {
	id := shapeID(table, columns)
	if at, ok := s.byID[id]; ok {
		return at, false
	}
	s.list = append(s.list, shape{table, columns})
	s.byID[id] = len(s.list) - 1
	return len(s.list) - 1, true
}

func shapeID(table string, columns []string) string {
	return string(appendNames(appendString(nil, table), columns))
}

func sameNames(a, b []string) bool {
	if len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] {
		return true
	}
	return slices.Equal(a, b)
}
