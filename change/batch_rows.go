package change

import (
	"fmt"
)

// SealRows encodes rows of any tables as one compressed batch.
func SealRows(rows []*Rows) ([]byte, error) {
	w := newColumnWriter()
	defer w.release()
	w.uvarint(uint64(len(rows)))
	for _, t := range rows {
		if err := checkRows(t); err != nil {
			return nil, fmt.Errorf("seal rows: %w", err)
		}
		w.b = appendString(w.b, t.Table)
		w.b = appendNames(w.b, t.Columns)
		w.uvarint(uint64(len(t.Key)))
		for _, k := range t.Key {
			w.uvarint(uint64(k))
		}
		w.grid(t.Values, len(t.Columns))
		w.grid(t.Gone, len(t.Key))
	}
	out, err := seal(kindRows, w.b, w.aside)
	if err != nil {
		return nil, fmt.Errorf("seal rows: %w", err)
	}
	return out, nil
}

// OpenRows decodes what SealRows wrote. It keeps no part of b. The values share
// memory with each other: keeping one keeps the batch.
func OpenRows(b []byte, lim Limits) ([]*Rows, error) {
	r, err := unseal(kindRows, b, lim.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open rows: %w", err)
	}
	n := r.count("tables", 5)
	out := make([]*Rows, 0, n)
	for range n {
		out = append(out, r.oneTable())
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("open rows: %w", err)
	}
	return out, nil
}

func (r *reader) oneTable() *Rows {
	t := &Rows{Table: r.string(), Columns: r.names()}
	if n := r.count("key columns", 1); n > 0 {
		t.Key = make([]int, n)
		for i := range t.Key {
			t.Key[i] = r.index()
			if r.err == nil && t.Key[i] >= len(t.Columns) {
				r.fail("key column %d of %d", t.Key[i], len(t.Columns))
			}
		}
	}
	t.Values = r.grid(len(t.Columns))
	t.Gone = r.grid(len(t.Key))
	return t
}

// checkRows refuses what could not be read back.
func checkRows(t *Rows) error {
	if len(t.Columns) > maxColumns {
		return fmt.Errorf("table %q has %d columns, the limit is %d", t.Table, len(t.Columns), maxColumns)
	}
	if n := len(t.Columns); len(t.Values) > 0 && (n == 0 || len(t.Values)%n != 0) {
		return fmt.Errorf("table %q has %d values in %d columns", t.Table, len(t.Values), n)
	}
	if n := len(t.Key); len(t.Gone) > 0 && (n == 0 || len(t.Gone)%n != 0) {
		return fmt.Errorf("table %q has %d key values in %d key columns", t.Table, len(t.Gone), n)
	}
	for _, k := range t.Key {
		if k < 0 || k >= len(t.Columns) {
			return fmt.Errorf("table %q has key column %d of %d", t.Table, k, len(t.Columns))
		}
	}
	return nil
}

// grid writes row-major values column by column.
func (w *columnWriter) grid(vals []Value, columns int) {
	if len(vals) == 0 {
		w.uvarint(0)
		return
	}
	n := len(vals) / columns
	w.uvarint(uint64(n))
	col := w.gathered(n)
	for c := range columns {
		for i, at := 0, c; i < n; i, at = i+1, at+columns {
			col[i] = vals[at]
		}
		w.column(col)
	}
}

func (r *reader) grid(columns int) []Value {
	n := r.spendRows(r.uvarint())
	if n == 0 {
		return nil
	}
	if columns == 0 {
		r.fail("%d rows of no columns", n)
		return nil
	}
	if !r.spend(n * columns * cellSize) {
		return nil
	}
	vals := make([]Value, n*columns)
	for c := range columns {
		if r.column(vals[c:], n, columns); r.err != nil {
			return nil
		}
	}
	return vals
}
