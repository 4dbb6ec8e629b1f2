package postgresstore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Scan implements hub.View.
func (v *view) Scan(name string, after change.Key, scopes []rule.ScopeID, limit int) (*change.Rows, change.Key, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, nil, err
	}
	if after != nil && len(after) != len(t.key) {
		return nil, nil, fmt.Errorf("scan %s: the key has %d values, not %d", name, len(after), len(t.key))
	}
	page := ledger.NewPage(t.newRows(), limit)
	for size := 0; ; {
		most, got := t.fit(limit-size), 0
		err := v.scan(t, after, scopes, most, func(values []change.Value) error {
			err := page.Add(values)
			if err == nil {
				got++
				size += weigh(values)
			}
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("scan %s: %w", name, err)
		}
		rows, last := page.End()
		if n := rows.Len(); n > 0 {
			t.mass.Store(int64(max(size/n, 1)))
		}
		if last != nil || got < most {
			return rows, last, nil
		}
		after = rows.KeyOf(rows.Len() - 1)
	}
}

// fit is how many rows are asked for to fill so many bytes, by what rows weighed last: a
// few more, so that one question is enough mostly. The server reads and sends what was
// asked for, wanted or not.
func (t *table) fit(room int) int {
	const value = 32 // bytes, while nothing is known
	one := int(t.mass.Load())
	if one == 0 {
		one = value * len(t.cols)
	}
	n := max(room, 0) / one
	return n + n/8 + 2
}

func weigh(values []change.Value) (n int) {
	for _, v := range values {
		n += v.Size()
	}
	return n
}

// scan calls each for every row of t in the scopes, in key order, after a key, most
// rows at most unless it is 0, until each says ledger.ErrEnough.
func (v *view) scan(t *table, after change.Key, scopes []rule.ScopeID, most int, each func([]change.Value) error) error {
	rel := t.scope.Relevant(scopes)
	if len(rel) == 0 {
		return nil
	}
	var a args
	where := t.within("t.", rel, &a)
	keys := t.pick("t.", t.key)
	if after != nil {
		marks := make([]string, len(after))
		for i, k := range t.key {
			p, err := t.cols[k].put(after[i])
			if err != nil {
				return err
			}
			a.add(p.arg)
			marks[i] = t.cols[k].match(len(a.list))
		}
		where += " AND (" + strings.Join(keys, ", ") + ") > (" + strings.Join(marks, ", ") + ")"
	}
	q := "SELECT " + t.columns + " FROM " + t.name + " AS t WHERE " + where + " ORDER BY " + strings.Join(keys, ", ")
	if most > 0 {
		q += " LIMIT " + a.add(int64(most)) + "::int8"
	}
	err := v.query(q, func(r *row) error { return each(t.row(r, 0)) }, a.list...)
	if errors.Is(err, ledger.ErrEnough) {
		return nil
	}
	return err
}

// Count implements hub.View. It counts, so that the estimate is exact.
func (v *view) Count(scopes []rule.ScopeID) (map[string]int64, error) {
	out := make(map[string]int64, len(v.p.tables))
	for _, t := range v.p.tables {
		out[t.def.Name] = 0
		rel := t.scope.Relevant(scopes)
		if len(rel) == 0 {
			continue
		}
		var a args
		where := t.within("t.", rel, &a)
		err := v.query("SELECT count(*) FROM "+t.name+" AS t WHERE "+where, func(r *row) error {
			out[t.def.Name] = r.int(0)
			return nil
		}, a.list...)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", t.def.Name, err)
		}
	}
	return out, nil
}

// Bucket implements hub.View.
func (v *view) Bucket(name string, scopes []rule.ScopeID, buckets []int) (*change.Rows, error) {
	t, err := v.p.table(name)
	if err != nil {
		return nil, err
	}
	wanted, err := ledger.Wanted(name, buckets)
	if err != nil {
		return nil, err
	}
	rows, key := t.newRows(), make(change.Key, len(t.key))
	err = v.scan(t, nil, scopes, 0, func(values []change.Value) error {
		for i, c := range t.key {
			key[i] = values[c]
		}
		if wanted[change.Bucket(key)] {
			rows.Values = append(rows.Values, values...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rows of %s: %w", name, err)
	}
	return rows, nil
}

// Highest implements hub.View. An index on the column serves it.
func (v *view) Highest(name, column string, most int64) (change.Value, error) {
	t, err := v.p.table(name)
	if err != nil {
		return change.Null, err
	}
	i := ledger.IndexFold(t.names, column)
	if i < 0 {
		return change.Null, fmt.Errorf("highest %s of %s: no such column", column, name)
	}
	c := &t.cols[i]
	cond := c.quoted + " <= $1::int8"
	switch c.form {
	case formInt2, formInt4, formInt8:
	case formNumeric:
		cond += " AND trunc(" + c.quoted + ") = " + c.quoted
	default: // it holds no integers
		return change.Null, nil
	}
	out := change.Null
	err = v.query("SELECT "+c.quoted+"::int8 FROM "+t.name+" WHERE "+cond+" ORDER BY "+c.quoted+" DESC LIMIT 1", func(r *row) error {
		out = r.value(0)
		return nil
	}, most)
	if err != nil {
		return change.Null, fmt.Errorf("highest %s of %s: %w", column, name, err)
	}
	return out, nil
}
