package edge

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// DownloadConfig says what a Download fills, and for whom.
type DownloadConfig struct {
	Config                                 // Path is the file to be; it must not exist
	Device   change.DeviceID               // required
	Agent    string                        // build version, for people
	Progress func(done, total int64)       // bytes received; may be nil
	step     func(name string) (err error) // tests end the process there
}

// The reasons why a Download does not fill a path. Rows can be fetched instead.
var (
	// ErrNoSnapshot means that the hub has no prepared file for this device.
	ErrNoSnapshot = errors.New("the hub has no snapshot to send")
	// ErrNotFresh means that something is, or was, at the path.
	ErrNotFresh = errors.New("the path is not fresh")
	// ErrDamagedSnapshot means that what came is not what the hub named.
	ErrDamagedSnapshot = errors.New("the snapshot arrived damaged")
)

// A Download makes a file that never existed out of the snapshot that the hub
// prepared: the quick form of a first bootstrap. It implements wire.Peer; whoever
// owns the connection calls Start once, Receive for each message, and Install
// when Done.
//
// Everything happens beside the path. What was received survives a cut and a
// crash, and is taken up by the next Download of the same path. The file gets its
// name, complete, in one step, and never in place of another (traps D18, S21).
// Its methods are called one at a time.
type Download struct {
	cfg     DownloadConfig
	box     *parcel
	welcome *wire.Welcome
	parts   uint32 // of the window under way
}

// downloadWindow is how many parts come before the next are asked for.
const downloadWindow = 64

// NewDownload begins one, taking up what an earlier one left.
func NewDownload(cfg DownloadConfig) (*Download, error) {
	if cfg.Clock == nil || cfg.Rand == nil {
		return nil, errors.New("download: a clock and a source of randomness are required")
	}
	if err := fresh(cfg.Path); err != nil {
		return nil, err
	}
	box, err := openParcel(newStage(cfg.Path).dir)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	return &Download{cfg: cfg, box: box}, nil
}

// Start opens the session.
func (d *Download) Start(_ context.Context, emit func(wire.Message) error) error {
	d.welcome = nil
	h := opening(d.cfg.Agent, d.cfg.Device, d.cfg.Clock.Now())
	return emit(&h)
}

// Receive implements wire.Peer.
func (d *Download) Receive(_ context.Context, m wire.Message, emit func(wire.Message) error) error {
	if done, err := routine(m, emit); done || err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.Welcome:
		return d.welcomed(m, emit)
	case *wire.SnapshotPart:
		return d.part(m, emit)
	}
	return fmt.Errorf("the hub sent an unexpected %T", m)
}

func (d *Download) welcomed(m *wire.Welcome, emit emitFunc) error {
	if m.Setup == nil {
		return errors.New("the hub did not say what to sync")
	}
	d.welcome = m
	if b := d.box; b.Setup != m.Setup.Hash || b.Scopes != m.Scopes {
		// Begun for other tables or other scopes: of no use any more.
		if err := b.reset(label{Setup: m.Setup.Hash, Scopes: m.Scopes}); err != nil {
			return err
		}
	}
	if d.Done() {
		return nil
	}
	return d.ask(emit)
}

func (d *Download) ask(emit emitFunc) error {
	d.parts = 0
	return emit(&wire.Snapshot{ID: d.box.ID, Offset: uint64(d.box.have), Scopes: d.box.Scopes, Setup: d.box.Setup, Window: downloadWindow})
}

func (d *Download) part(m *wire.SnapshotPart, emit emitFunc) error {
	if d.welcome == nil {
		return errors.New("the hub sent a snapshot before Welcome")
	}
	switch {
	case m.ID == (change.Hash{}) && m.Wait:
		return d.ask(emit) // the hub takes its time to answer
	case m.ID == (change.Hash{}):
		return fmt.Errorf("%w: %s", ErrNoSnapshot, m.Reason)
	case m.ID != d.box.ID: // another file than the one begun, or the first
		l := label{ID: m.ID, At: m.At.String(), Packed: int64(m.Packed), Size: int64(m.Size), Setup: d.box.Setup, Scopes: d.box.Scopes}
		if err := d.box.reset(l); err != nil {
			return err
		}
	}
	if int64(m.Offset) != d.box.have || d.box.have+int64(len(m.Body)) > d.box.Packed {
		return fmt.Errorf("the hub sent %d bytes of the snapshot from %d on, not from %d of %d", len(m.Body), m.Offset, d.box.have, d.box.Packed)
	}
	if err := d.box.add(m.Body); err != nil {
		return err
	}
	if d.cfg.Progress != nil {
		d.cfg.Progress(d.box.have, d.box.Packed)
	}
	if d.parts++; d.Done() || d.parts < downloadWindow {
		return nil
	}
	return d.ask(emit)
}

// Done reports that everything is here, and Install may be called.
func (d *Download) Done() bool {
	return d.welcome != nil && d.box.Packed > 0 && d.box.have == d.box.Packed
}

// Have is how many bytes are here, to tell whether a cut session got anywhere.
func (d *Download) Have() int64 { return d.box.have }

// Close lets go of the files. What they hold stays for the next Download.
func (d *Download) Close() error { return d.box.close() }

// Drop removes what was received.
func (d *Download) Drop() error { return d.box.drop() }

// DropDownload removes what an earlier process received for a path that needs it no
// more: it died after the file got its name, or the file came another way.
func DropDownload(path string) error {
	return (&parcel{dir: newStage(path).dir}).drop()
}
