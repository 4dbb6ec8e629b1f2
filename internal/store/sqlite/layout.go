package sqlitestore

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// What the hub keeps in its file beside the user's tables.
//
//	_tidemark_meta     key, value: format, epoch, floor, rules (see the meta… constants)
//	_tidemark_epoch    the lives of this hub, oldest first, and where each left the one before
//	_tidemark_origin   numbers the incarnations, and how far each one's chain has come
//	_tidemark_table    numbers the synced tables; the shape and scope rule capture was built for
//	_tidemark_log      the change log
//	_tidemark_tomb     last images of deleted rows, by the log position of the deletion
//	_tidemark_time     when the log was how long, about once a minute: what Prune goes by
//	_tidemark_tx       the journal: received transactions and their outcomes; mark orders decisions
//	_tidemark_batch    the received transactions themselves, sealed, as they came together
//	_tidemark_record   documents of the hub's own state
//
// The log's key columns k0… and the tombs' v0… have no affinity, so that they
// hold what the row holds, bit for bit. They are added as tables need them.
const layoutSQL = `
CREATE TABLE IF NOT EXISTS _tidemark_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_epoch (
  n     INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL UNIQUE, -- change.Epoch, as a signed integer
  fork  TEXT NOT NULL,           -- change.Cursor in the life before; '' for the first
  mode  TEXT NOT NULL,           -- change.BranchMode
  at    INTEGER NOT NULL         -- Unix ms; 0 when unknown
);
CREATE TABLE IF NOT EXISTS _tidemark_origin (
  id     INTEGER PRIMARY KEY,
  inc    BLOB NOT NULL UNIQUE,   -- change.Incarnation
  device BLOB,                   -- change.DeviceID
  seq    INTEGER NOT NULL DEFAULT 0,
  sum    BLOB                    -- change.Hash at seq
);
INSERT OR IGNORE INTO _tidemark_origin (id, inc) VALUES (1, zeroblob(16));
CREATE TABLE IF NOT EXISTS _tidemark_table (
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,
  columns TEXT NOT NULL,         -- JSON: stored columns, in order: what mask bits and v… mean
  key     TEXT NOT NULL,         -- JSON: key columns: what k… mean
  scope   TEXT NOT NULL          -- the scope rule the log's scopes were written under
);
CREATE TABLE IF NOT EXISTS _tidemark_log (
  pos    INTEGER PRIMARY KEY,
  nonce  INTEGER NOT NULL DEFAULT (random()),
  tbl    INTEGER NOT NULL,       -- _tidemark_table.id; 0: not about a row
  op     INTEGER NOT NULL,       -- ledger.Insert …
  mask   INTEGER NOT NULL,       -- changed columns; 0: any
  origin INTEGER NOT NULL,       -- _tidemark_origin.id; 0: another program
  hlc    INTEGER NOT NULL,       -- change.HLC
  scope  TEXT NOT NULL           -- rule.ScopeID; '': none; '?': the parent is missing
);
CREATE INDEX IF NOT EXISTS _tidemark_log_scope ON _tidemark_log (scope, pos);
CREATE TABLE IF NOT EXISTS _tidemark_tomb (pos INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS _tidemark_time (at INTEGER PRIMARY KEY, pos INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemark_tx (
  inc     INTEGER NOT NULL,      -- _tidemark_origin.id
  mark    INTEGER NOT NULL,      -- grows with each decision
  id      BLOB NOT NULL,         -- change.TxID
  seq     INTEGER NOT NULL,
  sum     BLOB NOT NULL,         -- change.Hash
  content BLOB NOT NULL,         -- change.Hash
  batch   INTEGER NOT NULL,
  idx     INTEGER NOT NULL,      -- place in the batch
  status  INTEGER NOT NULL,      -- hub.Status
  reason  TEXT NOT NULL,
  at      INTEGER NOT NULL,      -- Unix ms
  PRIMARY KEY (inc, mark),
  UNIQUE (id, inc, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_batch (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemark_record (
  kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
);
`

// layoutFormat is the version of the layout above.
const layoutFormat = 1

// Keys of _tidemark_meta.
const (
	metaFormat = "format"      // layoutFormat
	metaEpoch  = "epoch"       // change.Epoch of the present life, as a signed integer
	metaFloor  = "floor"       // log position below which nothing is known
	metaNonce  = "floor_nonce" // nonce of the entry at the floor
	metaMark   = "mark"        // last _tidemark_tx.mark given
)

// Values of _tidemark_log.op besides those of the ledger.
const (
	opBefore = 7 // a delete of this row begins: what is deleted until its own entry went with it
	opMaybe  = 8 // OR REPLACE may be about to delete the row, without any trigger of its own
)

// widen makes sure the log holds keys of so many columns and the tombs images of
// so many columns.
func widen(c *sqlite.Conn, keys, columns int) error {
	for _, t := range []struct {
		table, prefix string
		want          int
	}{{"_tidemark_log", "k", keys}, {"_tidemark_tomb", "v", columns}} {
		have, err := countColumns(c, t.table, t.prefix)
		if err != nil {
			return err
		}
		for i := have; i < t.want; i++ {
			if err := sqlite.Exec(c, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s%d", t.table, t.prefix, i)); err != nil {
				return fmt.Errorf("widen %s: %w", t.table, err)
			}
		}
		if t.prefix != "k" || (have >= t.want && have > 0) {
			continue
		}
		names := make([]string, max(t.want, 1))
		for i := range names {
			names[i] = fmt.Sprintf("k%d", i)
		}
		err = sqlite.Script(c, `DROP INDEX IF EXISTS _tidemark_log_key;
			CREATE INDEX _tidemark_log_key ON _tidemark_log (tbl, `+strings.Join(names, ", ")+`);`)
		if err != nil {
			return fmt.Errorf("index the change log: %w", err)
		}
	}
	return nil
}

func countColumns(c *sqlite.Conn, table, prefix string) (n int, err error) {
	err = sqlite.Query(c, `SELECT name FROM pragma_table_info(?)`, func(s *sqlite.Stmt) error {
		name := s.ColumnText(0)
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && strings.Trim(rest, "0123456789") == "" {
			n++
		}
		return nil
	}, change.Text(table))
	return n, err
}

func meta(c *sqlite.Conn, key string) (change.Value, error) {
	v, _, err := sqlite.One(c, `SELECT value FROM _tidemark_meta WHERE key=?`, change.Text(key))
	if err != nil {
		return v, fmt.Errorf("read %s: %w", key, err)
	}
	return v, nil
}

func setMeta(c *sqlite.Conn, key string, v change.Value) error {
	err := sqlite.Exec(c, `INSERT INTO _tidemark_meta (key, value) VALUES (?1, ?2)
		ON CONFLICT (key) DO UPDATE SET value=excluded.value`, change.Text(key), v)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}
