package hub

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// heldRetry is how long a held file is asked to stay away.
const heldRetry = time.Minute

// become takes the name that the edge says it has: the device of its key, or one
// that was split off it. A hub that was put back does not know who was split off
// since; a file that proves to be one of these is the device of its key again, and
// is told apart once more.
func (s *Session) become(v View, m *wire.Hello) error {
	name := m.Device
	if name == s.device {
		return nil
	}
	own, err := readDevice(v, s.device)
	if err == nil {
		var other *Device
		other, err = readDevice(v, name)
		if errors.Is(err, ErrNotFound) && s.proves(m) {
			return nil
		}
		if err == nil && (other.Key != own.Key || own.Key == (change.Hash{})) {
			err = ErrNotFound
		}
	}
	if errors.Is(err, ErrNotFound) {
		return &wire.Fault{Code: "forged", Message: fmt.Sprintf("the key belongs to device %s, the edge says it is %s", s.device, name),
			Hint: "the file goes with another key: join it anew with a token of its own", Fatal: true}
	}
	if err != nil {
		return err
	}
	s.hub.bellMu.Lock() // bump reads it
	s.device = name
	s.hub.bellMu.Unlock()
	return nil
}

// proves reports whether the hub gave the state that the file holds to the device
// that it says it is, or to that of the key.
func (s *Session) proves(m *wire.Hello) bool {
	_, named := s.hub.given(m.Device, m.At, m.Seal)
	_, keyed := s.hub.given(s.device, m.At, m.Seal)
	return named || keyed
}

// beyond is a chain length that makes the greeting file begin anew: its incarnation
// belongs to another device.
func beyond(m *wire.Hello) uint64 {
	if m.Last == 0 && m.At.IsZero() {
		return 0 // of an edge that does not say how long its chain is
	}
	return m.Last + 1
}

// stand finds the greeting file's life, and what that means for its Welcome. known
// is false when the life is to be noted first.
func (s *Session) stand(v View, m *wire.Hello, w *wire.Welcome) (p standpoint, known bool, err error) {
	p.knows = m.Last > 0 || !m.At.IsZero()
	p.mine = min(w.Progress, m.Last)
	p.counts = p.knows || w.Progress == 0
	if m.Incarnation.IsZero() {
		return p, true, nil
	}
	rec, err := readLives(v, s.device)
	if err != nil {
		return p, false, err
	}
	p.turn = rec.Turn
	life := rec.find(m.Incarnation)
	if life == nil {
		return p, false, nil
	}
	if err := life.refused(); err != nil {
		return p, true, err
	}
	if p.knows { // otherwise it would not understand
		w.Device = life.Split
	}
	if rec.Last == m.Incarnation {
		s.hub.spoken.set(s.device, m.Incarnation)
	}
	return p, true, nil
}

func (l *Life) refused() error {
	switch {
	case l.Ended != "":
		return &wire.Fault{Code: "revoked", Message: "this copy of the device's file was refused: " + l.Ended,
			Hint: "unsent work stays in the file; join it anew with a token of its own", Fatal: true}
	case l.Held:
		return &wire.Fault{Code: "copy-held", Message: "this file is a copy, or was restored from a backup, and waits for a word of the hub's operator",
			Hint: "nothing is lost; at the hub: tidemark device allow NAME", RetryAfter: heldRetry}
	}
	return nil
}

// enter notes a life that the hub hears of for the first time, and holds it when it
// goes on from another one of the device and that is the policy.
func (s *Session) enter(ctx context.Context, m *wire.Hello, epoch change.Epoch, now time.Time) error {
	h, held := s.hub, false
	err := h.share(ctx, func(tx Tx) error {
		held = false
		rec, err := readLives(tx, s.device)
		if err != nil || rec.find(m.Incarnation) != nil {
			return err
		}
		if other, err := s.foreign(tx, m.Incarnation); err != nil || other {
			return err // it begins another one
		}
		own, err := s.own(tx, rec, m.Parent)
		if err != nil {
			return err
		}
		again := rec.continued(m.Parent)
		life := rec.add(m.Incarnation, m.Parent, now)
		// A hub that was itself set back made the file begin anew: nothing is wrong with
		// it. But one file does so once; another that goes on from there is a copy.
		if own && (m.At.IsZero() || m.At.Epoch == epoch || again) {
			held = h.copies == HoldCopies
			life.Held = held
			if err := noteRestored(tx, s.device, life, now); err != nil {
				return err
			}
		}
		return rec.save(tx, s.device)
	})
	if err != nil {
		return fmt.Errorf("note a life: %w", err)
	}
	if held {
		h.log.Warn("file held: it is a copy or was restored", "device", s.device.String(), "incarnation", m.Incarnation.String())
		return (&Life{Held: true}).refused()
	}
	return nil
}

