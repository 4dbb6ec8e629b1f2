package run

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/edge"
)

// EdgeStatus is how one file stands. Its JSON is part of the interface.
type EdgeStatus struct {
	File         string             `json:"file"`
	URL          string             `json:"url"`
	HubName      string             `json:"hub_name,omitempty"` // what the hub called itself when the file joined
	Name         string             `json:"name"`
	Device       change.DeviceID    `json:"device"`
	Incarnation  change.Incarnation `json:"incarnation"`
	Complete     bool               `json:"complete"` // the first bootstrap stands in the file
	Rows         int64              `json:"rows"`
	OutboxDepth  int64              `json:"outbox_depth"` // transactions not known to be at the hub
	OldestUnsafe float64            `json:"oldest_unsafe_seconds"`
	Unsettled    int64              `json:"unsettled"` // at the hub, outcome not yet here
	Quarantined  int64              `json:"quarantined"`
	Rescues      int64              `json:"rescue_copies"`
	Salvage      int64              `json:"salvage_rows"` // of the hub's, which it lost: not offered to it yet
	LastProgress time.Time          `json:"last_progress,omitzero"`
	LastContact  time.Time          `json:"last_contact,omitzero"`
	ClockOffset  float64            `json:"clock_offset_seconds"` // hub clock − this clock
	Cursor       string             `json:"cursor"`
	Schema       string             `json:"schema,omitempty"`          // of the synced tables, as the hub shows it
	FreeDisk     uint64             `json:"free_disk_bytes,omitempty"` // beside the file; 0: not known
	Agent        AgentStatus        `json:"agent"`
	Events       []Event            `json:"events"` // of the file's history, newest first
	// Numbers and Shares are what the file holds where the rules lease numbers, and
	// keep counters above a floor.
	Numbers []edge.NumberStatus `json:"numbers,omitempty"`
	Shares  []edge.ShareStatus  `json:"shares,omitempty"`
}

// AgentStatus is what the agent of a file says of itself.
type AgentStatus struct {
	Running bool      `json:"running"`
	State   string    `json:"state"`
	Since   time.Time `json:"since,omitzero"`
	Error   string    `json:"error,omitempty"`
	Code    string    `json:"code,omitempty"` // of the hub's fault that the error is, such as "revoked"
	Hint    string    `json:"hint,omitempty"`
	Next    time.Time `json:"next_try,omitzero"`
	PID     int       `json:"pid,omitempty"`
	Version string    `json:"version,omitempty"`

	contact time.Time // when it last heard the hub; zero when it does not say
}

// FileStatus reads how a file stands, from the file itself and from what its
// agent wrote beside it. An agent may be at work meanwhile.
func FileStatus(_ context.Context, e Edge) (out *EdgeStatus, err error) {
	id, err := ReadIdentity(e.File)
	if err != nil {
		return nil, err
	}
	eng, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	return e.status(eng, id, eng.Status)
}

// status reads how the file of an engine stands, with read for what is in the file.
func (e Edge) status(eng *edge.Engine, id *Identity, read func() (edge.Status, error)) (*EdgeStatus, error) {
	s, err := read()
	if err != nil {
		return nil, err
	}
	out := &EdgeStatus{
		File: e.File, URL: cmp.Or(e.URL, id.URL), HubName: id.Hub, Name: id.Name, Device: owner(id, s.Device), Incarnation: s.Incarnation, Complete: s.Complete,
		Rows: s.Rows, OutboxDepth: s.Waiting, OldestUnsafe: s.OldestUnsafe.Seconds(), Unsettled: s.Unsettled,
		Quarantined: s.Quarantined, Rescues: s.Rescues, Salvage: s.Salvage, LastProgress: s.LastProgress, LastContact: s.LastContact,
		ClockOffset: s.ClockOffset.Seconds(), Cursor: s.Cursor.String(), FreeDisk: disk.Free(e.File),
	}
	if h := eng.Schema(); h != (change.SchemaHash{}) {
		out.Schema = h.String()
	}
	if out.Events, err = Events(eng); err != nil {
		return nil, err
	}
	if out.Numbers, out.Shares, err = eng.Leases(); err != nil {
		return nil, err
	}
	if out.Agent, err = AgentOf(e.File); out.Agent.contact.After(out.LastContact) {
		out.LastContact = out.Agent.contact
	}
	return out, err
}

// AgentOf is what the agent of a file says of itself, in whatever process it is. The lock, which dies with its process, says
// whether it is still true.
func AgentOf(file string) (AgentStatus, error) {
	var s side
	err := disk.ReadJSON(filepath.Join(SideDir(file), "status.json"), &s)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return AgentStatus{}, err
	}
	if !disk.Held(lockPath(file)) {
		return AgentStatus{State: StateStopped}, nil
	}
	return AgentStatus{Running: true, State: s.State, Since: s.Since, Error: s.Error, Code: s.Code, Hint: s.Hint, Next: s.Next, PID: s.PID, Version: s.Version, contact: s.Contact}, nil
}
