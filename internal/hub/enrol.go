package hub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// DefaultInvite is how long a join token stays good.
const DefaultInvite = 24 * time.Hour

// An Invite is what a new device needs to join, once.
type Invite struct {
	Device  change.DeviceID
	Secret  string // shown once; the hub keeps only its hash
	Expires time.Time
}

// invite is the hub's side of an Invite.
type invite struct {
	Device  change.DeviceID `json:"device"`
	Expires time.Time       `json:"expires"`
	Used    change.Hash     `json:"used"` // fingerprint of the key that took it; zero while open
}

// AddDevice registers a device that may join with the returned secret until ttl
// has passed (0: DefaultInvite). No grants means read and write everywhere tables
// have `scope: all`.
func (h *Hub) AddDevice(ctx context.Context, name string, grants []rule.Grant, ttl time.Duration) (Invite, error) {
	if strings.TrimSpace(name) == "" {
		return Invite{}, errors.New("add device: it needs a name")
	}
	if len(grants) == 0 {
		grants = []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}
	}
	grants, err := h.checkGrants(grants)
	if err != nil {
		return Invite{}, fmt.Errorf("add device %s: %w", name, err)
	}
	if ttl <= 0 {
		ttl = DefaultInvite
	}
	id, err := h.newDeviceID()
	if err != nil {
		return Invite{}, fmt.Errorf("add device %s: %w", name, err)
	}
	var secret [24]byte
	if err := h.draw(secret[:]); err != nil {
		return Invite{}, fmt.Errorf("add device %s: %w", name, err)
	}
	now := h.clock.Now()
	inv := Invite{Device: id, Secret: base64.RawURLEncoding.EncodeToString(secret[:]), Expires: now.Add(ttl)}
	d := &Device{ID: id, Name: name, Grants: grants, State: Invited, Created: now}
	err = h.store.Update(ctx, func(tx Tx) error {
		if err := writeRecord(tx, kindInvite, secretID(inv.Secret), invite{Device: id, Expires: inv.Expires}); err != nil {
			return err
		}
		return h.saveDevice(tx, d)
	})
	if err != nil {
		return Invite{}, fmt.Errorf("add device %s: %w", name, err)
	}
	h.log.Info("device added", "device", id.String(), "name", name)
	return inv, nil
}

func secretID(secret string) string {
	return change.Hash(sha256.Sum256([]byte(secret))).String()
}

// Fingerprint names a public key: the SHA-256 of its SubjectPublicKeyInfo (DER).
func Fingerprint(spki []byte) change.Hash { return change.Hash(sha256.Sum256(spki)) }

