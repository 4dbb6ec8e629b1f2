package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

// KeeperConfig says which certificate the listener has.
type KeeperConfig struct {
	// Dir is where the hub's own certificate is kept, cert.pem and key.pem.
	Dir string
	// Names are what it is for, beside localhost: hosts and addresses.
	Names []string
	// Certificate and Key are the operator's files, PEM; "" means the hub's own. They are
	// read again when they change.
	Certificate, Key string
	Clock            clock.Clock  // required
	Logger           *slog.Logger // nil: silent
}

// How long certificates are good. Browsers take none that is good for longer.
const (
	certFor   = 397 * 24 * time.Hour
	renewAt   = 30 * 24 * time.Hour // before the end
	lookAfter = 10 * time.Second    // at the files
)

// A Keeper keeps the listener's certificate. It may be used concurrently.
type Keeper struct {
	cfg KeeperConfig
	log *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate // guarded by mu, as is all below
	stamp  string           // of the files that it came from
	looked time.Time
}

// NewKeeper reads the certificate, or makes the hub's own.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Clock == nil || cfg.Dir == "" && cfg.Certificate == "" {
		return nil, errors.New("console certificate: a clock and a directory are required")
	}
	if (cfg.Certificate == "") != (cfg.Key == "") {
		return nil, errors.New("console certificate: give both, hub.console.certificate and hub.console.key")
	}
	k := &Keeper{cfg: cfg, log: cfg.Logger}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.read(); err != nil {
		return nil, err
	}
	return k, nil
}

// Own reports whether it is the hub's own certificate, which nobody trusts unasked.
func (k *Keeper) Own() bool { return k.cfg.Certificate == "" }

// Pin is the SHA-256 of the public key, by which the command line may know the hub.
func (k *Keeper) Pin() (change.Hash, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, err := x509.ParseCertificate(k.cert.Certificate[0])
	if err != nil {
		return change.Hash{}, err
	}
	return change.Hash(sha256.Sum256(c.RawSubjectPublicKeyInfo)), nil
}

func (k *Keeper) files() (cert, key string) {
	if k.Own() {
		return filepath.Join(k.cfg.Dir, "cert.pem"), filepath.Join(k.cfg.Dir, "key.pem")
	}
	return k.cfg.Certificate, k.cfg.Key
}

// get is tls.Config.GetCertificate.
func (k *Keeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.cfg.Clock.Now()
	if since := now.Sub(k.looked); since >= 0 && since < lookAfter {
		return k.cert, nil
	}
	if k.Own() && now.Add(renewAt).Before(k.cert.Leaf.NotAfter) || !k.Own() && k.stamp == stampOf(k.files()) {
		k.looked = now
		return k.cert, nil
	}
	if err := k.read(); err != nil {
		k.log.Error("read the console's certificate again; the old one serves on", "error", err.Error())
		k.looked = now
	}
	return k.cert, nil
}

// stampOf changes when one of two files does.
func stampOf(cert, key string) string {
	out := ""
	for _, name := range []string{cert, key} {
		if st, err := os.Stat(name); err == nil {
			out += fmt.Sprintf("%d %d;", st.Size(), st.ModTime().UnixNano())
		}
	}
	return out
}

// read reads the files, and makes the hub's own certificate where it is missing, ends
// soon, or lacks a name.
func (k *Keeper) read() error {
	certFile, keyFile := k.files()
	stamp := stampOf(certFile, keyFile)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if !k.Own() {
		if err != nil {
			return fmt.Errorf("read the console's certificate %s: %w", certFile, err)
		}
	} else if err != nil || !k.good(pair.Leaf) {
		if pair, err = k.renew(certFile, keyFile); err != nil {
			return fmt.Errorf("make the console's certificate: %w", err)
		}
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("read the console's certificate %s: %w", certFile, err)
		}
	}
	k.cert, k.stamp, k.looked = &pair, stamp, k.cfg.Clock.Now()
	return nil
}

func (k *Keeper) names() []string {
	list := append([]string{"localhost", "127.0.0.1", "::1"}, k.cfg.Names...)
	list = slices.DeleteFunc(list, func(n string) bool { return n == "" })
	slices.Sort(list)
	return slices.Compact(list)
}

func (k *Keeper) good(c *x509.Certificate) bool {
	if c == nil || k.cfg.Clock.Now().Add(renewAt).After(c.NotAfter) {
		return false
	}
	for _, n := range k.names() {
		if c.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

// renew makes a certificate for the key that there is: who pinned it goes on.
func (k *Keeper) renew(certFile, keyFile string) (tls.Certificate, error) {
	key, err := loadKey(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := k.cfg.Clock.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "tidemark console"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, n := range k.names() {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(certFile, keyFile)
}

// loadKey reads the hub's own key, and makes one where there is none. One that is
// damaged is an error: whoever pinned it must hear of it.
func loadKey(name string) (*ecdsa.PrivateKey, error) {
	raw, err := os.ReadFile(name)
	if err == nil {
		b, _ := pem.Decode(raw)
		if b == nil {
			return nil, fmt.Errorf("%s holds no key; remove it for a new one", name)
		}
		k, err := x509.ParsePKCS8PrivateKey(b.Bytes)
		if key, ok := k.(*ecdsa.PrivateKey); ok {
			return key, nil
		}
		return nil, errors.Join(fmt.Errorf("%s holds no key of ours; remove it for a new one", name), err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return key, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
