package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
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
	err := readJSON(filepath.Join(SideDir(file), "agent.json"), &id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", file, ErrNotJoined)
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}

func writeIdentity(file string, id *Identity) error {
	return writeJSON(filepath.Join(SideDir(file), "agent.json"), id)
}

// keyPath is where the device's private key is.
func keyPath(file string) string { return filepath.Join(SideDir(file), "device.key") }

// makeSide creates the side directory, for the owner's eyes only.
func makeSide(file string) error {
	dir := SideDir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close %s to others: %w", dir, err)
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a small file at once: readers see the old or the new one.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFile(path, append(b, '\n'))
}

func writeFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already once renamed
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
