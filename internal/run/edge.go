package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// An Edge names one file and what working on it takes.
type Edge struct {
	File   string
	Agent  string      // build version, for people at the hub
	Clock  clock.Clock // required
	Rand   io.Reader   // required; a cryptographic source in production
	Logger *slog.Logger
	NoSync bool // tests only: no fsync
	// Heartbeat is how often an idle session says that it lives; it ends when the
	// hub is silent for three of them. 0 means the transport's default.
	Heartbeat time.Duration
	// URL is where the hub is, when it moved since the file joined; "" means where
	// it was then. The pin stays the same.
	URL string
	// RetryMost bounds the pause between two tries to reach the hub; 0 means
	// DefaultRetryMost.
	RetryMost time.Duration
	// RedoBytes and RedoAge bound the confirmed work that stays in the file for a hub
	// that is restored; 0 means edge.DefaultRedoBytes and edge.DefaultRedoAge.
	RedoBytes int64
	RedoAge   time.Duration

	key string // the device's key; "" means the one beside the file
}

// DefaultRetryMost bounds the pause between two tries to reach the hub.
const DefaultRetryMost = time.Minute

func (e Edge) log() *slog.Logger {
	if e.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return e.Logger
}

// open opens the engine of an existing file.
func (e Edge) open() (*edge.Engine, error) {
	return e.openAs(false)
}

// openAs opens the engine of an existing file, to look only when it says so.
func (e Edge) openAs(looks bool) (*edge.Engine, error) {
	if _, err := os.Stat(e.File); err != nil {
		return nil, fmt.Errorf("open %s: %w", e.File, err)
	}
	return edge.Open(edge.Config{ReadOnly: looks, Path: e.File, Clock: e.Clock, Rand: e.Rand, Logger: e.Logger, NoSync: e.NoSync, RedoBytes: e.RedoBytes, RedoAge: e.RedoAge,
		FreeDisk: func() uint64 { return disk.Free(e.File) }})
}

// options are how to reach the hub of an enrolled file.
func (e Edge) options(id *Identity) (transport.Options, error) {
	key, err := transport.LoadKey(cmp.Or(e.key, keyPath(e.File)))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if err != nil {
		return transport.Options{}, fmt.Errorf("read the device's key: %w", err)
	}
	at := id.URL
	if e.URL != "" {
		at = e.URL
	}
	return transport.Options{URL: at, Pin: id.Pin, Key: key, Logger: e.Logger, Heartbeat: e.Heartbeat}, nil
}

// The states of an agent's work on a file. They are part of the output of status.
const (
	StateStarting   = "starting"
	StateConnecting = "connecting"
	StateOnline     = "online"       // in session with the hub
	StateOffline    = "offline"      // the hub cannot be reached; work is kept
	StateRefused    = "refused"      // the hub refuses this device; work is kept
	StatePaused     = "paused"       // the hub's operator paused this device; work is kept
	StateMissing    = "file-missing" // the file is not there
	StateLocked     = "file-locked"  // another program holds the file's lock
	StateFull       = "disk-full"
	StateReadOnly   = "read-only" // the file or its directory cannot be written
	StateDamaged    = "file-damaged"
	StateFailed     = "failed" // anything else; tried again
	StateStopped    = "stopped"
)

// A trouble is what an error means for an agent.
type trouble struct {
	state  string
	hint   string
	reopen bool          // the file must be opened anew
	after  time.Duration // wait at least this long
}

// judge says what an error means. Nothing here is final: an agent goes on trying,
// because whoever could restart it may be far away.
func judge(err error) trouble {
	var f *wire.Fault
	switch {
	case errors.Is(err, errReplaced):
		return trouble{state: StateStarting, hint: "the file in its place is opened", reopen: true}
	case errors.Is(err, fs.ErrNotExist):
		return trouble{state: StateMissing, hint: "the agent goes on when the file is back", reopen: true, after: time.Second}
	case sqlite.IsBusy(err):
		return trouble{state: StateLocked, hint: "another program holds the file's write lock; the agent tries again"}
	case sqlite.IsFull(err):
		return trouble{state: StateFull, hint: "free some space; nothing was lost, the agent tries again", after: 2 * time.Second}
	case sqlite.IsReadOnly(err):
		return trouble{state: StateReadOnly, hint: "the agent's user must be able to write the file and its directory", reopen: true, after: 5 * time.Second}
	case sqlite.IsDamaged(err):
		return trouble{state: StateDamaged, hint: "tidemark doctor FILE tells more; restore the file, or join again into a new one", reopen: true, after: 30 * time.Second}
	case sqlite.IsGone(err):
		return trouble{state: StateFailed, hint: "the file cannot be read now; the agent tries again", reopen: true, after: time.Second}
	case errors.Is(err, transport.ErrPin):
		return trouble{state: StateRefused, hint: "the server at the hub's address is not the hub this file joined: somebody is in between, or the hub was set up anew", after: 30 * time.Second}
	case errors.As(err, &f) && f.Fatal:
		return trouble{state: StateRefused, hint: f.Hint, after: max(f.RetryAfter, 30*time.Second)}
	case passing(err):
		return trouble{state: StateConnecting, hint: "the next session begins at once"}
	case errors.As(err, &f) && f.Code == "paused":
		return trouble{state: StatePaused, hint: f.Hint, after: f.RetryAfter}
	case errors.As(err, &f) && f.RetryAfter > 0:
		return trouble{state: StateOffline, hint: f.Hint, after: f.RetryAfter}
	case errors.As(err, &f):
		return trouble{state: StateFailed, hint: f.Hint}
	case errors.Is(err, transport.ErrUnreachable):
		return trouble{state: StateOffline, hint: "local work is kept and handed in when the hub is back"}
	}
	return trouble{state: StateFailed, hint: "the agent tries again"}
}

// A side is what an agent last said of itself, for other processes.
type side struct {
	PID   int       `json:"pid"`
	State string    `json:"state"`
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
	Code  string    `json:"code,omitempty"` // of the hub's fault that Error is; "" when it is none
	Hint  string    `json:"hint,omitempty"`
	Next  time.Time `json:"next_try,omitzero"`

	Version string    `json:"version,omitempty"` // of the agent
	Contact time.Time `json:"contact,omitzero"`  // when it last heard the hub, while it is not online
}

// pause waits, or returns early when ctx ends or early fires.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-early:
	}
}
