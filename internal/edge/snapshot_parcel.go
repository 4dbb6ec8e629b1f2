package edge

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A label says what a parcel holds.
type label struct {
	ID     change.Hash `json:"id"` // SHA-256 of the whole parcel
	At     string      `json:"at"` // change.Cursor of the snapshot
	Packed int64       `json:"packed"`
	Size   int64       `json:"size"`
	Setup  change.Hash `json:"setup"`
	Scopes change.Hash `json:"scopes"`
}

// A parcel is a snapshot on its way: the bytes received so far, in a file, and
// its label in another that is written before the first byte. Neither is synced
// to disk: what a power cut garbles, the sum tells at the end.
type parcel struct {
	label
	dir  string
	have int64 // bytes received
	file *os.File
	sum  hash.Hash // of the bytes received
}

// The files of a parcel, in the directory beside the application's file.
const (
	parcelFile  = "snapshot"
	parcelLabel = "snapshot.json"
	parcelOpen  = "snapshot.db" // unpacked, and being made ready
)

func (p *parcel) path(name string) string { return filepath.Join(p.dir, name) }

// openParcel takes up what an earlier process received. What does not fit
// together is dropped.
func openParcel(dir string) (*parcel, error) {
	p := &parcel{dir: dir, sum: sha256.New()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.file, err = os.OpenFile(p.path(parcelFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(p.path(parcelLabel))
	if errors.Is(err, os.ErrNotExist) || err == nil && json.Unmarshal(text, &p.label) != nil {
		return p, p.reset(label{})
	}
	if err == nil {
		p.have, err = io.Copy(p.sum, p.file)
	}
	if err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	if p.have > p.Packed {
		return p, p.reset(label{})
	}
	return p, nil
}

// reset begins another parcel.
func (p *parcel) reset(l label) error {
	// The old label goes first: it must never stand on the new one's bytes.
	if err := os.Remove(p.path(parcelLabel)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := p.file.Truncate(0); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	p.label, p.have = l, 0
	p.sum.Reset()
	text, err := json.Marshal(l)
	if err == nil {
		err = os.WriteFile(p.path(parcelLabel), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// add keeps the next bytes.
func (p *parcel) add(b []byte) error {
	if _, err := p.file.WriteAt(b, p.have); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	p.sum.Write(b) // never fails
	p.have += int64(len(b))
	return nil
}

// unpack writes the database that the parcel holds, and returns its path.
func (p *parcel) unpack() (_ string, err error) {
	if got := change.Hash(p.sum.Sum(nil)); p.have != p.Packed || got != p.ID {
		return "", fmt.Errorf("%w: its sum is %s, not %s", ErrDamagedSnapshot, got, p.ID)
	}
	p.removeOpen()
	out, err := os.OpenFile(p.path(parcelOpen), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // as SQLite makes files; the directory is closed to others
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	z, err := zstd.NewReader(io.NewSectionReader(p.file, 0, p.Packed), zstd.WithDecoderLowmem(true))
	if err != nil {
		return "", fmt.Errorf("snapshot: %w", err)
	}
	defer z.Close()
	n, err := io.Copy(out, io.LimitReader(z, p.Size+1))
	switch {
	case errors.Is(err, zstd.ErrCRCMismatch), err == nil && n != p.Size:
		return "", fmt.Errorf("%w: %d bytes of %d came out of it", ErrDamagedSnapshot, n, p.Size)
	case err != nil:
		return "", fmt.Errorf("unpack snapshot: %w", err)
	}
	return out.Name(), nil
}

// removeOpen removes an unpacked file and what SQLite may have put beside it.
func (p *parcel) removeOpen() {
	for _, name := range sqlite.Files(p.path(parcelOpen)) {
		_ = os.Remove(name)
	}
}

func (p *parcel) close() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return err
}

// drop removes everything, the directory included when it is empty.
func (p *parcel) drop() error {
	err := p.close()
	p.removeOpen()
	for _, name := range []string{parcelLabel, parcelFile} {
		if e := os.Remove(p.path(name)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	_ = os.Remove(p.dir) // only when empty
	return err
}
