package edge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A VerifyReport says what a comparison with the hub found.
type VerifyReport struct {
	At     change.Cursor // both sides were compared at this place in history
	Tables []VerifyTable
}

// VerifyTable is one table's part of a VerifyReport.
type VerifyTable struct {
	Table    string
	Rows     int64        // at the hub
	Buckets  int          // differing key buckets
	Differ   []change.Key // rows that differ
	Missing  []change.Key // at the hub, not here
	Extra    []change.Key // here, not at the hub
	Repaired bool         // rows became the hub's
	Captured int          // rows whose difference is the application's work; it is in the outbox now

	closed bool // nothing is left to decide
}

// Open reports that rows differ and nothing was done about it.
func (t *VerifyTable) Open() bool { return t.Buckets > 0 && !t.closed }

// OK reports that nothing differed.
func (r *VerifyReport) OK() bool {
	return !slices.ContainsFunc(r.Tables, func(t VerifyTable) bool { return t.Buckets > 0 })
}

// A verification under way asks for all digests first, then for the rows of the
// buckets that differ, table by table. What is to be done about them is done at the
// end, for all tables together: found rows may belong to each other.
type verification struct {
	tables []string
	repair bool
	auto   bool // to close a gap, asked by nobody
	report VerifyReport
	finds  []*finding
	todo   []int // places in report.Tables whose buckets are to be fetched
	asked  []int // buckets asked of todo[0]
	lost   bool  // the hub answered otherwise: it must be asked from the start
	done   bool
}

// interrupt notes that the answer to a comparison under way does not come: the hub
// ordered a fetch instead, or the file greeted anew. The next pull asks again.
func (v *verification) interrupt() {
	if v != nil && !v.done {
		v.lost = true
	}
}

// begin puts a comparison back to its start.
func (v *verification) begin() {
	*v = verification{tables: v.tables, repair: v.repair, auto: v.auto}
}

// Verify compares tables (nil: all) with the hub: digests at one cursor, then the
// rows of the buckets that differ. With repair, differing rows become the hub's,
// and what stood here is kept as a rescue copy. Where capture was missing for a
// while, rows that differ are the application's work, and are handed in. The answer
// comes later: see VerifyReport.
func (s *Session) Verify(ctx context.Context, emit func(wire.Message) error, tables []string, repair bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compare(emit, tables, repair)
}

// compare is Verify. The caller holds mu.
func (s *Session) compare(emit emitFunc, tables []string, repair bool) error {
	if s.welcome == nil || s.stage.plan != nil {
		return errors.New("verify: not while a bootstrap is under way")
	}
	if s.verify != nil && !s.verify.done {
		return errors.New("verify: another one is under way")
	}
	var busy bool
	if err := s.e.locked(func() (err error) { busy, err = s.e.reoffered(); return err }); err != nil {
		return err
	}
	if busy {
		return errors.New("verify: work of an earlier life of this file is not settled yet")
	}
	setup := s.e.Setup()
	if len(tables) == 0 {
		for i := range setup.Schema.Tables {
			name := setup.Schema.Tables[i].Name
			// Reference rows follow from other rows, not from scopes.
			if r := setup.Rules.Table(name); (r == nil || !r.Reference) && s.e.stands(name) {
				tables = append(tables, name)
			}
		}
	}
	for _, n := range tables {
		if setup.Schema.Table(n) == nil {
			return fmt.Errorf("verify: table %s does not sync", n)
		}
	}
	s.verify = &verification{tables: tables, repair: repair}
	return s.askVerify(emit, tables, nil)
}

// VerifyReport is the result of the last Verify, or nil while it is under way.
func (s *Session) VerifyReport() *VerifyReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verify == nil || !s.verify.done || s.verify.auto {
		return nil
	}
	return &s.verify.report
}

func (s *Session) askVerify(emit emitFunc, tables []string, buckets []int) error {
	if err := s.stage.clear(); err != nil {
		return err
	}
	cursor, scopes, mark, err := s.e.position()
	if err != nil {
		return err
	}
	return emit(&wire.Verify{Cursor: cursor, Scopes: scopes, Outcome: mark, Tables: tables, Buckets: buckets})
}

