package run

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A Packer takes what a sealed outbox is made of, in this order: Begin once, Add any
// number of times, End once.
type Packer interface {
	Begin(u edge.Unsent, name string) error
	// Add takes a batch that one epoch confirmed, 0 for none, and may keep it.
	Add(txs []*change.Transaction, confirmed change.Epoch) error
	// End gets the device's key, nil when it is not beside the file.
	End(signer crypto.Signer) error
}

// ErrNoRecipient says that a file never heard to which key its outbox is to be
// sealed. A Packer that needs to know returns it from Begin.
var ErrNoRecipient = errors.New("the file does not know its hub's key for sealed outboxes")

// Pack gives the work of a file that is not known to be at the hub to a Packer; with
// all, what the hub confirmed, too, as far as the file still has it. It needs the
// file alone, and an agent may be at work: without what is in FILE-tidemark/ the
// outbox is unsigned. The file keeps everything.
func Pack(_ context.Context, e Edge, all bool, p Packer) (err error) {
	signer, name, err := e.signer()
	if err != nil {
		return err
	}
	if err := NamesFile(e.File); err != nil {
		return err
	}
	eng, err := e.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if !eng.Installed() {
		return fmt.Errorf("%s: %w", e.File, ErrNotJoined)
	}
	begin := func(u edge.Unsent) error { return p.Begin(u, name) }
	if err := eng.Unsent(all, begin, p.Add); err != nil {
		return fmt.Errorf("pack the outbox of %s: %w", e.File, err)
	}
	return p.End(signer)
}

// signer reads the device's key, nil when there is none.
func (e Edge) signer() (signer crypto.Signer, name string, err error) {
	key, err := transport.LoadKey(keyPath(e.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the device's key: %w", err)
	}
	if id, err := ReadIdentity(e.File); err == nil {
		name = id.Name
	}
	return key.Signer(), name, nil
}

// A Carried is what became of a sealed outbox that another device carried.
type Carried struct {
	Device  change.DeviceID // whose work it was
	Name    string
	Known   int // of its transactions the hub had already
	Results []wire.TxResult
}

// Carry hands a sealed outbox in as the device of an enrolled file, which itself is
// not touched: its agent may be at work. Refusals are *wire.Fault; nothing was taken
// in then.
func Carry(ctx context.Context, e Edge, body []byte) (*Carried, error) {
	id, err := ReadIdentity(e.File)
	if err != nil {
		return nil, err
	}
	o, err := e.options(id)
	if err != nil {
		return nil, err
	}
	var c *carrier
	err = e.Inside(func(eng *edge.Engine) error {
		s, err := eng.Brief()
		c = &carrier{Carrier: edge.NewCarrier(e.Agent, s.Device, s.Wire(), e.Clock.Now(), body)}
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.stop = stop
	err = transport.Dial(ctx, o, c)
	if r := c.Result(); r != nil { // the work was done, however the session ended
		return &Carried{Device: r.Device, Name: r.Name, Known: int(r.Known), Results: r.Results}, nil
	}
	if err == nil {
		err = errEnded
	}
	return nil, fmt.Errorf("carry to %s: %w", o.URL, err)
}

// A carrier ends its session once the hub answered.
type carrier struct {
	*edge.Carrier
	stop context.CancelFunc
}

// Receive implements wire.Peer.
func (c *carrier) Receive(ctx context.Context, m wire.Message, emit func(wire.Message) error) error {
	err := c.Carrier.Receive(ctx, m, emit)
	if c.Result() != nil {
		c.stop()
	}
	return err
}
