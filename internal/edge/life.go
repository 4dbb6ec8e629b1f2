package edge

import (
	"fmt"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Adopt makes the file another device's: it was enrolled as a copy, or the hub
// told two copies of one file apart. The file begins a new incarnation; what it
// has not handed in, or has no outcome for, is offered under the new device, and
// the hub takes it once. A file that belongs to the device already is left alone.
func (e *Engine) Adopt(device change.DeviceID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil || e.device == device {
		return nil
	}
	if device.IsZero() {
		return fmt.Errorf("give the file to another device: no device named")
	}
	if err := e.split(rift{lost: allKnown, device: device}); err != nil {
		return fmt.Errorf("give the file to device %s: %w", device, err)
	}
	return nil
}

// changeDevice writes down whom the file belongs to; the zero device means as before.
func (e *Engine) changeDevice(device change.DeviceID) error {
	if device.IsZero() {
		return nil
	}
	detail := fmt.Sprintf("the file belongs to device %s from now on, no longer to %s", device, e.device)
	if err := e.setMeta(metaDevice, change.Text(device.String())); err != nil {
		return err
	}
	e.device = device
	return e.addEvent(EventDevice, detail)
}

// introduce adds to Hello what the file knows of its own history.
func (e *Engine) introduce(h *wire.Hello) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil
	}
	last, err := e.metaInt(metaSeq)
	if err != nil {
		return err
	}
	at, err := e.meta(metaCursor)
	if err != nil {
		return err
	}
	if h.At, err = change.ParseCursor(at.Str()); err != nil {
		return err
	}
	seal, err := e.meta(metaSeal)
	if err != nil {
		return err
	}
	parent, err := e.meta(metaParent)
	if err != nil {
		return err
	}
	if h.Newest, err = e.landmark(); err != nil {
		return err
	}
	h.Last = uint64(last)
	if !seal.IsNull() {
		h.Seal = []byte(seal.Str())
	}
	if !parent.IsNull() {
		h.Parent, err = change.ParseIncarnation(parent.Str())
	}
	return err
}

// greeted ends an introduction: the hub knows this incarnation now, and which one
// it continues.
func (e *Engine) greeted() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.meta(metaParent)
	if err != nil || v.IsNull() {
		return err
	}
	return e.setMeta(metaParent, change.Null)
}

// identify takes in whom the hub says the file belongs to. again says that the
// file must greet under its new name.
func (s *Session) identify(m *wire.Welcome) (again bool, err error) {
	if err := s.e.greeted(); err != nil {
		return false, err
	}
	now, _ := s.e.Identity()
	if m.Device.IsZero() || m.Device == now {
		return false, nil
	}
	s.cfg.Device = m.Device
	return true, s.e.Adopt(m.Device)
}

func (s *Session) greetOr(err error, emit emitFunc) error {
	if err != nil {
		return err
	}
	return s.greet(emit)
}

// keepSeal keeps the hub's seal with the cursor that it is of, before that is
// written. An apply that leaves the cursor as it is leaves the seal as well.
func (a *applier) keepSeal() error {
	if len(a.in.seal) > 0 {
		return a.e.setMeta(metaSeal, change.Blob(a.in.seal))
	}
	v, err := a.e.meta(metaCursor)
	if err != nil || v.Str() == a.in.next.String() {
		return err
	}
	return a.e.setMeta(metaSeal, change.Null)
}

// sealLate keeps the hub's seal of the cursor that the file has already: a prepared
// file comes with a cursor, but no seal.
func (e *Engine) sealLate(seal []byte) error {
	v, err := e.meta(metaSeal)
	if err != nil || len(seal) == 0 || !v.IsNull() {
		return err
	}
	if err := e.setMeta(metaSeal, change.Blob(seal)); !busy(err) { // busy: the next pull brings it, too
		return err
	}
	return nil
}

// noteAnew tells people that everything was fetched anew, and why.
func (a *applier) noteAnew() error {
	if !a.in.full || a.in.why == "" {
		return nil
	}
	return a.e.addEvent(EventAnew, a.in.why)
}
