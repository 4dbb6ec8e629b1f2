package hub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/tidemark-sync/tidemark/change"
)

// A trace says which rows the transactions of one journal entry touched: the way from a
// row to its transactions. One record stands for all that came together, with four bytes
// a row, so that a push hardly costs more; who looks for a row reads traces from the
// newest one back, and opens the transactions that seem to hold it.
//
//	id    the hub's time in ms, 15 digits; "/"; the first transaction
//	body  for each transaction: its id, 16 bytes; how many rows, uvarint; for each row
//	      the low 4 bytes of the XXH3 of its table in lower case, a zero byte, and its key
const kindTrace = "trace"

func traceID(at time.Time, first change.TxID) string {
	return fmt.Sprintf("%015d/%s", at.UnixMilli(), first)
}

// markOf is what a trace has of a row. buf is scratch.
func markOf(buf []byte, table string, key change.Key) (uint32, []byte) {
	buf = append(buf[:0], strings.ToLower(table)...)
	buf = change.AppendKey(append(buf, 0), key)
	return uint32(xxh3.Hash(buf)), buf
}

// trace notes which rows the transactions touch that are about to be journalled.
func (b *batch) trace() error {
	var body, buf []byte
	first := -1
	for i := range b.pending {
		t := b.pending[i].Tx
		if t == nil || len(t.Ops) == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		id := b.pending[i].ID
		body = binary.AppendUvarint(append(body, id[:]...), uint64(len(t.Ops)))
		for j := range t.Ops {
			var m uint32
			m, buf = markOf(buf, t.Ops[j].Table, t.Ops[j].Key)
			body = binary.LittleEndian.AppendUint32(body, m)
		}
	}
	if first < 0 {
		return nil
	}
	if err := b.tx.PutRecord(kindTrace, traceID(b.now, b.pending[first].ID), body); err != nil {
		return fmt.Errorf("trace transactions: %w", err)
	}
	return nil
}

var errTrace = errors.New("a damaged trace")

// traced calls fn for each transaction of a trace that seems to touch one of the marks,
// the last one first.
func traced(body []byte, marks []uint32, fn func(change.TxID) error) error {
	var hits []change.TxID
	for len(body) > 0 {
		var id change.TxID
		if len(body) < len(id) {
			return errTrace
		}
		copy(id[:], body)
		body = body[len(id):]
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w)/4 {
			return errTrace
		}
		rows := body[w : w+int(n)*4]
		body = body[w+int(n)*4:]
		for ; len(rows) > 0; rows = rows[4:] {
			if m := binary.LittleEndian.Uint32(rows); contains(marks, m) {
				hits = append(hits, id)
				break
			}
		}
	}
	for i := len(hits) - 1; i >= 0; i-- {
		if err := fn(hits[i]); err != nil {
			return err
		}
	}
	return nil
}

// contains is for the one or two marks that there are.
func contains(marks []uint32, m uint32) bool {
	for _, want := range marks {
		if want == m {
			return true
		}
	}
	return false
}

// dropTraces removes the traces from before a time.
func dropTraces(tx Tx, before time.Time) error {
	end := fmt.Sprintf("%015d/", before.UnixMilli())
	var old []string
	err := eachRecord(tx, kindTrace, "", func(id string, _ []byte) error {
		if id >= end {
			return errStop
		}
		old = append(old, id)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range old {
		if err := tx.PutRecord(kindTrace, id, nil); err != nil {
			return fmt.Errorf("remove trace %s: %w", id, err)
		}
	}
	return nil
}
