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

// receive writes the rows of the pull.
func (a *applier) receive() error {
	return a.in.each(func(rows *change.Rows) error {
		t := a.e.tableNamed(rows.Table)
		if t == nil {
			return nil // a table this setup does not sync
		}
		if t.missing {
			return fmt.Errorf("table %s is missing from the file, or has lost its key", rows.Table)
		}
		p, err := a.plan(t, rows.Columns)
		if err != nil {
			return err
		}
		a.wrote[strings.ToLower(t.schema.Name)] = true
		for i := range rows.GoneLen() {
			if err := a.receiveGone(p, rows.GoneKey(i)); err != nil {
				return fmt.Errorf("table %s row %s: %w", rows.Table, rows.GoneKey(i), err)
			}
		}
		for i := range rows.Len() {
			if err := a.receiveRow(p, rows.Row(i)); err != nil {
				return fmt.Errorf("table %s row %s: %w", rows.Table, rows.KeyOf(i), err)
			}
		}
		return nil
	})
}

func (a *applier) receiveGone(p *plan, key change.Key) error {
	t := p.t
	if len(a.order) == 0 && a.seen == nil && a.in.keep == "" {
		a.out.Gone++
		return a.remove(t, key, "")
	}
	id := key.ID()
	if a.seen != nil {
		a.seen.drop(t, id)
	}
	a.out.Gone++
	if tr := a.track(t, id); tr != nil {
		tr.came = true
		if !a.lifted {
			tr.learn(nil)
			return a.touch(tr)
		}
	}
	if a.in.keep != "" {
		if err := a.keepLocal(p, key, nil); err != nil {
			return err
		}
	}
	return a.remove(t, key, id)
}

func (a *applier) receiveRow(p *plan, in []change.Value) error {
	a.out.Rows++
	row := in
	if !p.same {
		row = make([]change.Value, len(p.from))
		for i, c := range p.from {
			row[i] = in[c]
		}
	}
	if len(a.order) == 0 && a.seen == nil && len(a.removal) == 0 && len(a.displ) == 0 && a.in.keep == "" {
		return a.write(p, row, nil, "")
	}
	key := make(change.Key, len(p.key))
	for i, c := range p.key {
		key[i] = in[c]
	}
	id := key.ID()
	if a.seen != nil {
		a.seen.add(p.t, id)
	}
	if tr := a.track(p.t, id); tr != nil {
		tr.came = true
		if !a.lifted {
			if err := a.touch(tr); err != nil {
				return err
			}
			return a.learnRow(tr, p, row)
		}
	}
	if err := a.keepLocal(p, key, row); err != nil {
		return err
	}
	a.unremove(rowRef{p.t.schema.Name, id})
	return a.write(p, row, key, id)
}

// learnRow makes an incoming row the hub's version of a tracked one. Columns
// that the hub does not send keep what the file has.
func (a *applier) learnRow(tr *track, p *plan, row []change.Value) error {
	if p.same {
		tr.learn(slices.Clone(row))
		return nil
	}
	full := make([]change.Value, len(tr.t.names))
	if tr.local != nil {
		copy(full, tr.local)
	}
	assign(tr.t, full, p.names, row)
	tr.learn(full)
	return nil
}

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
	insert := "INSERT INTO " + sqlite.Quote(t.schema.Name) + " (" + sqlite.QuoteAll("", p.names) + ") VALUES (?" +
		strings.Repeat(",?", len(p.names)-1) + ")"
	var err error
	if p.insert, err = a.e.conn.Prepare(insert); err != nil {
		return nil, err
	}
	if p.upsert, err = a.e.conn.Prepare(insert + t.onConflict(p.names)); err != nil {
		return nil, err
	}
	a.plans[name] = p
	return p, p.prepareUpdate(a.e.conn)
}

func (p *plan) prepareUpdate(c *sqlite.Conn) (err error) {
	var set []string
	for _, k := range p.t.key { // the key's parameters come first, as whereKey has them
		p.order = append(p.order, slices.Index(p.names, p.t.names[k]))
	}
	for i, n := range p.names {
		if !slices.Contains(p.t.key, p.t.column(n)) {
			p.order = append(p.order, i)
			set = append(set, fmt.Sprintf("%s=?%d", sqlite.Quote(n), len(p.order)))
		}
	}
	if len(set) == 0 {
		return nil
	}
	p.update, err = c.Prepare("UPDATE " + sqlite.Quote(p.t.schema.Name) + " SET " + strings.Join(set, ", ") + " WHERE " + p.t.whereKey())
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
			set = append(set, sqlite.Quote(n)+"=excluded."+sqlite.Quote(n))
		}
	}
	key := make([]string, len(t.key))
	for i, k := range t.key {
		key[i] = t.names[k]
	}
	target := " ON CONFLICT (" + sqlite.QuoteAll("", key) + ") DO "
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
		n := sqlite.Quote(t.names[k])
		parts = append(parts, fmt.Sprintf("%s=?%d", n, i+1))
		if t.collated(k) {
			parts = append(parts, fmt.Sprintf("%s=?%d COLLATE BINARY", n, i+1))
		}
	}
	return strings.Join(parts, " AND ")
}

