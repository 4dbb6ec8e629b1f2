package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

const kindEvent = "event" // by device and number: Event

// keptEvents is how many events are kept of each device.
const keptEvents = 50

// An Event is something out of the ordinary that the hub noticed of a device, or,
// with the zero device, of itself.
type Event struct {
	Device change.DeviceID `json:"device"`
	At     time.Time       `json:"at"`     // by the hub's clock
	Kind   string          `json:"kind"`   // one word, stable
	Detail string          `json:"detail"` // a sentence for people
}

// The kinds of events of devices.
const (
	EventRestored = "restored" // the file is an older state of itself: a backup was put back, or the file was copied
	EventCopied   = "copied"   // two copies of its file are in use: one became a device of its own
	EventSplit    = "split"    // it is the device that a copy became
	EventHeld     = "held"     // a file waits for the operator's word
	EventAllowed  = "allowed"  // the operator let it go on
	EventRefused  = "refused"  // the operator ended it
)

// addEvent keeps an event of a device, the zero one being the hub itself, and
// forgets the oldest beyond keptEvents.
func addEvent(tx Tx, device change.DeviceID, at time.Time, kind, detail string) error {
	ids, n, err := eventIDs(tx, device)
	if err != nil {
		return err
	}
	for len(ids) >= keptEvents {
		if err := tx.PutRecord(kindEvent, ids[0], nil); err != nil {
			return fmt.Errorf("forget event %s: %w", ids[0], err)
		}
		ids = ids[1:]
	}
	return writeRecord(tx, kindEvent, eventID(device, n+1), &Event{Device: device, At: at.UTC(), Kind: kind, Detail: detail})
}

// Numbers, not times, put events in order: the hub's clock may be set back.
func eventID(device change.DeviceID, n uint64) string {
	return fmt.Sprintf("%s/%020d", device, n)
}

// eventIDs lists the ids of a device's events, oldest first, and the last number.
func eventIDs(v View, device change.DeviceID) (ids []string, last uint64, err error) {
	err = eventsOf(v, device, func(id string, _ []byte) error {
		ids = append(ids, id)
		return nil
	})
	if err != nil || len(ids) == 0 {
		return ids, 0, err
	}
	_, num, _ := strings.Cut(ids[len(ids)-1], "/")
	if _, err := fmt.Sscanf(num, "%d", &last); err != nil {
		return nil, 0, fmt.Errorf("number of event %s: %w", ids[len(ids)-1], err)
	}
	return ids, last, nil
}

func eventsOf(v View, device change.DeviceID, fn func(id string, body []byte) error) error {
	return eachUnder(v, kindEvent, device.String()+"/", fn)
}

// Events lists what was out of the ordinary with a device, oldest first; with the
// zero device, with the hub itself. Only the last fifty are kept.
func (h *Hub) Events(ctx context.Context, device change.DeviceID) ([]Event, error) {
	var out []Event
	err := h.store.View(ctx, func(v View) error {
		return eventsOf(v, device, func(id string, body []byte) error {
			var e Event
			if err := json.Unmarshal(body, &e); err != nil {
				return fmt.Errorf("decode event %s: %w", id, err)
			}
			out = append(out, e)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("events of device %s: %w", device, err)
	}
	return out, nil
}

// recently is how far back status counts restores and copies.
const recently = 7 * 24 * time.Hour

// mark notes when a file last went on from an older state; it reports whether the event
// tells.
func (e *Event) mark(restored *time.Time) bool {
	switch e.Kind {
	case EventRestored:
		*restored = e.At
	case EventCopied:
		*restored = time.Time{} // so that was what it was
	default:
		return false
	}
	return true
}

// eachEvent calls fn for each event of anybody.
func eachEvent(v View, fn func(*Event)) error {
	return eachRecord(v, kindEvent, "", decodeEvent(fn))
}

// eachEventOf calls fn for each event of a device.
func eachEventOf(v View, device change.DeviceID, fn func(*Event)) error {
	return eventsOf(v, device, decodeEvent(fn))
}

func decodeEvent(fn func(*Event)) func(id string, body []byte) error {
	return func(id string, body []byte) error {
		e := &Event{}
		if err := json.Unmarshal(body, e); err != nil {
			return fmt.Errorf("decode event %s: %w", id, err)
		}
		fn(e)
		return nil
	}
}

// Histories counts the odd histories of devices' files.
type Histories struct {
	Restored int `json:"restored"` // files that went on from an older state, in the last seven days
	Copied   int `json:"copied"`   // copies that became devices, in the last seven days
	Held     int `json:"held"`     // files that wait for the operator's word, now
}

// historiesOf counts them from the events that mark files, and the files that are held.
func historiesOf(events []Event, held map[change.DeviceID]int, now time.Time) (n Histories) {
	for i := range events {
		switch e := &events[i]; {
		case now.Sub(e.At) > recently:
		case e.Kind == EventRestored:
			n.Restored++
		case e.Kind == EventCopied:
			n.Copied++
		}
	}
	n.Restored = max(n.Restored-n.Copied, 0) // a copy was first taken for restored
	for _, files := range held {
		n.Held += files
	}
	return n
}
