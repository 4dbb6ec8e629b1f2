package edge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A gap is what is not known of a table: how its rows here stand to the hub's. It
// is noted in the transaction that finds it, and closed by a comparison with the hub
// (see Session.mindGap).
type gap struct {
	// Lost: triggers of ours were missing. The file was equal to the hub before, so
	// what differs was written here, and nobody captured it.
	Lost bool `json:"lost,omitempty"`
	// Behind: the table is new to capture, or rows that came for it found no table.
	// What differs is the hub's; rows that only stand here are the application's.
	Behind bool `json:"behind,omitempty"`
	// Columns are columns that the file and the hub have both had only since a moment
	// ago. Until they are compared, what the hub sends for them is not taken.
	Columns []string `json:"columns,omitempty"`
	// Kinds are columns whose type here has changed, with their affinity before: it may
	// have kept what the hub has in another way, and nobody wrote that.
	Kinds map[string]change.Affinity `json:"kinds,omitempty"`
}

func (g *gap) open() bool { return g.Lost || g.Behind || len(g.Columns)+len(g.Kinds) > 0 }

func (g *gap) holds(column string) bool {
	return slices.ContainsFunc(g.Columns, func(c string) bool { return sameName(c, column) })
}

// gaps reads what is not known, by the tables' names.
func (e *Engine) gaps() (map[string]gap, error) {
	v, err := e.meta(metaGap)
	if err != nil || v.IsNull() {
		return nil, err
	}
	out := map[string]gap{}
	if json.Unmarshal([]byte(v.Str()), &out) == nil {
		return out, nil
	}
	var names []string // as the first layout had it
	if err := json.Unmarshal([]byte(v.Str()), &names); err != nil {
		return nil, fmt.Errorf("read %s: %w", metaGap, err)
	}
	clear(out)
	for _, n := range names {
		out[n] = gap{Lost: true}
	}
	return out, nil
}

// gap lists the tables whose rows must be compared with the hub's.
func (e *Engine) gap() ([]string, error) {
	all, err := e.gaps()
	return slices.Sorted(maps.Keys(all)), err
}

// widenGap adds to what is not known of a table.
func (e *Engine) widenGap(t *table, more gap) error {
	if !more.open() {
		return nil
	}
	all, err := e.gaps()
	if err != nil {
		return err
	}
	if all == nil {
		all = map[string]gap{}
	}
	g := all[t.schema.Name]
	g.Lost, g.Behind = g.Lost || more.Lost, g.Behind || more.Behind
	for _, c := range more.Columns {
		if !g.holds(c) {
			g.Columns = append(g.Columns, c)
		}
	}
	for c, k := range more.Kinds {
		if g.Kinds == nil {
			g.Kinds = map[string]change.Affinity{}
		}
		if _, ok := g.Kinds[c]; !ok {
			g.Kinds[c] = k
		}
	}
	all[t.schema.Name], t.gap = g, g
	return e.setGaps(all)
}

func (e *Engine) setGaps(all map[string]gap) error {
	if len(all) == 0 {
		return e.setMeta(metaGap, change.Null)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return e.setMeta(metaGap, change.Text(string(raw)))
}

// closeGap takes the tables out of the gap that a comparison found equal, or made so.
func (e *Engine) closeGap(r *VerifyReport) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, err := e.gaps()
	if err != nil || len(all) == 0 {
		return err
	}
	n := len(all)
	for i := range r.Tables {
		t := e.tableNamed(r.Tables[i].Table)
		if t == nil || !r.Tables[i].closed {
			continue
		}
		if err := e.fillShadows(t); err != nil {
			return err
		}
		maps.DeleteFunc(all, func(name string, _ gap) bool { return e.tableNamed(name) == t })
		t.gap = gap{}
	}
	maps.DeleteFunc(all, func(name string, _ gap) bool { return e.tableNamed(name) == nil })
	if len(all) == n {
		return nil
	}
	return e.setGaps(all)
}

