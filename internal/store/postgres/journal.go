package postgresstore

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// lastMark is the last mark given. Nobody else gives one meanwhile.
func (t *tx) lastMark() (int64, error) {
	if t.books.marked {
		return t.books.mark, nil
	}
	m, err := meta(t.ctx, t.c, metaMark)
	if err != nil || m == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(m, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the last mark: %w", err)
	}
	return n, nil
}

// setMark notes the last mark given.
func (t *tx) setMark(n int64) error {
	t.books.mark, t.books.marked = n, true // if a savepoint's end undoes it, some are never given
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
	next, err := t.lastMark() // all is sent: rows were read
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
	c, err := v.chain(inc)
	return c.progress, err
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
