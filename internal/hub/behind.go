package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A database that was put back from a backup looks like any other. What gives it
// away is somebody who saw more of it: a device, or the note that a serving hub
// keeps beside the database. Going on as if nothing had happened would give new
// meanings to positions that others hold, and lose what the devices handed in
// since the backup. So the hub stops, says so, and waits for a person who knows
// what the restore was for.

// Kinds of records about the hub's own life.
const (
	kindBehind   = "behind"   // by behindID: Behind
	kindReplaced = "replaced" // by Epoch: the life of no lineage that another one replaced since
)

const behindID = "hub"

// Kinds of events of the hub itself.
const (
	EventBehind  = "behind"  // the database is older than what somebody saw of it
	EventHubBack = "revived" // a new life began: what devices had handed in is taken back
	EventHubUndo = "undone"  // a new life began: what devices had handed in is looked at first
)

// A Behind says how the hub found out that its database is older than what it
// gave out.
type Behind struct {
	At     time.Time       `json:"at"`
	Device change.DeviceID `json:"device"` // who saw more; zero: the note beside the database
	Name   string          `json:"name"`   // of the device
	Seen   change.Cursor   `json:"seen"`   // what they saw
	End    change.Cursor   `json:"end"`    // what the database holds
}

func (b *Behind) String() string {
	who := "the note that the hub keeps beside its database"
	if !b.Device.IsZero() {
		who = "device " + b.Name
	}
	return fmt.Sprintf("the hub's database is older than what it gave out: %s knows state %s, the database ends at %s. It was put back from a copy", who, b.Seen, b.End)
}

// behindHint is what the operator must do.
const behindHint = "at the hub: stop it, then tidemark hub --restored takes back what the devices had handed in since; with --undo it waits for review instead"

// behindRetry is how long devices stay away from a hub that waits for its operator.
const behindRetry = 30 * time.Second

func (b *Behind) fault() *wire.Fault {
	return &wire.Fault{Code: "hub-behind", Message: b.String() + ", and its operator has to say what for. Nothing is served until then, and nothing is lost: work stays in the devices' files",
		Hint: behindHint, RetryAfter: behindRetry}
}

// past is what a hub knows of its own history.
type past struct {
	key       []byte // of the seals
	recover   bool   // a hub that is behind takes up a new life by itself
	noSalvage bool
	word      change.BranchMode       // what the operator said at the start, "" for nothing
	noted     atomic.Pointer[sight]   // what the note beside the database says
	behind    atomic.Pointer[Behind]  // nil: all is well
	sifted    atomic.Pointer[sifting] // nil: not since the start
	lives     atomic.Int64            // begun since the start
	epoch     atomic.Uint64           // of the present life, as last seen
}

// tenure is what a session keeps of the hub's history.
type tenure struct {
	given change.Cursor // the last cursor that the session gave out, or looked at
	lives int64         // past.lives at Hello
}

// remember reads what the last process knew.
func (h *Hub) remember(ctx context.Context) error {
	return h.store.View(ctx, func(v View) error {
		_, err := h.recall(v)
		return err
	})
}

