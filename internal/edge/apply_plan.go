package edge

import (
	"fmt"
	"slices"
	"strings"

	zs "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A plan is how rows that come with one list of columns are written to one table.
type plan struct {
	t      *table
	from   []int // for each written column its place in the incoming row
	key    []int // for each key column its place in the incoming row
	names  []string
	same   bool // the incoming columns are exactly the table's
	insert *sqlite.Stmt
	upsert *sqlite.Stmt
	update *sqlite.Stmt // nil when all columns are in the key
	order  []int        // for each parameter of update its place among the written columns
	misses int          // updates in a row that found no row; see bring
}

// patience is how many updates may find nothing before rows are taken for new
// ones, and retry after how many of those an update is tried again.
const (
	patience = 4
	retry    = 256
)

// plan prepares writing rows with these columns.
func (a *applier) plan(t *table, cols []string) (*plan, error) {
	name := t.schema.Name + "\x00" + strings.Join(cols, "\x00")
	if p := a.plans[name]; p != nil {
		return p, nil
	}
	p := &plan{t: t}
	at := map[int]int{} // stored column → place in the incoming row
	for i, c := range cols {
		if j := t.column(c); j >= 0 {
			at[j] = i
		}
	}
	for j, n := range t.names {
		if i, ok := at[j]; ok {
			p.from = append(p.from, i)
			p.names = append(p.names, n)
		}
	}
	for _, k := range t.key {
		i, ok := at[k]
		if !ok {
			return nil, fmt.Errorf("rows of table %s lack the key column %s", t.schema.Name, t.names[k])
		}
		p.key = append(p.key, i)
	}
	p.same = len(p.from) == len(cols) && len(cols) == len(t.names)
	for i, c := range p.from {
		p.same = p.same && i == c
	}
	insert := "INSERT INTO " + t.sql() + " (" + sqlite.QuoteAll("", t.locals(p.names)) + ") VALUES (?" +
		strings.Repeat(",?", len(p.names)-1) + ")"
	var err error
	if p.insert, err = a.e.conn.Prepare(insert); err != nil {
		return nil, err
	}
	if p.upsert, err = a.e.conn.Prepare(insert + t.onConflict(a.settable(t, p.names))); err != nil {
		return nil, err
	}
	a.plans[name] = p
	return p, p.prepareUpdate(a.e.conn, a.settable(t, p.names))
}

// settable leaves out the columns whose values here are still to be compared with
// the hub's: a row that stands here keeps them until then.
func (a *applier) settable(t *table, names []string) []string {
	if len(t.gap.Columns) == 0 || a.in.resolve {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), t.gap.holds)
}

func (p *plan) prepareUpdate(c *sqlite.Conn, names []string) (err error) {
	var set []string
	for _, k := range p.t.key { // the key's parameters come first, as whereKey has them
		p.order = append(p.order, slices.Index(p.names, p.t.names[k]))
	}
	for i, n := range p.names {
		if slices.Contains(names, n) && !slices.Contains(p.t.key, p.t.column(n)) {
			p.order = append(p.order, i)
			set = append(set, fmt.Sprintf("%s=?%d", sqlite.Quote(p.t.local(n)), len(p.order)))
		}
	}
	if len(set) == 0 {
		return nil
	}
	p.update, err = c.Prepare("UPDATE " + p.t.sql() + " SET " + strings.Join(set, ", ") + " WHERE " + p.t.whereKey())
	return err
}

// bring writes a row that may or may not be there. An upsert runs the insert
// triggers of the table even for a row that is there, so an update is tried first
// as long as updates hit.
func (p *plan) bring(c *sqlite.Conn, row []change.Value) error {
	if p.update == nil || p.misses >= patience {
		if p.misses++; p.misses > retry {
			p.misses = 0
		}
		return exec(p.upsert, row)
	}
	for i, from := range p.order {
		sqlite.Bind(p.update, i+1, row[from])
	}
	if err := step(p.update); err != nil {
		return err
	}
	if c.Changes() > 0 {
		p.misses = 0
		return nil
	}
	p.misses++
	return exec(p.upsert, row)
}

// onConflict makes an INSERT into an update of the row that has the key. It is
// never REPLACE, which would delete rows behind everyone's back (trap S6).
func (t *table) onConflict(names []string) string {
	var set []string
	for _, n := range names {
		j := t.column(n)
		// 'a' and 'A' are one key under NOCASE: the hub's spelling counts.
		if !slices.Contains(t.key, j) || t.collated(j) {
			q := sqlite.Quote(t.local(n))
			set = append(set, q+"=excluded."+q)
		}
	}
	target := " ON CONFLICT (" + sqlite.QuoteAll("", t.keyNames()) + ") DO "
	if len(set) == 0 {
		return target + "NOTHING"
	}
	return target + "UPDATE SET " + strings.Join(set, ", ")
}

func (t *table) collated(j int) bool {
	c := t.schema.Columns[t.stored[j]].Collation
	return c != "" && !strings.EqualFold(c, "BINARY")
}

// whereKey is the condition that names one row: its key, in storage, not only
// under the column's collation.
func (t *table) whereKey() string {
	parts := make([]string, 0, len(t.key))
	for i, k := range t.key {
		n := sqlite.Quote(t.cols[k])
		parts = append(parts, fmt.Sprintf("%s=?%d", n, i+1))
		if t.collated(k) {
			parts = append(parts, fmt.Sprintf("%s=?%d COLLATE BINARY", n, i+1))
		}
	}
	return strings.Join(parts, " AND ")
}

func exec(s *sqlite.Stmt, row []change.Value) error {
	for i, v := range row {
		sqlite.Bind(s, i+1, v)
	}
	return step(s)
}

func step(s *sqlite.Stmt) error {
	_, err := s.Step()
	if e := s.Reset(); err == nil {
		err = e
	}
	return err
}

func unique(err error) bool {
	switch zs.ErrCode(err) {
	case zs.ResultConstraintUnique, zs.ResultConstraintPrimaryKey, zs.ResultConstraintRowID:
		return true
	}
	return false
}
