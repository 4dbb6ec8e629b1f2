package run

import (
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

// An Event is something that happened to the history of a file: it was restored
// or copied, the hub was set back. Its JSON is part of the interface.
type Event struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Detail string    `json:"detail"`
}

// Events lists what happened to the history of a file, newest first; never nil.
func Events(e *edge.Engine) ([]Event, error) {
	list, err := e.Events()
	out := make([]Event, len(list))
	for i, v := range list {
		out[i] = Event(v)
	}
	return out, err
}

// owner is the device that a file belongs to: what the file says counts. The hub
// may have told it since it joined that it is a copy and another device.
func owner(id *Identity, file change.DeviceID) change.DeviceID {
	if file.IsZero() {
		return id.Device
	}
	return file
}

// copyMark begins the name of a device that a copied file became.
const copyMark = "a copy of "

// follow brings what is written beside a file in line with whom the file says it
// belongs to.
func follow(file string, id *Identity, e *edge.Engine) error {
	device, _ := e.Identity()
	if device.IsZero() || device == id.Device {
		return nil
	}
	id.Device = device
	if !strings.HasPrefix(id.Name, copyMark) {
		id.Name = copyMark + id.Name // what the hub calls it nobody told
	}
	return writeIdentity(file, id)
}
