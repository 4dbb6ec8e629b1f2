// Package wire is the protocol between an edge and a hub: the messages, how they
// become frames, version and schema negotiation, and the transport under it.
//
// One session is one ordered, authenticated stream of frames in each direction.
// Every request is idempotent: a session may end anywhere and the next one
// starts from what each side has on disk (I5).
package wire

import (
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Protocol versions this build speaks.
const (
	MinProtocol = 1
	MaxProtocol = 1
)

// A Message is one frame's meaning. The concrete types below are the protocol.
type Message interface{ message() }

// Hello opens a session: edge → hub.
type Hello struct {
	Min, Max    uint32 // protocol versions
	Agent       string // build version, for people
	Device      change.DeviceID
	Incarnation change.Incarnation
	Schema      change.SchemaHash // of the synced tables as the file has them; zero when the file is empty
	Rules       change.Hash       // of the Setup the edge has; zero when none
	Clock       time.Time         // the device's wall clock as it sends this
	Status      EdgeStatus
	Last        uint64        // last Seq in the incarnation's chain; 0 when there is none
	At          change.Cursor // the state that the file holds
	Seal        []byte        // that the hub gave out with At: proof that it did
	// Parent is the incarnation that this one continues, when the file was found to
	// be a copy; zero otherwise.
	Parent change.Incarnation
	// Newest is the last transaction that a hub said it has, as far as the file still
	// keeps it; zero when there is none, and when the hub's end of the chain tells as much.
	Newest Landmark
}

// A Landmark names a transaction by all that a hub may know it by: copies of one file
// give one id to different work, and then its place and content tell.
type Landmark struct {
	ID          change.TxID
	Incarnation change.Incarnation
	Seq         uint64
	Content     change.Hash
}

// LandmarkOf names a transaction.
func LandmarkOf(t *change.Transaction) Landmark {
	return Landmark{ID: t.ID, Incarnation: t.Incarnation, Seq: t.Seq, Content: t.Content()}
}

// EdgeStatus is what the edge says of itself, so that the hub can show it.
type EdgeStatus struct {
	OutboxDepth  uint64        // transactions not yet durable at the hub
	OldestUnsafe time.Duration // age of the oldest of them; 0 when none
	Quarantined  uint64
	App          string // "sqlite 3.40.1", when known
	FreeDisk     uint64 `json:",omitzero"` // bytes beside the file; 0: not known
	// Verified is the last comparison of the file with the hub since the agent started.
	Verified *VerifyReport `json:",omitempty"`
}

// A VerifyReport is how a comparison of a file with the hub ended.
type VerifyReport struct {
	At        time.Time // by the hub's clock
	Equal     bool
	Rows      uint64   // compared
	Differing uint32   // rows
	Tables    []string // that differed
}

// Welcome answers Hello: hub → edge.
type Welcome struct {
	Protocol uint32
	Hub      string // name, for people
	Epoch    change.Epoch
	Clock    time.Time    // the hub's wall clock as it sends this
	Setup    *Setup       // nil when the edge's is current
	Grants   []rule.Grant // in force now
	Scopes   change.Hash  // names the set of readable scopes
	MaxFrame uint32       // bytes the hub accepts in one frame
	MaxTx    uint32       // bytes the hub accepts in one transaction
	Progress uint64       // last Seq of this incarnation the hub has
	Sum      change.Hash  // chain hash at Progress; zero when none
	// Unpack is the most that one push may hold, all its parts together. Zero from a
	// hub that knows no parts: a push must fit in one frame there.
	Unpack change.Limits
	// Lineage is the hub's lives, oldest first, when Hello.At was of another than the
	// present one.
	Lineage []change.Branch
	Device  change.DeviceID // whom the file belongs to from now on; zero: as it said
	// AskShape wants the schema that Hello named, as a Shape.
	AskShape bool
	// Lacks says that the hub does not know Hello.Newest: it was set back since.
	Lacks bool
	// Brief says that the hub takes a brief Pull in this session. It holds for this very
	// process: another one, that the next session meets, may be older.
	Brief bool
}

// Setup is what an edge must know to serve a file.
type Setup struct {
	Schema change.Schema
	DDL    []string // statements that create the tables in an empty file, in order
	Rules  rule.Rules
	Hash   change.Hash // names this Setup
	// Recipient is the age recipient that sealed outboxes are encrypted to; "" from a
	// hub that takes none.
	Recipient string
}

// Push hands in transactions in chain order: edge → hub. A body larger than a frame
// travels in parts, one Push each, answered after the last. A session that ends
// between parts leaves nothing behind: the next one sends the whole again.
type Push struct {
	Body []byte // sealed batch of transactions (change.SealTransactions), or a part of one
	More bool   // the next Push goes on with the body
	Stub *Stub  // with the last part
	// Confirmed is the epoch in which a hub once said that it had these transactions;
	// 0 when none did. All transactions of one push have the same.
	Confirmed change.Epoch
	Lineage   []change.Branch // as the edge knows it; with Confirmed
	// Salvage says that these are rows that the file held of a hub which lost them,
	// under an incarnation of their own: for a person to look at.
	Salvage bool
}

// A Stub says that the body holds one transaction without its values, or even
// without operations: whole, it is larger than Welcome.Unpack. The hub parks it, so
// that the chain goes on, and takes the whole in its place when it comes after all.
type Stub struct {
	Sum, Content change.Hash // of the whole transaction
	Ops          uint64
	Bytes        uint64 // as it would be sent
}

// PushResult answers Push: hub → edge. Durable means: stop resending.
type PushResult struct {
	Durable uint64 // every Seq up to here is durable at the hub
	Results []TxResult
	Fork    bool // the chain does not fit: the file was cloned or restored
}

// TxResult is what became of one transaction.
type TxResult struct {
	Seq      uint64
	Status   uint8 // hub.Status
	Reason   string
	Receipts int // how many conflict receipts it produced
	// Waits names the operations of a quarantined transaction that are not in the
	// tables, by their places in it. The effects of the others are, as the hub's own.
	// Nil means that all wait. Only the outcomes of a Delta have it.
	Waits []uint32
}

// Pull asks for everything after a cursor: edge → hub.
type Pull struct {
	Cursor  change.Cursor
	Scopes  change.Hash // the set of scopes the edge holds (or staged)
	Outcome uint64      // last outcome mark seen
	Wait    bool        // answer only when there is something
	// Echo asks for the rows that only this incarnation touched, too. The pull
	// that ends a bootstrap sets it: its chunks were read at other moments, so the
	// edge cannot tell which of its own transactions they already hold.
	Echo bool
	// Known says that Cursor is Hello.At: it does not travel again. Only to a hub that
	// sealed it, for an older one does not know of this.
	Known bool
	// Brief says that Scopes is the session's Welcome.Scopes: it does not travel again. Only
	// to a hub that said Welcome.Brief. The Delta that answers may be Still.
	Brief bool
	// Seen is the newest state that fetched rows show which wait for this pull; zero
	// when there are none. They are worthless when the hub was set back behind it.
	Seen change.Cursor
}

// Delta answers Pull in one or more parts, all of one snapshot: hub → edge.
type Delta struct {
	Body     []byte // sealed Rows; may be empty
	Last     bool
	Next     change.Cursor // with Last
	Outcomes []TxResult    // with Last
	Mark     uint64        // with Last
	Seal     []byte        // of Next, for Hello.Seal; with Last
	// Still says that Next is Hello.At: it does not travel again. Only in an answer to a
	// Pull that is Brief and Known.
	Still bool
}

// Rebase answers Pull when the cursor cannot be served: hub → edge. The edge
// bootstraps the scopes it lacks (all of them when Full) and pulls again.
type Rebase struct {
	Full   bool // the cursor is below the floor or of another history
	Reason string
	Grants []rule.Grant
	Scopes change.Hash
	// Salvage asks the edge to offer what it holds and the hub no longer has.
	Salvage bool
}

// Fetch asks for bootstrap chunks: edge → hub.
type Fetch struct {
	Scopes []rule.ScopeID // which scopes; nil means all readable ones
	Table  string         // "" starts
	After  change.Key     // nil: from the table's start
	Window uint32         // how many chunks may be sent before the next Fetch; ≥ 1
	Seen   change.Cursor  // Chunk.At of the last one fetched before; zero when there is none
}

// Chunk answers Fetch: hub → edge.
type Chunk struct {
	At    change.Cursor // a cursor at or before this chunk's snapshot; keep the first one
	Body  []byte        // sealed Rows
	Table string        // where to go on
	After change.Key
	Done  bool             // nothing follows
	Total map[string]int64 // estimated rows per table; with the first chunk only
}

// Snapshot asks for a prepared database file of every row the device may read,
// for a file that does not exist yet: edge → hub. Whoever has rows fetches rows.
type Snapshot struct {
	ID     change.Hash // of the file begun earlier; zero: none yet
	Offset uint64      // bytes of it that are here
	Scopes change.Hash // the readable scopes, as Welcome named them
	Setup  change.Hash // whose tables the file must have
	Window uint32      // how many parts may be sent before the next Snapshot; ≥ 1
}

// SnapshotPart answers Snapshot: hub → edge. Without an ID there is no file: it
// is being prepared when Wait is set, and the edge asks again; otherwise the edge
// fetches rows.
type SnapshotPart struct {
	ID     change.Hash   // SHA-256 of the whole file as sent; another one than asked for starts anew
	At     change.Cursor // the file's snapshot
	Packed uint64        // bytes of the file as sent: a zstd stream with checksum
	Size   uint64        // bytes of the file unpacked
	Offset uint64        // where Body belongs
	Body   []byte
	Done   bool   // Body ends the file
	Wait   bool   // it is being prepared
	Reason string // why there is none, for people
}

// Verify asks for digests, or rows of buckets, at one cursor: edge → hub. The hub
// answers with the Delta from Cursor, then with a Digests of the same snapshot.
type Verify struct {
	Cursor  change.Cursor
	Scopes  change.Hash
	Outcome uint64
	Tables  []string
	Buckets []int // with exactly one table: its rows in these buckets, not digests
}

// Digests follows the Delta that answers Verify.
type Digests struct {
	At      change.Cursor
	Digests []change.Digest
	Body    []byte // sealed Rows of the asked buckets
}

// Ping asks for a Pong: both ways. A side that hears nothing for three intervals
// ends the session (trap D17).
type Ping struct {
	N      uint64
	Status *EdgeStatus // from edges
	Ask    []string    // from hubs: what the edge is to do
	Begun  []string    // from edges: of that
}

// What a hub may ask an edge for. An edge leaves alone what it does not know.
const (
	AskSync   = "sync"   // hand in what there is, and pull
	AskVerify = "verify" // compare the file with the hub, and tell how it ended
)

// Pong answers Ping.
type Pong struct{ N uint64 }

// Fault is a refusal: both ways. It ends the session unless Request is set.
type Fault struct {
	Code       string // stable, e.g. "revoked", "oversized", "unsupported-version"
	Message    string // what happened, to what
	Hint       string // what to do
	RetryAfter time.Duration
	Fatal      bool // trying again without a person's action is pointless
}

func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// Shape tells the hub the synced tables as the file has them: edge → hub, after a
// Welcome that asked for it. There is no answer.
type Shape struct {
	Schema change.Schema
}

// LeaseAsk asks for numbers and shares: edge → hub. The answer to an ID is the same
// however often it is asked.
type LeaseAsk struct {
	ID      uint64 // 1, 2, 3 … within the incarnation
	Numbers []NumberLeft
	Shares  []ShareLeft
}

// NumberLeft is what a device holds of a leased number.
type NumberLeft struct {
	Name    string // "table.column" in lower case
	Left    uint64 // numbers not used yet
	Highest int64  // of the ranges it holds; 0 when none
}

// ShareLeft is what a device may still take off a bounded counter by itself.
type ShareLeft struct {
	Table  string
	Key    change.Key
	Column string
	Left   int64
}

// LeaseGrant answers LeaseAsk: hub → edge.
type LeaseGrant struct {
	ID      uint64
	Numbers []NumberRange
	Shares  []ShareGrant
}

// NumberRange is a range of numbers for one device alone, both ends included.
type NumberRange struct {
	Name        string
	First, Last int64
}

// ShareGrant adds to, or with a negative Add takes from, a device's share.
type ShareGrant struct {
	Table  string
	Key    change.Key
	Column string
	Add    int64
}

// Parcel hands in a sealed outbox on another device's behalf, in parts like a Push:
// edge → hub.
type Parcel struct {
	Body []byte
	More bool
}

// ParcelResult answers Parcel: hub → edge.
type ParcelResult struct {
	Device  change.DeviceID // whose work it was
	Name    string
	Known   uint32 // of these the hub had already
	Results []TxResult
}

func (*Hello) message()        {}
func (*Welcome) message()      {}
func (*Push) message()         {}
func (*PushResult) message()   {}
func (*Pull) message()         {}
func (*Delta) message()        {}
func (*Rebase) message()       {}
func (*Fetch) message()        {}
func (*Chunk) message()        {}
func (*Snapshot) message()     {}
func (*SnapshotPart) message() {}
func (*Verify) message()       {}
func (*Digests) message()      {}
func (*Ping) message()         {}
func (*Pong) message()         {}
func (*Fault) message()        {}
func (*Shape) message()        {}
func (*LeaseAsk) message()     {}
func (*LeaseGrant) message()   {}
func (*Parcel) message()       {}
func (*ParcelResult) message() {}