func noteRestored(tx Tx, device change.DeviceID, l *Life, now time.Time) error {
	text := fmt.Sprintf("its file goes on from an older state, as incarnation %s instead of %s: a backup was put back, or the file was copied", l.Inc, l.Parent)
	if err := addEvent(tx, device, now, EventRestored, text); err != nil || !l.Held {
		return err
	}
	return addEvent(tx, device, now, EventHeld, "incarnation "+l.Inc.String()+" waits for: tidemark device allow")
}

// own reports whether an incarnation is one of this device's.
func (s *Session) own(v View, rec *lives, inc change.Incarnation) (bool, error) {
	if inc.IsZero() {
		return false, nil
	}
	if rec.find(inc) != nil {
		return true, nil
	}
	_, err := v.Record(kindIncarnation, inc.String())
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	other, err := s.foreign(v, inc)
	return !other, err
}

// foreign reports whether an incarnation is another device's.
func (s *Session) foreign(v View, inc change.Incarnation) (bool, error) {
	var owner change.DeviceID
	err := readRecord(v, kindIncarnation, inc.String(), &owner)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return owner != s.device, err
}

// speak notes that the file of this session lives, when another life of the device
// spoke last. That may show that there are two files.
func (s *Session) speak(ctx context.Context, m wire.Message) error {
	switch m.(type) {
	case *wire.Hello, *wire.Fault:
		return nil
	}
	h, inc := s.hub, s.hello.Incarnation
	if inc.IsZero() || h.spoken.is(s.device, inc) {
		return nil
	}
	var stale, late, held bool
	var split *Device
	err := h.store.Update(ctx, func(tx Tx) error {
		stale, late, held, split = false, false, false, nil
		rec, err := readLives(tx, s.device)
		if err != nil || rec.Last == inc {
			return err
		}
		now := h.clock.Now()
		life := rec.find(inc)
		if life == nil {
			life = rec.add(inc, s.hello.Parent, now)
		}
		last := rec.find(rec.Last)
		if last != nil && life.Turn > 0 && last.Turn > s.place.turn {
			// Sent, perhaps, before the other one spoke. If the file lives it says so again.
			late, stale = true, s.place.knows || last.Knows
			return nil
		}
		life.Knows = s.place.knows
		if rec.speaks(life, now) && s.place.knows && life.Split.IsZero() {
			if split, held, err = h.apart(tx, s.device, rec, life, now); err != nil {
				err = fmt.Errorf("make a device of a copy: %w", err)
			}
			return err
		}
		return rec.save(tx, s.device)
	})
	if err != nil {
		return fmt.Errorf("note who speaks: %w", err)
	}
	if stale {
		return copiedFault()
	}
	if held {
		h.log.Warn("file held: it is a copy, and there are many", "device", s.device.String(), "incarnation", inc.String(), "copies", maxCopies)
		return (&Life{Held: true}).refused()
	}
	if !late {
		h.spoken.set(s.device, inc)
		h.tellOthers(s.device)
	}
	if split != nil {
		h.log.Warn("device file was copied: the copy is a device of its own", "device", s.device.String(), "copy", split.ID.String(), "name", split.Name)
	}
	return nil
}

// splitOff makes a life's file a device of its own, which the edge hears of at its
// next Hello. Both have one key from then on.
func (h *Hub) splitOff(tx Tx, from change.DeviceID, rec *lives, life *Life, now time.Time) (*Device, error) {
	dev, err := readDevice(tx, from)
	if err != nil {
		return nil, err
	}
	id, err := h.newDeviceID()
	if err != nil {
		return nil, err
	}
	name, err := copyName(tx, dev.Name)
	if err != nil {
		return nil, err
	}
	// The lives so far are its own, too: it may have seen what they wrote.
	d := &Device{ID: id, Name: name, Key: dev.Key, Grants: slices.Clone(dev.Grants), State: Active, Created: now,
		Agent: dev.Agent, Incarnations: slices.Clone(dev.Incarnations), CopyOf: from}
	life.Split = id
	if err := h.saveDevice(tx, d); err != nil {
		return nil, err
	}
	if err := addCopy(tx, from, dev.Key, rec, id); err != nil {
		return nil, err
	}
	if err := addEvent(tx, id, now, EventSplit, fmt.Sprintf("its file was a copy of that of %s (%s)", dev.Name, from)); err != nil {
		return nil, err
	}
	return d, addEvent(tx, from, now, EventCopied, fmt.Sprintf("two copies of its file are in use: the one with incarnation %s is device %s (%s) from now on", life.Inc, name, id))
}

