package edge

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Drift is what a schema change by another program meant for capture (traps S5,
// S12, S18).
type Drift struct {
	Repaired []string // triggers of ours that were missing or stale and are made anew
	Guarded  []Guard  // triggers of the app's that are new and were guarded
	// Gap lists tables that may hold writes nobody captured: their triggers were
	// missing. Their rows must be compared with the hub's. It stays until clearGap.
	Gap     []string
	Missing []string // synced tables that the file lacks now
	Notes   []string // columns that do not sync, and such
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
	if _, err := e.reload(); err != nil {
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

// recapture brings the triggers in line with the tables. Between a deferred
// Install and the end of its bootstrap there is no capture to bring in line.
func (e *Engine) recapture() (*Drift, error) {
	d := &Drift{}
	if err := e.loadTables(); err != nil {
		return nil, err
	}
	if on, err := e.metaInt(metaCapture); err != nil || on == 0 {
		return d, err
	}
	have, err := e.ourTriggers()
	if err != nil {
		return nil, err
	}
	stale := false
	want := map[string]string{"_tidemark_begin": txTrigger}
	for i := range e.tables {
		t := &e.tables[i]
		if t.missing {
			d.Missing = append(d.Missing, t.schema.Name)
			continue
		}
		if err := e.compareTriggers(t, have, want, d); err != nil {
			return nil, err
		}
		d.Notes = append(d.Notes, e.notes(t)...)
	}
	for name, sql := range want {
		if have[name] != sql {
			stale = true
			d.Repaired = append(d.Repaired, name)
		}
	}
	slices.Sort(d.Repaired)
	for name := range have {
		stale = stale || want[name] == ""
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
	if err := e.addGap(d.Gap); err != nil {
		return nil, err
	}
	if len(d.Repaired)+len(d.Missing)+len(d.Gap) > 0 {
		e.cfg.Logger.Warn("schema drift", "repaired", d.Repaired, "missing", d.Missing, "gap", d.Gap)
	}
	if !stale {
		return d, e.noteVersion()
	}
	if err := e.dropTriggers(); err != nil {
		return nil, err
	}
	return d, e.createTriggers()
}

// compareTriggers adds what one table should have to want, and the table to the
// gap when something was lost that should have been there.
func (e *Engine) compareTriggers(t *table, have, want map[string]string, d *Drift) error {
	list, err := e.captureSQL(t)
	if err != nil {
		return err
	}
	lost := false
	for _, sql := range list {
		_, name, _ := ddlTarget(sql)
		want[name] = sql
		lost = lost || have[name] == ""
	}
	if lost {
		d.Gap = append(d.Gap, t.schema.Name)
	}
	return nil
}

// ourTriggers reads the text of every trigger of ours.
func (e *Engine) ourTriggers() (map[string]string, error) {
	out := map[string]string{}
	err := sqlite.Query(e.conn, `SELECT name, sql FROM sqlite_schema WHERE type='trigger'`, func(s *sqlite.Stmt) error {
		if n := s.ColumnText(0); sqlite.Ours(n) {
			out[n] = s.ColumnText(1)
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
	have, err := sqlite.Describe(e.conn, []string{want.Name})
	if err != nil || len(have.Tables) == 0 {
		return nil
	}
	bad, warn := compareTable(want, &have.Tables[0])
	var out []string
	for _, m := range append(bad, warn...) {
		out = append(out, "table "+want.Name+": "+m)
	}
	return out
}

// gap lists the tables whose rows must be compared with the hub's.
func (e *Engine) gap() ([]string, error) {
	v, err := e.meta(metaGap)
	if err != nil || v.IsNull() {
		return nil, err
	}
	var out []string
	if err := json.Unmarshal([]byte(v.Str()), &out); err != nil {
		return nil, fmt.Errorf("read %s: %w", metaGap, err)
	}
	return out, nil
}

func (e *Engine) addGap(tables []string) error {
	if len(tables) == 0 {
		return nil
	}
	all, err := e.gap()
	if err != nil {
		return err
	}
	all = append(all, tables...)
	slices.Sort(all)
	raw, err := json.Marshal(slices.Compact(all))
	if err != nil {
		return err
	}
	return e.setMeta(metaGap, change.Text(string(raw)))
}

// closeGap takes the tables that a comparison found equal, or made so, out of the gap.
func (e *Engine) closeGap(r *VerifyReport) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, err := e.gap()
	if err != nil || len(all) == 0 {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		return slices.ContainsFunc(r.Tables, func(t VerifyTable) bool {
			return sameName(t.Table, name) && (t.Buckets == 0 || t.Repaired)
		})
	})
	if len(rest) == len(all) {
		return nil
	}
	if err := e.clearGap(); err != nil {
		return err
	}
	return e.addGap(rest)
}

// clearGap says that the tables' rows have been compared and repaired.
func (e *Engine) clearGap() error { return e.setMeta(metaGap, change.Null) }
