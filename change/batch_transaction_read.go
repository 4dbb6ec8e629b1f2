package change

import (
	"encoding/binary"
	"fmt"
	"time"
)

// OpenTransactions decodes what SealTransactions wrote. It keeps no part of b.
// The transactions share memory with each other: keeping one keeps the batch.
func OpenTransactions(b []byte, lim Limits) ([]*Transaction, error) {
	r, err := unseal(kindTransactions, b, lim.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open transactions: %w", err)
	}
	txs := r.transactions()
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("open transactions: %w", err)
	}
	return txs, nil
}

func (r *reader) transactions() []*Transaction {
	n := r.count("transactions", 48)
	total := r.spendRows(r.uvarint())
	if !r.spend(n*transactionSize + total*opSize) {
		return nil
	}
	list := make([]Transaction, n)
	ops := make([]Op, total)
	bases := r.heads(list, ops)
	r.bases(list, bases)
	r.groups(ops)
	if r.err != nil {
		return nil
	}
	txs := make([]*Transaction, n)
	for i := range list {
		txs[i] = &list[i]
		r.refuse(checkOps(txs[i]))
	}
	return txs
}

// heads reads what heads wrote, gives each transaction its part of ops, and
// returns how many base cursors each has.
func (r *reader) heads(list []Transaction, ops []Op) []int64 {
	for i := range list {
		copy(list[i].ID[:], r.take(16))
	}
	for i := range list {
		copy(list[i].Prev[:], r.take(32))
	}
	if !r.spend(len(list) * (cellSize + 8)) {
		return nil
	}
	origin := make([]Value, len(list))
	r.column(origin, len(list), 1)
	for i := range origin {
		s := origin[i].str
		if len(s) != 48 {
			r.fail("origin of %d bytes", len(s))
			return nil
		}
		copy(list[i].Device[:], s[:16])
		copy(list[i].Incarnation[:], s[16:32])
		copy(list[i].Schema[:], s[32:])
	}
	for i, x := range r.ints(len(list)) {
		list[i].Seq = uint64(x)
	}
	for i, x := range r.ints(len(list)) {
		list[i].HLC = HLC(x)
	}
	for i, x := range r.ints(len(list)) {
		list[i].Offset = time.Duration(x)
	}
	for i, x := range r.ints(len(list)) {
		if list[i].Unaware = x == 1; x != 0 && x != 1 {
			r.fail("unknown transaction flags %#x", x)
		}
	}
	at := 0
	for i, x := range r.ints(len(list)) {
		if x < 0 || x > int64(len(ops)-at) {
			r.fail("%d operations of %d", x, len(ops)-at)
			return nil
		}
		if x > 0 {
			list[i].Ops = ops[at : at+int(x) : at+int(x)]
		}
		at += int(x)
	}
	if at != len(ops) {
		r.fail("%d operations, want %d", at, len(ops))
	}
	return append([]int64(nil), r.ints(len(list))...)
}

func (r *reader) bases(list []Transaction, counts []int64) {
	d := r.count("base cursors", 9)
	if !r.spend(d * cellSize) {
		return
	}
	distinct := make([]Cursor, d)
	for i := range distinct {
		distinct[i] = Cursor{Epoch: Epoch(r.uint64()), Token: r.string()}
	}
	total := r.spendRows(r.uvarint())
	index := r.ints(total)
	if !r.spend(total * 24) {
		return
	}
	all := make([]Cursor, len(index))
	for i, at := range index {
		if at < 0 || at >= int64(d) {
			r.fail("base cursor %d of %d", at, d)
			return
		}
		all[i] = distinct[at]
	}
	for i, n := range counts {
		if n < 0 || n > int64(len(all)) {
			r.fail("%d base cursors of %d", n, len(all))
			return
		}
		if n > 0 {
			list[i].Bases, all = all[:n:n], all[n:]
		}
	}
	if len(all) > 0 {
		r.fail("%d base cursors left over", len(all))
	}
}

