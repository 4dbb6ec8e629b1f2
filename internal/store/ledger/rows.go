package ledger

import (
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
)

// ErrEnough ends a scan early: what was wanted is there.
var ErrEnough = errors.New("enough")

// A Page is the rows of one answer to hub.View.Scan: as many as fit into a number of
// bytes, and at least one.
type Page struct {
	rows  *change.Rows
	limit int
	size  int
	more  bool
}

// NewPage fills rows up to limit bytes.
func NewPage(rows *change.Rows, limit int) *Page { return &Page{rows: rows, limit: limit} }

// Add takes one more row, whose values it copies. ErrEnough says that it did not fit.
func (p *Page) Add(row []change.Value) error {
	if p.size >= p.limit && p.size > 0 { // this row shows that there is more
		p.more = true
		return ErrEnough
	}
	for _, v := range row {
		p.size += v.Size()
	}
	p.rows.Values = append(p.rows.Values, row...)
	return nil
}

// End is the rows, and the key of the last one if there are more; else nil.
func (p *Page) End() (*change.Rows, change.Key) {
	if !p.more {
		return p.rows, nil
	}
	return p.rows, p.rows.KeyOf(p.rows.Len() - 1)
}

// A Batch collects rows of one table and hands them on at about a number of bytes.
type Batch struct {
	like  change.Rows
	limit int
	size  int
	rows  *change.Rows
	emit  func(*change.Rows) error
}

// NewBatch collects rows like an empty set, and hands them to emit.
func NewBatch(like *change.Rows, limit int, emit func(*change.Rows) error) *Batch {
	return &Batch{like: *like, limit: limit, emit: emit}
}

// Row takes a row, whose values it copies.
func (b *Batch) Row(row []change.Value) error {
	b.begin()
	b.rows.Values = append(b.rows.Values, row...)
	return b.grow(row)
}

// Gone takes the key of a row that is gone, and copies it.
func (b *Batch) Gone(key []change.Value) error {
	b.begin()
	b.rows.Gone = append(b.rows.Gone, key...)
	return b.grow(key)
}

func (b *Batch) begin() {
	if b.rows == nil {
		fresh := b.like
		b.rows = &fresh
	}
}

func (b *Batch) grow(values []change.Value) error {
	for _, v := range values {
		b.size += v.Size()
	}
	if b.size < b.limit {
		return nil
	}
	return b.Flush()
}

// Flush hands on what is left.
func (b *Batch) Flush() error {
	if b.rows == nil {
		return nil
	}
	rows := b.rows
	b.rows, b.size = nil, 0
	return b.emit(rows)
}

// A Sum adds up the digest of a table, row by row.
type Sum struct {
	Digest change.Digest
	hasher *change.RowHasher
	place  []int
	key    change.Key
}

// NewSum is of rows like an empty set.
func NewSum(like *change.Rows) *Sum {
	return &Sum{Digest: change.Digest{Table: like.Table}, hasher: change.NewRowHasher(like.Columns), place: like.Key, key: make(change.Key, len(like.Key))}
}

// Add takes a row, and keeps nothing of it.
func (s *Sum) Add(row []change.Value) error {
	for i, c := range s.place {
		s.key[i] = row[c]
	}
	s.Digest.Add(s.key, s.hasher.Hash(row))
	return nil
}

// Wanted is a set of buckets of a table.
func Wanted(table string, buckets []int) (*[change.Buckets]bool, error) {
	var wanted [change.Buckets]bool
	for _, b := range buckets {
		if b < 0 || b >= change.Buckets {
			return nil, fmt.Errorf("rows of %s: there is no bucket %d", table, b)
		}
		wanted[b] = true
	}
	return &wanted, nil
}
