package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// A Key is a device's own: it proves who calls.
type Key struct {
	private ed25519.PrivateKey
	cert    tls.Certificate
	print   change.Hash
}

// Fingerprint is the SHA-256 of the public key's SubjectPublicKeyInfo, by which
// the hub knows the device.
func (k *Key) Fingerprint() change.Hash { return k.print }

// Signer signs as the device.
func (k *Key) Signer() crypto.Signer { return k.private }

// NewKey draws a key from r, which must be a cryptographic source in production.
func NewKey(r io.Reader) (*Key, error) {
	_, private, err := ed25519.GenerateKey(r)
	if err != nil {
		return nil, fmt.Errorf("draw device key: %w", err)
	}
	return keyOf(private)
}

func keyOf(private ed25519.PrivateKey) (*Key, error) {
	cert, print, err := selfSigned(private, "tidemark device")
	if err != nil {
		return nil, fmt.Errorf("certify device key: %w", err)
	}
	return &Key{private: private, cert: cert, print: print}, nil
}

// LoadKey reads a key that Save wrote. A file that others may read is refused.
func LoadKey(path string) (*Key, error) {
	private, err := loadPrivate(path)
	if err != nil {
		return nil, err
	}
	ed, ok := private.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: it is %T, want Ed25519", path, private)
	}
	return keyOf(ed)
}

// LoadOrCreateKey is LoadKey, or makes the key and saves it.
func LoadOrCreateKey(path string, r io.Reader) (*Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = NewKey(r); err != nil {
		return nil, err
	}
	return k, k.Save(path)
}

// Save writes the key, for the owner's eyes only.
func (k *Key) Save(path string) error { return savePrivate(path, k.private) }

// An Identity is the hub's key and certificate.
type Identity struct {
	cert tls.Certificate
	pin  change.Hash
}

// Pin is what an edge knows the hub by: the SHA-256 of its SubjectPublicKeyInfo.
func (id *Identity) Pin() change.Hash { return id.pin }

// identityFile is the hub's private key. The certificate is made from it at each
// start: edges pin the key.
const identityFile = "hub.key"

// LoadOrCreateIdentity reads the hub's identity from a directory, or makes one.
// The key is ECDSA P-256 rather than Ed25519, so that browsers can reach the
// same port.
func LoadOrCreateIdentity(dir string, r io.Reader) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	private, err := loadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create hub identity: %w", err)
		}
		if private, err = ecdsa.GenerateKey(elliptic.P256(), r); err != nil {
			return nil, fmt.Errorf("draw hub key: %w", err)
		}
		err = savePrivate(path, private)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key %s: %T cannot sign", path, private)
	}
	cert, pin, err := selfSigned(signer, "tidemark hub")
	if err != nil {
		return nil, fmt.Errorf("certify hub key: %w", err)
	}
	return &Identity{cert: cert, pin: pin}, nil
}

// The certificates' validity says nothing: the key is what counts, and machines
// without network have wrong clocks.
func validity() (from, to time.Time) {
	return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

func selfSigned(key crypto.Signer, name string) (tls.Certificate, change.Hash, error) {
	from, to := validity()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, change.Hash{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, change.Hash{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, fingerprint(leaf), nil
}

func fingerprint(c *x509.Certificate) change.Hash {
	return change.Hash(sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

func loadPrivate(path string) (any, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if s.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key %s: others may read it (mode %#o): chmod 600 it, and replace it if anyone did", path, s.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read key %s: no PEM private key in it", path)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return private, nil
}

// savePrivate puts the whole file in place at once: a crash leaves none or all.
func savePrivate(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once renamed
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save key %s: %w", path, err)
	}
	return nil
}
