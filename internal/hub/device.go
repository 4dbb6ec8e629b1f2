package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Kinds of records the hub keeps in its store.
const (
	kindDevice      = "device"      // by DeviceID: Device
	kindKey         = "key"         // by key fingerprint: DeviceID
	kindInvite      = "invite"      // by SHA-256 of the secret: invite
	kindIncarnation = "incarnation" // by Incarnation: DeviceID
	kindParked      = "parked"      // by device and order of arrival: Parked
	kindSalvage     = "salvage"     // likewise: Parked of rows that the hub lost
	kindReceipt     = "receipt"     // by time and random tail: Receipt
	kindVersion     = "version"     // by uuid: journal ids of records with other content (trap D22)
	kindWaits       = "waits"       // by journal id: places of the operations of a split group that wait
	kindEcho        = "echo"        // by journal id: journal ids of the same content, which share its outcome
)

// DeviceState is where a device stands with the hub.
type DeviceState string

// The device states.
const (
	Invited DeviceState = "invited" // a join token is out
	Active  DeviceState = "active"
	Revoked DeviceState = "revoked"
)

// A Device is what the hub knows of one device. Times are by the hub's clock.
type Device struct {
	ID           change.DeviceID      `json:"id"`
	Name         string               `json:"name"`
	Key          change.Hash          `json:"key"` // SHA-256 of the public key's SPKI; zero until it joined
	Grants       []rule.Grant         `json:"grants"`
	State        DeviceState          `json:"state"`
	Reason       string               `json:"reason,omitempty"` // why it was revoked
	Created      time.Time            `json:"created"`
	Seen         time.Time            `json:"seen,omitzero"`     // last message
	Progress     time.Time            `json:"progress,omitzero"` // last push or pull that moved something
	Incarnations []change.Incarnation `json:"incarnations,omitempty"`
	Offset       time.Duration        `json:"offset"`           // hub clock − device clock, ns, at the last Hello
	Future       time.Time            `json:"future,omitzero"`  // when its clock was last cut down (trap D6)
	Agent        string               `json:"agent,omitempty"`  // build it runs
	Cursor       change.Cursor        `json:"cursor"`           // last state it was given
	Status       wire.EdgeStatus      `json:"status"`           // what it last said of itself
	CopyOf       change.DeviceID      `json:"copy_of,omitzero"` // the device whose file was copied; both have its key
	Control      Control              `json:"control,omitzero"`
	Ended        time.Time            `json:"ended,omitzero"`  // its last session; a later Seen is of the present one
	Visits       uint64               `json:"visits,omitzero"` // sessions that were put down
	Download     Download             `json:"-"`               // under way with this process
}

// presence is what changes too often to be written each time; it reaches the
// device's record with the next write to it.
type presence struct {
	seen, progress time.Time
	cursor         change.Cursor
	status         *wire.EdgeStatus
	noted          time.Time // seen, as the record has it
	ended          time.Time // its last session in this process
	download       Download
	verified       time.Time         // of the last comparison that it told of here
	shape          change.SchemaHash // that the file has, and all is noted of it; zero: to be looked up
}

// note updates a device's presence.
func (h *Hub) note(id change.DeviceID, fn func(*presence)) {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	p := h.seen[id]
	if p == nil {
		p = &presence{}
		h.seen[id] = p
	}
	p.seen = h.clock.Now()
	fn(p)
}

// refresh copies what is newer in memory into the record.
func (h *Hub) refresh(d *Device) {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	p := h.seen[d.ID]
	if p == nil {
		return
	}
	if p.ended.After(d.Ended) {
		d.Ended = p.ended
	}
	if p.seen.Before(d.Seen) { // another process spoke with it since
		return
	}
	d.Seen, d.Download = p.seen, p.download
	if p.progress.After(d.Progress) {
		d.Progress = p.progress
	}
	if !p.cursor.IsZero() {
		d.Cursor = p.cursor
	}
	if p.status != nil {
		was := d.Status.Verified
		if d.Status = *p.status; d.Status.Verified == nil { // its agent may have been started again
			d.Status.Verified = was
		}
	}
}

func readDevice(v View, id change.DeviceID) (*Device, error) {
	d := &Device{}
	if err := readRecord(v, kindDevice, id.String(), d); err != nil {
		return nil, err
	}
	return d, nil
}

