package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// EventParcel is the kind of an event: work of the device came as a sealed outbox.
const EventParcel = "outbox"

// ParcelTerms are what an operator accepts of a sealed outbox that the hub would
// refuse. The zero value is what a device may hand in for another one.
type ParcelTerms struct {
	Revoked  bool            // work of a revoked device, under the rights it had
	Unsigned bool            // without the device's signature, or with one that cannot be checked
	Gap      bool            // although earlier work of the device is missing here
	As       change.DeviceID // as this device's work; zero: as that of the device that packed it
	Carrier  change.DeviceID // who brought it; zero: the operator
}

// A ParcelTaken is what became of a sealed outbox.
type ParcelTaken struct {
	Device  change.DeviceID // whose work it counts as
	Name    string
	From    parcel.Header
	Count   int             // transactions in it
	Known   int             // of these the hub had already
	Results []wire.TxResult // in the order of the work; Seq is the device's own
}

// sealFor tells devices whom to seal for, as part of the Setup.
func (h *Hub) sealFor(s *shape) (err error) {
	if h.parcelKey == nil {
		return nil
	}
	s.setup.Recipient = h.parcelKey.Recipient()
	s.setup.Hash, err = hashSetup(s.setup)
	return err
}

// OpenParcel opens a sealed outbox of size bytes and checks it. Refusals are
// *wire.Fault. r must not change while the parcel is in use.
func (h *Hub) OpenParcel(r io.ReaderAt, size int64, lim change.Limits) (*parcel.Parcel, error) {
	if h.parcelKey == nil {
		return nil, &wire.Fault{Code: "parcel-key", Message: "this hub has no key for sealed outboxes", Hint: "start it with its data directory"}
	}
	p, err := parcel.Open(r, size, h.parcelKey, lim)
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, parcel.ErrFormat):
		return nil, &wire.Fault{Code: "parcel-format", Message: err.Error(), Hint: "name a file that tidemark outbox export wrote; a newer one needs a newer hub"}
	case errors.Is(err, parcel.ErrKey):
		return nil, &wire.Fault{Code: "parcel-key", Message: err.Error() + ", " + h.parcelKey.Recipient(),
			Hint: "take it to the hub that the device belongs to; of a hub set up anew, add the line AGE-SECRET-KEY-1… of its old parcel.key at the end of parcel.key"}
	case errors.Is(err, parcel.ErrSignature):
		return nil, &wire.Fault{Code: "parcel-signature", Message: err.Error(), Hint: "somebody changed it: export it again from the device's file"}
	case errors.Is(err, parcel.ErrDamaged):
		return nil, &wire.Fault{Code: "parcel-damaged", Message: err.Error(), Hint: "copy it again, or export it again; nothing was taken in"}
	case errors.Is(err, change.ErrTooLarge):
		return nil, &wire.Fault{Code: "oversized", Message: err.Error(), Hint: "take the file to the hub: tidemark outbox import FILE --data DIR"}
	}
	return nil, fmt.Errorf("open sealed outbox: %w", err)
}

// TakeParcel takes in the work of an opened outbox, exactly once: what came before,
// by whatever way, changes nothing. Interrupted, it can be done again. Refusals are
// *wire.Fault, and nothing was taken in then.
//
// The transactions continue the device's own chain where they fit, so that the
// device, should it come back to life, finds them handed in. Where they do not,
// because the file is a copy and another copy went on, they get a chain of their
// own, as the edge itself would give them; their uuids keep them single.
func (h *Hub) TakeParcel(ctx context.Context, p *parcel.Parcel, terms ParcelTerms) (*ParcelTaken, error) {
	if err := h.standstill(); err != nil {
		return nil, fmt.Errorf("sealed outbox of device %s: %w", p.Device, err)
	}
	out := &ParcelTaken{From: p.Header, Count: p.Count, Device: p.Device}
	if !terms.As.IsZero() {
		out.Device = terms.As
	}
	if err := h.view(ctx, func(v View) error { return out.look(v, p, terms) }); err != nil {
		return nil, fmt.Errorf("sealed outbox of device %s: %w", p.Device, err)
	}
	c := &carting{h: h, terms: terms, device: out.Device, hash: p.Hash, apart: !terms.As.IsZero() && terms.As != p.Device}
	err := p.Each(func(txs []*change.Transaction, confirmed change.Epoch) error {
		return c.batch(ctx, txs, &wire.Push{Confirmed: confirmed, Lineage: change.Line(p.Lineage, confirmed)})
	})
	if err == nil && p.Count > 0 {
		err = h.update(ctx, func(tx Tx) error {
			return addEvent(tx, out.Device, h.clock.Now(), EventParcel, out.sentence(terms))
		})
	}
	if err != nil {
		return nil, fmt.Errorf("sealed outbox of device %s: %w", p.Device, err)
	}
	out.Results = c.results
	h.log.Info("sealed outbox taken in", "device", out.Device.String(), "count", out.Count, "known", out.Known)
	return out, nil
}