// groups reads the shapes, sorts ops into them and fills them in.
func (r *reader) groups(ops []Op) {
	n := r.count("groups", 4)
	if n > len(ops) {
		r.fail("%d groups of %d operations", n, len(ops))
	}
	if !r.spend(n * 128) {
		return
	}
	shapes, count := make([]opShape, n), make([]int, n)
	for i := range shapes {
		shapes[i] = opShape{table: r.string(), kind: OpKind(r.byte())}
		shapes[i].keyLen = r.count("key columns", 0)
		shapes[i].columns = r.names()
		r.checkShape(&shapes[i])
	}
	of := append([]int64(nil), r.ints(len(ops))...)
	for _, g := range of {
		if g < 0 || g >= int64(n) {
			r.fail("group %d of %d", g, n)
			return
		}
		count[g]++
	}
	for g := range count {
		if count[g] == 0 {
			r.fail("group %d has no operations", g)
		}
	}
	if r.err != nil {
		return
	}
	groups := make([]opGroup, n)
	for i := range groups {
		groups[i] = opGroup{shape: shapes[i], ops: make([]*Op, 0, count[i])}
	}
	for i, g := range of {
		groups[g].ops = append(groups[g].ops, &ops[i])
	}
	for i := range groups {
		if r.group(&groups[i]); r.err != nil {
			return
		}
	}
}

func (r *reader) checkShape(s *opShape) {
	if s.kind < Insert || s.kind > Delete {
		r.fail("operation kind %d", s.kind)
	}
	if s.keyLen < 1 || s.keyLen > maxColumns {
		r.fail("%d key columns", s.keyLen)
	}
}

// group fills in one group's operations.
func (r *reader) group(g *opGroup) {
	s, n := &g.shape, len(g.ops)
	news, bases := r.images(newLen(s.kind, len(s.columns)), n), r.images(baseLen(s.kind, len(s.columns)), n)
	if r.err != nil {
		return
	}
	image := news
	if s.kind == Delete {
		image = bases
	}
	if !r.spend(n * s.keyLen * cellSize) {
		return
	}
	keys := make([]Value, n*s.keyLen)
	for c := range s.keyLen {
		r.keyColumn(s, image, keys[c:], n)
	}
	k, w := s.keyLen, len(s.columns)
	for i, op := range g.ops {
		op.Table, op.Kind, op.Columns = s.table, s.kind, s.columns
		op.Key = Key(keys[i*k : i*k+k : i*k+k])
		if len(news) > 0 {
			op.New = news[i*w : i*w+w : i*w+w]
		}
		if len(bases) > 0 {
			op.Base = bases[i*w : i*w+w : i*w+w]
		}
	}
	r.tails(g)
}

// images reads n rows of some columns, row-major.
func (r *reader) images(columns, n int) []Value {
	if columns == 0 || !r.spend(n*columns*cellSize) {
		return nil
	}
	vals := make([]Value, n*columns)
	for c := range columns {
		r.column(vals[c:], n, columns)
	}
	return vals
}

func (r *reader) keyColumn(s *opShape, image, keys []Value, n int) {
	if n == 0 || r.peek() != colSame {
		r.column(keys, n, s.keyLen)
		return
	}
	r.byte()
	c := r.uvarint()
	if s.kind == Update || c >= uint64(len(s.columns)) {
		r.fail("key is column %d of %d", c, len(s.columns))
		return
	}
	for i := range n {
		keys[i*s.keyLen] = image[i*len(s.columns)+int(c)]
	}
}

// tails reads the fields that follow an operation's values.
func (r *reader) tails(g *opGroup) {
	n := len(g.ops)
	for i, x := range r.ints(n) {
		if g.ops[i].BaseAt = int(x); x < 0 {
			r.fail("base cursor %d", x)
		}
	}
	for i, x := range r.ints(n) {
		if g.ops[i].Move = uint32(x); x != int64(uint32(x)) {
			r.fail("move number %d", x)
		}
	}
	total := 0
	counts := r.ints(n)
	for _, x := range counts {
		if x < 0 || x > int64(r.left()/8) {
			r.fail("%d capture rows", x)
			return
		}
		total += int(x)
	}
	if total > r.left()/8 || !r.spend(8*total) {
		r.fail("cut short, %d capture rows", total)
		return
	}
	all := make([]uint64, total)
	for i := range all {
		all[i] = binary.LittleEndian.Uint64([]byte(r.take(8)))
	}
	for i, x := range counts {
		if x > 0 {
			g.ops[i].Rows, all = all[:x:x], all[x:]
		}
	}
}
