package postgresstore

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// Receive implements hub.Tx. One uuid may come once for each place in a chain:
// copies of a file hand in the same transaction under incarnations of their own.
func (t *tx) Receive(list []hub.Received) error {
	if len(list) == 0 {
		return nil
	}
	batch, err := t.seal(list)
	if err != nil {
		return err
	}
	mark, err := t.mark()
	if err != nil {
		return err
	}
	authors, err := t.enter(list, batch, mark)
	if err != nil {
		return err
	}
	t.received(list)
	mark += int64(len(list))
	for _, r := range ledger.Furthest(list) {
		_, err := t.exec(`UPDATE tidemark.origin SET device = $1::bytea, seq = $2::int8, sum = $3::bytea WHERE inc = $4::bytea AND seq < $2::int8`,
			r.Device[:], int64(r.Seq), r.Sum[:], r.Inc[:])
		if err != nil {
			return fmt.Errorf("move progress: %w", err)
		}
	}
	if err := t.setMark(mark); err != nil {
		return err
	}
	return t.notchFor(authors)
}

// enter writes the journal's rows, in one statement, and returns the authors' numbers.
func (t *tx) enter(list []hub.Received, batch, mark int64) (authors []int64, err error) {
	n := len(list)
	authors = make([]int64, n)
	ids, sums, contents := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	seqs, states, dates, reasons := make([]int64, n), make([]int64, n), make([]int64, n), make([]string, n)
	for i := range list {
		r := &list[i]
		if authors[i], err = t.number(r.Inc); err != nil {
			return nil, err
		}
		ids[i], sums[i], contents[i] = r.ID[:], r.Sum[:], r.Content[:]
		seqs[i], states[i], dates[i], reasons[i] = int64(r.Seq), int64(r.Status), r.At.UnixMilli(), r.Reason
	}
	_, err = t.exec(`INSERT INTO tidemark.tx (mark, id, inc, seq, sum, content, batch, idx, status, reason, at)
		SELECT $1::int8 + n.i, n.id, n.inc, n.seq, n.sum, n.content, $2::int8, n.i - 1, n.status, n.reason, n.at FROM unnest($3::bytea[], $4::int4[],
			$5::int8[], $6::bytea[], $7::bytea[], $8::int2[], $9::text[], $10::int8[]) WITH ORDINALITY AS n (id, inc, seq, sum, content, status, reason, at, i)`,
		mark, batch, ids, authors, seqs, sums, contents, states, reasons, dates)
	if err != nil {
		return nil, fmt.Errorf("journal %d transactions, %s the first: %w", n, list[0].ID, err)
	}
	return authors, nil
}

// seal keeps the transactions themselves, as one compressed batch. While it is made the
// server writes what was kept back.
func (t *tx) seal(list []hub.Received) (batch int64, err error) {
	var body []byte
	var fault error
	made := make(chan struct{})
	go func() {
		defer close(made)
		body, fault = ledger.Seal(list)
	}()
	err = t.put()
	<-made
	if err = errors.Join(err, fault); err != nil {
		return 0, err
	}
	err = t.query(`INSERT INTO tidemark.batch (body) VALUES ($1::bytea) RETURNING id`, func(r *row) error {
		batch = r.int(0)
		return nil
	}, body)
	if err != nil {
		return 0, fmt.Errorf("journal %d transactions: %w", len(list), err)
	}
	return batch, nil
}

// mark is the last mark given.
func (v *view) mark() (int64, error) {
	if err := v.sync(); err != nil {
		return 0, err
	}
	m, err := meta(v.ctx, v.c, metaMark)
	if err != nil || m == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(m, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the last mark: %w", err)
	}
	return n, nil
}

func (t *tx) setMark(n int64) error {
	return setMeta(t.ctx, t.c, metaMark, strconv.FormatInt(n, 10))
}

