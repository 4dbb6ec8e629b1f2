package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// Records of what happened with a device in the ordinary. Each kind has rings of its
// own, so that what is common does not push out what is rare.
const (
	kindDeed    = "deed"    // by device and slot: Deed
	kindVisit   = "visit"   // by device and slot: Visit
	kindTurning = "turning" // by device: how many deeds there ever were
)

// keptDeeds and keptVisits are how many are kept of each device.
const (
	keptDeeds  = 100
	keptVisits = 100
)

// A Deed is what a person did about a device or its work, or had it do.
type Deed struct {
	Device change.DeviceID `json:"device"`
	N      uint64          `json:"n"`  // 1, 2, 3 … of the device
	At     time.Time       `json:"at"` // by the hub's clock
	Kind   string          `json:"kind"`
	Tx     change.TxID     `json:"tx,omitzero"` // that it is about
	Detail string          `json:"detail,omitempty"`
}

// The kinds of deeds.
const (
	DeedRenamed  = "renamed"
	DeedPaused   = "paused"
	DeedResumed  = "resumed"
	DeedIsolated = "isolated"
	DeedReleased = "released"
	DeedRevoked  = "revoked"
	DeedGranted  = "grants changed"
	DeedAsked    = "asked"
	DeedVerified = "verified"
	DeedSettled  = "settled"
)

// slot is the id of a place in a ring.
func slot(device change.DeviceID, n uint64, kept int) string {
	return fmt.Sprintf("%s/%03d", device, n%uint64(kept))
}

// addDeed keeps a deed, in the place of the oldest one.
func addDeed(tx Tx, d *Deed) error {
	var n uint64
	if err := readRecord(tx, kindTurning, d.Device.String(), &n); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	d.N = n + 1
	if err := writeRecord(tx, kindTurning, d.Device.String(), d.N); err != nil {
		return err
	}
	return writeRecord(tx, kindDeed, slot(d.Device, d.N, keptDeeds), d)
}

// deedsOf lists what is kept of a device, newest first.
func deedsOf(v View, device change.DeviceID) (out []Deed, err error) {
	err = eachUnder(v, kindDeed, device.String()+"/", func(id string, body []byte) error {
		var d Deed
		if err := json.Unmarshal(body, &d); err != nil {
			return fmt.Errorf("decode deed %s: %w", id, err)
		}
		out = append(out, d)
		return nil
	})
	slices.SortFunc(out, func(a, b Deed) int { return int(b.N) - int(a.N) })
	return out, err
}

// settledDeed is what a person did about a parked transaction, and what came of it.
func settledDeed(p *Parked, what string, out []Settled, now time.Time) *Deed {
	d := &Deed{Device: p.Device, At: now.UTC(), Kind: DeedSettled, Tx: p.ID, Detail: "transaction " + p.ID.String() + " was " + what}
	if len(out) == 0 {
		return d
	}
	if out[0].Status == Quarantined {
		d.Detail += " and waits on"
	} else if what != "discarded" {
		d.Detail += " and " + out[0].Status.String()
	}
	d.Detail += because(out[0].Reason)
	if n := len(out) - 1; n > 0 {
		d.Detail += fmt.Sprintf("; %d that depended on it were tried", n)
	}
	return d
}
