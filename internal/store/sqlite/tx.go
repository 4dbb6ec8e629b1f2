package sqlitestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A tx is the one write transaction in progress.
//
// Its connection runs none of the file's triggers: what it writes it logs
// itself, which costs a third of what triggers would. The entries are kept back
// and written many at a time, before anything reads the log.
type tx struct {
	view
	by      ledger.Author
	origins ledger.Origins // numbers looked up in this transaction

	entries []entry // of this transaction, in order; those before written are in the log
	written int
	next    int64  // position of the next entry; 0: not known
	seed    uint64 // of the entries' nonces; 0: not drawn

	scopes  map[string]string // scope by parent table and referenced values
	gone    map[string]bool   // deleted rows that other rows' scopes hang on
	orphans maybe             // whether the log holds rows without their parent

	mayBold bool // this run may go without savepoints
	bold    bool // it does
	spoiled bool // a savepoint that was not made had to be undone
}

// An entry is one row of the change log.
type entry struct {
	t     *table // nil: not about a row
	pos   int64
	key   change.Key
	op    int64
	mask  int64
	by    ledger.Author
	scope string
}

// maybe is a bool that may not be known.
type maybe int8

const (
	unknown maybe = iota
	yes
	no
)

var _ hub.Tx = (*tx)(nil)

const (
	entriesAtOnce = 32     // log entries in one statement
	entriesKept   = 1024   // log entries kept back at most between savepoints
	scopesKept    = 16_384 // scopes remembered within one transaction
	datedEvery    = 60_000 // ms between entries of _tidemark_time
)

func newTx(s *Store, p *plan) *tx {
	t := &tx{view: view{s: s, c: s.writer, p: p}, scopes: map[string]string{}, gone: map[string]bool{}}
	t.flush = t.put
	return t
}

// errSpoiled ends an update that went without savepoints and needed one.
var errSpoiled = errors.New("a savepoint that was not made has to be undone")

// Again implements hub.Tx. A savepoint copies every page that is written after it,
// about a seventh of what taking in a transaction costs, and hardly any is ever
// undone: so the first run makes none.
func (t *tx) Again() { t.bold = t.mayBold }

