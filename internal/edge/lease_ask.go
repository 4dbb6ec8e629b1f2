package edge

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// maxShares is about how many shares one question is at most.
const maxShares = 500

// leasePause is how long a hub is left alone that had nothing to give.
const leasePause = time.Minute

// leaseRetry is how often the file is looked at for something to ask.
const leaseRetry = time.Second

// A leasing is a session's part in getting numbers and shares.
type leasing struct {
	asking  uint64    // the ID under way; 0: none
	rest    time.Time // nothing is asked before, unless the hub gave something last
	blocked time.Time // nor before this, unless the hub took or settled something since
}

// unblock has the file looked at again: the hub took or settled something.
func (l *leasing) unblock() { l.blocked = time.Time{} }

// A question is the last one that was put to the hub. Its ID is on disk before it
// is sent: the hub gives one answer to it, however often it is asked.
type question struct {
	ID    uint64       `json:"id"`
	Open  bool         `json:"open"`  // not answered yet
	Epoch change.Epoch `json:"epoch"` // of the hub when it was put
}

// lease asks the hub for numbers and shares where some run low. One question is
// under way at a time. It waits until the hub's present state is here.
func (s *Session) lease(emit emitFunc) error {
	now := s.e.cfg.Clock.Now()
	if s.welcome == nil || !s.current || s.leases.asking != 0 || now.Before(s.leases.rest) || now.Before(s.leases.blocked) {
		return nil
	}
	var ask *wire.LeaseAsk
	need := false
	err := s.e.locked(func() (err error) { ask, need, err = s.e.ask(s.welcome.Epoch); return err })
	if busy(err) {
		return nil // the application keeps the file locked: next time
	}
	if err != nil {
		return fmt.Errorf("ask for leases: %w", err)
	}
	if ask == nil {
		if need { // all of it waits for work that the hub has not taken in
			s.leases.blocked = now.Add(leasePause)
		}
		if !s.cfg.Once {
			s.leases.rest = now.Add(leaseRetry)
		}
		return nil
	}
	s.leases.asking = ask.ID
	return emit(ask)
}

// granted takes in what the hub gave.
func (s *Session) granted(m *wire.LeaseGrant) error {
	if m.ID != s.leases.asking {
		return nil // of a question that was answered before
	}
	err := s.e.locked(func() error { return s.e.grant(m) })
	if busy(err) { // asked again, and answered alike
		s.leases = leasing{rest: s.e.cfg.Clock.Now().Add(s.cfg.Interval)}
		return nil
	}
	if err != nil {
		return fmt.Errorf("take leases: %w", err)
	}
	s.leases = leasing{}
	if len(m.Numbers)+len(m.Shares) == 0 {
		s.leases.rest = s.e.cfg.Clock.Now().Add(leasePause)
	}
	return nil
}

func (e *Engine) question() (q question, err error) {
	v, err := e.meta(metaQuestion)
	if err != nil || v.IsNull() {
		return q, err
	}
	if err := json.Unmarshal([]byte(v.Str()), &q); err != nil {
		return q, fmt.Errorf("read %s: %w", metaQuestion, err)
	}
	return q, nil
}

func (e *Engine) setQuestion(q question) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return e.setMeta(metaQuestion, change.Text(string(raw)))
}

// ask is the next question, or nil when there is nothing to ask, or, with need, not
// yet.
func (e *Engine) ask(epoch change.Epoch) (ask *wire.LeaseAsk, need bool, err error) {
	if len(e.series())+len(e.bounds()) == 0 {
		return nil, false, nil
	}
	complete, err := e.metaInt(metaComplete)
	if err != nil || complete != 1 {
		return nil, false, err
	}
	q, err := e.question()
	if err != nil {
		return nil, false, err
	}
	need, err = e.needsLeases(q, epoch)
	if err != nil || !need {
		return nil, false, err
	}
	err = sqlite.Immediate(e.conn, func() (err error) {
		ask, err = e.askNow(q, epoch)
		return err
	})
	return ask, true, err
}

// needsLeases reports, without a lock on the file, whether there is something to ask.
func (e *Engine) needsLeases(q question, epoch change.Epoch) (bool, error) {
	if q.Open || q.Epoch != epoch {
		return true, nil
	}
	n, err := e.count(`SELECT EXISTS (SELECT 1 FROM _tidemark_share WHERE ask=1)
		OR EXISTS (SELECT 1 FROM tidemark_number v JOIN _tidemark_number n ON n.name = v.name WHERE v.left < n.low)
		OR NOT EXISTS (SELECT 1 FROM _tidemark_meta WHERE key=?)`, change.Text(metaScanned))
	return n == 1, err
}

