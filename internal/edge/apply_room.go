package edge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A displaced row stood in the way of another one (trap: two rows swap a unique
// value) and was taken out until its own new version comes.
type displaced struct {
	t   *table
	key change.Key
	row []change.Value
}

// A collision says that pending work keeps the hub's rows from standing in the
// file: the transactions must step aside.
type collision struct {
	seqs []uint64
	why  string
}

func (c *collision) Error() string { return "pending work is in the way: " + c.why }

// makeRoom takes the rows out of the way that hold a unique value of row. Their
// own new version comes later in this apply; when none does, pending work
// collides with the hub (trap S19).
func (a *applier) makeRoom(p *plan, row []change.Value, key change.Key, id string) error {
	full := make([]change.Value, len(p.t.names))
	assign(p.t, full, p.names, row)
	for range 1 + len(p.t.schema.Unique) {
		blocks, err := a.blockers(p.t, full, key)
		if err != nil {
			return err
		}
		for _, b := range blocks {
			if err := a.displace(p.t, b, key, id); err != nil {
				return err
			}
		}
		err = exec(p.upsert, row)
		if err == nil || !unique(err) {
			delete(a.displ, rowRef{p.t.schema.Name, id})
			return err
		}
	}
	return fmt.Errorf("row %s of table %s collides with a row that cannot be found", key, p.t.schema.Name)
}

func (a *applier) displace(t *table, b, forKey change.Key, forID string) error {
	id := b.ID()
	tr := a.track(t, id)
	if tr != nil && tr.done {
		// Both versions are final. One of them is somebody's pending work.
		if mine := a.track(t, forID); mine != nil && a.active(mine) {
			return &collision{seqs: mine.seqs, why: fmt.Sprintf("table %s row %s", t.schema.Name, forKey)}
		}
		if a.active(tr) {
			return &collision{seqs: tr.seqs, why: fmt.Sprintf("table %s row %s", t.schema.Name, b)}
		}
	}
	if tr == nil {
		if mine := a.track(t, forID); mine != nil && mine.done && a.active(mine) {
			return &collision{seqs: mine.seqs, why: fmt.Sprintf("table %s row %s", t.schema.Name, forKey)}
		}
	} else if err := a.touch(tr); err != nil {
		return err
	}
	row, err := a.e.readRow(t, b)
	if err != nil {
		return err
	}
	a.displ[rowRef{t.schema.Name, id}] = &displaced{t: t, key: b, row: row}
	return a.erase(t, b)
}

// restoreDisplaced puts back rows that were in the way and got no new version. A
// row that still has no room is kept as a rescue copy: the hub holds two rows
// that this file's constraints do not allow together.
func (a *applier) restoreDisplaced() error {
	refs := make([]rowRef, 0, len(a.displ))
	for ref := range a.displ {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(x, y rowRef) int {
		return strings.Compare(x.table+"\x00"+x.id, y.table+"\x00"+y.id)
	})
	for _, ref := range refs {
		d := a.displ[ref]
		if r := a.removal[ref]; r != nil {
			continue
		}
		p, err := a.plan(d.t, d.t.names)
		if err != nil {
			return err
		}
		if err = exec(p.upsert, d.row); err == nil {
			err = a.giveBack(d.t, d.key, ref.id)
		}
		if err == nil {
			continue
		}
		if !unique(err) {
			return err
		}
		if err := a.rescueRow(d.t, d.key, d.row, "no room beside another row with the same unique value"); err != nil {
			return err
		}
	}
	return nil
}

// blockers finds the keys of other rows that hold a unique value of row.
func (a *applier) blockers(t *table, row []change.Value, key change.Key) ([]change.Key, error) {
	var out []change.Key
	uniques, err := a.uniquesOf(t)
	if err != nil {
		return nil, err
	}
	for _, u := range uniques {
		var args []change.Value
		cond := make([]string, 0, len(u.Columns))
		for _, c := range u.Columns {
			j := slices.Index(t.stored, c)
			if c < 0 || j < 0 { // an expression or a generated column: every row is a candidate
				cond = nil
				break
			}
			args = append(args, row[j])
			cond = append(cond, fmt.Sprintf("%s=?%d", sqlite.Quote(t.cols[j]), len(args)))
		}
		if cond == nil {
			list, err := a.probe(t, row, key)
			if err != nil {
				return nil, err
			}
			for _, k := range list {
				if !slices.ContainsFunc(out, k.Equal) {
					out = append(out, k)
				}
			}
			continue
		}
		sql := "SELECT " + sqlite.QuoteAll("", t.keyNames()) + " FROM " + t.sql() + " WHERE " + strings.Join(cond, " AND ")
		if u.Where != "" {
			sql += " AND (" + u.Where + ")"
		}
		err := sqlite.Query(a.e.conn, sql, func(s *sqlite.Stmt) error {
			k := make(change.Key, len(t.key))
			for i := range k {
				k[i] = sqlite.Column(s, i)
			}
			if !k.Equal(key) && !slices.ContainsFunc(out, k.Equal) {
				out = append(out, k)
			}
			return nil
		}, args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// probe finds the rows that a row collides with under an index over expressions
// or generated columns, by letting SQLite find them: it replaces, and everything
// is undone. It reads all keys of the table, twice.
func (a *applier) probe(t *table, row []change.Value, key change.Key) (out []change.Key, err error) {
	before, err := a.e.keys(t)
	if err != nil {
		return nil, err
	}
	if err := sqlite.Exec(a.e.conn, "SAVEPOINT tidemark_probe"); err != nil {
		return nil, err
	}
	err = sqlite.Exec(a.e.conn, "INSERT OR REPLACE INTO "+t.sql()+" ("+sqlite.QuoteAll("", t.cols)+
		") VALUES (?"+strings.Repeat(",?", len(t.names)-1)+")", row...)
	var after []change.Key
	if err == nil {
		after, err = a.e.keys(t)
	}
	if e := sqlite.Exec(a.e.conn, "ROLLBACK TO tidemark_probe"); err == nil {
		err = e
	}
	if e := sqlite.Exec(a.e.conn, "RELEASE tidemark_probe"); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	left := make(map[string]bool, len(after))
	for _, k := range after {
		left[k.ID()] = true
	}
	for _, k := range before {
		if !left[k.ID()] && !k.Equal(key) {
			out = append(out, k)
		}
	}
	return out, nil
}

// uniquesOf are the unique indexes that the file has now, the app's own included,
// over the columns of t.schema.
func (a *applier) uniquesOf(t *table) ([]change.Unique, error) {
	if u, ok := a.unique[t.schema.Name]; ok {
		return u, nil
	}
	s, err := sqlite.Describe(a.e.conn, []string{t.file})
	if err != nil {
		return nil, err
	}
	have := s.Table(t.file)
	if have == nil {
		return nil, fmt.Errorf("table %s is missing from the file", t.schema.Name)
	}
	out := make([]change.Unique, 0, len(have.Unique))
	for _, u := range have.Unique {
		cols := make([]int, len(u.Columns))
		for i, c := range u.Columns {
			cols[i] = -1
			if c >= 0 {
				if j := t.column(have.Columns[c].Name); j >= 0 {
					cols[i] = t.stored[j]
				}
			}
		}
		u.Columns = cols
		out = append(out, u)
	}
	a.unique[t.schema.Name] = out
	return out, nil
}
