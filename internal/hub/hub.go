package hub

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Config is what a Hub needs.
type Config struct {
	Store Store       // required; the caller closes it, after the last call to the Hub
	Rules *rule.Rules // required; not modified afterwards
	// DDL lists the statements that create the synced tables in an empty file, for
	// edges. It is asked at New and Reload. nil: edges bring their own tables.
	DDL    func(ctx context.Context) ([]string, error)
	Clock  clock.Clock  // required
	Rand   io.Reader    // required; a cryptographic source in production
	Logger *slog.Logger // nil: silent
	Name   string       // for people, in Welcome; "" means DefaultName
	Limits Limits
	// Copies says what becomes of a file that was restored or copied; "" means
	// AllowCopies.
	Copies CopyPolicy
	// SealKey is the secret, SealKeySize random bytes, by which the hub recognises the
	// cursors that it gave out. It is kept outside of the store, which may be put back
	// from a copy. Without one, anybody can make up cursors that stop the hub.
	SealKey []byte
	// Recover lets a hub whose store was put back from a copy take up a new life by
	// itself, as after Begin(Restored), instead of waiting for its operator.
	Recover bool
	// Noted is what the note beside the database says of it, and NotedAt when that was
	// written; Word is what the operator said at this start. Both count only when another
	// server took over a Promotable's database. See Hub.Noted.
	Noted   change.Cursor
	NotedAt time.Time
	Word    change.BranchMode
	// NoSalvage leaves out asking devices for rows that a restored hub lost.
	NoSalvage bool
	// Parcel opens sealed outboxes; devices learn its recipient. nil: none are taken.
	Parcel *parcel.Key
	// Chunks shares bootstrap chunks between devices. nil: each one's are read for it.
	Chunks Chunks
	// Deltas shares what a commit brings between the sessions of this process that it
	// wakes, see Tolled, and what they missed between those that come back together. nil:
	// each session reads for itself.
	Deltas Chunks
	// Beside lets the next chunk of a bootstrap be read while one is sealed. nil: one
	// after the other.
	Beside wire.Beside
	// Tell lets the hubs of other processes that serve the store hear, through Heard, that
	// something about a device changed which the change log does not show; zero: about
	// any. It must not block. nil: there are no others.
	Tell func(device change.DeviceID)
}

// DefaultName is what a hub calls itself to edges when nobody named it.
const DefaultName = "tidemark hub"

// Limits bound what one device may ask of the hub. A zero field means its default.
type Limits struct {
	Frame int // bytes of one frame's body as received; DefaultFrame
	Tx    int // bytes of one transaction's values; larger ones are quarantined; DefaultTx
	Row   int // bytes of one row's values; larger ones are quarantined; DefaultRow
	Ops   int // rows one transaction may touch; DefaultOps
	Group int // operations after which a shared commit takes no more pushes; DefaultGroup
	Part  int // bytes of values in one part of a pull or bootstrap; DefaultPart
}

// The defaults of Limits.
const (
	DefaultFrame = 16 << 20
	DefaultTx    = 64 << 20
	DefaultRow   = 16 << 20
	DefaultOps   = 500_000
	DefaultGroup = 20_000
	DefaultPart  = 256 << 10
)

// MaxDrift is how far into the future of the hub's clock a device's clock is
// believed (trap D6).
const MaxDrift = time.Minute

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Frame, DefaultFrame)
	def(&l.Tx, DefaultTx)
	def(&l.Row, DefaultRow)
	def(&l.Ops, DefaultOps)
	def(&l.Group, DefaultGroup)
	def(&l.Part, DefaultPart)
	return l
}

// A Hub serves one store. All methods may be called concurrently; none starts a
// goroutine.
type Hub struct {
	store  Store
	clock  clock.Clock
	hlc    *clock.HLC
	log    *slog.Logger
	name   string
	limits Limits

	shape shaping
	queue committer

	copies CopyPolicy
	spoken speakers
	visits visits
	roster roster
	known  known

	tell     func(change.DeviceID) // nil: no other process serves the store
	past     past
	patience patience

	parcelKey *parcel.Key // nil: no sealed outboxes are taken
	shelf     shelf

	randMu sync.Mutex
	rand   io.Reader

	seenMu sync.Mutex
	seen   map[change.DeviceID]*presence
	shapes int // changes of kindDevShape records since the start

	bellMu sync.Mutex
	bells  map[*Session]func() // ends a session's wait
}

