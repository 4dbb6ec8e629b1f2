package hub

import "github.com/tidemark-sync/tidemark/change"

// Seal is what the hub gives out with a cursor.
func Seal(h *Hub, device change.DeviceID, c change.Cursor) []byte { return h.seal(device, c) }

// Waiting reports whether some session is in Wait.
func Waiting(h *Hub) bool {
	h.bellMu.Lock()
	defer h.bellMu.Unlock()
	return len(h.bells) > 0
}

// InLine is how many pushes wait for the one that is being committed.
func InLine(h *Hub) int {
	h.queue.mu.Lock()
	defer h.queue.mu.Unlock()
	return len(h.queue.waiting)
}

// Leading reports whether a push is being committed and nobody waits.
func Leading(h *Hub) bool {
	h.queue.mu.Lock()
	defer h.queue.mu.Unlock()
	return h.queue.busy && len(h.queue.waiting) == 0
}
