package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-sync/tidemark/change"
)

// flushGroup is how many devices are written in one Update, so that pushes get between.
const flushGroup = 1000

// Flush writes what is known of devices' presence, and their sessions that are over, to
// their records. The shell calls it now and then, and before it stops.
func (h *Hub) Flush(ctx context.Context) error {
	ended := h.visits.take()
	ids := h.dirty(ended)
	for group := range slices.Chunk(ids, flushGroup) {
		noted := map[change.DeviceID]time.Time{}
		err := h.store.Update(ctx, func(tx Tx) error {
			clear(noted)
			return h.flush(tx, group, ended, noted)
		})
		if err != nil {
			h.visits.back(ended)
			return fmt.Errorf("flush device records: %w", err)
		}
		for _, id := range group {
			delete(ended, id)
		}
		h.seenMu.Lock()
		for id, at := range noted {
			if p := h.seen[id]; p != nil {
				p.noted = at
			}
		}
		h.seenMu.Unlock()
	}
	return nil
}

// dirty lists the devices of which there is something to write.
func (h *Hub) dirty(ended map[change.DeviceID][]Visit) []change.DeviceID {
	h.seenMu.Lock()
	defer h.seenMu.Unlock()
	var ids []change.DeviceID
	for id, p := range h.seen {
		if !p.seen.Equal(p.noted) || len(ended[id]) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b change.DeviceID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

func (h *Hub) flush(tx Tx, ids []change.DeviceID, ended map[change.DeviceID][]Visit, noted map[change.DeviceID]time.Time) error {
	for _, id := range ids {
		d, err := readDevice(tx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := putDown(tx, d, ended[id]); err != nil {
			return err
		}
		if err := h.saveDevice(tx, d); err != nil {
			return err
		}
		noted[id] = d.Seen
	}
	return nil
}
