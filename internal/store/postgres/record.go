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
	if n := len(prefix) - 1; n >= 0 {
		q += ` AND id < ` + a.add(prefix[:n]+string(prefix[n]+1)) + `::text`
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
		if n := len(prefix) - 1; before == "" || before > prefix[:n]+string(prefix[n]+1) {
			before = prefix[:n] + string(prefix[n]+1)
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

// PutRecord implements hub.Tx. It does not ring for those who Wait.
func (t *tx) PutRecord(kind, id string, body []byte) error {
	var err error
	if body == nil {
		_, err = t.exec(stampSQL+`DELETE FROM tidemark.record WHERE kind = $1::text AND id = $2::text`, kind, id)
	} else {
		_, err = t.exec(stampSQL+`INSERT INTO tidemark.record (kind, id, body) VALUES ($1::text, $2::text, $3::bytea)
			ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`, kind, id, body)
	}
	if err != nil {
		return fmt.Errorf("write %s %s: %w", kind, id, err)
	}
	return nil
}

// stampSQL stamps a kind, once in a transaction: what a savepoint's end undoes is stamped
// again. It is random: transactions are counted anew when another server takes over.
const stampSQL = `WITH stamped AS (INSERT INTO tidemark.record AS r (kind, id, body) VALUES ('` + hub.KindStamp + `', $1::text, uuid_send(gen_random_uuid()))
	ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body WHERE r.xmin <> pg_current_xact_id()::xid) `
