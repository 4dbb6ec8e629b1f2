package serve

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// sealKey is the secret by which the hub recognises the cursors that it gave out. It
// is kept beside the database, so that putting the database back leaves it alone.
func (d HubDir) sealKey() string { return filepath.Join(string(d), "seal.key") }

// note is where a serving hub notes how far its database goes.
func (d HubDir) note() string { return filepath.Join(string(d), "lineage.json") }

// A note is what a serving hub knew of its database a moment ago. A database that
// is older than that was put back from a copy.
type note struct {
	Cursor  change.Cursor   `json:"cursor"`
	At      time.Time       `json:"at"`
	Lineage []change.Branch `json:"lineage"`
	// Lives are all that ever were here, also those that no database knows of any
	// more: a backup that is put back twice must not begin the same life twice.
	Lives []change.Epoch `json:"lives,omitempty"`
}

// loadSealKey reads the key, and makes one in a directory that has none.
func loadSealKey(path string, r io.Reader) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeSealKey(path, r)
	}
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != hub.SealKeySize {
		return nil, fmt.Errorf("seal key %s: it is not %d bytes in hexadecimal; put it back from a backup, or remove it: devices get new seals as they sync", path, hub.SealKeySize)
	}
	return key, nil
}

// makeSealKey does not replace the key that another process made meanwhile.
func makeSealKey(path string, r io.Reader) ([]byte, error) {
	key := make([]byte, hub.SealKeySize)
	if _, err := io.ReadFull(r, key); err != nil {
		return nil, fmt.Errorf("draw %s: %w", path, err)
	}
	tmp := path + ".new-" + hex.EncodeToString(key[:4])
	if err := disk.WriteFile(tmp, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp) }() // it has its name, or another one has
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// settlePast does what the operator said of the database's past; when they said
// nothing, it compares the database with the note of the last process.
func (h *Hub) settlePast(ctx context.Context) error {
	n, err := h.cfg.Dir.readNote()
	if err != nil {
		h.log.Warn("the note about the database cannot be read: it is not compared with it", "error", err.Error())
	}
	h.lives = lives(n.Lives, n.Lineage)
	if h.cfg.Revive != "" {
		if err := h.office.Core.Outlive(ctx, h.lives); err != nil {
			return err
		}
		b, err := h.office.Core.Begin(ctx, h.cfg.Revive)
		if err != nil {
			return err
		}
		h.revived = &b
		return h.takeNote(ctx)
	}
	if !n.Cursor.IsZero() {
		if err := h.office.Core.Compare(ctx, n.Cursor, n.At); err != nil {
			return err
		}
	}
	if h.office.Core.Behind() == nil { // else the operator's word comes first
		if err := h.office.Core.Outlive(ctx, h.lives); err != nil {
			return err
		}
	}
	return h.takeNote(ctx)
}

// lives adds a lineage's to the lives that are known.
func lives(known []change.Epoch, lineage []change.Branch) []change.Epoch {
	for _, b := range lineage {
		if !slices.Contains(known, b.Epoch) {
			known = append(known, b.Epoch)
		}
	}
	return known
}

// takeNote notes how far the database goes, when it moved. A hub that waits for its
// operator leaves the note as it is.
func (h *Hub) takeNote(ctx context.Context) error {
	n := note{At: h.cfg.Clock.Now().UTC()}
	err := h.office.Store.View(ctx, func(v hub.View) (err error) {
		if n.Cursor, err = v.Cursor(); err != nil {
			return err
		}
		n.Lineage, err = v.Lineage()
		return err
	})
	if err != nil {
		return fmt.Errorf("note the database's state: %w", err)
	}
	if h.office.Core.Behind() != nil {
		return nil
	}
	if h.office.server != nil { // after the cursor was read: the witness shows all that the note says
		if err := h.office.server.Testify(ctx); err != nil {
			return err
		}
	}
	if n.Cursor == h.noted {
		return nil
	}
	h.lives = lives(h.lives, n.Lineage)
	n.Lives = h.lives
	if err := disk.WriteJSON(h.cfg.Dir.note(), n); err != nil {
		return fmt.Errorf("note the database's state: %w", err)
	}
	h.noted = n.Cursor
	h.office.Core.Noted(n.Cursor, n.At)
	return nil
}

// readNote returns the note, or an empty one.
func (d HubDir) readNote() (n note, err error) {
	if err := disk.ReadJSON(d.note(), &n); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return note{}, err
	}
	return n, nil
}

// forgetNote takes the note of an earlier database away from a new one.
func (d HubDir) forgetNote() error {
	if err := os.Remove(d.note()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the note about an earlier database: %w", err)
	}
	return nil
}