// look refuses what the terms do not accept, and counts what is known already.
func (out *ParcelTaken) look(v View, p *parcel.Parcel, terms ParcelTerms) error {
	d, err := out.sender(v, p, terms)
	if err == nil {
		err = mayCome(v, d, p.Incarnation, terms)
	}
	if err != nil {
		return err
	}
	out.Name, out.Known = d.Name, 0
	if p.Name == "" {
		out.From.Name = d.Name
	}
	entered := map[change.Incarnation]bool{}
	return p.Each(func(txs []*change.Transaction, _ change.Epoch) error {
		for _, t := range txs {
			if _, err := v.Known(t.ID); err == nil {
				out.Known++
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			if entered[t.Incarnation] || terms.Gap {
				continue
			}
			entered[t.Incarnation] = true
			had, err := v.Progress(t.Incarnation)
			if err != nil {
				return err
			}
			if t.Seq > had.Seq+1 {
				return &wire.Fault{Code: "parcel-gap", Message: fmt.Sprintf("transactions %d to %d of %s, which come before those in the outbox, are not at this hub", had.Seq+1, t.Seq-1, d.Name),
					Hint: "the hub was set back, or an export is missing: tidemark outbox export FILE OUT --all packs everything the file still has; --accept-gap takes this without what is missing", Fatal: true}
			}
		}
		return nil
	})
}

// sender finds the device whose work it counts as, and compares the signature.
func (out *ParcelTaken) sender(v View, p *parcel.Parcel, terms ParcelTerms) (*Device, error) {
	d, err := readDevice(v, out.Device)
	if errors.Is(err, ErrNotFound) {
		return nil, &wire.Fault{Code: "unknown-device", Message: "this hub does not know device " + out.Device.String() + " (" + p.Name + ")",
			Hint: "it is another hub's, or joined after the state to which this hub was set back: --as DEVICE --accept-unsigned takes the work as another device's", Fatal: true}
	}
	switch {
	case err != nil:
		return nil, err
	case d.State == Invited:
		return nil, &wire.Fault{Code: "unknown-device", Message: "device " + d.Name + " never joined", Hint: "tidemark device list shows those that did", Fatal: true}
	case d.State == Revoked && !terms.Revoked:
		f := revokedFault(d)
		f.Hint = "if the work is wanted all the same: tidemark outbox import FILE --data DIR --accept-revoked, at the hub"
		return nil, f
	case terms.Unsigned:
	case p.Signer == (change.Hash{}):
		return nil, &wire.Fault{Code: "parcel-unsigned", Message: "the outbox is not signed: the device's key was not beside the file when it was packed",
			Hint: "if you know where it comes from: tidemark outbox import FILE --data DIR --accept-unsigned, at the hub", Fatal: true}
	case p.Signer != d.Key:
		return nil, &wire.Fault{Code: "parcel-signature", Message: "the outbox was not signed by " + d.Name + ", but with another key, " + p.Signer.String()[:12],
			Hint: "if you know where it comes from: tidemark outbox import FILE --data DIR --accept-unsigned, at the hub", Fatal: true}
	}
	return d, nil
}

// mayCome refuses the work of a copy that may not speak for itself. The operator's
// own import is his word.
func mayCome(v View, d *Device, inc change.Incarnation, terms ParcelTerms) error {
	rec, err := readLives(v, d.ID)
	if err != nil {
		return err
	}
	life := rec.find(inc)
	if life == nil || life.Ended != "" && terms.Revoked || life.Ended == "" && terms.Carrier.IsZero() {
		return nil
	}
	return life.refused()
}

func (out *ParcelTaken) sentence(terms ParcelTerms) string {
	by := "the operator"
	if !terms.Carrier.IsZero() {
		by = "device " + terms.Carrier.String()
	}
	s := fmt.Sprintf("a sealed outbox, packed %s, came by %s; transactions in it: %d, here already: %d",
		out.From.Made.UTC().Format(time.RFC3339), by, out.Count, out.Known)
	if out.Device != out.From.Device {
		s += "; it is the work of device " + out.From.Device.String()
	}
	return s
}

// A carting hands in the batches of a parcel.
type carting struct {
	h       *Hub
	terms   ParcelTerms
	device  change.DeviceID
	hash    change.Hash
	results []wire.TxResult

	apart  bool               // all of it is handed in under a chain of its own
	forked change.Incarnation // what follows of this one is, too
	inc    change.Incarnation // of that chain, its last seq and sum
	seq    uint64
	prev   change.Hash
}

// batch hands in one batch, the part of each incarnation by itself; m is what a push
// would say of it.
func (c *carting) batch(ctx context.Context, txs []*change.Transaction, m *wire.Push) error {
	for len(txs) > 0 {
		inc := txs[0].Incarnation
		n := slices.IndexFunc(txs, func(t *change.Transaction) bool { return t.Incarnation != inc })
		if n < 0 {
			n = len(txs)
		}
		if err := c.part(ctx, txs[:n], m); err != nil {
			return err
		}
		txs = txs[n:]
	}
	return nil
}

func (c *carting) part(ctx context.Context, txs []*change.Transaction, m *wire.Push) error {
	if c.apart || txs[0].Incarnation == c.forked {
		return c.chained(ctx, txs, m)
	}
	res, err := c.push(ctx, txs, m)
	if err != nil {
		return err
	}
	c.results = append(c.results, res.Results...)
	if rest := txs[len(res.Results):]; res.Fork && len(rest) > 0 {
		c.forked = rest[0].Incarnation
		return c.chained(ctx, rest, m)
	}
	return nil
}

// chained hands in transactions under an incarnation that belongs to this parcel
// alone: the same each time that it is taken in from the same place on.
func (c *carting) chained(ctx context.Context, txs []*change.Transaction, m *wire.Push) error {
	if c.inc.IsZero() {
		h := sha256.New()
		fmt.Fprintf(h, "tidemark outbox\n%s\n%s\n%s\n", c.hash, c.device, txs[0].ID)
		copy(c.inc[:], h.Sum(nil))
	}
	own := make([]uint64, len(txs))
	for i, t := range txs {
		own[i] = t.Seq
		c.seq++
		t.Device, t.Incarnation, t.Seq, t.Prev = c.device, c.inc, c.seq, c.prev
		c.prev = t.Sum()
	}
	res, err := c.push(ctx, txs, m)
	if err != nil {
		return err
	}
	if res.Fork {
		return fmt.Errorf("the chain of incarnation %s does not continue", c.inc)
	}
	for i, r := range res.Results {
		r.Seq = own[i]
		c.results = append(c.results, r)
	}
	return nil
}

func (c *carting) push(ctx context.Context, txs []*change.Transaction, m *wire.Push) (wire.PushResult, error) {
	b, err := c.h.take(ctx, txs, m, func(tx Tx) (*batch, error) {
		d, err := readDevice(tx, c.device)
		if err != nil {
			return nil, err
		}
		if d.State == Revoked && !c.terms.Revoked {
			return nil, revokedFault(d)
		}
		b, err := c.h.batchFor(tx, d)
		if err == nil {
			b.review.carried = true
		}
		return b, err
	})
	if err != nil {
		return wire.PushResult{}, err
	}
	return b.out, nil
}

// parcel takes in another device's sealed outbox once its last part is here.
func (s *Session) parcel(ctx context.Context, m *wire.Parcel, emit func(wire.Message) error) error {
	s.hub.note(s.device, func(*presence) {})
	lim := s.unpack()
	body, err := s.carted.take(m.Body, m.More, s.hub.limits.Frame, lim.Encoded)
	if err != nil {
		return s.fail("parcel", err)
	}
	if m.More {
		return nil
	}
	if err := s.hub.view(ctx, func(v View) error { _, err := activeDevice(v, s.device); return err }); err != nil {
		return s.fail("parcel", err)
	}
	p, err := s.hub.OpenParcel(bytes.NewReader(body), int64(len(body)), lim)
	if err != nil {
		return s.fail("parcel", err)
	}
	out, err := s.hub.TakeParcel(ctx, p, ParcelTerms{Carrier: s.device})
	if err != nil {
		return s.fail("parcel", err)
	}
	return emit(&wire.ParcelResult{Device: out.Device, Name: out.Name, Known: uint32(out.Known), Results: out.Results})
}
