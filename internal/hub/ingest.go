package hub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Push takes in a device's transactions in chain order. When it returns without
// an error, everything up to PushResult.Durable is on the hub's disk with its
// effects, or parked there with a reason. Handing in the same transactions again
// changes nothing and gives the same answers (I5).
//
// Refusals of the device as a whole are *wire.Fault.
func (h *Hub) Push(ctx context.Context, device change.DeviceID, txs []*change.Transaction) (wire.PushResult, error) {
	return h.push(ctx, device, txs, &wire.Push{})
}

// push is Push of what came with m. With a stub, txs are the one transaction that
// it stands for.
func (h *Hub) push(ctx context.Context, device change.DeviceID, txs []*change.Transaction, m *wire.Push) (wire.PushResult, error) {
	for _, t := range txs {
		if t.Device != device {
			return wire.PushResult{}, &wire.Fault{Code: "forged", Message: fmt.Sprintf("transaction %s is by device %s, not by %s", t.ID, t.Device, device),
				Hint: "the file was joined under another device's name: join it again", Fatal: true}
		}
	}
	b, err := h.take(ctx, txs, m, func(tx Tx) (*batch, error) { return h.newBatch(tx, device) })
	if err != nil {
		return wire.PushResult{}, fmt.Errorf("push of device %s: %w", device, err)
	}
	return b.out, nil
}

// take takes in what came with m, in a batch that begin begins.
func (h *Hub) take(ctx context.Context, txs []*change.Transaction, m *wire.Push, begin func(Tx) (*batch, error)) (*batch, error) {
	size := 0
	for _, t := range txs {
		size += len(t.Ops)
	}
	var b *batch
	run := func(tx Tx) (err error) {
		if err := h.current(); err != nil {
			return err
		}
		if b, err = begin(tx); err != nil {
			return err
		}
		if err := b.uphold(); err != nil {
			return err
		}
		if err := b.accept(m); err != nil {
			return err
		}
		if err := b.ingest(txs); err != nil {
			return err
		}
		return b.countWaits()
	}
	err := h.renew(ctx, func() error {
		return h.queue.do(ctx, h.store, h.limits.Group, &job{size: size, run: run, ahead: aheadOf(txs)})
	})
	if err != nil {
		return nil, err
	}
	b.report()
	h.tookIn(ctx, b)
	return b, nil
}

// A batch is one device's work inside one Update.
type batch struct {
	hub    *Hub
	shape  *shape
	tx     Tx
	now    time.Time
	dev    *Device
	rights rights
	start  change.Cursor // the hub's state before this batch; see startOf
	stands map[change.Cursor]standing
	cols   map[*string]columnMap
	scopes map[rowID]rule.ScopeID // of parents, while no parent moves
	born   map[rowID]bool         // rows that this batch inserted
	buf    []byte

	inc      change.Incarnation
	progress Progress
	pending  []Received
	fresh    map[change.TxID]bool // ids in pending
	holds    *holds
	lives    []change.Incarnation // other lives of the file that the present transaction continues
	shares   *book                // of bounded counters; nil: not opened
	stub     *wire.Stub           // what the present transaction is without its values
	review   review
	out      wire.PushResult

	parked  int  // transactions parked by this batch, for the log
	clamped bool // the device's clock was ahead
	dirty   bool // the device's record changed
}

func (h *Hub) newBatch(tx Tx, device change.DeviceID) (*batch, error) {
	dev, err := activeDevice(tx, device)
	if err != nil {
		return nil, err
	}
	return h.batchFor(tx, dev)
}

func (h *Hub) batchFor(tx Tx, dev *Device) (*batch, error) {
	if err := h.standstill(); err != nil {
		return nil, err
	}
	start, err := startOf(tx)
	if err != nil {
		return nil, err
	}
	return &batch{hub: h, shape: h.shape.Load(), tx: tx, now: h.clock.Now(), dev: dev, rights: rightsOf(dev.Grants),
		start: start, holds: &holds{}, stands: map[change.Cursor]standing{}, cols: map[*string]columnMap{}, scopes: map[rowID]rule.ScopeID{}, born: map[rowID]bool{}, fresh: map[change.TxID]bool{}}, nil
}

// uphold reads what the device's parked transactions keep its next ones from.
func (b *batch) uphold() (err error) {
	if b.holds, err = loadHolds(b.shape, b.tx, b.dev.ID); err != nil {
		return err
	}
	return b.holds.inherit(b.shape, b.tx, b.dev)
}

// errFork ends a batch whose chain does not continue the hub's.
var errFork = errors.New("the chain does not continue what the hub has")