// PeekBehind is what Behind of a hub would say, read through record, which is
// View.Record or does the same.
func PeekBehind(record func(kind, id string) ([]byte, error)) (*Behind, error) {
	body, err := record(kindBehind, behindID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := new(Behind)
	if err := json.Unmarshal(body, b); err != nil {
		return nil, fmt.Errorf("decode %s record: %w", kindBehind, err)
	}
	return b, nil
}

// Behind says that the hub waits for its operator's word, and why; nil when it
// does not.
func (h *Hub) Behind() *Behind { return h.past.behind.Load() }

// standstill refuses everything while the hub is behind, and ends sessions that
// began in an earlier life.
func (s *Session) standstill() error {
	if err := s.hub.standstill(); err != nil {
		return err
	}
	if s.hello != nil && s.tenure.lives != s.hub.past.lives.Load() {
		return &wire.Fault{Code: "restored", Message: "the hub took up a new life after a restore", Hint: "it is tried again by itself"}
	}
	return nil
}

// Standstill returns the *wire.Fault that everybody hears while the hub waits for
// its operator's word, or nil.
func (h *Hub) Standstill() error { return h.standstill() }

func (h *Hub) standstill() error {
	if b := h.past.behind.Load(); b != nil {
		return b.fault()
	}
	return nil
}

// A claim is somebody's believable word that there was more.
type claim struct {
	device change.DeviceID
	name   string
	seen   change.Cursor
	end    change.Cursor
}

func (c *claim) Error() string {
	return fmt.Sprintf("the database ends at %s, %s was given out", c.end, c.seen)
}

func (c *claim) behind(now time.Time) *Behind {
	return &Behind{At: now.UTC(), Device: c.device, Name: c.name, Seen: c.seen, End: c.end}
}

// lost returns a claim when a cursor that was given out at a time proves that
// the present life lost something: it is of this life and not in it, or of a life
// that no lineage knows and that was still going on after the present one began.
func lost(v View, c change.Cursor, at time.Time) error {
	err := v.Check(c)
	if !errors.Is(err, ErrOtherHistory) {
		return nil
	}
	lineage, err := v.Lineage()
	if err != nil {
		return err
	}
	now := lineage[len(lineage)-1]
	for _, b := range lineage[:len(lineage)-1] {
		if b.Epoch == c.Epoch {
			return nil // a restore that the hub knows of
		}
	}
	if c.Epoch != now.Epoch && !at.After(now.At) {
		return nil // a life that the present one replaced
	}
	// Clocks may have been wrong then; who already had a say about that life was not.
	if _, err := v.Record(kindReplaced, c.Epoch.String()); !errors.Is(err, ErrNotFound) {
		return err
	}
	end, err := v.Cursor()
	if err != nil {
		return err
	}
	return &claim{seen: c, end: end}
}

// hear judges what a device says it saw, at its Hello.
func (s *Session) hear(v View, m *wire.Hello) error {
	if at, ok := s.believe(m, m.At); ok {
		return lost(v, m.At, at)
	}
	return nil
}

// attend runs fn, which reads what a Hello is answered with, on one snapshot: once
// more when that made the hub take up a new life by itself.
func (s *Session) attend(ctx context.Context, fn func(View) error) (err error) {
	for again := true; again && err == nil; {
		s.tenure.lives = s.hub.past.lives.Load()
		err = s.hub.view(ctx, fn)
		_, again = errors.AsType[*claim](err)
		err = s.confess(ctx, err)
	}
	return err
}

// confess acts on an error that is a claim.
func (s *Session) confess(ctx context.Context, err error) error {
	c, ok := errors.AsType[*claim](err)
	if !ok {
		return err
	}
	c.device = s.device
	if d, err := s.hub.Device(ctx, s.device); err == nil {
		c.name = d.Name
	}
	if err := s.hub.fallBehind(ctx, c); err != nil {
		return err
	}
	return s.standstill()
}

// Compare is given what a note beside the database says was there, and when. The
// hub is behind when it is not there any more.
func (h *Hub) Compare(ctx context.Context, seen change.Cursor, at time.Time) error {
	err := h.store.View(ctx, func(v View) error { return lost(v, seen, at) })
	if c, ok := errors.AsType[*claim](err); ok {
		return h.fallBehind(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("compare the database with %s: %w", seen, err)
	}
	return nil
}

// fallBehind stops the hub until its operator speaks, or takes up a new life at
// once where that is configured.
func (h *Hub) fallBehind(ctx context.Context, c *claim) error {
	if h.past.recover {
		b := c.behind(h.clock.Now())
		h.log.Warn("the hub's database was put back from a copy: it takes up a new life", "device", c.name, "seen", c.seen.String(), "end", c.end.String())
		return h.beginOnce(InLife(ctx, c.end.Epoch), change.Restored, b)
	}
	return h.stop(ctx, c)
}

// stop makes the hub wait for its operator.
func (h *Hub) stop(ctx context.Context, c *claim) error {
	b, over := c.behind(h.clock.Now()), false
	err := h.store.Update(ctx, func(tx Tx) error {
		if h.past.behind.Load() != nil { // somebody else found out
			return nil
		}
		now, err := tx.Cursor()
		if over = err == nil && now.Epoch != c.end.Epoch; err != nil || over { // the operator has spoken meanwhile
			return err
		}
		if other, err := PeekBehind(tx.Record); err != nil || other != nil { // another process found out
			return err
		}
		if err := writeRecord(tx, kindBehind, behindID, b); err != nil {
			return err
		}
		return addEvent(tx, change.DeviceID{}, b.At, EventBehind, b.String())
	})
	if err != nil {
		return fmt.Errorf("note that the hub is behind: %w", err)
	}
	if !over && h.past.behind.CompareAndSwap(nil, b) {
		h.log.Error("the hub's database was put back from a copy: nothing is served until the operator says what for", "device", c.name,
			"seen", c.seen.String(), "end", c.end.String(), "hint", behindHint)
		h.bump(change.DeviceID{})
	}
	return nil
}
