package edge

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tidemark-sync/tidemark/change"
)

// seedSize is the length of the secret from which transaction ids derive.
const seedSize = 16

// Identity returns the device and the file's incarnation; zero before Install.
func (e *Engine) Identity() (change.DeviceID, change.Incarnation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.device, e.incarnation
}

func (e *Engine) loadIdentity() error {
	d, err := e.meta(metaDevice)
	if err != nil {
		return err
	}
	if e.device, err = change.ParseDeviceID(d.Str()); err != nil {
		return err
	}
	i, err := e.meta(metaIncarnation)
	if err != nil {
		return err
	}
	e.incarnation, err = change.ParseIncarnation(i.Str())
	return err
}

// newIncarnation begins a new life of the file: a new id and an empty chain. It
// must run inside a write transaction; the caller renumbers unsettled work.
func (e *Engine) newIncarnation() error {
	inc, err := change.NewIncarnation(e.cfg.Rand)
	if err != nil {
		return err
	}
	if err := e.setMeta(metaIncarnation, change.Text(inc.String())); err != nil {
		return err
	}
	if err := e.setMeta(metaSeq, change.Int(0)); err != nil {
		return err
	}
	if err := e.setMeta(metaSum, change.Null); err != nil {
		return err
	}
	e.incarnation = inc
	return nil
}

// rotateSeed draws the secret of the transactions captured from now on. Whoever
// copies the file copies the seed of its unexported work too, so that both
// copies export that work under one id (trap D22).
func (e *Engine) rotateSeed() error {
	var b [seedSize]byte
	if _, err := io.ReadFull(e.cfg.Rand, b[:]); err != nil {
		return fmt.Errorf("draw seed: %w", err)
	}
	return e.setMeta(metaSeed, change.Blob(b[:]))
}

// txID derives a transaction's uuid from the seed in the file and its group.
func txID(seed string, group int64) change.TxID {
	h := sha256.New()
	h.Write([]byte(seed))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(group))
	h.Write(n[:])
	var id change.TxID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
