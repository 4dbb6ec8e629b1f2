package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/tidemark-sync/tidemark/change"
)

// A roster remembers devices as their records have them: to read ten thousand of them
// anew for each look at the fleet takes longer than all else about it. What is
// remembered counts only for the very bytes of a record, so that nobody needs to say
// that one was changed. It is empty until somebody looks at the whole fleet, and takes
// about a kilobyte a device from there on.
type roster struct {
	seen recall[[]*Device] // all, by id

	mu   sync.Mutex
	list map[change.DeviceID]*entry
}

// An entry is never modified: there is another one in its place.
type entry struct {
	sum xxh3.Uint128 // of the record
	d   Device
}

// keep remembers a device, when the roster is in use. body is its record.
func (r *roster) keep(d *Device, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil {
		return
	}
	e := &entry{sum: xxh3.Hash128(body), d: *d}
	// Who hands in d may go on changing it.
	e.d.Grants, e.d.Incarnations, e.d.Control.Asked = slices.Clone(d.Grants), slices.Clone(d.Incarnations), slices.Clone(d.Control.Asked)
	r.list[d.ID] = e
}

// all lists all devices, by id. They are shared, and not to be modified.
func (r *roster) all(v View, now time.Time) ([]*Device, error) {
	return r.seen.get(v, now, func() ([]*Device, error) { return r.read(v) }, kindDevice)
}

func (r *roster) read(v View) ([]*Device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.list
	r.list = make(map[change.DeviceID]*entry, len(old))
	out := make([]*Device, 0, len(old))
	err := eachRecord(v, kindDevice, "", func(name string, body []byte) error {
		var id change.DeviceID
		if err := id.UnmarshalText([]byte(name)); err != nil {
			return fmt.Errorf("id of device %s: %w", name, err)
		}
		e, sum := old[id], xxh3.Hash128(body)
		if e == nil || e.sum != sum {
			e = &entry{sum: sum}
			if err := json.Unmarshal(body, &e.d); err != nil {
				return fmt.Errorf("decode device %s: %w", name, err)
			}
		}
		r.list[id] = e
		out = append(out, &e.d)
		return nil
	})
	return out, err
}