// addCopy notes a copy with the device that joined with the key. rec is that of
// device from, and saved by the caller.
func addCopy(tx Tx, from change.DeviceID, key change.Hash, rec *lives, id change.DeviceID) error {
	var root change.DeviceID
	if err := readRecord(tx, kindKey, key.String(), &root); err != nil {
		return fmt.Errorf("owner of the key: %w", err)
	}
	if root == from {
		rec.Copies = append(rec.Copies, id)
		return nil
	}
	of, err := readLives(tx, root)
	if err != nil {
		return err
	}
	of.Copies = append(of.Copies, id)
	return of.save(tx, root)
}

func (h *Hub) newDeviceID() (change.DeviceID, error) {
	var raw [16]byte
	if err := h.draw(raw[:]); err != nil {
		return change.DeviceID{}, err
	}
	return change.NewDeviceID(strings.NewReader(string(raw[:])))
}

var copySuffix = regexp.MustCompile(` copy [0-9]+$`)

// copyName is the next free of "till-7 copy 2", "till-7 copy 3" and so on.
func copyName(v View, of string) (string, error) {
	base := copySuffix.ReplaceAllString(of, "")
	taken := map[string]bool{}
	err := eachDevice(v, func(d *Device) error {
		taken[d.Name] = true
		return nil
	})
	for n := 2; ; n++ {
		if name := fmt.Sprintf("%s copy %d", base, n); !taken[name] {
			return name, err
		}
	}
}

// keyed reports whether a device that is not active has copies that are: its key is
// theirs, too.
func keyed(v View, device change.DeviceID) (bool, error) {
	rec, err := readLives(v, device)
	if err != nil {
		return false, err
	}
	for _, id := range rec.Copies {
		if _, err := activeDevice(v, id); err == nil {
			return true, nil
		}
	}
	return false, nil
}

// inherit adds to a copy's holds what the device that it was split off had in
// quarantine by then: the copy may build on it.
func (h *holds) inherit(s *shape, v View, dev *Device) error {
	for at, of := dev.Created, dev.CopyOf; !of.IsZero(); {
		list, err := parkedWork(v, of)
		if err != nil {
			return fmt.Errorf("read quarantine: %w", err)
		}
		for _, p := range list {
			if p.At.After(at) {
				continue
			}
			if err := h.add(s, p); err != nil {
				return err
			}
		}
		up, err := readDevice(v, of)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		at, of = up.Created, up.CopyOf
	}
	return nil
}

// Lives lists the lives of a device's file, oldest first.
func (h *Hub) Lives(ctx context.Context, device change.DeviceID) ([]Life, error) {
	var rec *lives
	err := h.store.View(ctx, func(v View) (err error) {
		rec, err = readLives(v, device)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rec.Lives, nil
}

// ErrNotHeld says that no file of a device waits for a word.
var ErrNotHeld = errors.New("no file of this device is held")

// Allow lets the held files of a device go on.
func (h *Hub) Allow(ctx context.Context, device change.DeviceID) error {
	err := h.judge(ctx, device, func(l *Life) { l.Held, l.Allowed = false, true }, "the operator let it go on")
	if err != nil {
		return fmt.Errorf("allow device %s: %w", device, err)
	}
	h.log.Info("held file allowed", "device", device.String())
	return nil
}

// Refuse ends the held files of a device for good; the device goes on.
func (h *Hub) Refuse(ctx context.Context, device change.DeviceID, reason string) error {
	if reason == "" {
		reason = "the hub's operator did not want it"
	}
	err := h.judge(ctx, device, func(l *Life) { l.Held, l.Ended = false, reason }, "the operator refused it: "+reason)
	if err != nil {
		return fmt.Errorf("refuse a copy of device %s: %w", device, err)
	}
	h.log.Info("held file refused", "device", device.String())
	return nil
}

func (h *Hub) judge(ctx context.Context, device change.DeviceID, fn func(*Life), text string) error {
	now := h.clock.Now()
	return h.store.Update(ctx, func(tx Tx) error {
		if _, err := readDevice(tx, device); err != nil {
			return err
		}
		rec, err := readLives(tx, device)
		if err != nil {
			return err
		}
		n := 0
		for i := range rec.Lives {
			l := &rec.Lives[i]
			if !l.Held {
				continue
			}
			n++
			fn(l)
			kind := EventAllowed
			if l.Ended != "" {
				kind = EventRefused
			}
			if err := addEvent(tx, device, now, kind, "incarnation "+l.Inc.String()+": "+text); err != nil {
				return err
			}
		}
		if n == 0 {
			return ErrNotHeld
		}
		return rec.save(tx, device)
	})
}
