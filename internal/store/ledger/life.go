package ledger

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// MarkLeap is how far a new life moves the outcome marks: beyond any that the
// lost part of the life before can have given out.
const MarkLeap = int64(1) << 32

// DrawEpoch names a new life.
func DrawEpoch(random io.Reader) (change.Epoch, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, fmt.Errorf("draw epoch: %w", err)
	}
	return change.Epoch(binary.BigEndian.Uint64(b[:])), nil
}

// A LifeRow is a branch of the lineage, in what any database can hold.
type LifeRow struct {
	Epoch      int64 // change.Epoch
	Fork, Mode string
	At         int64 // Unix ms; 0 when unknown
}

// RowOf writes a branch down.
func RowOf(b change.Branch) LifeRow {
	r := LifeRow{Epoch: int64(b.Epoch), Fork: b.Fork.String(), Mode: string(b.Mode)}
	if !b.At.IsZero() {
		r.At = b.At.UnixMilli()
	}
	return r
}

// Branch is the opposite of RowOf, to the millisecond.
func (r LifeRow) Branch() (b change.Branch, err error) {
	b = change.Branch{Epoch: change.Epoch(r.Epoch), Mode: change.BranchMode(r.Mode)}
	if r.At != 0 {
		b.At = time.UnixMilli(r.At).UTC()
	}
	b.Fork, err = change.ParseCursor(r.Fork)
	return b, err
}
