package sqlitestore

import (
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

func blob(b []byte) change.Value { return change.BlobString(string(b)) }

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
	for i := range list {
		r := &list[i]
		inc, err := t.number(r.Inc)
		if err != nil {
			return err
		}
		mark++
		err = sqlite.Exec(t.c, `INSERT INTO _tidemark_tx (mark, id, inc, seq, sum, content, batch, idx, status, reason, at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, change.Int(mark), blob(r.ID[:]), change.Int(inc), change.Int(int64(r.Seq)), blob(r.Sum[:]),
			blob(r.Content[:]), change.Int(batch), change.Int(int64(i)), change.Int(int64(r.Status)), change.Text(r.Reason), change.Int(r.At.UnixMilli()))
		if err != nil {
			return fmt.Errorf("journal transaction %s: %w", r.ID, err)
		}
	}
	for _, r := range ledger.Furthest(list) {
		err := sqlite.Exec(t.c, `UPDATE _tidemark_origin SET device=?, seq=?, sum=? WHERE inc=? AND seq < ?`,
			blob(r.Device[:]), change.Int(int64(r.Seq)), blob(r.Sum[:]), blob(r.Inc[:]), change.Int(int64(r.Seq)))
		if err != nil {
			return fmt.Errorf("move progress: %w", err)
		}
	}
	if err := setMeta(t.c, metaMark, change.Int(mark)); err != nil {
		return err
	}
	return t.notch()
}

// seal keeps the transactions themselves, as one compressed batch.
func (t *tx) seal(list []hub.Received) (batch int64, err error) {
	body, err := ledger.Seal(list)
	if err != nil {
		return 0, err
	}
	if err := sqlite.Exec(t.c, `INSERT INTO _tidemark_batch (body) VALUES (?)`, blob(body)); err != nil {
		return 0, fmt.Errorf("journal %d transactions: %w", len(list), err)
	}
	return t.c.LastInsertRowID(), nil
}

// mark is the last mark given.
func (v *view) mark() (int64, error) {
	m, err := meta(v.c, metaMark)
	return m.Int(), err
}

// Decide implements hub.Tx. Of several copies of one transaction those in
// quarantine are meant, or all when none is.
func (t *tx) Decide(id change.TxID, status hub.Status, reason string) error {
	type row struct{ inc, mark int64 }
	var rows []row
	err := sqlite.Query(t.c, `SELECT inc, mark FROM _tidemark_tx WHERE id=?1 AND (status=?2 OR NOT EXISTS
		(SELECT 1 FROM _tidemark_tx WHERE id=?1 AND status=?2)) ORDER BY mark`, func(s *sqlite.Stmt) error {
		rows = append(rows, row{s.ColumnInt64(0), s.ColumnInt64(1)})
		return nil
	}, blob(id[:]), change.Int(int64(hub.Quarantined)))
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
	for _, r := range rows {
		next++
		err := sqlite.Exec(t.c, `UPDATE _tidemark_tx SET mark=?, status=?, reason=? WHERE inc=? AND mark=?`,
			change.Int(next), change.Int(int64(status)), change.Text(reason), change.Int(r.inc), change.Int(r.mark))
		if err != nil {
			return fmt.Errorf("decide transaction %s: %w", id, err)
		}
	}
	if err := setMeta(t.c, metaMark, change.Int(next)); err != nil {
		return err
	}
	return t.notch()
}

// Known implements hub.View. Of several copies it is the first that came.
func (v *view) Known(id change.TxID) (*hub.Received, error) {
	var r *hub.Received
	err := sqlite.Query(v.c, `SELECT o.device, o.inc, t.seq, t.sum, t.content, t.status, t.reason, t.at
		FROM _tidemark_tx AS t JOIN _tidemark_origin AS o ON o.id = t.inc WHERE t.id=? ORDER BY t.batch, t.idx LIMIT 1`, func(s *sqlite.Stmt) error {
		r = &hub.Received{ID: id, Seq: uint64(s.ColumnInt64(2)), Status: hub.Status(s.ColumnInt64(5)),
			Reason: s.ColumnText(6), At: time.UnixMilli(s.ColumnInt64(7)).UTC()}
		copy(r.Device[:], sqlite.Column(s, 0).Str())
		copy(r.Inc[:], sqlite.Column(s, 1).Str())
		copy(r.Sum[:], sqlite.Column(s, 3).Str())
		copy(r.Content[:], sqlite.Column(s, 4).Str())
		return nil
	}, blob(id[:]))
	if err != nil {
		return nil, fmt.Errorf("look up transaction %s: %w", id, err)
	}
	if r == nil {
		return nil, fmt.Errorf("transaction %s: %w", id, hub.ErrNotFound)
	}
	return r, nil
}

// Progress implements hub.View.
func (v *view) Progress(inc change.Incarnation) (hub.Progress, error) {
	var p hub.Progress
	err := sqlite.Query(v.c, `SELECT seq, sum FROM _tidemark_origin WHERE inc=?`, func(s *sqlite.Stmt) error {
		p.Seq = uint64(s.ColumnInt64(0))
		copy(p.Sum[:], sqlite.Column(s, 1).Str())
		return nil
	}, blob(inc[:]))
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
	err = sqlite.Query(v.c, `SELECT mark, seq, id, status, reason FROM _tidemark_tx WHERE inc=? AND mark > ? ORDER BY mark LIMIT ?`, func(s *sqlite.Stmt) error {
		o := hub.Outcome{Seq: uint64(s.ColumnInt64(1)), Status: hub.Status(s.ColumnInt64(3)), Reason: s.ColumnText(4)}
		copy(o.ID[:], sqlite.Column(s, 2).Str())
		list, mark = append(list, o), uint64(s.ColumnInt64(0))
		return nil
	}, change.Int(origin), change.Int(int64(after)), change.Int(int64(limit)))
	if err != nil {
		return nil, after, fmt.Errorf("read outcomes of %s: %w", inc, err)
	}
	return list, mark, nil
}

// Payload implements hub.View. Of several copies it is the first that came.
func (v *view) Payload(id change.TxID) (*change.Transaction, error) {
	var body change.Value
	var idx int64 = -1
	err := sqlite.Query(v.c, `SELECT b.body, t.idx FROM _tidemark_tx AS t JOIN _tidemark_batch AS b ON b.id = t.batch
		WHERE t.id=? ORDER BY t.batch, t.idx LIMIT 1`, func(s *sqlite.Stmt) error {
		body, idx = sqlite.Column(s, 0), s.ColumnInt64(1)
		return nil
	}, blob(id[:]))
	if err != nil {
		return nil, fmt.Errorf("read transaction %s: %w", id, err)
	}
	if idx < 0 {
		return nil, fmt.Errorf("transaction %s: %w", id, hub.ErrNotFound)
	}
	return ledger.Unseal(id, []byte(body.Str()), idx)
}
