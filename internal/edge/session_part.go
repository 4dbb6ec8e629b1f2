package edge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// metaStub + the hex of a change.TxID marks a transaction of which the hub has a
// stub only. The value is what the hub took at most (see limitText): once it takes
// more, the whole is sent after all.
const metaStub = "stub:"

// frameRoom is how much of a frame a message needs beside its body.
const frameRoom = 1 << 10

// maxPart is the size of a part at most, in bytes: heartbeats and pulls go between.
const maxPart = 4 << 20

// part is how much of a body one frame carries.
func (s *Session) part() int { return partOf(s.welcome.MaxFrame) }

func partOf(maxFrame uint32) int {
	if maxFrame == 0 {
		return maxPart
	}
	frame := int(maxFrame)
	return min(max(frame-frameRoom, frame/2, 1), maxPart)
}

// seal packs as many of the transactions as one frame can hold. A transaction that
// is larger alone travels in parts; of one that is larger than the hub unpacks, a
// stub travels, so that the chain goes on behind it (trap D14, I11). nil means that
// nothing can go: a hub that knows no parts holds the rest back.
func (s *Session) seal(txs *[]*change.Transaction) (*wire.Push, error) {
	for {
		body, err := change.SealTransactions(*txs)
		if err != nil {
			return nil, fmt.Errorf("seal push: %w", err)
		}
		one := s.welcome.MaxFrame == 0 || len(body)+frameRoom <= int(s.welcome.MaxFrame)
		n := len(*txs)
		switch parts := s.welcome.Unpack.Encoded > 0; {
		case (one || parts && n == 1) && s.takes(*txs, body):
			return &wire.Push{Body: body}, nil
		case n > 1:
			*txs = (*txs)[:n/2]
		case !parts:
			return nil, s.e.tooLarge((*txs)[0], len(body), s.welcome.MaxFrame)
		default:
			return s.stub((*txs)[0], len(body))
		}
	}
}

// takes reports whether the hub unpacks a push. Of a large one only unpacking it
// tells.
func (s *Session) takes(txs []*change.Transaction, body []byte) bool {
	lim := s.welcome.Unpack
	if lim.Encoded == 0 {
		return true
	}
	if len(body) > lim.Encoded {
		return false
	}
	rows, size := 0, 0
	for _, t := range txs {
		rows += len(t.Ops) + len(t.Bases)
		for i := range t.Ops {
			size += opWeight(&t.Ops[i])
		}
	}
	if rows < lim.Rows/2 && size < lim.Decoded/4 {
		return true
	}
	_, err := change.OpenTransactions(body, lim)
	return !errors.Is(err, change.ErrTooLarge)
}

// opWeight is about what an operation takes in memory, in bytes.
func opWeight(op *change.Op) int {
	n := 256 + 32*(len(op.New)+len(op.Base)+len(op.Key)) + 8*len(op.Rows)
	for _, list := range [][]change.Value{op.New, op.Base, op.Key} {
		for _, v := range list {
			n += v.Size()
		}
	}
	return n
}

// stub stands for a transaction that the hub cannot unpack: which rows it touches,
// as long as that much can be unpacked, so that what depends on it waits for it.
func (s *Session) stub(tx *change.Transaction, size int) (*wire.Push, error) {
	if err := s.e.noteStub(tx, size, s.welcome.Unpack); busy(err) {
		return nil, nil // the application keeps the file locked: next time
	} else if err != nil {
		return nil, fmt.Errorf("stand in for transaction %s: %w", tx.ID, err)
	}
	keys := *tx
	keys.Ops = make([]change.Op, len(tx.Ops))
	for i := range tx.Ops {
		op := &tx.Ops[i]
		keys.Ops[i] = change.Op{Table: op.Table, Kind: op.Kind, Key: op.Key, BaseAt: op.BaseAt, Move: op.Move, Rows: op.Rows}
	}
	body, err := change.SealTransactions([]*change.Transaction{&keys})
	if err == nil && !s.takes([]*change.Transaction{&keys}, body) {
		keys.Ops = nil
		body, err = change.SealTransactions([]*change.Transaction{&keys})
	}
	if err != nil {
		return nil, fmt.Errorf("seal stub: %w", err)
	}
	return &wire.Push{Body: body, Stub: &wire.Stub{Sum: tx.Sum(), Content: tx.Content(), Ops: uint64(len(tx.Ops)), Bytes: uint64(size)}}, nil
}

