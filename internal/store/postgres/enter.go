package postgresstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A logging is the change log's part of a bulk. Where there are many entries, and the
// scopes of their rows are known here, they go by COPY; else each bundle is a statement
// that looks at its rows.
type logging struct {
	t    *tx
	b    *pgx.Batch // what waits to be sent
	many bool       // COPY pays
	at   int64      // the server's clock, in Unix µs, once the first batch was sent
	buf  []byte     // entries for COPY, in its binary format
	n    int        // how many
	draw []byte     // random, for nonces
}

// send sends what waits.
func (e *logging) send() error {
	b := e.b
	e.b = &pgx.Batch{}
	return e.t.batch(b)
}

// log writes the change log as the triggers would have. An update that changed nothing
// is not logged.
func (u *bundle) log(e *logging) error {
	if e.many {
		if err := e.send(); err != nil {
			return err
		}
		if done, err := u.enter(e); done || err != nil {
			return err
		}
	}
	if err := e.copy(); err != nil { // of one row, what came first is logged first
		return err
	}
	u.queueLog(e.b)
	return nil
}

// logged is the mask under which a write is logged; ok is false when it is not.
func (o *op) logged() (mask int64, ok bool) {
	if o.e.Kind != change.Update {
		return 0, true
	}
	mask = o.mask()
	if mask == ledger.MaskSeen { // a column beyond the bits
		return 0, true
	}
	return mask, mask != 0
}

// enter adds the entries to those for COPY, or none when some row's scope is not known.
func (u *bundle) enter(e *logging) (done bool, err error) {
	n, size := e.n, len(e.buf)
	for i, o := range u.ops {
		mask, ok := o.logged()
		if !ok {
			continue
		}
		values := o.was
		if o.e.Kind == change.Insert {
			values = o.e.Values
		}
		scope, ok := e.t.scopeHere(u.t, values)
		if !ok {
			e.n, e.buf = n, e.buf[:size]
			return false, nil
		}
		if err := e.add(u, i, mask, scope); err != nil {
			return false, err
		}
	}
	return true, nil
}

// scopeHere is the scope of a row as the log has it, when it takes no question.
func (t *tx) scopeHere(tb *table, values []change.Value) (rule.ScopeID, bool) {
	sc := &tb.scope
	switch {
	case sc.All:
		return rule.ScopeAll, true
	case sc.parent == nil:
		v := values[sc.column]
		if v.IsNull() {
			return "", true
		}
		text, err := tb.cols[sc.column].spell(v)
		return rule.ScopeID(sc.Kind + "/" + text), err == nil
	case !sc.byKey:
		return "", false
	}
	key := make(change.Key, len(sc.from))
	for i, c := range sc.from {
		if key[i] = values[c]; key[i].IsNull() {
			return "", true
		}
	}
	up := t.seen.rows[sc.parent.rowID(key)]
	if up == nil || up.values == nil {
		return "", false
	}
	return t.scopeHere(sc.parent, up.values)
}

// copyLog takes entries as add makes them.
const copyLog = "COPY tidemark.log (at, nonce, tbl, op, origin, mask, hlc, key, scope) FROM STDIN BINARY"

// copyHead begins PostgreSQL's binary COPY format, and copyEnd ends it.
const (
	copyHead = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyEnd  = "\xff\xff"
)

// epoch2000 is the beginning of PostgreSQL's time, in Unix µs.
const epoch2000 = 946684800 * 1_000_000

// nonce is what the column's default would draw.
func (e *logging) nonce() (int64, error) {
	if len(e.draw) == 0 {
		e.draw = make([]byte, 4096)
		if _, err := io.ReadFull(e.t.s.cfg.Rand, e.draw); err != nil {
			return 0, fmt.Errorf("draw nonces of the change log: %w", err)
		}
	}
	n := binary.BigEndian.Uint64(e.draw) >> 11 // 53 bits
	e.draw = e.draw[8:]
	return int64(n), nil
}

// add adds one entry.
func (e *logging) add(u *bundle, i int, mask int64, scope rule.ScopeID) error {
	nonce, err := e.nonce()
	if err != nil {
		return err
	}
	o, b := u.ops[i], e.buf
	if len(b) == 0 {
		b = append(b, copyHead...)
	}
	b = binary.BigEndian.AppendUint16(b, 9)
	b = appendInt8(b, e.at-epoch2000)
	b = appendInt8(b, nonce)
	b = appendInt4(b, u.t.id)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), uint16(u.kind))
	b = appendInt4(b, o.by.Origin)
	b = appendInt8(b, mask)
	b = appendInt8(b, int64(o.by.HLC))
	size := 20
	for _, col := range u.keyed {
		size += 4 + len(col[i])
	}
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	for _, x := range []uint32{1, 0, pgtype.TextOID, uint32(len(u.keyed)), 1} { // dimensions, NULLs, type, length, first index
		b = binary.BigEndian.AppendUint32(b, x)
	}
	for _, col := range u.keyed {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(col[i]))), col[i]...)
	}
	e.buf = append(binary.BigEndian.AppendUint32(b, uint32(len(scope))), scope...)
	e.n++
	return nil
}

func appendInt8(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(n))
}

func appendInt4(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(n))
}

// copy writes the entries that were added.
func (e *logging) copy() error {
	if e.n == 0 {
		return nil
	}
	if err := e.send(); err != nil {
		return err
	}
	tag, err := e.t.c.PgConn().CopyFrom(e.t.ctx, bytes.NewReader(append(e.buf, copyEnd...)), copyLog)
	if err == nil && tag.RowsAffected() != int64(e.n) {
		err = fmt.Errorf("wrote %d of %d entries", tag.RowsAffected(), e.n)
	}
	if err != nil {
		return fmt.Errorf("write the change log: %w", err)
	}
	e.buf, e.n = e.buf[:0], 0
	return nil
}

// queueLog adds the statement that logs the rows, whatever their scopes are.
func (u *bundle) queueLog(b *pgx.Batch) {
	n := len(u.ops)
	kept, masks, origins, clocks := make([][]string, len(u.keyed)), make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	for i, o := range u.ops {
		mask, ok := o.logged()
		if !ok {
			continue
		}
		for k := range u.keyed {
			kept[k] = append(kept[k], u.keyed[k][i])
		}
		masks, origins, clocks = append(masks, mask), append(origins, o.by.Origin), append(clocks, int64(o.by.HLC))
	}
	if len(masks) == 0 {
		return
	}
	args, parts := make([]any, 0, len(u.keyed)+3), make([]string, len(u.keyed))
	for k := range kept {
		args, parts[k] = append(args, kept[k]), fmt.Sprintf("n.k%d", k)
	}
	scope, join := u.t.expr("t."), " CROSS JOIN LATERAL (SELECT * FROM "+u.t.name+" AS t WHERE "+atKeys(u.t, "t.")+" OFFSET 0) AS t"
	if u.t.scope.All {
		join = ""
	}
	b.Queue(u.t.logInto("")+u.t.number()+", ARRAY["+strings.Join(parts, ", ")+"], "+strconv.Itoa(int(u.kind))+", n.mask, n.origin, n.hlc, "+scope+
		" FROM "+unnest(u.t, 1, "mask int8", "origin int4", "hlc int8")+join, append(args, masks, origins, clocks)...)
}
