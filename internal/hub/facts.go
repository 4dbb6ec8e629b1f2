package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// facts are what is known of devices beside their own records.
type facts struct {
	parked  map[change.DeviceID]int
	waiting int       // all that is parked
	oldest  time.Time // of what is parked; zero when nothing is
	held    map[change.DeviceID]int
	marks   map[change.DeviceID]time.Time // when files last went on from an older state
	schema  map[change.DeviceID]change.SchemaHash
	current map[change.SchemaHash]bool // as the hub's
	here    map[change.DeviceID]bool   // with a session in this process
}

func newFacts() *facts {
	return &facts{parked: map[change.DeviceID]int{}, held: map[change.DeviceID]int{}, marks: map[change.DeviceID]time.Time{},
		schema: map[change.DeviceID]change.SchemaHash{}, current: map[change.SchemaHash]bool{}}
}

// read reads what is known of all devices.
func (f *facts) read(v View, s *shape) error {
	if err := f.quarantine(v, change.DeviceID{}); err != nil {
		return err
	}
	if err := eachLives(v, func(d change.DeviceID, l *lives) { f.held[d] = l.held() }); err != nil {
		return err
	}
	if err := eachEvent(v, f.event); err != nil {
		return err
	}
	err := eachRecord(v, kindDevShape, "", func(id string, body []byte) error {
		var has deviceShape
		var d change.DeviceID
		if err := errors.Join(json.Unmarshal(body, &has), d.UnmarshalText([]byte(id))); err != nil {
			return fmt.Errorf("decode devshape record %s: %w", id, err)
		}
		f.schema[d] = has.Hash
		return nil
	})
	if err != nil {
		return err
	}
	return f.compare(v, s)
}

// readOne reads what is known of one device.
func (f *facts) readOne(v View, s *shape, id change.DeviceID) error {
	if err := f.quarantine(v, id); err != nil {
		return err
	}
	l, err := readLives(v, id)
	if err != nil {
		return err
	}
	f.held[id] = l.held()
	if err := eachEventOf(v, id, f.event); err != nil {
		return err
	}
	var has deviceShape
	if err := readRecord(v, kindDevShape, id.String(), &has); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	f.schema[id] = has.Hash
	return f.compare(v, s)
}

func (f *facts) event(e *Event) {
	at := f.marks[e.Device]
	if e.mark(&at) {
		f.marks[e.Device] = at
	}
}

func (f *facts) quarantine(v View, id change.DeviceID) error {
	list, err := parkedOf(v, id)
	for _, p := range list {
		f.parked[p.Device]++
		if f.oldest.IsZero() || p.At.Before(f.oldest) {
			f.oldest = p.At
		}
	}
	f.waiting = len(list)
	return err
}

// compare finds which of the schemas are as the hub's.
func (f *facts) compare(v View, s *shape) error {
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

// status is a device with all that is known of it.
func (f *facts) status(d *Device, at change.Cursor, now time.Time) DeviceStatus {
	out := deviceStatus(d, at, now)
	out.Quarantine, out.Held, out.Restored = f.parked[d.ID], f.held[d.ID], f.marks[d.ID]
	out.Connected = d.connected(f.here[d.ID], now)
	if hash := f.schema[d.ID]; hash != (change.SchemaHash{}) {
		out.Schema, out.Current = hash.String()[:schemaName], f.current[hash]
	}
	out.Level, out.Why = levelOf(&out)
	return out
}