// Savepoint implements hub.Tx.
func (t *tx) Savepoint(fn func() error) error {
	if t.bold {
		if err := fn(); err != nil {
			t.spoiled = true
			return errSpoiled
		}
		return nil
	}
	if err := sqlite.Exec(t.c, "SAVEPOINT tidemark"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	by, kept, written, next := t.by, len(t.entries), t.written, t.next
	err := fn()
	if err == nil {
		if err := sqlite.Exec(t.c, "RELEASE tidemark"); err != nil {
			return fmt.Errorf("release savepoint: %w", err)
		}
		return nil
	}
	t.by, t.entries, t.written, t.next = by, t.entries[:kept], min(written, t.written), next
	t.origins, t.orphans = nil, unknown
	clear(t.scopes)
	clear(t.gone)
	if e := sqlite.Exec(t.c, "ROLLBACK TO tidemark"); e != nil {
		return errors.Join(err, fmt.Errorf("undo savepoint: %w", e))
	}
	if e := sqlite.Exec(t.c, "RELEASE tidemark"); e != nil {
		return errors.Join(err, fmt.Errorf("undo savepoint: %w", e))
	}
	return err
}

// As implements hub.Tx. A zero clock reading is the hub's clock now.
func (t *tx) As(origin change.Incarnation, hlc change.HLC) error {
	by, err := ledger.Sign(origin, hlc, t.s.cfg.Clock, t.number)
	if err != nil {
		return err
	}
	t.by = by
	return nil
}

// number numbers an incarnation, for good.
func (t *tx) number(inc change.Incarnation) (int64, error) {
	return t.origins.Number(inc, t.origin, func(inc change.Incarnation) (int64, error) {
		err := sqlite.Exec(t.c, `INSERT INTO _tidemark_origin (inc) VALUES (?)`, blob(inc[:]))
		return t.c.LastInsertRowID(), err
	})
}

// ready says who writes when nobody did yet: the hub itself.
func (t *tx) ready() error {
	if t.by != (ledger.Author{}) {
		return nil
	}
	return t.As(change.Incarnation{}, 0)
}

// log adds an entry about a row, or about none, and returns its position.
func (t *tx) log(tb *table, key change.Key, op, mask int64, scope string) (int64, error) {
	if t.next == 0 {
		if err := t.put(); err != nil {
			return 0, err
		}
		tail, _, err := sqlite.One(t.c, `SELECT max(pos) FROM _tidemark_log`)
		if err != nil {
			return 0, fmt.Errorf("read the log's end: %w", err)
		}
		t.next = tail.Int() + 1
	}
	pos := t.next
	t.next++
	t.entries = append(t.entries, entry{t: tb, pos: pos, key: key, op: op, mask: mask, by: t.by, scope: scope})
	if scope == ledger.Orphan {
		t.orphans = yes
	}
	return pos, nil
}

// notch lengthens the log without a row: something else moved.
func (t *tx) notch() error {
	if err := t.ready(); err != nil {
		return err
	}
	_, err := t.log(nil, nil, ledger.Touch, 0, "")
	return err
}

// put writes the entries kept back. Those of the transaction's beginning stay in
// memory, because a savepoint that fails takes them out of the log again.
func (t *tx) put() error {
	for t.written < len(t.entries) {
		list := t.entries[t.written:]
		n := 1
		if len(list) >= entriesAtOnce {
			n = entriesAtOnce
		}
		if err := t.putSome(list[:n]); err != nil {
			return fmt.Errorf("write the change log: %w", err)
		}
		t.written += n
	}
	return nil
}

// settle writes the entries when they are many and no savepoint needs them.
func (t *tx) settle() error {
	if len(t.entries)-t.written < entriesKept {
		return nil
	}
	return t.put()
}

func (t *tx) putSome(list []entry) error {
	if t.seed == 0 {
		var b [8]byte
		if _, err := io.ReadFull(t.s.cfg.Rand, b[:]); err != nil {
			return fmt.Errorf("draw nonce: %w", err)
		}
		t.seed = binary.BigEndian.Uint64(b[:]) | 1
	}
	width := t.p.width
	s, err := t.c.Prepare(putSQL(width, len(list)))
	if err != nil {
		return err
	}
	i := 1
	for j := range list {
		e := &list[j]
		s.BindInt64(i, e.pos)
		s.BindInt64(i+1, int64(mix(t.seed+uint64(e.pos))))
		table := int64(0)
		if e.t != nil {
			table = e.t.id
		}
		s.BindInt64(i+2, table)
		s.BindInt64(i+3, e.op)
		s.BindInt64(i+4, e.mask)
		s.BindInt64(i+5, e.by.Origin)
		s.BindInt64(i+6, int64(e.by.HLC))
		s.BindText(i+7, e.scope)
		for k, v := range e.key {
			sqlite.Bind(s, i+8+k, v)
		}
		for k := len(e.key); k < width; k++ {
			s.BindNull(i + 8 + k)
		}
		i += 8 + width
	}
	if _, err := s.Step(); err != nil {
		return err
	}
	return s.Reset()
}

// putSQL inserts n log entries with keys of up to width columns.
func putSQL(width, n int) string {
	row := "(" + marks(8+width) + ")"
	return "INSERT INTO _tidemark_log (pos, nonce, tbl, op, mask, origin, hlc, scope, " + strings.Join(logKeys("", width), ", ") +
		") VALUES " + row + strings.Repeat(", "+row, n-1)
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014): entries of one
// transaction get nonces that tell them from any other transaction's.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// logged tells that a statement wrote to the log by itself.
func (t *tx) logged() { t.next = 0 }

// end completes the transaction. It notes about once a minute how long the log
// is, and when it waited longer, how long it was before that.
func (t *tx) end() (tail int64, err error) {
	if tail, err = t.tail(); err != nil {
		return 0, err
	}
	now := t.s.cfg.Clock.Now().UnixMilli()
	if d := now - t.s.dated.at; d >= 0 && d < datedEvery {
		t.s.latest = dating{now, tail}
		return tail, nil
	}
	for _, d := range []dating{t.s.latest, {now, tail}} {
		if d.at == 0 {
			continue
		}
		err := sqlite.Exec(t.c, `INSERT INTO _tidemark_time (at, pos) VALUES (?, ?) ON CONFLICT (at) DO UPDATE SET pos=excluded.pos`,
			change.Int(d.at), change.Int(d.pos))
		if err != nil {
			return 0, fmt.Errorf("date the change log: %w", err)
		}
	}
	t.s.dated, t.s.latest = dating{now, tail}, dating{now, tail}
	return tail, nil
}

// A dating says how long the log was at a time, in Unix ms.
type dating struct{ at, pos int64 }
