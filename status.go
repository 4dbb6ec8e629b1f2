package tidemark

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// Status is how a file stands. Times are zero when never.
type Status struct {
	// OldestUnsafe is the age of the oldest change that is not known to be at the
	// hub; 0 when everything is. It is the number to watch: it grows when the network
	// is away, the hub refuses, the disk is full or no agent runs.
	OldestUnsafe time.Duration
	Unsafe       int64 // transactions not known to be at the hub; what was written since the last look counts as one
	Unsettled    int64 // at the hub, its decision not yet here
	Quarantined  int64 // parked at the hub, see Queue
	Rescues      int64 // rescue copies kept, see Rescues

	Complete     bool          // the first sync filled the file; before, rows are missing
	LastProgress time.Time     // when something was last handed in or received
	LastContact  time.Time     // when the hub was last heard
	ClockOffset  time.Duration // hub's clock − this machine's clock, as last measured

	Device change.DeviceID // whom this file belongs to; the hub gives a copy of it another one
	Name   string          // the device's, as given at the hub
	Hub    string          // https://HOST:PORT

	Agent AgentStatus // of this process or another
}

// AgentStatus is what the agent of a file does.
type AgentStatus struct {
	Running bool
	State   State
	Since   time.Time // of State
	Error   string    // why it is not online, if known
	Hint    string    // what to do about it
	Next    time.Time // when it tries again; zero when it is not waiting
}

// State is what an agent is doing.
type State string

// The states. In all of them local work goes on and is kept.
const (
	Starting   State = run.StateStarting
	Connecting State = run.StateConnecting
	Online     State = run.StateOnline   // in session with the hub
	Offline    State = run.StateOffline  // the hub cannot be reached
	Refused    State = run.StateRefused  // the hub refuses this device, see ErrRefused
	Missing    State = run.StateMissing  // the file is not there
	Locked     State = run.StateLocked   // another program holds the file's lock
	DiskFull   State = run.StateFull     //
	ReadOnly   State = run.StateReadOnly // the file or its directory cannot be written
	Damaged    State = run.StateDamaged  // the file is no sound SQLite file
	Failed     State = run.StateFailed   // anything else; tried again
	Stopped    State = run.StateStopped  // no agent runs
)

// Status reads how the file stands. It needs no network.
func (db *DB) Status(ctx context.Context) (Status, error) {
	if err := db.usable(ctx); err != nil {
		return Status{}, err
	}
	id, err := run.ReadIdentity(db.cfg.Path)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	var s edge.Status
	err = db.edge.Inside(func(e *edge.Engine) (err error) {
		s, err = e.Brief()
		return err
	})
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	a, err := run.AgentOf(db.cfg.Path)
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	return Status{
		OldestUnsafe: s.OldestUnsafe, Unsafe: s.Waiting, Unsettled: s.Unsettled, Quarantined: s.Quarantined, Rescues: s.Rescues,
		Complete: s.Complete, LastProgress: s.LastProgress, LastContact: s.LastContact, ClockOffset: s.ClockOffset,
		Device: s.Device, Name: id.Name, Hub: id.URL,
		Agent: AgentStatus{Running: a.Running, State: State(a.State), Since: a.Since, Error: a.Error, Hint: a.Hint, Next: a.Next},
	}, nil
}

// How often Watch looks: at most every watchLeast, and at least every watchMost.
const (
	watchLeast = 50 * time.Millisecond
	watchMost  = time.Second
)

// Watch yields the status now, then whenever it changed, and every second while
// work is unsafe, because its age grows. An error of reading it, say while the
// file is locked for long, is yielded as such, and watching goes on. It ends when
// ctx does, the DB is closed, or the loop is left.
//
//	for st, err := range db.Watch(ctx) {
func (db *DB) Watch(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		wake := make(chan struct{}, 1)
		var watching sync.WaitGroup
		watching.Go(func() {
			run.Watch(ctx, db.cfg.Path, db.cfg.Poll, func() {
				select {
				case wake <- struct{}{}:
				default: // one is waiting already
				}
			})
		})
		defer watching.Wait()
		defer stop()
		var last Status
		for first := true; db.usable(ctx) == nil; first = false {
			st, err := db.Status(ctx)
			if db.usable(ctx) != nil {
				return
			}
			if first || err != nil || st.OldestUnsafe > 0 || st.still() != last {
				if !yield(st, err) {
					return
				}
			}
			if err == nil {
				last = st.still()
			}
			if !db.pause(ctx, wake) {
				return
			}
		}
	}
}

// still is a status without what moves by itself.
func (s Status) still() Status {
	s.OldestUnsafe, s.LastContact = 0, time.Time{}
	return s
}

// pause waits until the status may have changed; false when the end has come.
func (db *DB) pause(ctx context.Context, wake <-chan struct{}) bool {
	least, most := time.NewTimer(watchLeast), time.NewTimer(watchMost)
	defer least.Stop()
	defer most.Stop()
	for _, c := range []<-chan struct{}{nil, wake} {
		timer := least.C
		if c != nil {
			timer = most.C
		}
		select {
		case <-ctx.Done():
			return false
		case <-db.done:
			return false
		case <-c:
		case <-timer:
		}
	}
	return true
}
