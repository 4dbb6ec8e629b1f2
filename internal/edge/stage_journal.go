package edge

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zeebo/xxh3"
)

// A journal is an append-only file of checksummed records, for data that may be
// lost but must never be read half:
//
//	"tidemark stage 1\n", then records of
//	kind 1 byte · length uint32 · body · xxh3-64 of kind, length and body   (little endian)
//
// It is not synced to disk: after a power cut a checksum fails, the tail is cut,
// and what was lost is fetched again.
type journal struct {
	f    *os.File
	size int64 // whole records end here
}

const (
	journalMagic = "tidemark stage 1\n"
	journalMax   = 1 << 30 // bytes of one record
)

func createJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(journalMagic); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &journal{f: f, size: int64(len(journalMagic))}, nil
}

// openJournal opens an existing file and cuts a torn tail off.
func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.size = info.Size()
	good, err := j.read(func(byte, []byte) error { return nil })
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if good == 0 { // not even a head: begin anew
		if _, err := f.WriteAt([]byte(journalMagic), 0); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		good = int64(len(journalMagic))
	}
	if err := f.Truncate(good); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.size = good
	return j, nil
}

func (j *journal) append(kind byte, body []byte) error {
	if len(body) > journalMax {
		return fmt.Errorf("stage: record of %d bytes exceeds %d", len(body), journalMax)
	}
	b := make([]byte, 0, len(body)+13)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	if _, err := j.f.WriteAt(b, j.size); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	j.size += int64(len(b))
	return nil
}

// scan visits every record. One that does not read back is an error.
func (j *journal) scan(fn func(kind byte, body []byte) error) error {
	good, err := j.read(fn)
	if err == nil && good != j.size {
		err = fmt.Errorf("stage: record at byte %d of %s does not read back", good, j.f.Name())
	}
	return err
}

// read visits whole records and returns where they end.
func (j *journal) read(fn func(kind byte, body []byte) error) (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(j.f, 0, j.size), 256<<10)
	head := make([]byte, len(journalMagic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != journalMagic {
		return 0, nil
	}
	at := int64(len(head))
	for {
		var h [5]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return at, nil
		}
		n := int64(binary.LittleEndian.Uint32(h[1:]))
		if n > j.size-at-13 {
			return at, nil
		}
		rec := make([]byte, 5+n+8)
		copy(rec, h[:])
		if _, err := io.ReadFull(r, rec[5:]); err != nil {
			return at, nil
		}
		if binary.LittleEndian.Uint64(rec[5+n:]) != xxh3.Hash(rec[:5+n]) {
			return at, nil
		}
		if err := fn(h[0], rec[5:5+n:5+n]); err != nil {
			return at, err
		}
		at += int64(len(rec))
	}
}

func (j *journal) close() error { return j.f.Close() }

func (j *journal) remove() error {
	return errors.Join(j.f.Close(), os.Remove(j.f.Name()))
}
