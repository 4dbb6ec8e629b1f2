package sim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A packet is a sealed outbox on a USB stick.
type packet struct {
	from  int // site
	body  []byte
	holds map[string]bool
	dead  bool // its site never comes back
	times int  // taken in
}

// newKey makes a device's key, and its public part as a hub keeps it.
func newKey(seed uint64, n int) (ed25519.PrivateKey, []byte, error) {
	var b [ed25519.SeedSize]byte
	_, _ = newRand(seed, fmt.Sprintf("key%d", n)).Read(b[:])
	key := ed25519.NewKeyFromSeed(b[:])
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	return key, spki, err
}

// pack writes a site's sealed outbox.
func (w *world) pack(s *site) error {
	if ready, err := s.ready(); err != nil || !ready {
		return err
	}
	var out bytes.Buffer
	var p *parcel.Writer
	// A hub that may be put back needs what it had confirmed, too.
	all := w.opt.Families&Rollbacks != 0
	n := 0
	err := s.engine.Unsent(all, func(u edge.Unsent) (err error) {
		if u.Recipient == "" {
			return errNoRecipient
		}
		p, err = parcel.NewWriter(&out, parcel.Header{Device: u.Device, Incarnation: u.Incarnation, Recipient: u.Recipient, Lineage: u.Lineage,
			Name: fmt.Sprintf("e%d", s.n), Made: s.clock.world.Now()})
		return err
	}, func(txs []*change.Transaction, confirmed change.Epoch) error {
		n += len(txs)
		return p.Add(txs, confirmed)
	})
	if errors.Is(err, errNoRecipient) {
		return nil
	}
	if err == nil {
		err = p.Close(s.key)
	}
	if err != nil {
		return fmt.Errorf("pack e%d: %w", s.n, err)
	}
	w.logf("e%d is packed, %d transactions", s.n, n)
	w.sometimes("outbox packed")
	w.packets = append(w.packets, &packet{from: s.n, body: out.Bytes(), holds: maps.Clone(s.holds)})
	return nil
}

var errNoRecipient = errors.New("the file never heard whom to seal for")

// bury packs a site and takes its machine out of the world for good.
func (w *world) bury(s *site) error {
	if w.buried || len(w.edges) < 3 {
		return nil
	}
	before := len(w.packets)
	if err := w.pack(s); err != nil || len(w.packets) == before {
		return err
	}
	w.packets[before].dead, w.buried = true, true
	w.cut(s)
	w.logf("e%d dies", s.n)
	w.sometimes("site died")
	if err := errors.Join(s.app.conn.Close(), s.engine.Close()); err != nil {
		return err
	}
	w.edges = slices.DeleteFunc(w.edges, func(o *site) bool { return o == s })
	w.bare(s, nil)
	return w.forget()
}

// carry takes one of the packets to the hub, perhaps not for the first time.
func (w *world) carry() error {
	if len(w.packets) == 0 {
		return nil
	}
	return w.takeIn(w.packets[w.rng.IntN(len(w.packets))])
}

// carryAll takes every packet to the hub at the end of a history.
func (w *world) carryAll() error {
	for _, p := range w.packets {
		if err := w.takeIn(p); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) takeIn(p *packet) error {
	if err := w.turn(); err != nil {
		return err
	}
	h := w.hub.hub
	open, err := h.OpenParcel(bytes.NewReader(p.body), int64(len(p.body)), parcel.Limits())
	if err != nil {
		return fmt.Errorf("open the outbox of e%d: %w", p.from, err)
	}
	out, err := h.TakeParcel(w.ctx, open, hub.ParcelTerms{})
	var fault *wire.Fault
	if errors.As(err, &fault) {
		w.sometimes("outbox refused: " + fault.Code)
		w.logf("outbox of e%d refused: %s", p.from, fault.Code)
		switch {
		case fault.Code == "hub-behind":
			return nil
		case fault.Code == "parcel-gap" && !p.dead:
			return nil // it comes by itself
		case fault.Code == "parcel-gap":
			out, err = h.TakeParcel(w.ctx, open, hub.ParcelTerms{Gap: true})
		}
	}
	if err != nil {
		return fmt.Errorf("take in the outbox of e%d: %w", p.from, err)
	}
	if p.times++; p.times > 1 {
		w.sometimes("outbox taken in again")
	}
	w.sometimes("outbox taken in")
	w.logf("outbox of e%d: %d transactions, %d known", p.from, out.Count, out.Known)
	return nil
}