// write brings one row into the file, in the plan's columns, moving whatever
// stands in its way.
func (a *applier) write(p *plan, row []change.Value, key change.Key, id string) error {
	var err error
	if a.seen != nil && a.empty[strings.ToLower(p.t.schema.Name)] {
		err = exec(p.insert, row)
		if unique(err) { // a later chunk, or the delta, has it again
			err = exec(p.upsert, row)
		}
	} else {
		err = p.bring(a.e.conn, row)
	}
	if !unique(err) {
		return err
	}
	if key == nil {
		full := make([]change.Value, len(p.t.names))
		assign(p.t, full, p.names, row)
		key = p.t.keyOf(full)
		id = key.ID()
	}
	return a.makeRoom(p, row, key, id)
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

// put writes a whole row in table order.
func (a *applier) put(t *table, key change.Key, id string, row []change.Value) error {
	p, err := a.plan(t, t.names)
	if err != nil {
		return err
	}
	a.unremove(rowRef{t.schema.Name, id})
	return a.write(p, row, key, id)
}

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
		if tr := a.track(d.t, ref.id); tr != nil && tr.done {
			continue // it has its final version
		}
		if r := a.removal[ref]; r != nil {
			continue
		}
		p, err := a.plan(d.t, d.t.names)
		if err != nil {
			return err
		}
		err = exec(p.upsert, d.row)
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
			cond = append(cond, fmt.Sprintf("%s=?%d", sqlite.Quote(t.names[j]), len(args)))
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
		sql := "SELECT " + sqlite.QuoteAll("", t.keyNames()) + " FROM " + sqlite.Quote(t.schema.Name) + " WHERE " + strings.Join(cond, " AND ")
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

// remove takes a row out of the file because the hub's view, with the pending
// work on top, does not have it. Parents of foreign keys wait until the end, when
// their children are known.
func (a *applier) remove(t *table, key change.Key, id string) error {
	refs := a.refs[strings.ToLower(t.schema.Name)]
	wait := false
	for _, r := range refs {
		wait = wait || !r.synced || len(a.order) > 0
	}
	if !wait {
		if len(a.displ) > 0 {
			delete(a.displ, rowRef{t.schema.Name, key.ID()})
		}
		return a.erase(t, key)
	}
	if id == "" {
		id = key.ID()
	}
	ref := rowRef{t.schema.Name, id}
	if a.removal[ref] == nil {
		a.removal[ref] = &removal{t: t, key: key}
		a.removed = append(a.removed, ref)
	}
	return nil
}

func (a *applier) unremove(ref rowRef) {
	if len(a.removal) > 0 {
		delete(a.removal, ref)
	}
	if len(a.displ) > 0 {
		delete(a.displ, ref)
	}
}

func (a *applier) erase(t *table, key change.Key) error {
	return sqlite.Exec(a.e.conn, "DELETE FROM "+sqlite.Quote(t.schema.Name)+" WHERE "+t.whereKey(), key...)
}

func readRow(s *sqlite.Stmt, n int) []change.Value {
	row := make([]change.Value, n)
	for i := range row {
		row[i] = sqlite.Column(s, i)
	}
	return row
}

func (t *table) keyNames() []string {
	out := make([]string, len(t.key))
	for i, k := range t.key {
		out[i] = t.names[k]
	}
	return out
}

func (t *table) keyOf(row []change.Value) change.Key {
	k := make(change.Key, len(t.key))
	for i, c := range t.key {
		k[i] = row[c]
	}
	return k
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
	err = sqlite.Exec(a.e.conn, "INSERT OR REPLACE INTO "+sqlite.Quote(t.schema.Name)+" ("+sqlite.QuoteAll("", t.names)+
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

// keys lists the keys of a table in key order.
func (e *Engine) keys(t *table) (out []change.Key, err error) {
	names := sqlite.QuoteAll("", t.keyNames())
	err = sqlite.Query(e.conn, "SELECT "+names+" FROM "+sqlite.Quote(t.schema.Name)+" ORDER BY "+names, func(s *sqlite.Stmt) error {
		out = append(out, change.Key(readRow(s, len(t.key))))
		return nil
	})
	return out, err
}

// uniquesOf are the unique indexes that the file has now, the app's own included,
// over the columns of t.schema.
func (a *applier) uniquesOf(t *table) ([]change.Unique, error) {
	if u, ok := a.unique[t.schema.Name]; ok {
		return u, nil
	}
	s, err := sqlite.Describe(a.e.conn, []string{t.schema.Name})
	if err != nil {
		return nil, err
	}
	have := s.Table(t.schema.Name)
	if have == nil {
		return nil, fmt.Errorf("table %s is missing from the file", t.schema.Name)
	}
	out := make([]change.Unique, 0, len(have.Unique))
	for _, u := range have.Unique {
		cols := make([]int, len(u.Columns))
		for i, c := range u.Columns {
			cols[i] = -1
			if c >= 0 {
				cols[i] = t.schema.Column(have.Columns[c].Name)
			}
		}
		u.Columns = cols
		out = append(out, u)
	}
	a.unique[t.schema.Name] = out
	return out, nil
}
