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
	// One bound at either end: the index then reads what is listed, and nothing else.
	from, start, end := "id > ?", after, ""
	if after < prefix {
		from, start = "id >= ?", prefix
	}
	args := []change.Value{change.Text(kind), change.Text(start)}
	if n := len(prefix) - 1; n >= 0 {
		end = " AND id < ?"
		args = append(args, change.Text(prefix[:n]+string(prefix[n]+1)))
	}
	var out []hub.Record
	err := sqlite.Query(v.c, `SELECT id, body FROM _tidemark_record WHERE kind=? AND `+from+end+` ORDER BY id LIMIT ?`, func(s *sqlite.Stmt) error {
		out = append(out, hub.Record{ID: s.ColumnText(0), Body: []byte(sqlite.Column(s, 1).Str())})
		return nil
	}, append(args, change.Int(int64(limit)))...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
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
	return nil
}
