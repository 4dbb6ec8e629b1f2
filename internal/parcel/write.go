package parcel

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"filippo.io/age"

	"github.com/tidemark-sync/tidemark/change"
)

// A Writer packs transactions into a parcel, as a stream: it holds one batch in
// memory. What it wrote is a parcel once Close returned nil. It is not safe for
// concurrent use.
type Writer struct {
	out   io.Writer // with sum
	sum   hash.Hash // of the file
	seal  io.WriteCloser
	inner hash.Hash // of what is inside the seal
	count int
	dev   change.DeviceID
}

// NewWriter begins a parcel for h.Recipient.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	to, err := age.ParseX25519Recipient(h.Recipient)
	if err != nil {
		return nil, fmt.Errorf("seal outbox for %q: %w", h.Recipient, err)
	}
	p := &Writer{sum: sha256.New(), inner: sha256.New(), dev: h.Device}
	p.out = io.MultiWriter(w, p.sum)
	if _, err := io.WriteString(p.out, Magic); err != nil {
		return nil, fmt.Errorf("write outbox: %w", err)
	}
	if p.seal, err = age.Encrypt(p.out, to); err != nil {
		return nil, fmt.Errorf("seal outbox: %w", err)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	return p, p.record(recordHeader, nil, head)
}

// Add packs one batch: transactions of the header's device in the order of their
// chain, all confirmed in the same epoch, 0 for none. It keeps nothing of them.
func (p *Writer) Add(txs []*change.Transaction, confirmed change.Epoch) error {
	if len(txs) == 0 {
		return nil
	}
	for _, t := range txs {
		if t.Device != p.dev {
			return fmt.Errorf("pack transaction %s: it is by device %s, not by %s", t.ID, t.Device, p.dev)
		}
	}
	body, err := change.SealTransactions(txs)
	if err != nil {
		return fmt.Errorf("pack transactions: %w", err)
	}
	p.count += len(txs)
	return p.record(recordBatch, binary.BigEndian.AppendUint64(nil, uint64(confirmed)), body)
}

func (p *Writer) record(kind byte, front, body []byte) error {
	n := len(front) + len(body)
	if n > math.MaxInt32 {
		return fmt.Errorf("write outbox: a record of %d bytes", n)
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(n))
	for _, b := range [][]byte{head, front, body} {
		p.inner.Write(b)
		if _, err := p.seal.Write(b); err != nil {
			return fmt.Errorf("write outbox: %w", err)
		}
	}
	return nil
}

// Close signs the parcel and ends it. signer is the device's Ed25519 key, or nil:
// then the parcel is unsigned. The underlying writer stays open.
func (p *Writer) Close(signer crypto.Signer) error {
	e := end{Count: p.count, Hash: change.Hash(p.inner.Sum(nil))}
	if signer != nil {
		if err := e.sign(signer); err != nil {
			return fmt.Errorf("sign outbox: %w", err)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode end: %w", err)
	}
	if err := p.record(recordEnd, nil, b); err != nil {
		return err
	}
	if err := p.seal.Close(); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	if _, err := p.out.Write(p.sum.Sum(nil)); err != nil {
		return fmt.Errorf("write outbox: %w", err)
	}
	return nil
}

func (e *end) sign(signer crypto.Signer) (err error) {
	if _, ok := signer.Public().(ed25519.PublicKey); !ok {
		return fmt.Errorf("a key of type %T, want Ed25519", signer.Public())
	}
	if e.Key, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return err
	}
	e.Signature, err = signer.Sign(nil, append([]byte(signed), e.Hash[:]...), crypto.Hash(0))
	return err
}

// verify returns the fingerprint of the key that signed, zero when none did.
func (e *end) verify() (change.Hash, error) {
	if len(e.Key) == 0 && len(e.Signature) == 0 {
		return change.Hash{}, nil
	}
	pub, err := x509.ParsePKIXPublicKey(e.Key)
	if err != nil {
		return change.Hash{}, errors.Join(ErrSignature, err)
	}
	key, ok := pub.(ed25519.PublicKey)
	if !ok || !ed25519.Verify(key, append([]byte(signed), e.Hash[:]...), e.Signature) {
		return change.Hash{}, ErrSignature
	}
	return change.Hash(sha256.Sum256(e.Key)), nil
}
