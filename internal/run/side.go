package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
)

// SideDir is the directory beside an edge's file that holds what must not be in
// the file itself: a copied database must not carry the device's key away.
func SideDir(file string) string { return file + "-tidemark" }

// An Identity is how an edge's file reaches its hub.
type Identity struct {
	URL    string          `json:"url"`
	Pin    change.Hash     `json:"pin"`
	Device change.DeviceID `json:"device"`
	Name   string          `json:"name"`
	Hub    string          `json:"hub,omitempty"` // what the hub calls itself
	Joined time.Time       `json:"joined"`
}

// ErrNotJoined says that a file was never enrolled.
var ErrNotJoined = errors.New("the file is not enrolled with a hub")

// ReadIdentity reads the identity beside a file, or ErrNotJoined.
func ReadIdentity(file string) (*Identity, error) {
	var id Identity
	err := disk.ReadJSON(filepath.Join(SideDir(file), "agent.json"), &id)
	if errors.Is(err, fs.ErrNotExist) {
		if err := NamesFile(file); err != nil {
			return nil, fmt.Errorf("%w, %w", err, ErrNotJoined)
		}
		return nil, fmt.Errorf("%s: %w", file, ErrNotJoined)
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}

func writeIdentity(file string, id *Identity) error {
	return disk.WriteJSON(filepath.Join(SideDir(file), "agent.json"), id)
}

// ErrNoKey says that the key of an enrolled file is gone, without which the hub does
// not let it in.
var ErrNoKey = errors.New("it is not beside the file")

// keyPath is where the device's private key is.
func keyPath(file string) string { return filepath.Join(SideDir(file), "device.key") }

// newKeyPath is where the key waits that is to take its place.
func newKeyPath(file string) string { return keyPath(file) + ".new" }

// makeSide creates the side directory, for the owner's eyes only; made says that
// it was not there.
func makeSide(file string) (made bool, err error) {
	dir := SideDir(file)
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		made = true
	case !errors.Is(err, fs.ErrExist):
		return false, fmt.Errorf("create %s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return made, fmt.Errorf("close %s to others: %w", dir, err)
	}
	return made, nil
}
