package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Unsent is whose work a file holds, and for whom it may be sealed.
type Unsent struct {
	Device      change.DeviceID
	Incarnation change.Incarnation
	Recipient   string          // of the hub's sealed outboxes; "" when the file never heard of one
	Lineage     []change.Branch // all lives of hubs that the file heard of, in no order
}

// unsentBytes is about how much encoded work one batch of Unsent holds.
const unsentBytes = 1 << 20

// Unsent gives out, in order, the transactions that are not known to be durable at
// the hub, what the application wrote until now included; with all, what the hub
// confirmed comes ahead of them, as far as the file still has it. Each batch was
// confirmed in one epoch, 0 for none, and is fn's to keep. begin is called first.
// The file keeps everything as it is.
func (e *Engine) Unsent(all bool, begin func(Unsent) error, fn func(txs []*change.Transaction, confirmed change.Epoch) error) error {
	if _, err := e.Export(); err != nil {
		return err
	}
	return e.locked(func() error {
		if e.setup == nil {
			return errors.New("read unsent work: the file is not enrolled")
		}
		// What travels must not vanish from this file in a power cut: another
		// transaction would get its number.
		if err := e.sync(); err != nil {
			return err
		}
		return sqlite.Snapshot(e.conn, func() error {
			lives, err := e.branches()
			if err == nil {
				err = begin(Unsent{Device: e.device, Incarnation: e.incarnation, Recipient: e.setup.Recipient, Lineage: lives})
			}
			if err != nil {
				return err
			}
			w := &unsentWalk{fn: fn}
			if all {
				err = w.query(e, "SELECT epoch, body FROM _tidemark_redo ORDER BY n")
			}
			if err == nil {
				err = w.query(e, "SELECT epoch, body FROM _tidemark_outbox WHERE ? OR state=? ORDER BY seq", change.Int(flag(all)), change.Int(int64(waiting)))
			}
			if err != nil {
				return fmt.Errorf("read unsent work: %w", err)
			}
			return w.flush()
		})
	})
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// An unsentWalk cuts what is read into batches.
type unsentWalk struct {
	fn    func([]*change.Transaction, change.Epoch) error
	txs   []*change.Transaction
	size  int
	epoch change.Epoch
}

func (w *unsentWalk) query(e *Engine, sql string, args ...change.Value) error {
	return sqlite.Query(e.conn, sql, func(s *sqlite.Stmt) error {
		epoch, body := change.Epoch(s.ColumnInt64(0)), sqlite.Column(s, 1).Str()
		t, err := change.DecodeTransaction([]byte(body))
		if err != nil {
			return err
		}
		t.Device = e.device // a copy that became another device's has older work of the first one
		if len(w.txs) > 0 && (epoch != w.epoch || w.size+len(body) > unsentBytes) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.txs, w.size, w.epoch = append(w.txs, t), w.size+len(body), epoch
		return nil
	}, args...)
}

func (w *unsentWalk) flush() error {
	if len(w.txs) == 0 {
		return nil
	}
	txs := w.txs
	w.txs, w.size = nil, 0
	return w.fn(txs, w.epoch)
}

// A Carrier hands a sealed outbox of another device to the hub, as this device, in a
// session of its own. It touches no file, so that it works beside an agent. Like a
// Session it is stepped by one goroutine.
type Carrier struct {
	hello wire.Hello
	body  []byte
	sent  bool
	res   *wire.ParcelResult
}

// NewCarrier begins a carrier's session: dev carries, and st is how its own file
// stands. body is the parcel, which must not be modified meanwhile.
func NewCarrier(agent string, dev change.DeviceID, st wire.EdgeStatus, now time.Time, body []byte) *Carrier {
	c := &Carrier{hello: opening(agent, dev, now), body: body}
	c.hello.Status = st
	return c
}

// Result is what the hub answered; nil before it did.
func (c *Carrier) Result() *wire.ParcelResult { return c.res }

// Start opens the session.
func (c *Carrier) Start(_ context.Context, emit func(wire.Message) error) error {
	h := c.hello
	return emit(&h)
}

// Receive implements wire.Peer.
func (c *Carrier) Receive(_ context.Context, m wire.Message, emit func(wire.Message) error) error {
	if done, err := routine(m, emit); done || err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.Welcome:
		return c.hand(m, emit)
	case *wire.ParcelResult:
		c.res = m
		return nil
	}
	return fmt.Errorf("the hub sent an unexpected %T", m)
}

// hand sends the parcel, in as many parts as it takes.
func (c *Carrier) hand(m *wire.Welcome, emit emitFunc) error {
	if m.Setup == nil || m.Setup.Recipient == "" {
		return &wire.Fault{Code: "parcel-key", Message: "this hub takes no sealed outboxes", Hint: "update the hub"}
	}
	if c.sent {
		return nil
	}
	if most := m.Unpack.Encoded; most != 0 && len(c.body) > most {
		return &wire.Fault{Code: "oversized", Message: fmt.Sprintf("the sealed outbox has %d bytes, and this hub takes %d at most over the network", len(c.body), most),
			Hint: "take it to the hub itself: tidemark outbox import FILE --data DIR"}
	}
	c.sent = true
	return inParts(c.body, partOf(m.MaxFrame), func(part []byte, more bool) error {
		return emit(&wire.Parcel{Body: part, More: more})
	})
}
