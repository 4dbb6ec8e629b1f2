package edge

// What Tidemark keeps inside the application's own file. It must live there:
// capture has to commit and roll back with the application's transactions.
//
//	_tidemark_meta      key, value: identity, cursor, setup (see the meta… constants)
//	_tidemark_tx        one row: the application may bump id at the start of a transaction
//	_tidemark_applying  has a row exactly while an apply transaction runs: capture is mute
//	_tidemark_table     numbers the synced tables for the undo log
//	_tidemark_undo      the capture log: undo images in raw columns, in order of writing
//	_tidemark_outbox    exported transactions and what became of them
//	_tidemark_pending   (table, key) → unsettled transactions that touch the row. Of a
//	                    group that the hub split, only the rows that wait are there.
//	_tidemark_shadow    the hub's version of every row with pending work, or its absence
//	_tidemark_rescue    copies of local work that was discarded or displaced
//	_tidemark_redo      settled transactions of earlier incarnations: with the settled ones of
//	                    the outbox, what a hub that was restored can get back (see redo.go)
//	_tidemark_salvage   rows of the hub that a restored hub lost, until it has them (see salvage.go)
//	_tidemark_event     what happened to this file's history, for people
//
// Undo images are raw column values in columns without affinity, not quote()d
// text: exact for every storage class, no function call per value, no parser.
// v0…vN are the table's stored columns (change.Table.Stored order).
const layoutSQL = `
CREATE TABLE IF NOT EXISTS _tidemark_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_tx (id INTEGER NOT NULL);
INSERT INTO _tidemark_tx SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM _tidemark_tx);
CREATE TABLE IF NOT EXISTS _tidemark_applying (x);
CREATE TABLE IF NOT EXISTS _tidemark_table (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS _tidemark_outbox (
  seq    INTEGER PRIMARY KEY,   -- place in the incarnation's chain
  id     BLOB NOT NULL UNIQUE,  -- change.TxID
  sum    BLOB NOT NULL,         -- change.Hash
  at     INTEGER NOT NULL,      -- wall clock of its oldest change, Unix ms
  state  INTEGER NOT NULL,      -- outboxState
  reason TEXT NOT NULL DEFAULT '',
  aside  INTEGER NOT NULL DEFAULT 0, -- 1: taken out of the tables until its outcome (trap S19)
  ops    INTEGER NOT NULL,
  epoch  INTEGER NOT NULL DEFAULT 0, -- change.Epoch of the hub that last said it has it (but see epochSQL); 0: none did
  body   BLOB NOT NULL          -- change.AppendTransaction
);
CREATE INDEX IF NOT EXISTS _tidemark_outbox_state ON _tidemark_outbox (state, seq);
CREATE TABLE IF NOT EXISTS _tidemark_pending (
  tbl  TEXT NOT NULL,
  key  BLOB NOT NULL,           -- change.Key.ID
  seq  INTEGER NOT NULL,        -- _tidemark_outbox.seq
  PRIMARY KEY (tbl, key, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _tidemark_pending_seq ON _tidemark_pending (seq);
CREATE TABLE IF NOT EXISTS _tidemark_shadow (
  tbl  TEXT NOT NULL,
  key  BLOB NOT NULL,           -- change.Key.ID
  row  BLOB,                    -- change.AppendRow of the stored columns by name; NULL: absent at the hub
  PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _tidemark_rescue (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,      -- Unix ms
  reason TEXT NOT NULL,
  body   BLOB NOT NULL          -- change.AppendTransaction
);
CREATE TABLE IF NOT EXISTS _tidemark_redo (
  n     INTEGER PRIMARY KEY,    -- order of handing in
  id    BLOB NOT NULL UNIQUE,   -- change.TxID
  epoch INTEGER NOT NULL,       -- as in _tidemark_outbox
  at    INTEGER NOT NULL,       -- wall clock of its oldest change, Unix ms
  body  BLOB NOT NULL           -- change.AppendTransaction, of an earlier incarnation
);
CREATE TABLE IF NOT EXISTS _tidemark_salvage (
  seq  INTEGER PRIMARY KEY,     -- place in the chain of metaSalvage
  rows INTEGER NOT NULL,
  body BLOB NOT NULL            -- change.AppendTransaction
);
CREATE TABLE IF NOT EXISTS _tidemark_event (
  n      INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,      -- Unix ms
  kind   TEXT NOT NULL,         -- see the Event… constants
  detail TEXT NOT NULL
);
`

// outboxState is how far a transaction has come.
type outboxState int64

const (
	waiting     outboxState = 0 // not known to be durable at the hub: unsafe
	durable     outboxState = 1 // the hub has it: do not resend; its overlay stays
	quarantined outboxState = 2 // the hub parked it; its overlay stays
	settled     outboxState = 3 // its outcome is in the pulled state; kept in the redo ring
)

// Keys of _tidemark_meta.
const (
	metaFormat      = "format"         // layout version
	metaDevice      = "device"         // change.DeviceID text
	metaIncarnation = "incarnation"    // change.Incarnation text
	metaSeed        = "seed"           // 16 bytes; the next transactions' uuids derive from it (see txID)
	metaSeq         = "seq"            // last outbox seq given
	metaSum         = "sum"            // chain hash at metaSeq
	metaCursor      = "cursor"         // change.Cursor text of the data in the file
	metaGrants      = "grants"         // JSON []rule.Grant whose rows the file holds
	metaScopes      = "scopes"         // hex hash of the readable scopes the file holds
	metaMark        = "outcome_mark"   // last outcome mark applied
	metaSetup       = "setup"          // JSON wire.Setup
	metaVersion     = "schema_version" // PRAGMA schema_version after our last DDL
	metaOffset      = "clock_offset"   // hub clock − device clock, ms
	metaHLC         = "hlc"            // last reading given
	metaProgress    = "last_progress"  // Unix ms of the last push or pull that moved something
	metaContact     = "last_contact"   // Unix ms of the last answer from the hub
	metaComplete    = "complete"       // 1 once a bootstrap was installed (trap D18)
	metaGuard       = "guard:"         // + trigger name: its original SQL (see guard.go)
	metaCapture     = "capture"        // 1 while the capture triggers are meant to be there
	metaEpoch       = "epoch"          // change.Epoch of the hub that has all of the redo ring
	metaLineage     = "lineage"        // JSON []change.Branch: the lives of hubs heard of (see lineage.go)
	metaSeal        = "seal"           // the hub's seal of metaCursor (wire.Delta.Seal)
	metaParent      = "parent"         // change.Incarnation text: the one before, until the hub knows of this one
	metaSalvage     = "salvage"        // change.Incarnation text under which lost rows are offered
	metaSalvageSum  = "salvage_sum"    // chain hash of what was offered last
	metaSalvageSeq  = "salvage_seq"    // its seq
	metaGap         = "gap"            // JSON, by table: what is not known of it (see gap.go)
	metaShared      = "shared"         // JSON []sharing: what capture last covered (see gap.go)
	metaForms       = "forms"          // JSON, by table id: columns that the triggers mask (see forms)
	metaNames       = "names"          // JSON, by table: the file's own names (see names.go)
)
