package edge

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A Rescue is a copy of local work that is no longer in the tables: it was
// discarded at the hub, or gave way to the hub's row.
type Rescue struct {
	ID     int64
	At     time.Time
	Reason string
	Tx     *change.Transaction // a displaced row is an Insert of its last image
}

// unsureReason is why a row is kept that nobody knows the author of (see gap.unsure).
const unsureReason = "differed from the hub's row, and may have been written while capture was missing"

// noteKept tells of the rows without a captured change that gave way to the hub's: a
// table without capture, or one that the hub did not serve for a while, was written.
func (a *applier) noteKept() error {
	for _, n := range slices.Sorted(maps.Keys(a.kept)) {
		err := a.e.addEvent(EventKept, fmt.Sprintf("%s of %s differed from the hub's, which stand now, and may have been written here while capture was missing or the hub did not serve the table: kept as rescue copies", rowCount(a.kept[n]), n))
		if err != nil {
			return err
		}
	}
	return nil
}

// DropRescue lets go of one rescue copy, by its id. It is a statement, so that an
// application can do it in the transaction that enters the values once more.
const DropRescue = "DELETE FROM _tidemark_rescue WHERE id=?"

// Rescues lists rescue copies after an id, oldest first, at most limit.
func (e *Engine) Rescues(after int64, limit int) (out []Rescue, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	err = sqlite.Query(e.conn, "SELECT id, at, reason, body FROM _tidemark_rescue WHERE id>? ORDER BY id LIMIT ?", func(s *sqlite.Stmt) error {
		tx, err := change.DecodeTransaction([]byte(sqlite.Column(s, 3).Str()))
		if err != nil {
			return fmt.Errorf("rescue copy %d: %w", s.ColumnInt64(0), err)
		}
		out = append(out, Rescue{ID: s.ColumnInt64(0), At: time.UnixMilli(s.ColumnInt64(1)).UTC(), Reason: s.ColumnText(2), Tx: tx})
		return nil
	}, change.Int(after), change.Int(int64(limit)))
	return out, err
}

// rescue keeps a copy of a transaction.
func (a *applier) rescue(tx *change.Transaction, reason string) error {
	a.out.Rescued++
	return a.e.keepRescue(tx, reason, a.now)
}

// rescueRow keeps a copy of a row's last image.
func (a *applier) rescueRow(t *table, key change.Key, row []change.Value, reason string) error {
	a.out.Rescued++
	return a.e.keepRow(t, key, row, reason, a.now)
}

func (e *Engine) keepRow(t *table, key change.Key, row []change.Value, reason string, now time.Time) error {
	return e.keepRescue(&change.Transaction{
		Device: e.device, Incarnation: e.incarnation, HLC: change.NewHLC(now.UnixMilli(), 0),
		Bases: []change.Cursor{{}},
		Ops:   []change.Op{{Table: t.schema.Name, Kind: change.Insert, Key: key, Columns: t.names, New: row}},
	}, reason, now)
}

func (e *Engine) keepRescue(tx *change.Transaction, reason string, now time.Time) error {
	err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_rescue (at, reason, body) VALUES (?,?,?)",
		change.Int(now.UnixMilli()), change.Text(reason), change.Blob(change.AppendTransaction(nil, tx)))
	if err != nil {
		return fmt.Errorf("keep rescue copy: %w", err)
	}
	return nil
}