// fillShadows gives shadows from before a column was shared its value, which is the
// same here and at the hub by now.
func (e *Engine) fillShadows(t *table) error {
	if len(t.gap.Columns) == 0 {
		return nil
	}
	rows := map[string][]change.Value{}
	err := sqlite.Query(e.conn, "SELECT key, row FROM _tidemark_shadow WHERE tbl=? AND row IS NOT NULL", func(s *sqlite.Stmt) error {
		id, body := sqlite.Column(s, 0).Str(), sqlite.Column(s, 1).Str()
		cols, vals, err := change.DecodeRow([]byte(body))
		if err != nil {
			return err
		}
		key, err := change.ParseKeyID(id)
		if err != nil {
			return err
		}
		row, err := e.readRow(t, key)
		if err != nil || row == nil {
			return err
		}
		for i, n := range t.names {
			if !t.gap.holds(n) {
				row[i] = change.Null
			}
		}
		assign(t, row, cols, vals)
		rows[id] = row
		return nil
	}, change.Text(t.schema.Name))
	if err != nil {
		return fmt.Errorf("shadows of %s: %w", t.schema.Name, err)
	}
	for id, row := range rows {
		if err := e.setShadow(t, id, row); err != nil {
			return err
		}
	}
	return nil
}

// A sharing is which part of a setup's table was captured last, by every name that
// the table and its columns then had.
type sharing struct {
	Names   []string `json:"names"`
	Columns []string `json:"columns"`
	// Kinds are the affinities that the columns had, by name in the setup.
	Kinds map[string]change.Affinity `json:"kinds"`
}

// noteShared compares what is captured now with what was before: tables and
// columns that are new to it may differ from the hub's. It also keeps the file's own
// names, for those that the setup does not know.
func (e *Engine) noteShared() error {
	v, err := e.meta(metaShared)
	if err != nil {
		return err
	}
	var was []sharing
	if !v.IsNull() {
		if err := json.Unmarshal([]byte(v.Str()), &was); err != nil {
			return fmt.Errorf("read %s: %w", metaShared, err)
		}
	}
	complete, err := e.metaInt(metaComplete)
	if err != nil {
		return err
	}
	now := make([]sharing, 0, len(e.tables))
	for i := range e.tables {
		t := &e.tables[i]
		old := t.sharedBefore(was)
		if t.missing {
			if old != nil {
				now = append(now, *old)
			}
			continue
		}
		now = append(now, t.sharing())
		if v.IsNull() || complete != 1 { // the first bootstrap compares everything
			continue
		}
		g, err := e.newlyShared(t, old)
		if err != nil {
			return err
		}
		if err := e.widenGap(t, g); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if string(raw) != v.Str() {
		if err := e.setMeta(metaShared, change.Text(string(raw))); err != nil {
			return err
		}
	}
	return e.noteNames()
}

// newlyShared is what a table has in capture that it did not have before.
func (e *Engine) newlyShared(t *table, old *sharing) (g gap, err error) {
	if e.rules(t).Reference {
		return g, nil // its rows follow from others, and nobody writes them here
	}
	if old == nil {
		empty, err := e.emptyTable(t)
		return gap{Behind: !empty}, err
	}
	for i, n := range t.names {
		now := t.schema.Affinity(t.stored[i])
		for c, k := range old.Kinds {
			if k != now && t.column(c) == i {
				if g.Kinds == nil {
					g.Kinds = map[string]change.Affinity{}
				}
				g.Kinds[n] = k
			}
		}
		known := slices.ContainsFunc(old.Columns, func(c string) bool {
			return sameName(c, n) || sameName(c, t.cols[i]) || t.column(c) == i
		})
		if !known {
			g.Columns = append(g.Columns, n)
		}
	}
	return g, nil
}

func (t *table) sharedBefore(was []sharing) *sharing {
	for i := range was {
		for _, n := range was[i].Names {
			if t.called(n) {
				return &was[i]
			}
		}
	}
	return nil
}

func (t *table) sharing() sharing {
	s := sharing{Names: []string{t.schema.Name}, Columns: slices.Clone(t.names), Kinds: map[string]change.Affinity{}}
	for i, n := range t.names {
		s.Kinds[n] = t.schema.Affinity(t.stored[i])
	}
	if !sameName(t.file, t.schema.Name) {
		s.Names = append(s.Names, t.file)
	}
	for i, c := range t.cols {
		if !sameName(c, t.names[i]) {
			s.Columns = append(s.Columns, c)
		}
	}
	return s
}

// unsure reports whether a row here may be work that nobody captured: it is kept
// when the hub's takes its place.
func (g *gap) unsure() bool { return g.Lost || g.Behind }
