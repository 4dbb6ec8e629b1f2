package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
)

// DefaultData is where a hub keeps its things when nobody says otherwise.
const DefaultData = "tidemark-hub"

// A HubDir is a hub's data directory.
type HubDir string

// DB is the hub's database: the synced tables, and Tidemark's own beside them.
func (d HubDir) DB() string { return filepath.Join(string(d), "hub.db") }

// Config is the configuration in force.
func (d HubDir) Config() string { return filepath.Join(string(d), "tidemark.yaml") }

// Configured reports whether the directory holds a configuration.
func (d HubDir) Configured() bool {
	_, err := os.Stat(d.Config())
	return err == nil
}

func (d HubDir) tls() string      { return filepath.Join(string(d), "tls") }
func (d HubDir) lock() string     { return filepath.Join(string(d), "lock") }
func (d HubDir) endpoint() string { return filepath.Join(string(d), "endpoint.json") }

// load is how busy the serving process said it is.
func (d HubDir) load() string { return filepath.Join(string(d), "load.json") }

// parcelKey opens the sealed outboxes of the hub's devices.
func (d HubDir) parcelKey() string { return filepath.Join(string(d), "parcel.key") }

// ErrNoHub says that a directory holds no hub.
var ErrNoHub = errors.New("no hub here")

// exists returns nil, or ErrNoHub naming the directory.
func (d HubDir) exists() error {
	if _, err := os.Stat(d.DB()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", string(d), ErrNoHub)
		}
		return fmt.Errorf("look for a hub: %w", err)
	}
	return nil
}

// create makes the directory, for the owner's eyes only.
func (d HubDir) create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	return nil
}

// An Endpoint is where a hub can be reached, as edges must know it.
type Endpoint struct {
	URL string      `json:"url"`
	Pin change.Hash `json:"pin"`
	PID int         `json:"pid,omitempty"` // of the serving process
}

// ReadEndpoint reads where the hub of a directory listens, or listened last.
func (d HubDir) ReadEndpoint() (Endpoint, error) {
	var e Endpoint
	err := disk.ReadJSON(d.endpoint(), &e)
	return e, err
}

// Serving reports whether a process serves the directory now, ready for devices.
func (d HubDir) Serving() bool {
	if !disk.Held(d.lock()) {
		return false
	}
	at, err := d.ReadEndpoint()
	if err != nil {
		return false
	}
	pid, err := os.ReadFile(d.lock()) // of whoever has the lock
	return err == nil && string(pid) == strconv.Itoa(at.PID)
}

// ReadLoad reads how busy the serving process was when it last said so, some seconds
// ago; nil when none serves, or none said so yet.
func (d HubDir) ReadLoad() *Load {
	var l Load
	if !d.Serving() || disk.ReadJSON(d.load(), &l) != nil {
		return nil
	}
	return &l
}
