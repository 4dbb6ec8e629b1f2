package sqlitestore

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Record implements hub.View.
func (v *view) Record(kind, id string) ([]byte, error) {
	body, ok, err := sqlite.One(v.c, `SELECT body FROM _tidemark_record WHERE kind=? AND id=?`, change.Text(kind), change.Text(id))
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s %s: %w", kind, id, hub.ErrNotFound)
	}
	return []byte(body.Str()), nil
}

// Records implements hub.View.
func (v *view) Records(kind, prefix, after string, limit int) ([]hub.Record, error) {
	bounds, args := between(kind, prefix, after)
	var out []hub.Record
	err := sqlite.Query(v.c, `SELECT id, body FROM _tidemark_record WHERE kind=?`+bounds+` ORDER BY id LIMIT ?`, func(s *sqlite.Stmt) error {
		out = append(out, hub.Record{ID: s.ColumnText(0), Body: []byte(sqlite.Column(s, 1).Str())})
		return nil
	}, append(args, change.Int(int64(limit)))...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	return out, nil
}

// between bounds the ids of a kind: one bound at either end, so that the index reads
// what is listed, and nothing else.
func between(kind, prefix, after string) (bounds string, args []change.Value) {
	bounds, start := " AND id > ?", after
	if after < prefix {
		bounds, start = " AND id >= ?", prefix
	}
	args = []change.Value{change.Text(kind), change.Text(start)}
	if n := len(prefix) - 1; n >= 0 {
		bounds += " AND id < ?"
		args = append(args, change.Text(prefix[:n]+string(prefix[n]+1)))
	}
	return bounds, args
}

// IDs implements hub.View.
func (v *view) IDs(kind, prefix, after string, limit int) (out []string, err error) {
	bounds, args := between(kind, prefix, after)
	err = sqlite.Query(v.c, `SELECT id FROM _tidemark_record WHERE kind=?`+bounds+` ORDER BY id LIMIT ?`, func(s *sqlite.Stmt) error {
		out = append(out, s.ColumnText(0))
		return nil
	}, append(args, change.Int(int64(limit)))...)
	if err != nil {
		return nil, fmt.Errorf("list ids of %s: %w", kind, err)
	}
	return out, nil
}

// RecordsBack implements hub.View.
func (v *view) RecordsBack(kind, prefix, before string, limit int) ([]hub.Record, error) {
	args, bounds := []change.Value{change.Text(kind)}, ""
	if prefix != "" {
		bounds, args = " AND id >= ?", append(args, change.Text(prefix))
		if n := len(prefix) - 1; before == "" || before > prefix[:n]+string(prefix[n]+1) {
			before = prefix[:n] + string(prefix[n]+1)
		}
	}
	if before != "" {
		bounds, args = bounds+" AND id < ?", append(args, change.Text(before))
	}
	var out []hub.Record
	err := sqlite.Query(v.c, `SELECT id, body FROM _tidemark_record WHERE kind=?`+bounds+` ORDER BY id DESC LIMIT ?`, func(s *sqlite.Stmt) error {
		out = append(out, hub.Record{ID: s.ColumnText(0), Body: []byte(sqlite.Column(s, 1).Str())})
		return nil
	}, append(args, change.Int(int64(limit)))...)
	if err != nil {
		return nil, fmt.Errorf("list %s from the end: %w", kind, err)
	}
	return out, nil
}

// PutRecord implements hub.Tx. It does not ring for those who Wait.
func (t *tx) PutRecord(kind, id string, body []byte) error {
	q, args := `DELETE FROM _tidemark_record WHERE kind=? AND id=?`, []change.Value{change.Text(kind), change.Text(id)}
	if body != nil {
		q = `INSERT INTO _tidemark_record (kind, id, body) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body=excluded.body`
		args = append(args, blob(body))
	}
	if err := sqlite.Exec(t.c, q, args...); err != nil {
		return fmt.Errorf("write %s %s: %w", kind, id, err)
	}
	// A random one: a count would come to the same in a transaction after one that was undone.
	err := sqlite.Exec(t.c, `INSERT INTO _tidemark_record (kind, id, body) VALUES (?, ?, randomblob(16)) ON CONFLICT (kind, id) DO UPDATE SET body=excluded.body`,
		change.Text(hub.KindStamp), change.Text(kind))
	if err != nil {
		return fmt.Errorf("stamp %s: %w", kind, err)
	}
	return nil
}