// New checks the rules against the store's tables and returns a Hub.
func New(ctx context.Context, cfg Config) (*Hub, error) {
	var missing []error
	for _, m := range []struct {
		ok   bool
		name string
	}{{cfg.Store != nil, "Store"}, {cfg.Rules != nil, "Rules"}, {cfg.Clock != nil, "Clock"}, {cfg.Rand != nil, "Rand"}} {
		if !m.ok {
			missing = append(missing, fmt.Errorf("hub config: %s is required", m.name))
		}
	}
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	h := &Hub{store: cfg.Store, clock: cfg.Clock, rand: cfg.Rand, log: cfg.Logger, name: cfg.Name,
		limits: cfg.Limits.withDefaults(), shape: newShaping(cfg.DDL), seen: map[change.DeviceID]*presence{}, bells: map[*Session]func(){}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.name == "" {
		h.name = DefaultName
	}
	h.hlc = clock.NewHLC(cfg.Clock, 0, MaxDrift)
	h.parcelKey, h.copies, h.tell = cfg.Parcel, cfg.Copies, cfg.Tell
	h.shelf = newShelf(cfg.Chunks, cfg.Deltas, cfg.SealKey)
	h.shelf.beside = cfg.Beside
	h.past.key, h.past.recover, h.past.noSalvage = cfg.SealKey, cfg.Recover, cfg.NoSalvage
	h.past.word = cfg.Word
	h.Noted(cfg.Noted, cfg.NotedAt)
	if p, ok := cfg.Store.(Promotable); ok {
		p.OnPromotion(h.promoted)
	}
	h.patience.waits = 1 // what waits is not known yet: the first push looks
	if err := h.remember(ctx); err != nil {
		return nil, fmt.Errorf("read the hub's own state: %w", err)
	}
	if err := h.Reload(ctx, cfg.Rules); err != nil {
		return nil, err
	}
	return h, nil
}

// reload is Reload for whose turn it is.
func (h *Hub) reload(ctx context.Context, rules *rule.Rules) error {
	if _, err := h.store.Refresh(ctx, rules); err != nil {
		return fmt.Errorf("refresh store: %w", err)
	}
	schema := h.store.Schema()
	if c, ok := h.store.(Commons); ok { // after the schema: what changes between is noticed
		rules = c.Rules()
	}
	var ddl []string
	if h.shape.ddl != nil {
		var err error
		if ddl, err = h.shape.ddl(ctx); err != nil {
			return fmt.Errorf("read table definitions: %w", err)
		}
	}
	s, err := newShape(schema, rules, ddl)
	if err != nil {
		return err
	}
	if err := h.sealFor(s); err != nil {
		return err
	}
	if err := h.accept(ctx, s); err != nil {
		return err
	}
	if err := errors.Join(h.renameShares(ctx, s), h.renameSeries(ctx, s)); err != nil {
		return err
	}
	old := h.shape.Swap(s)
	if old != nil && old.setup.Hash != s.setup.Hash {
		h.log.Info("hub setup changed", "setup", s.setup.Hash.String()[:12], "tables", len(s.tables))
		h.bump(change.DeviceID{}) // who waits must hear of it
	}
	h.tellLost(old, s)
	return nil
}

// errStale means that another program changed the tables since the shape was made.
var errStale = errors.New("the tables changed")

// current returns errStale when the shape is not that of the store's tables.
func (h *Hub) current() error {
	if sameTables(h.store.Schema().Tables, h.shape.Load().schema.Tables) {
		return nil
	}
	return errStale
}

// update runs fn in one write transaction over the present tables.
func (h *Hub) update(ctx context.Context, fn func(Tx) error) error {
	return h.renew(ctx, func() error {
		return h.store.Update(ctx, func(tx Tx) error {
			if err := h.current(); err != nil {
				return err
			}
			return fn(tx)
		})
	})
}

// view runs fn over one snapshot of the present tables.
func (h *Hub) view(ctx context.Context, fn func(View) error) error {
	return h.renew(ctx, func() error {
		return h.store.View(ctx, func(v View) error {
			if err := h.current(); err != nil {
				return err
			}
			return fn(v)
		})
	})
}

// sameTables reports whether two lists are one list: the store hands out the
// same one until it reads the schema again.
func sameTables(a, b []change.Table) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// listen registers what ends a session's wait; nil ends the registration.
func (h *Hub) listen(s *Session, ring func()) {
	h.bellMu.Lock()
	defer h.bellMu.Unlock()
	if ring == nil {
		delete(h.bells, s)
		return
	}
	h.bells[s] = ring
}

// bump makes the waiting sessions of a device (zero: of all) look again at what
// the change log does not show: outcomes, grants, revocation.
func (h *Hub) bump(device change.DeviceID) {
	h.ring(device)
	h.tellOthers(device)
}

// ring is bump within this process.
func (h *Hub) ring(device change.DeviceID) {
	h.shelf.news.rang()
	h.bellMu.Lock()
	defer h.bellMu.Unlock()
	for s, ring := range h.bells {
		if device.IsZero() || s.device == device {
			ring()
		}
	}
}

// Setup is what an edge must know now. The result is shared: not to be modified.
func (h *Hub) Setup() *wire.Setup { return h.shape.Load().setup }

// hashSetup names a Setup by what it holds.
func hashSetup(s *wire.Setup) (change.Hash, error) {
	b, err := json.Marshal(struct {
		Schema change.Schema
		DDL    []string
		Rules  rule.Rules
		Seal   string `json:",omitempty"`
	}{s.Schema, s.DDL, s.Rules, s.Recipient})
	if err != nil {
		return change.Hash{}, fmt.Errorf("hash setup: %w", err)
	}
	return change.Hash(sha256.Sum256(b)), nil
}

// draw fills b from the given source of randomness.
func (h *Hub) draw(b []byte) error {
	h.randMu.Lock()
	defer h.randMu.Unlock()
	if _, err := io.ReadFull(h.rand, b); err != nil {
		return fmt.Errorf("draw random bytes: %w", err)
	}
	return nil
}