// Decide implements hub.Tx. Of several copies of one transaction those in
// quarantine are meant, or all when none is.
func (t *tx) Decide(id change.TxID, status hub.Status, reason string) error {
	type place struct{ inc, mark int64 }
	var rows []place
	err := t.query(`SELECT inc, mark FROM tidemark.tx WHERE id = $1::bytea AND (status = $2::int2 OR NOT EXISTS
		(SELECT FROM tidemark.tx WHERE id = $1::bytea AND status = $2::int2)) ORDER BY mark`, func(r *row) error {
		rows = append(rows, place{r.int(0), r.int(1)})
		return nil
	}, id[:], int64(hub.Quarantined))
	if err != nil {
		return fmt.Errorf("decide transaction %s: %w", id, err)
	}
	if len(rows) == 0 {
		return fmt.Errorf("decide transaction %s: %w", id, hub.ErrNotFound)
	}
	next, err := t.mark()
	if err != nil {
		return err
	}
	authors := make([]int64, len(rows))
	for i, r := range rows {
		authors[i] = r.inc
		next++
		_, err := t.exec(`UPDATE tidemark.tx SET mark = $1::int8, status = $2::int2, reason = $3::text WHERE inc = $4::int4 AND mark = $5::int8`,
			next, int64(status), reason, r.inc, r.mark)
		if err != nil {
			return fmt.Errorf("decide transaction %s: %w", id, err)
		}
	}
	if err := t.setMark(next); err != nil {
		return err
	}
	return t.notchFor(authors)
}

// Known implements hub.View. Of several copies it is the first that came.
func (v *view) Known(id change.TxID) (*hub.Received, error) {
	var out *hub.Received
	err := v.query(`SELECT o.device, o.inc, t.seq, t.sum, t.content, t.status, t.reason, t.at
		FROM tidemark.tx AS t JOIN tidemark.origin AS o ON o.id = t.inc WHERE t.id = $1::bytea ORDER BY t.batch, t.idx LIMIT 1`, func(r *row) error {
		out = &hub.Received{ID: id, Seq: uint64(r.int(2)), Status: hub.Status(r.int(5)), Reason: r.text(6), At: time.UnixMilli(r.int(7)).UTC()}
		copy(out.Device[:], r.blob(0))
		copy(out.Inc[:], r.blob(1))
		copy(out.Sum[:], r.blob(3))
		copy(out.Content[:], r.blob(4))
		return nil
	}, id[:])
	if err != nil {
		return nil, fmt.Errorf("look up transaction %s: %w", id, err)
	}
	if out == nil {
		return nil, fmt.Errorf("transaction %s: %w", id, hub.ErrNotFound)
	}
	return out, nil
}

// Progress implements hub.View.
func (v *view) Progress(inc change.Incarnation) (hub.Progress, error) {
	var p hub.Progress
	err := v.query(`SELECT seq, sum FROM tidemark.origin WHERE inc = $1::bytea`, func(r *row) error {
		p.Seq = uint64(r.int(0))
		copy(p.Sum[:], r.blob(1))
		return nil
	}, inc[:])
	if err != nil {
		return p, fmt.Errorf("read progress of %s: %w", inc, err)
	}
	return p, nil
}

// Outcomes implements hub.View.
func (v *view) Outcomes(inc change.Incarnation, after uint64, limit int) (list []hub.Outcome, mark uint64, err error) {
	origin, err := v.origin(inc)
	if err != nil || origin == ledger.Nobody {
		return nil, after, err
	}
	mark = after
	err = v.query(`SELECT mark, seq, id, status, reason FROM tidemark.tx WHERE inc = $1::int4 AND mark > $2::int8 ORDER BY mark LIMIT $3::int8`, func(r *row) error {
		o := hub.Outcome{Seq: uint64(r.int(1)), Status: hub.Status(r.int(3)), Reason: r.text(4)}
		copy(o.ID[:], r.blob(2))
		list, mark = append(list, o), uint64(r.int(0))
		return nil
	}, origin, int64(after), int64(limit))
	if err != nil {
		return nil, after, fmt.Errorf("read outcomes of %s: %w", inc, err)
	}
	return list, mark, nil
}

// Payload implements hub.View. Of several copies it is the first that came.
func (v *view) Payload(id change.TxID) (*change.Transaction, error) {
	var body []byte
	idx := int64(-1)
	err := v.query(`SELECT b.body, t.idx FROM tidemark.tx AS t JOIN tidemark.batch AS b ON b.id = t.batch
		WHERE t.id = $1::bytea ORDER BY t.batch, t.idx LIMIT 1`, func(r *row) error {
		body, idx = r.blob(0), r.int(1)
		return nil
	}, id[:])
	if err != nil {
		return nil, fmt.Errorf("read transaction %s: %w", id, err)
	}
	if idx < 0 {
		return nil, fmt.Errorf("transaction %s: %w", id, hub.ErrNotFound)
	}
	return ledger.Unseal(id, body, idx)
}
