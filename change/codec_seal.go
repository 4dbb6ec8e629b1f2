package change

import (
	"encoding/binary"
	"fmt"
)

// SealTransactions encodes a batch.
func SealTransactions(txs []*Transaction) ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(txs)))
	for _, t := range txs {
		b = appendString(b, string(AppendTransaction(nil, t)))
	}
	return b, nil
}

// OpenTransactions decodes what SealTransactions wrote.
func OpenTransactions(b []byte, lim Limits) ([]*Transaction, error) {
	r := &reader{s: string(b)}
	n := r.count("transactions", 1)
	var out []*Transaction
	for range n {
		t, err := DecodeTransaction([]byte(r.string()))
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, r.end()
}

// SealRows encodes a batch.
func SealRows(rows []*Rows) ([]byte, error) {
	b := binary.AppendUvarint(nil, uint64(len(rows)))
	for _, t := range rows {
		b = appendString(b, t.Table)
		b = appendNames(b, t.Columns)
		b = binary.AppendUvarint(b, uint64(len(t.Key)))
		for _, k := range t.Key {
			b = binary.AppendUvarint(b, uint64(k))
		}
		b = appendValues(b, t.Values)
		b = appendValues(b, t.Gone)
	}
	return b, nil
}

// OpenRows decodes what SealRows wrote.
func OpenRows(b []byte, lim Limits) ([]*Rows, error) {
	r := &reader{s: string(b)}
	n := r.count("tables", 1)
	var out []*Rows
	for range n {
		t := &Rows{Table: r.string(), Columns: r.names()}
		for range r.count("key columns", 1) {
			t.Key = append(t.Key, r.index())
		}
		t.Values = r.values(r.count("values", 1))
		t.Gone = r.values(r.count("values", 1))
		out = append(out, t)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("open rows: %w", err)
	}
	return out, nil
}
