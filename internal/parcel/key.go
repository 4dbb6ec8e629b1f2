package parcel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// A Key opens what was sealed for a hub. It is safe for concurrent use.
type Key struct {
	list []*age.X25519Identity // the first one is in use; the others still open old parcels
}

// NewKey draws a key from the system's cryptographic source.
func NewKey() (*Key, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("draw the key of sealed outboxes: %w", err)
	}
	return &Key{list: []*age.X25519Identity{id}}, nil
}

// Recipient is what devices seal for: age1….
func (k *Key) Recipient() string { return k.list[0].Recipient().String() }

// LoadOrCreateKey reads a key file as age-keygen writes it, or makes one. Of several
// keys in it the first is in use, and the others open what was sealed for them. A
// file that others may read is refused. Two processes that make it at one time end
// up with the same one.
func LoadOrCreateKey(path string) (*Key, error) {
	k, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = NewKey(); err != nil {
		return nil, err
	}
	if err := k.save(path); err != nil {
		return nil, fmt.Errorf("save key %s: %w", path, err)
	}
	return loadKey(path)
}

func loadKey(path string) (*Key, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if s.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: others may read it (mode %#o): chmod 600 it", path, s.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	ids, err := age.ParseIdentities(strings.NewReader(string(b)))
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	k := &Key{}
	for _, id := range ids {
		x, ok := id.(*age.X25519Identity)
		if !ok {
			return nil, fmt.Errorf("read key %s: it is %T, want X25519 (AGE-SECRET-KEY-1…)", path, id)
		}
		k.list = append(k.list, x)
	}
	return k, nil
}

// save puts the whole file in place at once, unless one is there by now.
func (k *Key) save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintf(f, "# opens the sealed outboxes of this hub's devices: keep a copy in a safe place\n# public key: %s\n%s\n", k.Recipient(), k.list[0])
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Link(f.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (k *Key) identities() []age.Identity {
	out := make([]age.Identity, len(k.list))
	for i, id := range k.list {
		out[i] = id
	}
	return out
}
