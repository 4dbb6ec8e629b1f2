package edge

import (
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Status is what a file's operator must know. Times are zero when never.
type Status struct {
	Installed    bool
	Device       change.DeviceID
	Incarnation  change.Incarnation
	Complete     bool          // the first bootstrap stands in the file
	Cursor       change.Cursor // of the hub's data in the file
	Waiting      int64         // transactions not known to be at the hub, unexported work as one
	Unsettled    int64         // at the hub, outcome not yet pulled
	Quarantined  int64         // parked at the hub
	Aside        int64         // taken out of the tables until their outcome
	OldestUnsafe time.Duration // age of the oldest change that is not at the hub; 0 when none
	LastProgress time.Time     // of the last push or pull that moved something
	LastContact  time.Time     // of the last word from the hub
	ClockOffset  time.Duration // hub clock − device clock
	Rescues      int64         // rescue copies kept
	Salvage      int64         // rows that a restored hub lost, not offered to it yet
	Rows         int64         // in synced tables
}

// Status reads the file's state. It counts rows, which reads every synced table's
// smallest index.
func (e *Engine) Status() (Status, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return Status{}, nil
	}
	var st Status
	err := sqlite.Snapshot(e.conn, func() (err error) {
		if st, err = e.status(); err != nil {
			return err
		}
		for i := range e.tables {
			if e.tables[i].missing {
				continue
			}
			n, err := e.count("SELECT count(*) FROM " + e.tables[i].sql())
			if err != nil {
				return err
			}
			st.Rows += n
		}
		return nil
	})
	return st, err
}

// Brief is Status without the rows, which takes a while to count.
func (e *Engine) Brief() (st Status, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return Status{}, nil
	}
	err = sqlite.Snapshot(e.conn, func() error {
		st, err = e.status()
		return err
	})
	return st, err
}

func (e *Engine) count(sql string, args ...change.Value) (int64, error) {
	v, _, err := sqlite.One(e.conn, sql, args...)
	return v.Int(), err
}

// status is Status without the rows.
func (e *Engine) status() (st Status, err error) {
	st = Status{Installed: true, Device: e.device, Incarnation: e.incarnation}
	oldest := int64(0)
	err = sqlite.Query(e.conn, "SELECT state, count(*), min(at), sum(aside) FROM _tidemark_outbox WHERE state<? GROUP BY state", func(s *sqlite.Stmt) error {
		n := s.ColumnInt64(1)
		st.Aside += s.ColumnInt64(3)
		switch outboxState(s.ColumnInt64(0)) {
		case waiting:
			st.Waiting, oldest = n, s.ColumnInt64(2)
		case durable:
			st.Unsettled = n
		case quarantined:
			st.Quarantined = n
		}
		return nil
	}, change.Int(int64(settled)))
	if err != nil {
		return st, err
	}
	// Unexported work counts from its first write: an agent that cannot export is
	// the very case to be noticed.
	n, first, err := e.unexported()
	if err != nil {
		return st, err
	}
	if n > 0 {
		st.Waiting++
		if oldest == 0 || first < oldest {
			oldest = first
		}
	}
	if st.Waiting > 0 {
		st.OldestUnsafe = max(e.cfg.Clock.Now().Sub(time.UnixMilli(oldest)), time.Millisecond)
	}
	return st, e.statusMeta(&st)
}

func (e *Engine) statusMeta(st *Status) error {
	n := map[string]int64{}
	for _, k := range []string{metaComplete, metaProgress, metaContact, metaOffset} {
		v, err := e.metaInt(k)
		if err != nil {
			return err
		}
		n[k] = v
	}
	st.Complete = n[metaComplete] == 1
	st.ClockOffset = time.Duration(n[metaOffset]) * time.Millisecond
	st.LastContact = e.contact
	if n[metaProgress] != 0 {
		st.LastProgress = time.UnixMilli(n[metaProgress]).UTC()
	}
	if t := time.UnixMilli(n[metaContact]).UTC(); n[metaContact] != 0 && t.After(st.LastContact) {
		st.LastContact = t
	}
	v, err := e.meta(metaCursor)
	if err != nil {
		return err
	}
	if st.Cursor, err = change.ParseCursor(v.Str()); err != nil {
		return err
	}
	if st.Rescues, err = e.count("SELECT count(*) FROM _tidemark_rescue"); err != nil {
		return err
	}
	st.Salvage, err = e.count("SELECT coalesce(sum(rows), 0) FROM _tidemark_salvage")
	return err
}

// Contact is when the hub was last heard in this process; zero when it was not. The
// file is told of it with the next change alone: see Status.LastContact.
func (e *Engine) Contact() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.contact
}

// edgeStatus is what the hub is told.
func (e *Engine) edgeStatus() (wire.EdgeStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return wire.EdgeStatus{}, nil
	}
	st, err := e.status()
	return e.tell(&st), err
}

// Wire is what of a status the hub is told.
func (st *Status) Wire() wire.EdgeStatus {
	return wire.EdgeStatus{OutboxDepth: uint64(st.Waiting), OldestUnsafe: st.OldestUnsafe, Quarantined: uint64(st.Quarantined)}
}