// Join takes a one-time secret and binds the device it was made for to a public
// key (SubjectPublicKeyInfo, DER). The same secret with the same key gives the
// same answer again, since an answer may get lost. Refusals are *wire.Fault.
func (h *Hub) Join(ctx context.Context, secret string, spki []byte) (change.DeviceID, *wire.Setup, error) {
	key := Fingerprint(spki)
	now := h.clock.Now()
	var d *Device
	fresh := false
	err := h.store.Update(ctx, func(tx Tx) error {
		var inv invite
		err := readRecord(tx, kindInvite, secretID(secret), &inv)
		if errors.Is(err, ErrNotFound) {
			return tokenFault("token-unknown", "this join token is not known here, or was revoked")
		}
		if err != nil {
			return err
		}
		if inv.Used != (change.Hash{}) && inv.Used != key {
			return tokenFault("token-used", "this join token was already used by another device")
		}
		if now.After(inv.Expires) {
			return tokenFault("token-expired", "this join token expired at "+inv.Expires.UTC().Format(time.RFC3339))
		}
		if d, err = readDevice(tx, inv.Device); err != nil {
			return err
		}
		if d.State == Revoked {
			return revokedFault(d)
		}
		if inv.Used == key {
			return nil
		}
		if _, err := tx.Record(kindKey, key.String()); err == nil {
			return &wire.Fault{Code: "key-taken", Message: "this key already belongs to a device", Hint: "let the new device make its own key", Fatal: true}
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		fresh, inv.Used = true, key
		d.Key, d.State = key, Active
		if err := writeRecord(tx, kindInvite, secretID(secret), inv); err != nil {
			return err
		}
		if err := writeRecord(tx, kindKey, key.String(), d.ID); err != nil {
			return err
		}
		return h.saveDevice(tx, d)
	})
	if err != nil {
		return change.DeviceID{}, nil, fmt.Errorf("join: %w", err)
	}
	if fresh {
		h.log.Info("device joined", "device", d.ID.String(), "name", d.Name)
	}
	return d.ID, h.Setup(), nil
}

func tokenFault(code, msg string) *wire.Fault {
	return &wire.Fault{Code: code, Message: msg, Hint: "make a new one at the hub: tidemark device add", Fatal: true}
}

// Authenticate says which device a key belongs to. Refusals are *wire.Fault.
func (h *Hub) Authenticate(ctx context.Context, fingerprint change.Hash) (change.DeviceID, error) {
	var id change.DeviceID
	err := h.store.View(ctx, func(v View) error {
		err := readRecord(v, kindKey, fingerprint.String(), &id)
		if errors.Is(err, ErrNotFound) {
			return &wire.Fault{Code: "unknown-device", Message: "no device has this key", Hint: "join with a token first", Fatal: true}
		}
		if err != nil {
			return err
		}
		if _, err = activeDevice(v, id); err != nil {
			if isPaused(err) {
				return nil // its Hello says what work waits with it, and is turned away
			}
			if some, e := keyed(v, id); e != nil || some {
				return e // a Hello says which
			}
		}
		return err
	})
	if err != nil {
		return change.DeviceID{}, fmt.Errorf("authenticate: %w", err)
	}
	return id, nil
}

// Revoke shuts a device out, from its next message on. Its parked work stays.
func (h *Hub) Revoke(ctx context.Context, id change.DeviceID, reason string) error {
	_, err := h.RevokeAt(ctx, id, reason, "")
	return err
}

// SetGrants replaces a device's rights. A connected device hears of it at its
// next pull.
func (h *Hub) SetGrants(ctx context.Context, id change.DeviceID, grants []rule.Grant) error {
	_, err := h.SetGrantsAt(ctx, id, grants, "")
	return err
}

func (h *Hub) change(ctx context.Context, id change.DeviceID, fn func(*Device)) error {
	return h.share(ctx, func(tx Tx) error {
		d, err := readDevice(tx, id)
		if err != nil {
			return err
		}
		fn(d)
		return h.saveDevice(tx, d)
	})
}

// checkGrants refuses scopes that no table has, and returns the grants in scope
// order, each with Read.
func (h *Hub) checkGrants(grants []rule.Grant) ([]rule.Grant, error) {
	kinds := map[string]bool{}
	for _, t := range h.shape.Load().tables {
		if k := t.rule.Scope.Kind; k != "" {
			kinds[k] = true
		}
	}
	verbs := map[rule.ScopeID]rule.Verb{}
	for _, g := range grants {
		kind, value, _ := strings.Cut(string(g.Scope), "/")
		if g.Scope != rule.ScopeAll && (!kinds[kind] || value == "") {
			return nil, &InputError{"grants", fmt.Sprintf("scope %q: no table has this kind of scope; known are %s", g.Scope, kindList(kinds))}
		}
		verbs[g.Scope] |= g.Verbs&rule.Every | rule.Read
	}
	out := make([]rule.Grant, 0, len(verbs))
	for s, v := range verbs {
		out = append(out, rule.Grant{Scope: s, Verbs: v})
	}
	slices.SortFunc(out, func(a, b rule.Grant) int { return strings.Compare(string(a.Scope), string(b.Scope)) })
	return out, nil
}

func kindList(kinds map[string]bool) string {
	out := []string{string(rule.ScopeAll)}
	for k := range kinds {
		out = append(out, k+"/…")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