// activeDevice reads a device and refuses the ones that may not speak.
func activeDevice(v View, id change.DeviceID) (*Device, error) {
	d, err := readDevice(v, id)
	if errors.Is(err, ErrNotFound) {
		return nil, &wire.Fault{Code: "unknown-device", Message: "this hub does not know device " + id.String(),
			Hint: "join again with a new token", Fatal: true}
	}
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", id, err)
	}
	if d.State != Active {
		return nil, revokedFault(d)
	}
	if d.Control.Paused != nil {
		return nil, pausedFault(d)
	}
	return d, nil
}

func revokedFault(d *Device) *wire.Fault {
	msg := "device " + d.Name + " (" + d.ID.String() + ") was revoked"
	if d.Reason != "" {
		msg += ": " + d.Reason
	}
	return &wire.Fault{Code: "revoked", Message: msg, Hint: "unsent work stays in the file; ask the hub's operator to add the device again", Fatal: true}
}

func (h *Hub) saveDevice(tx Tx, d *Device) error {
	h.refresh(d)
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode device %s: %w", d.ID, err)
	}
	if err := tx.PutRecord(kindDevice, d.ID.String(), body); err != nil {
		return fmt.Errorf("write device %s: %w", d.ID, err)
	}
	h.roster.keep(d, body)
	return nil
}

// Device returns one device, or ErrNotFound.
func (h *Hub) Device(ctx context.Context, id change.DeviceID) (*Device, error) {
	var d *Device
	err := h.store.View(ctx, func(v View) (err error) {
		d, err = readDevice(v, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	h.refresh(d)
	return d, nil
}

// Devices lists all devices, revoked ones included, by id.
func (h *Hub) Devices(ctx context.Context) ([]Device, error) {
	var out []Device
	err := h.store.View(ctx, func(v View) error {
		return eachDevice(v, func(d *Device) error {
			out = append(out, *d)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	for i := range out {
		h.refresh(&out[i])
	}
	return out, nil
}

// eachDevice calls fn for each device, by id.
func eachDevice(v View, fn func(*Device) error) error {
	return eachRecord(v, kindDevice, "", func(id string, body []byte) error {
		d := &Device{}
		if err := json.Unmarshal(body, d); err != nil {
			return fmt.Errorf("decode device %s: %w", id, err)
		}
		return fn(d)
	})
}

// readRecord decodes one record, or returns ErrNotFound.
func readRecord(v View, kind, id string, into any) error {
	b, err := v.Record(kind, id)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("decode %s record %s: %w", kind, id, err)
	}
	return nil
}

func writeRecord(tx Tx, kind, id string, from any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %s record %s: %w", kind, id, err)
	}
	if err := tx.PutRecord(kind, id, b); err != nil {
		return fmt.Errorf("write %s record %s: %w", kind, id, err)
	}
	return nil
}

// errStop ends a walk early without being an error.
var errStop = errors.New("stop")

// eachUnder calls fn for each record of a kind whose id begins with prefix, in id
// order.
func eachUnder(v View, kind, prefix string, fn func(id string, body []byte) error) error {
	return walk(v, kind, prefix, "", fn)
}

// eachRecord calls fn for each record of a kind after an id, in id order, until
// fn returns errStop.
func eachRecord(v View, kind, after string, fn func(id string, body []byte) error) error {
	return walk(v, kind, "", after, fn)
}

func walk(v View, kind, prefix, after string, fn func(id string, body []byte) error) error {
	return turnPages(v.Records, kind, prefix, after, fn)
}

// turnPages calls fn for each record that read lists from an id on, in its order.
func turnPages(read func(kind, prefix, from string, limit int) ([]Record, error), kind, prefix, from string, fn func(id string, body []byte) error) error {
	const page = 256
	for {
		list, err := read(kind, prefix, from, page)
		if err != nil {
			return fmt.Errorf("read %s records: %w", kind, err)
		}
		for _, r := range list {
			if err := fn(r.ID, r.Body); err != nil {
				if errors.Is(err, errStop) {
					return nil
				}
				return err
			}
			from = r.ID
		}
		if len(list) < page {
			return nil
		}
	}
}
