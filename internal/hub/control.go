package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A Control is what a person said about a device.
type Control struct {
	Paused   *Bar     `json:"paused,omitempty"`   // its sessions are turned away
	Isolated *Bar     `json:"isolated,omitempty"` // what it hands in is parked
	Asked    []string `json:"asked,omitempty"`    // what it was asked for and has not begun
}

// A Bar is what a person put in a device's way.
type Bar struct {
	At     time.Time `json:"at"` // by the hub's clock
	Reason string    `json:"reason,omitempty"`
}

// A Version names a state of something that people edit. An edit that names the version
// its author saw is refused with ErrStale when somebody else was faster; "" stands for
// any. What changes by itself does not count.
type Version string

// ErrStale means that something was changed since the version that an edit names.
var ErrStale = errors.New("it was changed meanwhile")

// ErrRevoked means that a device was revoked, so that there is nothing to be done to it.
var ErrRevoked = errors.New("the device was revoked")

// An InputError says what is wrong with what a person entered.
type InputError struct {
	Field  string // whose value it is: "name", "grants", "policy" …
	Detail string // what is wrong, and what would do
}

func (e *InputError) Error() string { return e.Detail }

func versionOf(v any) Version {
	b, err := json.Marshal(v)
	if err != nil { // of plain data: it cannot be
		return Version("unknown: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return Version(hex.EncodeToString(sum[:6]))
}

// check refuses an edit of another version than v.
func (v Version) check(now Version) error {
	if v != "" && v != now {
		return ErrStale
	}
	return nil
}

// DeviceVersion is the version of what people decide about a device.
func DeviceVersion(d *Device) Version {
	return versionOf(struct {
		ID               change.DeviceID
		Name             string
		Key              change.Hash
		Grants           []rule.Grant
		State            DeviceState
		Reason           string
		CopyOf           change.DeviceID
		Paused, Isolated *Bar
	}{d.ID, d.Name, d.Key, d.Grants, d.State, d.Reason, d.CopyOf, d.Control.Paused, d.Control.Isolated})
}

// ParkedVersion is the version of a transaction in quarantine.
func ParkedVersion(p *Parked) Version {
	return versionOf(struct {
		ID        change.TxID
		Code      string
		Reason    string
		DependsOn []change.TxID
		Edited    bool
		Dropped   int
		Contested bool
		Absent    bool
		Tx        []byte
	}{p.ID, p.Code, p.Reason, p.DependsOn, p.Edited, p.Dropped, p.Contested, p.Absent, p.Tx})
}

// pauseRetry is how soon the agent of a paused device asks again.
const pauseRetry = 30 * time.Second

func pausedFault(d *Device) *wire.Fault {
	return &wire.Fault{Code: "paused", Message: "device " + d.Name + " (" + d.ID.String() + ") was paused at the hub" + because(d.Control.Paused.Reason),
		Hint: "work stays in the file and is handed in when the hub's operator resumes the device", RetryAfter: pauseRetry}
}

func isPaused(err error) bool {
	f, ok := errors.AsType[*wire.Fault](err)
	return ok && f.Code == "paused"
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// alter changes what people decide about a device, keeps a deed of it, and makes the
// device's sessions look.
func (h *Hub) alter(ctx context.Context, id change.DeviceID, v Version, fn func(*Device) (deed Deed, err error)) (*Device, error) {
	var out *Device
	var done Deed
	err := h.store.Update(ctx, func(tx Tx) error {
		d, err := readDevice(tx, id)
		if err != nil {
			return err
		}
		if err := v.check(DeviceVersion(d)); err != nil {
			return err
		}
		if done, err = fn(d); err != nil {
			return err
		}
		if err := h.saveDevice(tx, d); err != nil {
			return err
		}
		out = d
		if done.Kind == "" {
			return nil
		}
		done.Device, done.At = id, h.clock.Now().UTC()
		return addDeed(tx, &done)
	})
	if err != nil {
		return nil, err
	}
	h.bump(id)
	if done.Kind != "" {
		h.log.Info("device "+done.Kind, "device", id.String())
	}
	return out, nil
}

// maxName is the most that a device's name may have, in bytes.
const maxName = 200

// checkName returns a device's name as it is kept.
func checkName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", &InputError{"name", "it needs a name"}
	case len(name) > maxName:
		return "", &InputError{"name", fmt.Sprintf("the name has %d bytes, the most is %d", len(name), maxName)}
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", &InputError{"name", "a name has no control characters"}
	}
	return name, nil
}

// Rename gives a device another name. Several may have one.
func (h *Hub) Rename(ctx context.Context, id change.DeviceID, name string, v Version) (*Device, error) {
	name, err := checkName(name)
	if err != nil {
		return nil, fmt.Errorf("rename device %s: %w", id, err)
	}
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		was := d.Name
		d.Name = name
		return Deed{Kind: DeedRenamed, Detail: was + " is called " + name + " now"}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("rename device %s: %w", id, err)
	}
	return d, nil
}

// Pause turns a device's sessions away until Resume, the present one included. Its work
// stays with it; it asks again every half a minute.
func (h *Hub) Pause(ctx context.Context, id change.DeviceID, reason string, v Version) (*Device, error) {
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		if d.State == Revoked {
			return Deed{}, ErrRevoked
		}
		d.Control.Paused = &Bar{At: h.clock.Now().UTC(), Reason: reason}
		return Deed{Kind: DeedPaused, Detail: reason}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("pause device %s: %w", id, err)
	}
	return d, nil
}

// Resume ends a Pause. Of a device that is not paused it changes nothing.
func (h *Hub) Resume(ctx context.Context, id change.DeviceID, v Version) (*Device, error) {
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		if d.Control.Paused == nil {
			return Deed{}, nil
		}
		d.Control.Paused = nil
		return Deed{Kind: DeedResumed}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("resume device %s: %w", id, err)
	}
	return d, nil
}

// RevokeAt is Revoke of the version that somebody saw.
func (h *Hub) RevokeAt(ctx context.Context, id change.DeviceID, reason string, v Version) (*Device, error) {
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		d.State, d.Reason = Revoked, reason
		return Deed{Kind: DeedRevoked, Detail: reason}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("revoke device %s: %w", id, err)
	}
	return d, nil
}

// SetGrantsAt is SetGrants of the version that somebody saw.
func (h *Hub) SetGrantsAt(ctx context.Context, id change.DeviceID, grants []rule.Grant, v Version) (*Device, error) {
	grants, err := h.checkGrants(grants)
	if err != nil {
		return nil, fmt.Errorf("set grants of device %s: %w", id, err)
	}
	d, err := h.alter(ctx, id, v, func(d *Device) (Deed, error) {
		d.Grants = grants
		return Deed{Kind: DeedGranted, Detail: grantText(grants)}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("set grants of device %s: %w", id, err)
	}
	return d, nil
}

// grantText is a list of grants for people.
func grantText(grants []rule.Grant) string {
	list := make([]string, len(grants))
	for i, g := range grants {
		list[i] = string(g.Scope) + " (" + verbText(g.Verbs) + ")"
	}
	return strings.Join(list, ", ")
}

func verbText(v rule.Verb) string {
	var list []string
	for _, w := range []struct {
		bit  rule.Verb
		name string
	}{{rule.Read, "read"}, {rule.Insert, "insert"}, {rule.Update, "update"}, {rule.Delete, "delete"}} {
		if v&w.bit != 0 {
			list = append(list, w.name)
		}
	}
	return strings.Join(list, ", ")
}