// digests takes in the hub's side of a comparison.
func (s *Session) digests(m *wire.Digests, emit emitFunc) error {
	v := s.verify
	if v == nil || v.done {
		return nil
	}
	cursor, _, _, err := s.e.position()
	if err != nil {
		return err
	}
	if cursor != m.At {
		// The delta before this could not be installed, or another one followed it.
		return s.askVerify(emit, v.nextTables(), v.asked)
	}
	if untaken := s.e.takeUntaken(); untaken && v.asked != nil {
		return s.compareAnew(m.At, emit)
	}
	if v.asked == nil {
		err = s.compareDigests(m)
	} else {
		err = s.compareRows(m)
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if len(v.todo) > 0 {
		return s.askVerify(emit, v.nextTables(), v.asked)
	}
	v.done = true
	v.report.At = m.At
	if err := s.concluded(v); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := s.tellVerified(v, emit); err != nil {
		return err
	}
	if err := s.push(emit); err != nil || s.ready != nil {
		return err
	}
	return s.pull(emit, true)
}

// nextTables is what the next question is about.
func (v *verification) nextTables() []string {
	if len(v.todo) == 0 {
		return v.tables
	}
	return []string{v.report.Tables[v.todo[0]].Table}
}

func (s *Session) compareDigests(m *wire.Digests) error {
	v := s.verify
	for i := range m.Digests {
		hub := &m.Digests[i]
		own, err := s.e.digest(hub.Table)
		if err != nil {
			return err
		}
		n := len(differing(hub, &own))
		v.report.Tables = append(v.report.Tables, VerifyTable{Table: hub.Table, Rows: hub.Rows, Buckets: n, closed: n == 0})
		if n > 0 {
			v.todo = append(v.todo, len(v.report.Tables)-1)
			if v.asked == nil {
				v.asked = differing(hub, &own)
			}
		}
	}
	return nil
}

func differing(a, b *change.Digest) (out []int) {
	for i := range a.Sums {
		if a.Sums[i] != b.Sums[i] {
			out = append(out, i)
		}
	}
	return out
}

// concluded acts on a comparison. One that closes a gap is made again when the file
// changed meanwhile; whoever asked for one is told.
func (s *Session) concluded(v *verification) error {
	err := s.e.resolve(v.finds, &v.report)
	if v.auto && (errors.Is(err, errMoved) || busy(err)) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.e.closeGap(&v.report)
}

// stands reports whether the file has a synced table.
func (e *Engine) stands(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tableNamed(name)
	return t != nil && !t.missing
}

// compareRows finds the rows that differ in the buckets of one table.
func (s *Session) compareRows(m *wire.Digests) error {
	v := s.verify
	rep := &v.report.Tables[v.todo[0]]
	diffs, err := s.e.compareBuckets(rep, v.asked, m.Body)
	if err != nil {
		return err
	}
	if len(diffs) == 0 { // only in what this file cannot hold
		rep.Buckets, rep.closed = 0, true
	} else {
		f, err := s.e.judge(rep, diffs, v.repair)
		if err != nil {
			return err
		}
		v.finds = append(v.finds, f)
	}
	v.todo = v.todo[1:]
	if len(v.todo) > 0 {
		// Ask for all buckets of the next table that differ; its digest is gone, so
		// name every bucket rather than keep digests of big schemas around.
		v.asked = make([]int, change.Buckets)
		for i := range v.asked {
			v.asked[i] = i
		}
	}
	return nil
}

// digest sums the hub's view of a table as this file has it: where work is
// pending, the shadow counts.
func (e *Engine) digest(name string) (change.Digest, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := change.Digest{Table: name}
	t := e.tableNamed(name)
	if t == nil || t.missing {
		return d, fmt.Errorf("table %s is missing from the file", name)
	}
	h := change.NewRowHasher(t.names)
	other := t.otherKinds()
	err := e.hubView(t, func(key change.Key, row []change.Value) {
		for _, i := range other { // as the hub's column holds it
			row[i] = t.hubKind[i].Store(row[i])
		}
		d.Add(key, h.Hash(row))
	})
	return d, err
}

// otherKinds are the columns that convert values otherwise here than at the hub.
func (t *table) otherKinds() (out []int) {
	for i, k := range t.hubKind {
		if t.schema.Affinity(t.stored[i]) != k {
			out = append(out, i)
		}
	}
	return out
}

// Digest sums the hub's view of a table as this file has it.
func (e *Engine) Digest(table string) (change.Digest, error) { return e.digest(table) }

// hubView visits the rows of a table as the hub has them at the file's cursor.
// The rows handed out are only valid during the call. What the application wrote
// is exported first, so that its rows have a shadow; when it writes faster than
// that, the view is given up.
func (e *Engine) hubView(t *table, fn func(change.Key, []change.Value)) error {
	for range viewTries {
		if _, err := e.exportNow(); err != nil {
			return err
		}
		clean := false
		err := sqlite.Snapshot(e.conn, func() (err error) {
			if clean, err = e.idle(); err != nil || !clean {
				return err
			}
			return e.viewRows(t, fn)
		})
		if err != nil || clean {
			return err
		}
	}
	return fmt.Errorf("table %s: the application writes without a pause", t.schema.Name)
}

// viewTries is how often a view waits for a moment without unexported work.
const viewTries = 20

func (e *Engine) viewRows(t *table, fn func(change.Key, []change.Value)) error {
	hidden := map[string][]change.Value{}
	err := sqlite.Query(e.conn, "SELECT key, row FROM _tidemark_shadow WHERE tbl=?", func(s *sqlite.Stmt) error {
		id, body := sqlite.Column(s, 0).Str(), sqlite.Column(s, 1)
		if body.IsNull() {
			hidden[id] = nil
			return nil
		}
		row, err := t.decodeRow(body.Str())
		hidden[id] = row
		return err
	}, change.Text(t.schema.Name))
	if err != nil {
		return err
	}
	row := make([]change.Value, len(t.names))
	err = sqlite.Query(e.conn, "SELECT "+sqlite.QuoteAll("", t.cols)+" FROM "+t.sql(), func(s *sqlite.Stmt) error {
		for i := range row {
			row[i] = sqlite.Column(s, i)
		}
		key := t.keyOf(row)
		if len(hidden) > 0 {
			if own, ok := hidden[key.ID()]; ok {
				t.fillHeld(own, row)
				return nil
			}
		}
		fn(key, row)
		return nil
	})
	if err != nil {
		return err
	}
	for _, row := range hidden {
		if row != nil {
			fn(t.keyOf(row), row)
		}
	}
	return nil
}

// fillHeld gives a shadow the values that stand here in columns which it cannot know:
// the hub had them not when it was taken.
func (t *table) fillHeld(shadow, local []change.Value) {
	for i, n := range t.names {
		if shadow != nil && t.gap.holds(n) {
			shadow[i] = local[i]
		}
	}
}