func (b *batch) ingest(txs []*change.Transaction) error {
	for _, t := range txs {
		err := b.one(t)
		if errors.Is(err, errFork) {
			b.out.Fork = true
			break
		}
		if err != nil {
			return fmt.Errorf("transaction %s: %w", t.ID, err)
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	// Only what this very file showed: the chain may be longer through a copy of it.
	n := len(b.out.Results)
	if n == 0 {
		return nil
	}
	b.out.Durable = b.out.Results[n-1].Seq
	if !b.review.carried {
		b.hub.note(b.dev.ID, func(p *presence) { p.progress = p.seen })
	}
	if b.dirty {
		return b.hub.saveDevice(b.tx, b.dev)
	}
	return nil
}

// flush journals what was decided so far.
func (b *batch) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	if err := b.tx.Receive(b.pending); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := b.trace(); err != nil {
		return err
	}
	b.pending = nil
	clear(b.fresh)
	return nil
}

// one takes one transaction in: its place in the chain, then its uuid, then what
// it does.
func (b *batch) one(t *change.Transaction) error {
	if t.Incarnation != b.inc {
		if err := b.enter(t.Incarnation); err != nil {
			return err
		}
	}
	b.buf = change.AppendTransaction(b.buf[:0], t)
	sum := change.Hash(sha256.Sum256(b.buf)) // t.Sum, without an allocation each
	if b.stub != nil {
		sum = b.stub.Sum
	}
	if t.Seq <= b.progress.Seq {
		return b.again(t, sum)
	}
	if t.Seq != b.progress.Seq+1 || t.Prev != b.progress.Sum {
		return errFork
	}
	rec := Received{Tx: t, ID: t.ID, Device: t.Device, Inc: t.Incarnation, Seq: t.Seq, Sum: sum, Content: b.contentOf(t), At: b.now}
	var receipts int
	if b.fresh[t.ID] {
		if err := b.flush(); err != nil {
			return err
		}
	}
	first, err := b.tx.Known(t.ID)
	switch {
	case errors.Is(err, ErrNotFound) && b.stub != nil:
		if err := b.standIn(&rec, t); err != nil {
			return err
		}
	case errors.Is(err, ErrNotFound):
		if receipts, err = b.decide(&rec, t, nil); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if receipts, err = b.repeated(&rec, t, first); err != nil {
			return err
		}
	}
	if b.review.salvage { // what matters of it is in quarantine, or nothing does
		bare := *rec.Tx
		bare.Ops = nil
		rec.Tx = &bare
	}
	b.pending = append(b.pending, rec)
	b.fresh[rec.ID] = true
	b.progress = Progress{Seq: t.Seq, Sum: sum}
	b.out.Results = append(b.out.Results, wire.TxResult{Seq: t.Seq, Status: uint8(rec.Status), Reason: rec.Reason, Receipts: receipts})
	return nil
}

// enter turns to another incarnation's chain. One that belongs to another device
// is a copied file: it forks.
func (b *batch) enter(inc change.Incarnation) error {
	if err := b.flush(); err != nil {
		return err
	}
	var owner change.DeviceID
	err := readRecord(b.tx, kindIncarnation, inc.String(), &owner)
	switch {
	case errors.Is(err, ErrNotFound):
		if err := writeRecord(b.tx, kindIncarnation, inc.String(), b.dev.ID); err != nil {
			return err
		}
		b.dev.Incarnations, b.dirty = append(b.dev.Incarnations, inc), true
	case err != nil:
		return err
	case owner != b.dev.ID:
		return errFork
	}
	b.inc = inc
	b.progress, err = b.tx.Progress(inc)
	return err
}

// again answers a transaction whose place in the chain is taken: by itself, when
// the earlier answer got lost (trap D2), or by another one, which is a fork.
func (b *batch) again(t *change.Transaction, sum change.Hash) error {
	if err := b.flush(); err != nil {
		return err
	}
	rec, err := b.journalled(t)
	if errors.Is(err, ErrNotFound) || err == nil && rec.Sum != sum {
		return errFork
	}
	if err != nil {
		return err
	}
	if err := b.fill(rec, t); err != nil {
		return fmt.Errorf("take in the values of a stub: %w", err)
	}
	b.out.Results = append(b.out.Results, wire.TxResult{Seq: t.Seq, Status: uint8(rec.Status), Reason: rec.Reason})
	return nil
}

// contentOf is the content of the whole transaction that t is or stands for.
func (b *batch) contentOf(t *change.Transaction) change.Hash {
	if b.stub != nil {
		return b.stub.Content
	}
	return t.Content()
}

// journalled finds the journal entry of this very record: under its own id, or
// under the id it was given because the uuid was taken.
func (b *batch) journalled(t *change.Transaction) (*Received, error) {
	rec, err := b.tx.Known(t.ID)
	if err != nil || rec.Inc == t.Incarnation && rec.Seq == t.Seq {
		return rec, err
	}
	return b.tx.Known(aliasID(t))
}

// decide applies a transaction, or parks it, and fills in the outcome. places tells
// where its operations are in what was handed in; nil means that it is the whole.
func (b *batch) decide(rec *Received, t *change.Transaction, places []uint32) (receipts int, err error) {
	if done, err := b.setAside(rec, t, places); done || err != nil {
		return 0, err
	}
	v, err := b.settle(rec.ID, t, false)
	if err != nil {
		return 0, err
	}
	rec.Status, rec.Reason = v.status, v.reason
	if v.park == nil || v.park.Split {
		b.review.taken++
	}
	if v.park == nil {
		return v.receipts, nil
	}
	v.park.Places = at(places, v.park.Places)
	b.parked++
	return v.receipts, b.park(rec, v)
}

// stamp is the transaction's time by the hub's clock, no later than a minute from
// now whatever the device believes (trap D6).
func (b *batch) stamp(t *change.Transaction) change.HLC {
	hlc, clamped := clock.Correct(t.HLC, t.Offset, b.now, MaxDrift)
	if clamped && !b.clamped {
		b.clamped, b.dirty = true, true
		b.dev.Future = b.now
	}
	return hlc
}

// report logs what is worth a line, after the commit.
func (b *batch) report() {
	if b.parked > 0 {
		b.hub.log.Warn("transactions quarantined", "device", b.dev.ID.String(), "count", b.parked)
	}
	if b.clamped {
		b.hub.log.Warn("device clock is ahead", "device", b.dev.ID.String())
	}
	if b.out.Fork {
		b.hub.log.Warn("device chain forked", "device", b.dev.ID.String(), "incarnation", b.inc.String())
	}
}
