package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A Visit is a session that is over.
type Visit struct {
	N     uint64    `json:"n"`     // 1, 2, 3 … of the device
	Began time.Time `json:"began"` // by the hub's clock, as is Ended
	Ended time.Time `json:"ended"`
	In    uint64    `json:"in,omitempty"`    // transactions taken in
	Out   uint64    `json:"out,omitempty"`   // rows sent, but for those of chunks that devices share
	Bytes uint64    `json:"bytes,omitempty"` // of rows and prepared files sent, sealed
	Error string    `json:"error,omitempty"` // why the hub ended it; "" when it did not
	Agent string    `json:"agent,omitempty"` // the build that called
}

// A tally is what a session has done so far. It may be used concurrently.
type tally struct {
	mu     sync.Mutex
	caller change.DeviceID // whose key called
	device change.DeviceID // who was let in; zero: nobody yet
	paused bool            // it was turned away at its greeting, for it is paused
	visit  Visit           // Began is zero before the first message
	over   bool
}

// heard notes that the device spoke.
func (t *tally) heard(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.visit.Began.IsZero() {
		t.visit.Began = now.UTC()
	}
}

func (t *tally) took(transactions int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.visit.In += uint64(transactions)
}

func (t *tally) sent(rows int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.visit.Out += uint64(rows)
}

// through counts what goes through emit.
func (t *tally) through(emit func(wire.Message) error) func(wire.Message) error {
	return func(m wire.Message) error {
		n := 0
		switch m := m.(type) {
		case *wire.Delta:
			n = len(m.Body)
		case *wire.Chunk:
			n = len(m.Body)
		case *wire.SnapshotPart:
			n = len(m.Body)
		}
		if n > 0 {
			t.mu.Lock()
			t.visit.Bytes += uint64(n)
			t.mu.Unlock()
		}
		return emit(m)
	}
}

// failed notes why the session ends.
func (t *tally) failed(err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return // the other side went away, or this process does: nothing went wrong
	}
	t.paused = isPaused(err) && t.device.IsZero()
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		t.visit.Error = f.Error()
	} else {
		t.visit.Error = err.Error()
	}
	t.visit.Error = shorten(t.visit.Error, maxWhy)
}

// maxWhy is how much is kept of an error's text, in bytes.
const maxWhy = 500

// shorten cuts text to at most n bytes, not inside a UTF-8 sequence.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// visits are the sessions of this process. Its methods may be called concurrently.
type visits struct {
	mu    sync.Mutex
	open  map[change.DeviceID]int // sessions that were let in
	ended map[change.DeviceID][]Visit
}

// arrive counts a session whose device was let in. A device that greets under another
// name goes on under that.
func (s *Session) arrive(agent string) {
	v, t := &s.hub.visits, &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if t.over || t.device == s.device {
		return
	}
	if !t.device.IsZero() {
		v.leave(t.device)
	}
	t.device, t.visit.Agent = s.device, agent
	if v.open == nil {
		v.open = map[change.DeviceID]int{}
	}
	v.open[s.device]++
}

// leave counts a session less. The caller holds mu.
func (v *visits) leave(device change.DeviceID) {
	if v.open[device]--; v.open[device] <= 0 {
		delete(v.open, device)
	}
}

// End says that the session is over: it is put down with the next Flush. It may be
// called at any time, and again.
func (s *Session) End() {
	t := &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.over = true
	if t.visit.Began.IsZero() {
		return // nobody said anything
	}
	t.visit.Ended = s.hub.clock.Now().UTC()
	device := t.device
	if device.IsZero() {
		device = t.caller // who was not let in
	}
	if t.paused { // a paused device that looks whether it may come in again is no visit
		s.hub.departed(device, t.visit.Ended)
		return
	}
	v := &s.hub.visits
	v.mu.Lock()
	if !t.device.IsZero() {
		v.leave(t.device)
	}
	v.keep(device, t.visit)
	v.mu.Unlock()
	s.hub.departed(device, t.visit.Ended)
}

// keep lets the last visits of a device wait for the next Flush. The caller holds mu.
func (v *visits) keep(device change.DeviceID, list ...Visit) {
	if v.ended == nil {
		v.ended = map[change.DeviceID][]Visit{}
	}
	all := append(v.ended[device], list...)
	v.ended[device] = all[max(len(all)-keptVisits, 0):]
}

// take hands out what waits to be put down.
func (v *visits) take() map[change.DeviceID][]Visit {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.ended
	v.ended = nil
	return out
}

// back takes in again what could not be put down.
func (v *visits) back(lost map[change.DeviceID][]Visit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, list := range lost {
		v.keep(id, append(list, v.ended[id]...)...)
		v.ended[id] = v.ended[id][max(len(v.ended[id])-keptVisits, 0):]
	}
}

// here are the devices with a session in this process.
func (v *visits) here() map[change.DeviceID]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[change.DeviceID]bool, len(v.open))
	for id := range v.open {
		out[id] = true
	}
	return out
}

// departed notes when a device's session ended.
func (h *Hub) departed(device change.DeviceID, at time.Time) {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	p := h.seen[device]
	if p == nil {
		p = &presence{}
		h.seen[device] = p
	}
	p.ended = at
}

// connectedFor is how long a device that another process serves counts as connected
// since its last word that is known of: two heartbeats, and what the other one takes to
// write it down.
const connectedFor = 45 * time.Second

// connected reports whether a device is, with this process (here) or another one.
func (d *Device) connected(here bool, now time.Time) bool {
	return here || d.State == Active && d.Seen.After(d.Ended) && now.Sub(d.Seen) < connectedFor
}

// putDown keeps visits of a device in its ring.
func putDown(tx Tx, d *Device, list []Visit) error {
	for _, v := range list {
		d.Visits++
		v.N = d.Visits
		if v.Ended.After(d.Ended) {
			d.Ended = v.Ended
		}
		if err := writeRecord(tx, kindVisit, slot(d.ID, v.N, keptVisits), &v); err != nil {
			return err
		}
	}
	return nil
}

// visitsOf lists what is kept of a device, newest first.
func visitsOf(v View, device change.DeviceID) (out []Visit, err error) {
	err = eachUnder(v, kindVisit, device.String()+"/", func(id string, body []byte) error {
		var one Visit
		if err := json.Unmarshal(body, &one); err != nil {
			return fmt.Errorf("decode visit %s: %w", id, err)
		}
		out = append(out, one)
		return nil
	})
	slices.SortFunc(out, func(a, b Visit) int { return int(b.N) - int(a.N) })
	return out, err
}
