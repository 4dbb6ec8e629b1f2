package parcel

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"

	"github.com/tidemark-sync/tidemark/change"
)

// A Parcel is a sealed outbox that was opened and found whole.
type Parcel struct {
	Header
	Count  int         // of transactions
	Hash   change.Hash // names what is inside the seal
	Signer change.Hash // SHA-256 of the SubjectPublicKeyInfo of the key that signed it; zero: unsigned

	r    io.ReaderAt
	size int64
	key  *Key
	lim  change.Limits
}

// Limits are what Open takes of one batch where memory is no concern: an operator's
// own import.
func Limits() change.Limits {
	return change.Limits{Encoded: 1 << 30, Decoded: 1<<31 - 1, Rows: 100_000_000}
}

// Look checks what can be checked without a key: that it is a sealed outbox and
// arrived whole. Failures wrap ErrFormat or ErrDamaged.
func Look(r io.ReaderAt, size int64) error {
	head := make([]byte, len(Magic))
	if n, err := r.ReadAt(head, 0); n < len(head) || string(head) != Magic {
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read outbox: %w", err)
		}
		return ErrFormat
	}
	if size < int64(len(Magic))+sumSize {
		return fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, size-sumSize)); err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	sum := make([]byte, sumSize)
	if _, err := io.ReadFull(io.NewSectionReader(r, size-sumSize, sumSize), sum); err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	if !bytes.Equal(sum, h.Sum(nil)) {
		return fmt.Errorf("%w: the checksum does not fit", ErrDamaged)
	}
	return nil
}

// Open opens a parcel of size bytes and checks all of it, one batch in memory at a
// time, each within lim. Failures wrap one of the Err values, or change.ErrTooLarge.
// r must not change while the Parcel is in use.
func Open(r io.ReaderAt, size int64, key *Key, lim change.Limits) (*Parcel, error) {
	if err := Look(r, size); err != nil {
		return nil, err
	}
	p := &Parcel{r: r, size: size, key: key, lim: lim}
	e, err := p.walk(func([]*change.Transaction, change.Epoch) error { return nil })
	if err != nil {
		return nil, err
	}
	p.Count, p.Hash = e.Count, e.Hash
	if p.Signer, err = e.verify(); err != nil {
		return nil, err
	}
	return p, nil
}

// Each gives out the transactions, in the order in which they were packed: batches of
// one device that were confirmed in the same epoch, 0 for none. An error of fn ends it.
func (p *Parcel) Each(fn func(txs []*change.Transaction, confirmed change.Epoch) error) error {
	_, err := p.walk(fn)
	return err
}

// A walk reads the records inside the seal.
type walk struct {
	in    *bufio.Reader
	inner hash.Hash
	lim   change.Limits
}

func (p *Parcel) walk(fn func([]*change.Transaction, change.Epoch) error) (*end, error) {
	sealed := io.NewSectionReader(p.r, int64(len(Magic)), p.size-int64(len(Magic))-sumSize)
	open, err := age.Decrypt(sealed, p.key.identities()...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrKey
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	w := &walk{in: bufio.NewReader(open), inner: sha256.New(), lim: p.lim}
	if err := w.header(&p.Header); err != nil {
		return nil, err
	}
	for count := 0; ; {
		sum := change.Hash(w.inner.Sum(nil))
		kind, body, err := w.record()
		if err != nil {
			return nil, err
		}
		if kind == recordEnd {
			return w.end(body, count, sum)
		}
		if kind != recordBatch || len(body) < epochSize {
			return nil, fmt.Errorf("%w: a record %q where none belongs", ErrDamaged, kind)
		}
		txs, err := change.OpenTransactions(body[epochSize:], p.lim)
		if errors.Is(err, change.ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return nil, err
		}
		for _, t := range txs {
			if t.Device != p.Device {
				return nil, fmt.Errorf("%w: transaction %s is by device %s, the outbox of %s", ErrDamaged, t.ID, t.Device, p.Device)
			}
		}
		count += len(txs)
		if err := fn(txs, change.Epoch(binary.BigEndian.Uint64(body))); err != nil {
			return nil, err
		}
	}
}

func (w *walk) header(h *Header) error {
	kind, body, err := w.record()
	if err == nil && kind != recordHeader {
		err = fmt.Errorf("%w: it begins with a record %q", ErrDamaged, kind)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, h); err != nil {
		return fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return nil
}

func (w *walk) end(body []byte, count int, sum change.Hash) (*end, error) {
	e := &end{}
	if err := json.Unmarshal(body, e); err != nil {
		return nil, fmt.Errorf("%w: end: %w", ErrDamaged, err)
	}
	if e.Hash != sum || e.Count != count {
		return nil, fmt.Errorf("%w: %d transactions, %d are announced", ErrDamaged, count, e.Count)
	}
	if _, err := w.in.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return e, nil
}

// record reads one record. Its length is not believed: nothing larger than what
// really comes is allocated.
func (w *walk) record() (kind byte, body []byte, err error) {
	head := make([]byte, recordHead)
	if _, err := io.ReadFull(w.in, head); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, most := int64(binary.BigEndian.Uint32(head[1:])), int64(maxJSON)
	if head[0] == recordBatch {
		most = int64(w.lim.Encoded) + epochSize
	}
	if n > most {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes, the limit is %d", change.ErrTooLarge, n, most)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, w.in, n); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	w.inner.Write(head)
	w.inner.Write(b.Bytes())
	return head[0], b.Bytes(), nil
}
