package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/parcel"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// kindKeyring is the record, "", by which a shared database knows the keys of its hubs.
const kindKeyring = "keyring"

// A keyring is what a hub's keys are known by. All processes that serve one database
// have the same ones: to devices they are one hub.
type keyring struct {
	TLS    string `json:"tls"`  // the pin of the certificate
	Seal   string `json:"seal"` // SHA-256, as are the other two
	Parcel string `json:"parcel"`
	Where  string `json:"where"` // machine and directory of who made them
}

// ErrKeys says that a data directory has not got the keys that the database knows.
var ErrKeys = errors.New("the keys are not those that the database's devices know")

// loadKeys reads the keys of a directory, and makes those that are missing.
func (d HubDir) loadKeys(r io.Reader) (ring keyring, sealed *parcel.Key, seal []byte, err error) {
	if sealed, err = parcel.LoadOrCreateKey(d.parcelKey()); err != nil {
		return ring, nil, nil, err
	}
	if seal, err = loadSealKey(d.sealKey(), r); err != nil {
		return ring, nil, nil, err
	}
	return keyring{Seal: fingerprint(seal), Parcel: fingerprint([]byte(sealed.Recipient()))}, sealed, seal, nil
}

func fingerprint(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sharedKeys is loadKeys for a database that others may serve: keys are made by who
// comes first; the others have copies.
func (d HubDir) sharedKeys(ctx context.Context, s hub.Store, r io.Reader) (_ *parcel.Key, _ []byte, err error) {
	known, err := readKeyring(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if known != nil {
		if err := d.lacks(known); err != nil {
			return nil, nil, err
		}
	}
	own, sealed, seal, err := d.loadKeys(r)
	if err != nil {
		return nil, nil, err
	}
	id, err := transport.LoadOrCreateIdentity(d.tls(), r)
	if err != nil {
		return nil, nil, err
	}
	own.TLS = id.Pin().String()
	if known == nil {
		if known, err = d.writeKeyring(ctx, s, own); err != nil {
			return nil, nil, err
		}
	}
	var other []string
	for _, k := range []struct{ file, own, known string }{{"tls/", own.TLS, known.TLS}, {"seal.key", own.Seal, known.Seal}, {"parcel.key", own.Parcel, known.Parcel}} {
		if k.own != k.known {
			other = append(other, k.file)
		}
	}
	if len(other) > 0 {
		return nil, nil, fmt.Errorf("%s: %w: copy %s from %s", string(d), ErrKeys, strings.Join(other, ", "), known.Where)
	}
	return sealed, seal, nil
}

// lacks names the keys that a directory does not have, before any are made.
func (d HubDir) lacks(known *keyring) error {
	var missing []string
	for name, path := range map[string]string{"tls/": d.tls(), "seal.key": d.sealKey(), "parcel.key": d.parcelKey()} {
		if _, err := os.Stat(path); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: another process serves the database already; copy tls/, seal.key and parcel.key from %s", string(d), ErrKeys, known.Where)
}

func readKeyring(ctx context.Context, s hub.Store) (known *keyring, err error) {
	err = s.View(ctx, func(v hub.View) error {
		known, err = keyringOf(v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read which keys the database knows: %w", err)
	}
	return known, nil
}

func keyringOf(v hub.View) (*keyring, error) {
	body, err := v.Record(kindKeyring, "")
	if errors.Is(err, hub.ErrNotFound) {
		return nil, nil //nolint:nilnil // none yet
	}
	if err != nil {
		return nil, err
	}
	known := &keyring{}
	return known, json.Unmarshal(body, known)
}

// writeKeyring makes a directory's keys those that the database knows, and returns
// those that it does know: another process may have been faster.
func (d HubDir) writeKeyring(ctx context.Context, s hub.Store, own keyring) (known *keyring, err error) {
	machine, err := os.Hostname()
	if err != nil {
		machine = "the machine where the first hub ran"
	}
	own.Where = machine + ":" + d.absolute()
	body, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	err = s.Update(ctx, func(tx hub.Tx) error {
		known, err = keyringOf(tx)
		if err != nil || known != nil {
			return err
		}
		known = &own
		return tx.PutRecord(kindKeyring, "", body)
	})
	if err != nil {
		return nil, fmt.Errorf("note which keys the database knows: %w", err)
	}
	return known, nil
}
