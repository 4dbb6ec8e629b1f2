package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Drift is what a schema change by another program meant for capture (traps S5,
// S12, S18).
type Drift struct {
	Repaired []string // triggers of ours that were missing or stale and are made anew
	Guarded  []Guard  // triggers of the app's that are new and were guarded
	// Gap lists tables that may hold writes nobody captured: their triggers were
	// missing. Their rows must be compared with the hub's. It stays until they are.
	Gap     []string
	Missing []string // synced tables that the file lacks now
	Notes   []string // columns that do not sync, and such

	found int // rows with pending work that hold more; it is in the outbox now
}

// CheckDrift compares the file with what capture was built for and repairs
// capture. It takes no lock when the schema has not changed.
func (e *Engine) CheckDrift() (*Drift, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.setup == nil {
		return &Drift{}, nil
	}
	same, err := e.sameVersion()
	if err != nil {
		return nil, err
	}
	d := &Drift{}
	if same {
		d.Gap, err = e.gap()
		return d, err
	}
	err = sqlite.Immediate(e.conn, func() error {
		if d, err = e.checkDrift(); err == nil {
			d.Gap, err = e.gap()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check drift: %w", err)
	}
	e.synced = e.synced || d.found > 0 // this commit waited for the disk
	return d, nil
}

// sameVersion reports whether nobody changed the schema since capture was made.
func (e *Engine) sameVersion() (bool, error) {
	v, err := e.version()
	if err != nil {
		return false, err
	}
	built, err := e.metaInt(metaVersion)
	return err == nil && v == built && v == e.shape, err
}

// checkDrift is CheckDrift inside the caller's write transaction. What is in the
// log is exported first: it was written by the old triggers.
func (e *Engine) checkDrift() (*Drift, error) {
	// Not only when the version is another: a transaction that was undone may have left
	// behind the version that the file has come to by itself now.
	if err := e.loadTables(); err != nil {
		return nil, err
	}
	if err := e.noteColumns(); err != nil {
		return nil, err
	}
	if _, err := e.exportLog(e.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	return e.recapture()
}

// reload reads the tables' shapes again when the file's schema has changed since.
func (e *Engine) reload() (changed bool, err error) {
	v, err := e.version()
	if err != nil || v == e.shape {
		return false, err
	}
	return true, e.loadTables()
}

// noteColumns notes, before the log is exported, what came to the tables: whoever wrote
// what is in the log saw nothing of what the hub has there.
func (e *Engine) noteColumns() error {
	if on, err := e.metaInt(metaCapture); err != nil || on == 0 {
		return err
	}
	return e.noteShared()
}

// recapture brings the triggers in line with the tables, which were just loaded.
// Between a deferred Install and the end of its bootstrap there is no capture to bring
// in line.
func (e *Engine) recapture() (*Drift, error) {
	d := &Drift{}
	if on, err := e.metaInt(metaCapture); err != nil || on == 0 {
		return d, err
	}
	stale, err := e.compareCapture(d)
	if err != nil {
		return nil, err
	}
	guarded, _, err := e.guardTriggers()
	if err != nil {
		return nil, err
	}
	for _, g := range guarded {
		if g.fresh {
			d.Guarded = append(d.Guarded, g)
		}
	}
	if err := e.noteShared(); err != nil {
		return nil, err
	}
	if d.found, err = e.pendingWrites(d.Gap); err != nil {
		return nil, fmt.Errorf("hand in what was not captured: %w", err)
	}
	if len(d.Repaired)+len(d.Missing)+len(d.Gap) > 0 {
		e.cfg.Logger.Warn("schema drift", "repaired", d.Repaired, "missing", d.Missing, "gap", d.Gap)
	}
	if !stale {
		return d, e.noteVersion()
	}
	if err := e.rescanShares(); err != nil {
		return nil, err
	}
	if err := e.dropTriggers(); err != nil {
		return nil, err
	}
	return d, e.createTriggers()
}

// compareCapture reports whether the triggers are other ones than the tables need, and
// notes which tables went without.
func (e *Engine) compareCapture(d *Drift) (stale bool, err error) {
	have, err := e.ourTriggers()
	if err != nil {
		return false, err
	}
	want := map[string]string{"_tidemark_begin": txTrigger}
	for i := range e.tables {
		t := &e.tables[i]
		if t.missing {
			d.Missing = append(d.Missing, t.schema.Name)
			if err := e.noteMissing(t); err != nil {
				return false, err
			}
			continue
		}
		lost, err := e.compareTriggers(t, have, want)
		if err != nil {
			return false, err
		}
		if lost && !e.rules(t).Reference {
			d.Gap = append(d.Gap, t.schema.Name)
			if err := e.noteLost(t); err != nil {
				return false, err
			}
		}
		d.Notes = append(d.Notes, e.notes(t)...)
	}
	for name, sql := range want {
		if have[name].sql != sql {
			stale = true
			d.Repaired = append(d.Repaired, name)
		}
	}
	slices.Sort(d.Repaired)
	for name := range have {
		stale = stale || want[name] == ""
	}
	return stale, nil
}

// noteLost notes that a table went without capture for a while.
func (e *Engine) noteLost(t *table) error {
	if !t.gap.Lost {
		err := e.addEvent(EventLost, fmt.Sprintf("capture of %s was missing, as after a rebuild: its rows will be compared with the hub's", t.file))
		if err != nil {
			return err
		}
	}
	// A table without a row was made anew. What comes to stand in it before the
	// comparison, such as pending work, does not make the other rows deleted.
	empty, err := e.emptyTable(t)
	if err != nil {
		return err
	}
	return e.widenGap(t, gap{Lost: !empty, Behind: empty})
}

// noteMissing notes that a table is gone: should it come back, then without the rows
// that it had, and nobody deleted those.
func (e *Engine) noteMissing(t *table) error {
	if t.gap.Behind || e.rules(t).Reference {
		return nil
	}
	return e.widenGap(t, gap{Behind: true})
}

// A trigger is one of ours as it stands in the file.
type trigger struct{ sql, on string }

// compareTriggers adds what one table should have to want, and tells whether
// something was lost that should have been there. A trigger that stands on another
// table did not see what was written to this one: it went with the former table when
// that was renamed out of the way.
func (e *Engine) compareTriggers(t *table, have map[string]trigger, want map[string]string) (lost bool, err error) {
	list, err := e.captureSQL(t)
	if err != nil {
		return false, err
	}
	for _, sql := range list {
		_, name, _ := ddlTarget(sql)
		want[name] = sql
		lost = lost || !sameName(have[name].on, t.file)
	}
	return lost, nil
}

// ourTriggers reads every trigger of ours.
func (e *Engine) ourTriggers() (map[string]trigger, error) {
	out := map[string]trigger{}
	err := sqlite.Query(e.conn, `SELECT name, sql, tbl_name FROM sqlite_schema WHERE type='trigger'`, func(s *sqlite.Stmt) error {
		if n := s.ColumnText(0); sqlite.Ours(n) {
			out[n] = trigger{s.ColumnText(1), s.ColumnText(2)}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list triggers: %w", err)
	}
	return out, nil
}

// notes tells which columns the file and the setup do not share.
func (e *Engine) notes(t *table) []string {
	want := &e.setup.Schema.Tables[t.id-1]
	local := localNames{Columns: map[string]string{}}
	for i, c := range t.cols {
		local.Columns[strings.ToLower(t.names[i])] = c
	}
	bad, warn := compareTable(want, underSetup(want, t.have, local, t.rules), true)
	var out []string
	for _, m := range append(bad, warn...) {
		out = append(out, "table "+want.Name+": "+m)
	}
	return out
}
