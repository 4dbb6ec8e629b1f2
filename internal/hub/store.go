package hub

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Store keeps a hub: the synced tables, the change log beside them, and what
// the hub knows of its devices. It is the only seam between the hub and a
// database; storetest is its contract in executable form.
//
// The methods speak of change sets, never of queries. All may be called
// concurrently. Errors that are not one of the Err values below are the
// database's, and the caller may retry the whole call.
type Store interface {
	// Schema is the shape of the synced tables, as of the last Open or Refresh, under
	// the names that they have: rules may name them otherwise, see rule.Fit.
	Schema() change.Schema
	// Refresh re-reads the schema, and regenerates the capture when the tables
	// or the rules changed. It reports whether anything did. Rules that do not fit
	// the tables are refused; but a table that was served under them before, and
	// was changed so that it cannot be, is left out, and the others go on.
	Refresh(ctx context.Context, rules *rule.Rules) (bool, error)
	// View runs fn over one consistent snapshot.
	View(ctx context.Context, fn func(View) error) error
	// Update runs fn in one write transaction and makes it durable, or undoes
	// all of it when fn returns an error. Updates run one after another.
	Update(ctx context.Context, fn func(Tx) error) error
	// Wait blocks until some writer, this process or any other, committed after
	// the cursor was minted, or ctx ends. It may return early without a change.
	Wait(ctx context.Context, since change.Cursor) error
	// Prune drops log entries, tombstones and journal payloads older than before,
	// and returns the new floor. Payloads of parked and discarded transactions
	// stay, and so does, for every transaction, that it came and its outcome: that
	// is what makes a device restored from an old backup exactly-once.
	Prune(ctx context.Context, before time.Time) (floor change.Cursor, err error)
	// Begin begins a new life of the hub: it mints an epoch, at the log's present
	// end, and is durable when it returns. From here on the log of the life before
	// counts up to there. Outcomes decided from now on, and those of what is in
	// quarantine, get marks beyond all that were ever given out.
	Begin(ctx context.Context, mode change.BranchMode) (change.Branch, error)
	// Close waits for calls in progress.
	Close() error
}

// The errors a Store gives meaning to.
var (
	ErrBelowFloor   = errors.New("cursor is older than the change log's floor")
	ErrOtherHistory = errors.New("cursor belongs to another history of this hub")
	ErrNotFound     = errors.New("not found")
)

// A View is one consistent snapshot. It is valid only inside its View or Update
// call and is not safe for concurrent use. Slices handed out belong to the caller.
type View interface {
	// Cursor is the snapshot as a cursor: everything visible here, nothing else.
	Cursor() (change.Cursor, error)
	// Lineage is the hub's lives, oldest first; there is at least one, and the last
	// one is the present one.
	Lineage() ([]change.Branch, error)
	// Check returns nil, ErrBelowFloor or ErrOtherHistory. A cursor of an earlier
	// life serves, wherever one is asked for, when what it had seen is part of the
	// present history: when it lies no later than where the next life began.
	Check(since change.Cursor) error
	// Delta emits the current state of every row touched after since that is, or
	// was, in one of the scopes: present when it is in one of them now, gone
	// otherwise. Rows touched only by self, unmerged, are left out unless they
	// left the scopes. Parents come before children. Each emitted Rows holds one
	// table and at most about limit bytes of values, and is the callee's to keep.
	Delta(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID, limit int, emit func(*change.Rows) error) error
	// Scan reads rows of one table in key order, after the key (nil: from the
	// start), that are in one of the scopes, up to about limit bytes. next is the
	// last key read, or nil at the table's end.
	Scan(table string, after change.Key, scopes []rule.ScopeID, limit int) (rows *change.Rows, next change.Key, err error)
	// Count estimates how many rows a bootstrap of the scopes holds, per table.
	Count(scopes []rule.ScopeID) (map[string]int64, error)
	// Digest sums the row hashes of a table in the scopes, per key bucket.
	Digest(table string, scopes []rule.ScopeID) (change.Digest, error)
	// Bucket reads the rows of some key buckets of a table in the scopes.
	Bucket(table string, scopes []rule.ScopeID, buckets []int) (*change.Rows, error)
	// Row reads one row's stored columns, or nil when it is absent.
	Row(table string, key change.Key) ([]change.Value, error)
	// Children reads the keys of rows of fk's table whose foreign key points at
	// the parent values (in fk.To order), at most limit of them.
	Children(table string, fk *change.ForeignKey, parent []change.Value, limit int) ([]change.Key, error)
	// Highest returns the largest integer of a column up to most, or NULL.
	Highest(table, column string, most int64) (change.Value, error)
	// ScopeOf returns the scope a row with these stored columns belongs to; ""
	// when none. For Via it follows the parent as it is now in this snapshot.
	ScopeOf(table string, row []change.Value) (rule.ScopeID, error)
	// Touched returns the log entries for a row after since by writers other
	// than self, oldest first; with the zero cursor, all that the log still holds.
	Touched(table string, key change.Key, since change.Cursor, self change.Incarnation) ([]Touch, error)
	// Tombstone returns the last image of a deleted row (stored columns), and the
	// rows that its deletion took along, or ErrNotFound.
	Tombstone(table string, key change.Key) (*Tombstone, error)
	// Known looks a transaction up by uuid: ErrNotFound when it never arrived.
	Known(id change.TxID) (*Received, error)
	// Progress is how far an incarnation's chain has come; the zero Progress when unknown.
	Progress(inc change.Incarnation) (Progress, error)
	// Outcomes lists the incarnation's transactions whose outcome was decided
	// after the mark, in order of decision, at most limit; mark is where to go on.
	Outcomes(inc change.Incarnation, after uint64, limit int) (list []Outcome, mark uint64, err error)
	// Payload reads back a received transaction from the journal.
	Payload(id change.TxID) (*change.Transaction, error)
	// Record reads one document of the hub's own state, or ErrNotFound.
	Record(kind, id string) ([]byte, error)
	// Records lists documents of a kind in id order, at most limit: those whose id
	// begins with a prefix, after an id.
	Records(kind, prefix, after string, limit int) ([]Record, error)
	// RecordsBack lists documents of a kind in falling order of ids, at most limit: those
	// whose id begins with a prefix, before an id; "" means from the last one on.
	RecordsBack(kind, prefix, before string, limit int) ([]Record, error)
	// IDs lists the ids of Records, without reading what is kept under them.
	IDs(kind, prefix, after string, limit int) ([]string, error)
}

