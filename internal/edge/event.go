package edge

import (
	"fmt"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// An Event is something that happened to the history of a file: nothing is wrong,
// but whoever looks after it should know.
type Event struct {
	At     time.Time
	Kind   string // one of the Event… constants
	Detail string // for people
}

// The kinds of events.
const (
	EventFork    = "forked"       // the file was restored, or is a copy: a new incarnation
	EventDevice  = "device"       // the file belongs to another device from now on
	EventHubBack = "hub-restored" // the hub was set back
	EventSalvage = "salvaged"     // rows that a restored hub lost are offered to it
	EventAnew    = "fetched-anew" // the hub's rows were fetched anew, all of them
)

// eventsMost is how many events a file keeps.
const eventsMost = 20

// Events lists what happened to the file's history, newest first; the last 20.
func (e *Engine) Events() (out []Event, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return nil, nil
	}
	err = sqlite.Query(e.conn, "SELECT at, kind, detail FROM _tidemark_event ORDER BY n DESC", func(s *sqlite.Stmt) error {
		out = append(out, Event{At: time.UnixMilli(s.ColumnInt64(0)).UTC(), Kind: s.ColumnText(1), Detail: s.ColumnText(2)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return out, nil
}

// addEvent notes an event in the caller's transaction.
func (e *Engine) addEvent(kind, detail string) error {
	e.cfg.Logger.Warn("history of the file", "event", kind, "detail", detail)
	err := sqlite.Exec(e.conn, "INSERT INTO _tidemark_event (at, kind, detail) VALUES (?,?,?)",
		change.Int(e.cfg.Clock.Now().UnixMilli()), change.Text(kind), change.Text(detail))
	if err != nil {
		return fmt.Errorf("note event %s: %w", kind, err)
	}
	return sqlite.Exec(e.conn, "DELETE FROM _tidemark_event WHERE n <= (SELECT max(n) FROM _tidemark_event) - ?", change.Int(eventsMost))
}