// askNow puts the question together in one transaction with an export, so that
// what it says of a row's share and what the outbox holds of the row fit.
func (e *Engine) askNow(q question, epoch change.Epoch) (*wire.LeaseAsk, error) {
	if _, err := e.export(e.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	if q.ID == 0 { // the hub frees what this life's predecessors held: their work must be there
		n, err := e.count("SELECT count(*) FROM _tidemark_outbox WHERE state=?", change.Int(int64(waiting)))
		if err != nil || n > 0 {
			return nil, err
		}
	}
	if err := e.scanShares(); err != nil {
		return nil, err
	}
	if q.Epoch != epoch { // a hub that was set back must hear all of it
		if err := sqlite.Exec(e.conn, "UPDATE _tidemark_share SET ask=1"); err != nil {
			return nil, err
		}
	}
	ask := &wire.LeaseAsk{}
	low := false
	err := sqlite.Query(e.conn, `SELECT v.name, v.left, coalesce((SELECT max(last) FROM _tidemark_lease l WHERE l.name = v.name), 0), v.left < n.low
		FROM tidemark_number v JOIN _tidemark_number n ON n.name = v.name ORDER BY v.name`, func(s *sqlite.Stmt) error {
		ask.Numbers = append(ask.Numbers, wire.NumberLeft{Name: s.ColumnText(0), Left: uint64(s.ColumnInt64(1)), Highest: s.ColumnInt64(2)})
		low = low || s.ColumnInt64(3) != 0
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ask.Shares, err = e.sharesToAsk(); err != nil {
		return nil, err
	}
	if !q.Open && q.Epoch == epoch && !low && len(ask.Shares) == 0 {
		return nil, nil
	}
	if !q.Open {
		q.ID++
	}
	q.Open, q.Epoch, ask.ID = true, epoch, q.ID
	return ask, e.setQuestion(q)
}

// rescanShares has the rows looked at again: those of a table that was gone, and came
// back, may have no share any more.
func (e *Engine) rescanShares() error {
	has, err := e.hasLeases()
	if err != nil || !has {
		return err
	}
	return e.setMeta(metaScanned, change.Null)
}

// scanShares gives every row with a bounded counter a share, once: rows that stood
// here before the triggers did have none.
func (e *Engine) scanShares() error {
	done, err := e.metaInt(metaScanned)
	if err != nil || done == 1 {
		return err
	}
	for _, b := range e.bounds() {
		t := e.tableNamed(b.Table)
		if t == nil || t.missing || columnAt(t, b.Column) < 0 {
			continue
		}
		err := sqlite.Exec(e.conn, fmt.Sprintf("INSERT OR IGNORE INTO _tidemark_share (tbl, key, col, label) SELECT %s, %s, %s, %s FROM %s",
			literal(b.Table), shareKey("", t.keyNames()), literal(b.Column), shareLabel("", t.keyNames()), t.sql()))
		if err != nil {
			return fmt.Errorf("scan shares of %s: %w", b.Table, err)
		}
	}
	return e.setMeta(metaScanned, change.Int(1))
}

// A shareRow is one share as it is read.
type shareRow struct {
	table, key, column string
	left               int64
}

// sharesToAsk lists the shares to report, and lets go of those whose rows, or whose
// counters, are gone. A row with work that the hub has not taken in is left for
// later, and the ones behind it come first: the hub believes what it is told of a
// row's share, as of the work that it has.
func (e *Engine) sharesToAsk() (out []wire.ShareLeft, err error) {
	live := e.liveBounds()
	for last := (shareRow{}); len(out) < maxShares; {
		rows, err := e.sharesAfter(&last)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		for i := range rows {
			if out, err = e.shareToAsk(&rows[i], live, out); err != nil {
				return nil, err
			}
		}
		last = rows[len(rows)-1]
	}
	return out, nil
}

// sharesAfter is the next shares that something is to be asked about.
func (e *Engine) sharesAfter(last *shareRow) (rows []shareRow, err error) {
	err = sqlite.Query(e.conn, "SELECT tbl, key, col, left FROM _tidemark_share WHERE ask=1 AND (tbl, key, col) > (?, ?, ?) ORDER BY tbl, key, col LIMIT ?", func(s *sqlite.Stmt) error {
		rows = append(rows, shareRow{s.ColumnText(0), s.ColumnText(1), s.ColumnText(2), s.ColumnInt64(3)})
		return nil
	}, change.Text(last.table), change.Text(last.key), change.Text(last.column), change.Int(maxShares))
	return rows, err
}

// shareToAsk adds one share to a question, when it is time to.
func (e *Engine) shareToAsk(r *shareRow, live map[[2]string]bool, out []wire.ShareLeft) ([]wire.ShareLeft, error) {
	t, key := e.tableNamed(r.table), parseShareKey(r.key)
	var row []change.Value
	if live[[2]string{r.table, r.column}] && len(key) == len(t.key) {
		var err error
		if row, err = e.readRow(t, key); err != nil {
			return nil, err
		}
	}
	if row == nil {
		return out, sqlite.Exec(e.conn, "DELETE FROM _tidemark_share WHERE tbl=? AND key=? AND col=?", change.Text(r.table), change.Text(r.key), change.Text(r.column))
	}
	n, err := e.count("SELECT count(*) FROM _tidemark_pending p JOIN _tidemark_outbox o ON o.seq = p.seq WHERE p.tbl=? AND p.key=? AND o.state IN (?, ?)",
		change.Text(t.schema.Name), change.BlobString(key.ID()), change.Int(int64(waiting)), change.Int(int64(quarantined)))
	if err != nil || n > 0 {
		return out, err
	}
	return append(out, wire.ShareLeft{Table: r.table, Key: key, Column: r.column, Left: r.left}), nil
}

// parseShareKey reads what shareKey wrote; nil when it is none.
func parseShareKey(text string) change.Key {
	var key change.Key
	for _, part := range strings.Split(text, ",") {
		if part == "" {
			return nil
		}
		raw, err := hex.DecodeString(part[1:])
		if err != nil {
			return nil
		}
		switch part[0] {
		case 'i':
			n, err := strconv.ParseInt(string(raw), 10, 64)
			if err != nil {
				return nil
			}
			key = append(key, change.Int(n))
		case 't':
			key = append(key, change.Text(string(raw)))
		case 'b':
			key = append(key, change.Blob(raw))
		default:
			return nil
		}
	}
	return key
}

// textOfKey is shareKey in Go.
func textOfKey(key change.Key) string {
	parts := make([]string, len(key))
	for i, v := range key {
		switch v.Kind() {
		case change.KindInt:
			parts[i] = "i" + strings.ToUpper(hex.EncodeToString(strconv.AppendInt(nil, v.Int(), 10)))
		case change.KindBlob:
			parts[i] = "b" + strings.ToUpper(hex.EncodeToString([]byte(v.Str())))
		default:
			parts[i] = "t" + strings.ToUpper(hex.EncodeToString([]byte(v.Str())))
		}
	}
	return strings.Join(parts, ",")
}

// grant takes in the answer to the question under way, in one transaction.
func (e *Engine) grant(m *wire.LeaseGrant) error {
	return sqlite.Immediate(e.conn, func() error {
		q, err := e.question()
		if err != nil || !q.Open || q.ID != m.ID {
			return err
		}
		q.Open = false
		if err := e.setQuestion(q); err != nil {
			return err
		}
		for _, r := range m.Numbers {
			err := sqlite.Exec(e.conn, "INSERT OR IGNORE INTO _tidemark_lease (name, first, last, next) VALUES (?1, ?2, ?3, ?2)",
				change.Text(r.Name), change.Int(r.First), change.Int(r.Last))
			if err != nil {
				return err
			}
		}
		for i := range m.Shares {
			if err := e.grantShare(&m.Shares[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// grantShare moves one share. What is taken back may have been used meanwhile: only
// what is left is given, and the next question says what that came to.
func (e *Engine) grantShare(g *wire.ShareGrant) error {
	t := e.tableNamed(g.Table)
	if t == nil || t.missing {
		return nil
	}
	c := columnAt(t, g.Column)
	if c < 0 {
		return nil
	}
	row, err := e.readRow(t, g.Key)
	if err != nil {
		return err
	}
	now := change.Null
	if row != nil {
		now = change.Int(row[c].Int())
	}
	return sqlite.Exec(e.conn, `UPDATE _tidemark_share SET left = max(left + ?4, 0), had = max(left + ?4, 0), seen = ?5, ask = (?4 < 0 AND left > 0)
		WHERE tbl=?1 AND key=?2 AND col=?3`,
		change.Text(g.Table), change.Text(textOfKey(g.Key)), change.Text(g.Column), change.Int(g.Add), now)
}

// unshare takes back what a discarded operation had added to shares. What it had
// taken off them is not given back here: the hub still counts it as ours, and sees
// from the next question that it is free.
func (e *Engine) unshare(op *change.Op) error {
	t := e.tableNamed(op.Table)
	if t == nil || t.missing || op.Kind == change.Delete {
		return nil
	}
	for _, b := range e.bounds() {
		i := op.Column(b.Column)
		if !sameName(b.Table, t.schema.Name) || i < 0 || i >= len(op.New) {
			continue
		}
		added := op.New[i].Int() - b.Floor
		if op.Kind == change.Update {
			added = op.New[i].Int() - op.Base[i].Int()
		}
		err := sqlite.Exec(e.conn, "UPDATE _tidemark_share SET left = max(left - ?4, 0), ask = 1 WHERE tbl=?1 AND key=?2 AND col=?3",
			change.Text(b.Table), change.Text(textOfKey(op.Key)), change.Text(b.Column), change.Int(max(added, 0)))
		if err != nil {
			return err
		}
	}
	return nil
}