// hand sends a push, in as many parts as it takes.
func (s *Session) hand(p *wire.Push, last uint64, emit emitFunc) error {
	s.inflight = append(s.inflight, last)
	if s.welcome.Unpack.Encoded == 0 {
		return emit(p)
	}
	return inParts(p.Body, s.part(), func(part []byte, more bool) error {
		if !more { // the last part says what the whole is
			p.Body = part
			return emit(p)
		}
		err := emit(&wire.Push{Body: part, More: true})
		// It was taken off our hands, slowly perhaps: nobody was silent meanwhile.
		s.heard = s.e.cfg.Clock.Now()
		return err
	})
}

func limitText(lim change.Limits) string {
	return fmt.Sprintf("%d %d %d", lim.Encoded, lim.Decoded, lim.Rows)
}

func stubKey(id change.TxID) string { return metaStub + hex.EncodeToString(id[:]) }

// noteStub marks a transaction before its stub is sent.
func (e *Engine) noteStub(tx *change.Transaction, size int, lim change.Limits) error {
	return e.locked(func() error {
		v, err := e.meta(stubKey(tx.ID))
		if err != nil || v.Str() == limitText(lim) {
			return err
		}
		e.cfg.Logger.Error("transaction larger than the hub takes; a stub goes in its place", "transaction", tx.ID.String(), "bytes", size, "limit", lim.Encoded)
		return e.setMeta(stubKey(tx.ID), change.Text(limitText(lim)))
	})
}

// fillStubs sends what only a stub stands for so far, when the hub takes it by now.
func (s *Session) fillStubs(emit emitFunc) error {
	lim := limitText(s.welcome.Unpack)
	list, err := s.e.stubs(lim)
	if err != nil {
		return fmt.Errorf("read stubs: %w", err)
	}
	for _, seq := range list {
		var tx *change.Transaction
		err := s.e.locked(func() (err error) { tx, err = s.e.transaction(seq); return err })
		if err != nil {
			return err
		}
		txs := []*change.Transaction{tx}
		body, err := change.SealTransactions(txs)
		if err != nil {
			return fmt.Errorf("seal push: %w", err)
		}
		if !s.takes(txs, body) {
			if err := s.e.noteStub(tx, len(body), s.welcome.Unpack); err != nil && !busy(err) {
				return err // busy: the next session asks again
			}
			continue
		}
		if s.filling == nil {
			s.filling = map[uint64]change.TxID{}
		}
		s.filling[seq] = tx.ID
		if err := s.hand(&wire.Push{Body: body}, seq, emit); err != nil {
			return err
		}
	}
	return nil
}

// filled forgets the marks of stubs whose whole the hub has now.
func (s *Session) filled(list []wire.TxResult) error {
	for _, r := range list {
		id, ok := s.filling[r.Seq]
		if !ok {
			continue
		}
		delete(s.filling, r.Seq)
		if err := s.e.locked(func() error { return s.e.setMeta(stubKey(id), change.Null) }); err != nil && !busy(err) {
			return err
		}
	}
	return nil
}

// stubs lists the parked transactions of which the hub has a stub that it took
// under other limits than these. Marks of those that are settled go away.
func (e *Engine) stubs(limits string) (out []uint64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var done []string
	err = sqlite.Query(e.conn, `SELECT m.key, m.value, o.seq, coalesce(o.state, ?3) FROM _tidemark_meta m
		LEFT JOIN _tidemark_outbox o ON lower(hex(o.id))=substr(m.key, ?2) WHERE m.key GLOB ?1 ORDER BY o.seq`, func(s *sqlite.Stmt) error {
		switch state := outboxState(s.ColumnInt64(3)); {
		case state == settled:
			done = append(done, strings.Clone(s.ColumnText(0)))
		case state == quarantined && s.ColumnText(1) != limits:
			out = append(out, uint64(s.ColumnInt64(2)))
		}
		return nil
	}, change.Text(metaStub+"*"), change.Int(int64(len(metaStub)+1)), change.Int(int64(settled)))
	if err != nil {
		return nil, err
	}
	for _, key := range done {
		if err := e.setMeta(key, change.Null); err != nil && !busy(err) {
			return nil, err
		}
	}
	return out, nil
}
