package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// facts are what is known of devices beside their own records. What they hold may be
// shared, and is not to be modified.
type facts struct {
	waiting // transactions
	held    map[change.DeviceID]int
	marks   map[change.DeviceID]time.Time // when files last went on from an older state
	schema  map[change.DeviceID]change.SchemaHash
	current map[change.SchemaHash]bool // as the hub's
	here    map[change.DeviceID]bool   // with a session in this process
}

// waiting is what is parked.
type waiting struct {
	parked map[change.DeviceID]int
	all    int
	oldest time.Time // zero when nothing is
}

// known is what is remembered for facts of all devices.
type known struct {
	waiting recall[waiting]
	held    recall[map[change.DeviceID]int]
	events  recall[[]Event] // those that mark, of all devices
	schema  recall[map[change.DeviceID]change.SchemaHash]
	open    recall[int] // receipts
	marked  atomic.Bool // no receipt lacks its mark: see kindOpen
}

// facts reads what is known of all devices, and the events that mark files.
func (h *Hub) facts(v View, s *shape, now time.Time) (f facts, events []Event, err error) {
	var errs [4]error
	f.waiting, errs[0] = h.known.waiting.get(v, now, func() (waiting, error) { return waitingOf(v) }, kindParked, kindSalvage)
	f.held, errs[1] = h.known.held.get(v, now, func() (map[change.DeviceID]int, error) { return heldOf(v) }, kindLives)
	events, errs[2] = h.known.events.get(v, now, func() ([]Event, error) { return markingEvents(v) }, kindEvent)
	f.schema, errs[3] = h.known.schema.get(v, now, func() (map[change.DeviceID]change.SchemaHash, error) { return schemasOf(v) }, kindDevShape)
	if err := errors.Join(errs[:]...); err != nil {
		return f, nil, err
	}
	f.marks = map[change.DeviceID]time.Time{}
	for i := range events {
		f.event(&events[i])
	}
	return f, events, f.compare(v, s)
}

// waitingOf counts what is parked, by the ids alone: each says whose it is, and when it
// came.
func waitingOf(v View) (waiting, error) {
	w := waiting{parked: map[change.DeviceID]int{}}
	for _, kind := range []string{kindParked, kindSalvage} {
		err := eachID(v, kind, "", func(id string) error {
			var d change.DeviceID
			part := strings.SplitN(id, "/", 3)
			if len(part) < 3 {
				return fmt.Errorf("id of quarantine record %q", id)
			}
			at, err := strconv.ParseInt(part[1], 10, 64)
			if err := errors.Join(err, d.UnmarshalText([]byte(part[0]))); err != nil {
				return fmt.Errorf("id of quarantine record %q: %w", id, err)
			}
			w.add(d, time.UnixMilli(at))
			return nil
		})
		if err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *waiting) add(d change.DeviceID, at time.Time) {
	w.parked[d]++
	w.all++
	if w.oldest.IsZero() || at.Before(w.oldest) {
		w.oldest = at
	}
}

func heldOf(v View) (map[change.DeviceID]int, error) {
	out := map[change.DeviceID]int{}
	return out, eachLives(v, func(d change.DeviceID, l *lives) {
		if n := l.held(); n > 0 {
			out[d] = n
		}
	})
}

func markingEvents(v View) (list []Event, err error) {
	err = eachEvent(v, func(e *Event) {
		if e.mark(new(time.Time)) {
			list = append(list, *e)
		}
	})
	return list, err
}

func schemasOf(v View) (map[change.DeviceID]change.SchemaHash, error) {
	out := map[change.DeviceID]change.SchemaHash{}
	return out, eachRecord(v, kindDevShape, "", func(id string, body []byte) error {
		var has deviceShape
		var d change.DeviceID
		if err := errors.Join(json.Unmarshal(body, &has), d.UnmarshalText([]byte(id))); err != nil {
			return fmt.Errorf("decode devshape record %s: %w", id, err)
		}
		out[d] = has.Hash
		return nil
	})
}

// factsOf reads what is known of one device.
func factsOf(v View, s *shape, id change.DeviceID) (f facts, err error) {
	f = facts{waiting: waiting{parked: map[change.DeviceID]int{}}, marks: map[change.DeviceID]time.Time{}}
	list, err := parkedOf(v, id)
	if err != nil {
		return f, err
	}
	for _, p := range list {
		f.add(p.Device, p.At)
	}
	l, err := readLives(v, id)
	if err != nil {
		return f, err
	}
	f.held = map[change.DeviceID]int{id: l.held()}
	if err := eachEventOf(v, id, f.event); err != nil {
		return f, err
	}
	var has deviceShape
	if err := readRecord(v, kindDevShape, id.String(), &has); err != nil && !errors.Is(err, ErrNotFound) {
		return f, err
	}
	f.schema = map[change.DeviceID]change.SchemaHash{id: has.Hash}
	return f, f.compare(v, s)
}

func (f *facts) event(e *Event) {
	at := f.marks[e.Device]
	if e.mark(&at) {
		f.marks[e.Device] = at
	}
}

// compare finds which of the schemas are as the hub's.
func (f *facts) compare(v View, s *shape) error {
	f.current = map[change.SchemaHash]bool{}
	for _, hash := range f.schema {
		if _, done := f.current[hash]; done || hash == (change.SchemaHash{}) {
			continue
		}
		var schema change.Schema
		err := readRecord(v, kindShape, hash.String(), &schema)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		f.current[hash] = err == nil && len(s.compare(&schema)) == 0
	}
	return nil
}

// schemaName is how many hexadecimal digits name a schema for people.
const schemaName = 8

// tell adds to a device all that is known of it; its own record is there already.
func (f *facts) tell(out *DeviceStatus, at change.Cursor, now time.Time) {
	d := &out.Device
	out.since(at, now)
	out.Quarantine, out.Held, out.Restored = f.parked[d.ID], f.held[d.ID], f.marks[d.ID]
	out.Connected = d.connected(f.here[d.ID], now)
	if hash := f.schema[d.ID]; hash != (change.SchemaHash{}) {
		out.Schema, out.Current = hash.String()[:schemaName], f.current[hash]
	}
	out.Level, out.Why = levelOf(out)
}