// A Tx is a View that can write. What it wrote is visible to its own reads.
type Tx interface {
	View
	// Savepoint runs fn; when fn fails, everything since is undone and the error
	// returned, and the transaction goes on.
	Savepoint(fn func() error) error
	// Again says that the update's function may be run again from its beginning,
	// with only the last run counting. A store may use that to make savepoints
	// only in a second run, when the first one needed them.
	Again()
	// As says who writes from here on: the origin and clock that the change log
	// gives to entries. The zero incarnation is the hub itself, whose entries are
	// never filtered as somebody's echo.
	As(origin change.Incarnation, hlc change.HLC) error
	// Write makes a row what the effect says. Constraint violations come back as
	// *ConstraintError and leave the transaction usable after Savepoint undid them.
	Write(e Effect) error
	// Touch logs a row as changed without changing it, so that every reader,
	// the present origin included, receives its current state.
	Touch(table string, key change.Key) error
	// Receive journals transactions as received, in order, with their outcomes,
	// and moves their incarnation's progress.
	Receive(list []Received) error
	// Decide changes the outcome of a received transaction.
	Decide(id change.TxID, status Status, reason string) error
	// PutRecord writes one document; a nil body removes it. The store itself keeps one of
	// KindStamp with the kind as its id, and gives it another body each time, in the same
	// transaction: while that is the same in two snapshots, all documents of the kind are.
	PutRecord(kind, id string, body []byte) error
}

// An Effect is what a row becomes.
type Effect struct {
	Table   string
	Kind    change.OpKind
	Key     change.Key
	Columns []string       // Insert: all stored; Update: those that change
	Values  []change.Value // parallel to Columns; nil for Delete
}

// A Touch is one change log entry, as conflict detection sees it.
type Touch struct {
	Kind    change.OpKind
	Columns []string // the columns an Update touched; nil means any
	Origin  change.Incarnation
	HLC     change.HLC
	Merged  bool // written as the hub itself on behalf of a merge
}

// A Tombstone is a deleted row that the log still remembers.
type Tombstone struct {
	Row      []change.Value // stored columns
	Children []change.Op    // what the same delete took along: Insert ops that restore it, parents first
}

// Status is what became of a transaction at the hub.
type Status uint8

// The statuses. The numbers are part of the wire format.
const (
	Applied     Status = 1 // as it was
	Merged      Status = 2 // applied with receipts
	Quarantined Status = 3 // parked with a reason
	Discarded   Status = 4 // parked, then settled by a person as not to be applied
)

func (s Status) String() string {
	switch s {
	case Applied:
		return "applied"
	case Merged:
		return "merged"
	case Quarantined:
		return "quarantined"
	case Discarded:
		return "discarded"
	}
	return "unknown"
}

// Received is a transaction's journal entry.
type Received struct {
	Tx      *change.Transaction // nil when read back by Known; see View.Payload
	ID      change.TxID
	Device  change.DeviceID
	Inc     change.Incarnation
	Seq     uint64
	Sum     change.Hash // place in the chain
	Content change.Hash // what it does
	Status  Status
	Reason  string
	At      time.Time
}

// Progress is how far an incarnation's chain has come.
type Progress struct {
	Seq uint64
	Sum change.Hash
}

// An Outcome is a decision about one transaction.
type Outcome struct {
	Seq    uint64
	ID     change.TxID
	Status Status
	Reason string
}

// A Record is one document of the hub's own state (devices, receipts, quarantine …).
type Record struct {
	ID   string
	Body []byte
}

// A ConstraintError says which rule of the database a write broke.
type ConstraintError struct {
	Kind   string // "unique", "not null", "check", "foreign key", "type", "trigger"
	Table  string
	Detail string // the engine's own words
}

func (e *ConstraintError) Error() string {
	return e.Kind + " constraint on table " + e.Table + ": " + e.Detail
}
