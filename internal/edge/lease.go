package edge

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// What a file keeps of numbers and shares, made when the rules first declare some:
//
//	_tidemark_number  the leased columns; low: numbers left at which to ask for more
//	_tidemark_lease   the ranges that are this file's alone, used ones included
//	_tidemark_share   what this file may take off each bounded counter by itself
//
// and two views for people and applications, tidemark_number and tidemark_share.
//
// A share's left moves in the application's own transactions, by triggers, and with
// the hub's grants. had and seen are left and the counter's value at the last grant;
// ask marks what the next question to the hub is about. was is the value that an
// INSERT OR REPLACE is about to replace.
const leaseSQL = `
CREATE TABLE IF NOT EXISTS _tidemark_number (name TEXT PRIMARY KEY, low INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_lease (
  name  TEXT NOT NULL,
  first INTEGER NOT NULL,
  last  INTEGER NOT NULL,
  next  INTEGER NOT NULL,  -- last+1: used up
  PRIMARY KEY (name, first)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_share (
  tbl   TEXT NOT NULL,
  key   TEXT NOT NULL,     -- exact, see shareKey
  col   TEXT NOT NULL,
  label TEXT,              -- the key, for people
  left  INTEGER NOT NULL DEFAULT 0 CHECK (left >= 0),
  had   INTEGER,
  seen  INTEGER,
  was   INTEGER,
  ask   INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (tbl, key, col)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _tidemark_share_ask ON _tidemark_share (ask) WHERE ask=1;
DROP VIEW IF EXISTS tidemark_number;
CREATE VIEW tidemark_number (name, next, left) AS
  SELECT n.name, min(CASE WHEN l.next <= l.last THEN l.next END), coalesce(sum(l.last - l.next + 1), 0)
  FROM _tidemark_number n LEFT JOIN _tidemark_lease l ON l.name = n.name GROUP BY n.name;
DROP VIEW IF EXISTS tidemark_share;
CREATE VIEW tidemark_share (tbl, key, col, left) AS SELECT tbl, label, col, left FROM _tidemark_share;
`

// Keys of _tidemark_meta that belong to leases.
const (
	metaQuestion = "lease_question" // JSON question: the last one put to the hub
	metaScanned  = "lease_scanned"  // 1 once every row with a bounded counter has a share
)

// leaseViews are the names that this package takes in the application's own space.
var leaseViews = []string{"tidemark_number", "tidemark_share"}

// series lists the leased columns that the rules declare.
func (e *Engine) series() []rule.Series { return e.setup.Rules.Series(&e.setup.Schema) }

// bounds lists the bounded counters that the rules declare.
func (e *Engine) bounds() []rule.Bound { return e.setup.Rules.Bounds(&e.setup.Schema) }

// installLeases brings the file's tables for numbers and shares in line with the
// setup. It must run inside a write transaction, before the triggers are made.
func (e *Engine) installLeases() error {
	series, bounds := e.series(), e.bounds()
	has, err := e.hasLeases()
	if err != nil || !has && len(series)+len(bounds) == 0 {
		return err
	}
	if !has {
		if err := e.refuseViews(); err != nil {
			return err
		}
	}
	if err := sqlite.Script(e.conn, leaseSQL); err != nil {
		return fmt.Errorf("create lease tables: %w", err)
	}
	if err := e.renameShares(); err != nil {
		return err
	}
	if err := sqlite.Exec(e.conn, "DELETE FROM _tidemark_number"); err != nil {
		return err
	}
	for _, s := range series {
		if err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_number (name, low) VALUES (?, ?)", change.Text(s.Name), change.Int(s.Low)); err != nil {
			return err
		}
	}
	return e.setMeta(metaScanned, change.Null)
}

// refuseViews keeps the application's own tables from being taken for our views.
func (e *Engine) refuseViews() error {
	for _, name := range leaseViews {
		v, ok, err := sqlite.One(e.conn, "SELECT type FROM sqlite_schema WHERE name=? COLLATE NOCASE", change.Text(name))
		if err != nil {
			return err
		}
		if ok {
			return fmt.Errorf("the file has a %s called %s, a name that Tidemark needs for numbers and shares: rename it", v.Str(), name)
		}
	}
	return nil
}

// hasLeases reports whether the file has the tables for numbers and shares.
func (e *Engine) hasLeases() (bool, error) {
	_, ok, err := sqlite.One(e.conn, "SELECT 1 FROM sqlite_schema WHERE type='table' AND name='_tidemark_share'")
	return ok, err
}

// dropLeases gives up every number and share of the file: it continues another
// one, which may use them too. The next question asks for new ones. It must run
// inside a write transaction.
func (e *Engine) dropLeases() error {
	has, err := e.hasLeases()
	if err != nil || !has {
		return err
	}
	if err := sqlite.Script(e.conn, "DELETE FROM _tidemark_lease; DELETE FROM _tidemark_share;"); err != nil {
		return fmt.Errorf("drop leases: %w", err)
	}
	if err := e.setMeta(metaScanned, change.Null); err != nil {
		return err
	}
	return e.setMeta(metaQuestion, change.Null)
}

// dropViews takes our views out of the application's space.
func (e *Engine) dropViews() error {
	has, err := e.hasLeases()
	if err != nil || !has {
		return err
	}
	for _, name := range leaseViews {
		if err := sqlite.Script(e.conn, "DROP VIEW IF EXISTS "+name); err != nil {
			return fmt.Errorf("drop view %s: %w", name, err)
		}
	}
	return nil
}

// A NumberStatus is what the file holds of one leased column.
type NumberStatus struct {
	Name string `json:"name"` // table.column
	Next int64  `json:"next"` // 0: none left
	Left int64  `json:"left"`
	Low  int64  `json:"low"` // at which it asks for more
}

// A ShareStatus sums up the file's shares of one bounded counter.
type ShareStatus struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Rows   int64  `json:"rows"`  // with a share, empty ones included
	Empty  int64  `json:"empty"` // nothing may be taken until the hub grants more
	Left   int64  `json:"left"`  // over all rows
}

// Leases tells what numbers and shares the file holds; nothing where none are
// declared.
func (e *Engine) Leases() (numbers []NumberStatus, shares []ShareStatus, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil, nil
	}
	if has, err := e.hasLeases(); err != nil || !has {
		return nil, nil, err
	}
	err = sqlite.Query(e.conn, "SELECT v.name, coalesce(v.next, 0), v.left, n.low FROM tidemark_number v JOIN _tidemark_number n ON n.name = v.name ORDER BY v.name", func(s *sqlite.Stmt) error {
		numbers = append(numbers, NumberStatus{s.ColumnText(0), s.ColumnInt64(1), s.ColumnInt64(2), s.ColumnInt64(3)})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read leases: %w", err)
	}
	err = sqlite.Query(e.conn, "SELECT tbl, col, count(*), sum(left = 0), sum(left) FROM _tidemark_share GROUP BY tbl, col ORDER BY tbl, col", func(s *sqlite.Stmt) error {
		shares = append(shares, ShareStatus{s.ColumnText(0), s.ColumnText(1), s.ColumnInt64(2), s.ColumnInt64(3), s.ColumnInt64(4)})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read shares: %w", err)
	}
	return numbers, shares, nil
}
