package postgresstore

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/hub"
)

// Record implements hub.View.
func (v *view) Record(kind, id string) (body []byte, err error) {
	found := false
	err = v.query(`SELECT body FROM tidemark.record WHERE kind = $1::text AND id = $2::text`, func(r *row) error {
		body, found = r.blob(0), true
		return nil
	}, kind, id)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	if !found {
		return nil, fmt.Errorf("%s %s: %w", kind, id, hub.ErrNotFound)
	}
	return body, nil
}

// Records implements hub.View.
func (v *view) Records(kind, prefix, after string, limit int) ([]hub.Record, error) {
	var a args
	q := `SELECT id, body FROM tidemark.record` + a.between(kind, prefix, after)
	var out []hub.Record
	err := v.query(q+` ORDER BY id LIMIT `+a.add(int64(limit))+`::int8`, func(r *row) error {
		out = append(out, hub.Record{ID: r.text(0), Body: r.blob(1)})
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	return out, nil
}

// between bounds the ids of a kind: one bound at either end, so that the index reads
// what is listed, and nothing else.
func (a *args) between(kind, prefix, after string) string {
	q := ` WHERE kind = ` + a.add(kind) + `::text`
	if after < prefix {
		q += ` AND id >= ` + a.add(prefix) + `::text`
	} else {
		q += ` AND id > ` + a.add(after) + `::text`
	}
	if prefix != "" {
		q += ` AND id < ` + a.add(beyond(prefix)) + `::text`
	}
	return q
}

// IDs implements hub.View.
func (v *view) IDs(kind, prefix, after string, limit int) (out []string, err error) {
	var a args
	q := `SELECT id FROM tidemark.record` + a.between(kind, prefix, after)
	err = v.query(q+` ORDER BY id LIMIT `+a.add(int64(limit))+`::int8`, func(r *row) error {
		out = append(out, r.text(0))
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("list ids of %s: %w", kind, err)
	}
	return out, nil
}

// RecordsBack implements hub.View.
func (v *view) RecordsBack(kind, prefix, before string, limit int) ([]hub.Record, error) {
	var a args
	q := `SELECT id, body FROM tidemark.record WHERE kind = ` + a.add(kind) + `::text`
	if prefix != "" {
		q += ` AND id >= ` + a.add(prefix) + `::text`
		if end := beyond(prefix); before == "" || before > end {
			before = end
		}
	}
	if before != "" {
		q += ` AND id < ` + a.add(before) + `::text`
	}
	var out []hub.Record
	err := v.query(q+` ORDER BY id DESC LIMIT `+a.add(int64(limit))+`::int8`, func(r *row) error {
		out = append(out, hub.Record{ID: r.text(0), Body: r.blob(1)})
		return nil
	}, a.list...)
	if err != nil {
		return nil, fmt.Errorf("list %s from the end: %w", kind, err)
	}
	return out, nil
}
