package tidemark

import (
	"context"
	"fmt"

	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// An Event is something that happened to the history of a file or of its hub, and
// that Tidemark dealt with: nothing is wrong, but whoever looks after the
// application may want to know.
type Event = run.Event

// The kinds of events.
const (
	Forked      = edge.EventFork    // the file was restored from a backup, or is a copy
	Renamed     = edge.EventDevice  // the hub made the file another device's: it is a copy
	HubRestored = edge.EventHubBack // the hub was set back; what it may have lost was offered again
	Salvaged    = edge.EventSalvage // rows that the restored hub lacks were offered to it for review
	Refetched   = edge.EventAnew    // the hub's rows were fetched anew, all of them
	// Rows of local tables point at rows that the hub no longer has.
	Dangling    = edge.EventDangling
	CaptureLost = edge.EventLost  // writes may have gone uncaptured
	Found       = edge.EventFound // writes that went uncaptured were found, and are handed in
	Kept        = edge.EventKept  // what may be such writes gave way to the hub's rows: see Rescues
)

// Events lists what happened to the file's history, newest first; the last 20.
func (db *DB) Events(ctx context.Context) (out []Event, err error) {
	if err := db.usable(ctx); err != nil {
		return nil, err
	}
	err = db.edge.Inside(func(e *edge.Engine) (err error) {
		out, err = run.Events(e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return out, nil
}
