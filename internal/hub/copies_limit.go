package hub

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// maxCopies is how many devices in use have one key. A file that is copied over and
// over, by a script perhaps, must not fill the hub with devices: the next copy waits for
// the operator's word.
const maxCopies = 64

// apart is splitOff unless there are maxCopies already; then the file is held.
func (h *Hub) apart(tx Tx, from change.DeviceID, rec *lives, life *Life, now time.Time) (split *Device, held bool, err error) {
	n, err := copiesOf(tx, from)
	if err != nil {
		return nil, false, err
	}
	if n < maxCopies || life.Allowed {
		split, err = h.splitOff(tx, from, rec, life, now)
		if err == nil {
			err = rec.save(tx, from)
		}
		return split, false, err
	}
	// It has not spoken: the other one would be taken for a copy of it.
	if rec, err = readLives(tx, from); err != nil {
		return nil, false, err
	}
	life = rec.find(life.Inc) // it spoke before
	life.Held = true
	text := fmt.Sprintf("incarnation %s is one more copy of its file, and %d copies are in use: it waits for: tidemark device allow; revoke copies that are not needed", life.Inc, n)
	return nil, true, errors.Join(rec.save(tx, from), addEvent(tx, from, now, EventHeld, text))
}

// copiesOf counts the devices in use that were split off the one that a device has its
// key from.
func copiesOf(v View, device change.DeviceID) (n int, err error) {
	d, err := readDevice(v, device)
	if err != nil {
		return 0, err
	}
	var root change.DeviceID
	if err := readRecord(v, kindKey, d.Key.String(), &root); err != nil {
		return 0, fmt.Errorf("owner of the key: %w", err)
	}
	rec, err := readLives(v, root)
	if err != nil {
		return 0, err
	}
	for _, id := range rec.Copies {
		c, err := readDevice(v, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		if err == nil && c.State == Active {
			n++
		}
	}
	return n, nil
}

// keptLives is how many lives of a device are remembered, about.
const keptLives = 128

// forget drops lives that say nothing any more: of the older half those that spoke
// longest ago. What was decided about a life stays: that its file waits, was refused, or
// is another device. Should one come back that was forgotten, it counts as new.
func (l *lives) forget() {
	for len(l.Lives) >= keptLives {
		at := -1
		for i := range l.Lives[:keptLives/2] {
			o := &l.Lives[i]
			decided := o.Held || o.Allowed || o.Ended != "" || !o.Split.IsZero()
			if !decided && o.Inc != l.Last && (at < 0 || o.Turn < l.Lives[at].Turn) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		l.Lives = append(l.Lives[:at], l.Lives[at+1:]...)
	}
}
