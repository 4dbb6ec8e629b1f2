package people

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// A Store is what a Book keeps its records in: the hub's.
type Store interface {
	View(ctx context.Context, fn func(hub.View) error) error
	Update(ctx context.Context, fn func(hub.Tx) error) error
}

// Config is what a Book needs.
type Config struct {
	Store Store       // required
	Clock clock.Clock // required
	Rand  io.Reader   // required; a cryptographic source in production
	// Key is a secret, 32 random bytes or more, that is not in the store and is the same
	// in all processes that serve it: it encrypts the secrets of TOTP. Required.
	Key []byte
	// Hub is what authenticator apps call the hub; "" means tidemark.
	Hub string
	// Cost is what it takes to try a password; the zero Cost means DefaultCost.
	Cost Cost
}

// How long things are good.
const (
	LinkFor    = 24 * time.Hour     // a one-time link
	IdleFor    = 12 * time.Hour     // a session that nobody uses
	SessionFor = 7 * 24 * time.Hour // any session
	seenEvery  = 5 * time.Minute    // use of a session is noted no more often
)

// A Book keeps people. All methods may be called concurrently. Refusals are *Fault,
// perhaps wrapped.
type Book struct {
	cfg    Config
	hasher *hasher
	sealer sealer

	randMu sync.Mutex
}

// New checks the configuration.
func New(cfg Config) (*Book, error) {
	if cfg.Store == nil || cfg.Clock == nil || cfg.Rand == nil {
		return nil, errors.New("people: a store, a clock and a source of randomness are required")
	}
	if len(cfg.Key) < 32 {
		return nil, errors.New("people: a key of 32 bytes or more is required")
	}
	if cfg.Hub == "" {
		cfg.Hub = "tidemark"
	}
	key, err := hkdf.Key(sha256.New, cfg.Key, nil, "tidemark people", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of people: %w", err)
	}
	b := &Book{cfg: cfg, hasher: newHasher(cfg.Cost)}
	if b.sealer, err = newSealer(key); err != nil {
		return nil, err
	}
	return b, nil
}

// The kinds of records.
const (
	kindPerson   = "person"
	kindLink     = "person-link"
	kindSession  = "person-session"
	kindToken    = "person-token"
	kindCeremony = "person-ceremony"
	kindAudit    = "audit"
	kindHead     = "audit-head"
)

// draw returns n random bytes.
func (b *Book) draw(n int) ([]byte, error) {
	b.randMu.Lock()
	defer b.randMu.Unlock()
	out := make([]byte, n)
	if _, err := io.ReadFull(b.cfg.Rand, out); err != nil {
		return nil, fmt.Errorf("draw random bytes: %w", err)
	}
	return out, nil
}

// newID returns an id, which is no secret.
func (b *Book) newID() (string, error) {
	raw, err := b.draw(12)
	return hex.EncodeToString(raw), err
}

// newSecret returns a secret of 256 bits.
func (b *Book) newSecret() (string, error) {
	raw, err := b.draw(32)
	return base64.RawURLEncoding.EncodeToString(raw), err
}

// hashed is what is kept of a secret.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// get reads one record; nil when there is none.
func get[T any](v hub.View, kind, id string) (*T, error) {
	body, err := v.Record(kind, id)
	if errors.Is(err, hub.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read %s record: %w", kind, err)
	}
	return decode[T](kind, body)
}

func decode[T any](kind string, body []byte) (*T, error) {
	out := new(T)
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("decode %s record: %w", kind, err)
	}
	return out, nil
}

func put(tx hub.Tx, kind, id string, from any) error {
	body, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %s record: %w", kind, err)
	}
	if err := tx.PutRecord(kind, id, body); err != nil {
		return fmt.Errorf("write %s record: %w", kind, err)
	}
	return nil
}

func drop(tx hub.Tx, kind, id string) error {
	if err := tx.PutRecord(kind, id, nil); err != nil {
		return fmt.Errorf("remove %s record: %w", kind, err)
	}
	return nil
}

// each calls fn for the records of a kind whose id begins with a prefix, in id order.
func each[T any](v hub.View, kind, prefix string, fn func(id string, r *T) error) error {
	const page = 256
	for after := ""; ; {
		list, err := v.Records(kind, prefix, after, page)
		if err != nil {
			return fmt.Errorf("read %s records: %w", kind, err)
		}
		for _, rec := range list {
			r, err := decode[T](kind, rec.Body)
			if err != nil {
				return err
			}
			if err := fn(rec.ID, r); err != nil {
				return err
			}
			after = rec.ID
		}
		if len(list) < page {
			return nil
		}
	}
}
