package change

import (
	"encoding/binary"
	"fmt"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

// The envelope around a sealed batch (FORMAT.md).
const (
	envelopeMagic   = "TM"
	envelopeVersion = 1
	envelopeHead    = 5 // magic, version, kind, flags
	envelopeSum     = 8 // xxh3-64 of everything before it

	kindTransactions = 1
	kindRows         = 2

	flagZstd = 1

	// smallBody is the size below which compression does not pay.
	smallBody = 96
	// largeBody is the size from which better compression is worth a fifth more time.
	largeBody = 64 << 10
	// maxRatio is the most zstd can expand: a four-byte block to 128 KiB. A
	// larger claim is a lie, so nothing is allocated for it.
	maxRatio = 32 << 10
)

// Encoders and decoders of zstd are large and slow to build, and hold no state
// between calls: the pools are caches, not state.
var (
	fastEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedFastest) }}
	goodEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedDefault) }}
	zstdDecoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		return d
	}}
)

// newEncoder returns an encoder, or the error.
func newEncoder(level zstd.EncoderLevel) any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return err
	}
	return e
}

// seal wraps a body: what compression works on, and what goes beside it because it
// looks random. Together in one stream the one would spoil the other's statistics.
func seal(kind byte, body, aside []byte) ([]byte, error) {
	out := make([]byte, 0, envelopeHead+binary.MaxVarintLen32+len(body)/2+len(aside)+envelopeSum+64)
	out = append(out, envelopeMagic...)
	out = append(out, envelopeVersion, kind, 0)
	out = binary.AppendUvarint(out, uint64(len(body)))
	out = binary.AppendUvarint(out, uint64(len(aside)))
	head := len(out)
	if len(body) >= smallBody {
		pool := &fastEncoders
		if len(body) >= largeBody {
			pool = &goodEncoders
		}
		e, ok := pool.Get().(*zstd.Encoder)
		if !ok {
			return nil, fmt.Errorf("seal batch: no zstd encoder")
		}
		out = e.EncodeAll(body, out)
		pool.Put(e)
		out[4] = flagZstd
	}
	if out[4] == 0 || len(out)-head >= len(body) {
		out = append(out[:head], body...)
		out[4] = 0
	}
	out = append(out, aside...)
	return binary.LittleEndian.AppendUint64(out, xxh3.Hash(out)), nil
}

// unseal checks an envelope and returns a reader of its body. The body is a copy.
func unseal(kind byte, b []byte, lim Limits) (*reader, error) {
	if len(b) > lim.Encoded {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(b), lim.Encoded)
	}
	if len(b) < envelopeHead+2+envelopeSum {
		return nil, fmt.Errorf("%w: cut short at %d bytes", ErrCorrupt, len(b))
	}
	end := len(b) - envelopeSum
	if string(b[:2]) != envelopeMagic {
		return nil, fmt.Errorf("%w: not a sealed batch", ErrCorrupt)
	}
	if b[2] != envelopeVersion {
		return nil, fmt.Errorf("%w: batch version %d, this build reads %d", ErrCorrupt, b[2], envelopeVersion)
	}
	if binary.LittleEndian.Uint64(b[end:]) != xxh3.Hash(b[:end]) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	if b[3] != kind {
		return nil, fmt.Errorf("%w: batch kind %d, want %d", ErrCorrupt, b[3], kind)
	}
	raw, n := binary.Uvarint(b[envelopeHead:end])
	if n <= 0 {
		return nil, fmt.Errorf("%w: bad length", ErrCorrupt)
	}
	if raw > uint64(lim.Decoded) {
		return nil, fmt.Errorf("%w: %d bytes after decompression, the limit is %d", ErrTooLarge, raw, lim.Decoded)
	}
	stored := b[envelopeHead+n : end]
	beside, n := binary.Uvarint(stored)
	if n <= 0 || beside > uint64(len(stored)-n) {
		return nil, fmt.Errorf("%w: bad length of what is not compressed", ErrCorrupt)
	}
	if raw+beside > uint64(lim.Decoded) {
		return nil, fmt.Errorf("%w: %d bytes after decompression, the limit is %d", ErrTooLarge, raw+beside, lim.Decoded)
	}
	at := len(stored) - int(beside)
	body, err := expand(b[4], stored[n:at], int(raw))
	if err != nil {
		return nil, err
	}
	return &reader{s: body, aside: string(stored[at:]), budget: lim.Decoded - int(raw) - int(beside), rows: lim.Rows}, nil
}

func expand(flags byte, stored []byte, raw int) (string, error) {
	switch flags {
	case 0:
		if len(stored) != raw {
			return "", fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(stored), raw)
		}
		return string(stored), nil
	case flagZstd:
	default:
		return "", fmt.Errorf("%w: unknown batch flags %#x", ErrCorrupt, flags)
	}
	if raw/maxRatio > len(stored) {
		return "", fmt.Errorf("%w: %d bytes cannot expand to %d", ErrCorrupt, len(stored), raw)
	}
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return "", fmt.Errorf("open batch: no zstd decoder")
	}
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(stored, make([]byte, 0, raw))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(out) != raw {
		return "", fmt.Errorf("%w: expanded to %d bytes, want %d", ErrCorrupt, len(out), raw)
	}
	// out is ours alone and is not written again: cut texts out of it in place.
	return unsafe.String(unsafe.SliceData(out), len(out)), nil
}
