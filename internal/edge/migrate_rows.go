package edge

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A before is a copy of a synced table's rows as they were, under the setup's names.
type before struct {
	t    *table // of Migration.start
	name string // of the TEMP table
	gone bool   // the script dropped the table, or made another one in its place
}

// keep copies the rows of the tables that a statement is about to write, drop or
// rename, the first time. So a copy always has the names from the start. ADD COLUMN
// changes no row that is there.
func (m *Migration) keep(sql string, w *watcher) error {
	names := w.writes
	if a := alters(sql); a.table != "" && !a.adds {
		names = append(names, a.table)
	}
	for i := range m.start {
		t := &m.start[i]
		named := func(n string) bool { return !t.missing && sameName(n, t.file) }
		b := m.copied[t.id]
		if b == nil && slices.ContainsFunc(names, named) {
			var err error
			if b, err = m.copy(t); err != nil {
				return fmt.Errorf("keep the rows of %s: %w", t.file, err)
			}
		}
		if b == nil || b.gone {
			continue
		}
		b.gone = slices.ContainsFunc(w.gone, named)
		if !b.gone && slices.ContainsFunc(w.made, named) {
			_, there, err := sqlite.One(m.e.conn, "SELECT 1 FROM sqlite_schema WHERE type='table' AND name=? COLLATE NOCASE", change.Text(t.file))
			if err != nil {
				return err
			}
			b.gone = !there
		}
	}
	return nil
}

func (m *Migration) copy(t *table) (*before, error) {
	b := &before{t: t, name: fmt.Sprintf("temp._tidemark_before_%d", t.id)}
	m.copied[t.id] = b
	if m.o.NoData {
		return b, nil
	}
	cols := make([]string, len(t.cols))
	for i, c := range t.cols {
		cols[i] = fmt.Sprintf("%s AS c%d", sqlite.Quote(c), i)
	}
	key := make([]string, len(t.key))
	for i, k := range t.key {
		key[i] = fmt.Sprintf("c%d", k)
	}
	return b, sqlite.Script(m.e.conn, fmt.Sprintf(`CREATE TABLE %s AS SELECT %s FROM %s;
CREATE INDEX %s_key ON _tidemark_before_%d (%s)`, b.name, strings.Join(cols, ", "), t.sql(), b.name, t.id, strings.Join(key, ", ")))
}

// dropCopies forgets the copies; a transaction that was undone took them along.
func (m *Migration) dropCopies() error {
	for _, b := range m.copied {
		if err := sqlite.Script(m.e.conn, "DROP TABLE IF EXISTS "+b.name); err != nil {
			return fmt.Errorf("forget the copy of %s: %w", b.t.file, err)
		}
	}
	return nil
}

// An alteration is what an ALTER TABLE statement does.
type alteration struct {
	table    string // "" for another statement
	adds     bool   // a column
	from, to string // the column that it renames; from is "" when it is the table
}

func alters(sql string) (a alteration) {
	toks := tokenize(sql)
	if len(toks) < 4 || !toks[0].is("ALTER") || !toks[1].is("TABLE") {
		return a
	}
	i := 2
	if i+2 < len(toks) && toks[i+1].punct('.') {
		i += 2
	}
	a.table = toks[i].text
	rest := toks[i+1:]
	switch {
	case len(rest) > 0 && rest[0].is("ADD"):
		a.adds = true
	case len(rest) > 2 && rest[0].is("RENAME") && rest[1].is("TO"):
		a.to = rest[2].text
	case len(rest) > 3 && rest[0].is("RENAME"):
		if rest[1].is("COLUMN") && !rest[2].is("TO") {
			rest = rest[1:]
		}
		if len(rest) > 3 && rest[2].is("TO") {
			a.from, a.to = rest[1].text, rest[3].text
		}
	}
	return a
}

// follow keeps the names that the script gives to synced tables and columns.
func (m *Migration) follow(sql string) error {
	a := alters(sql)
	if a.to == "" {
		return nil
	}
	known, err := m.e.localNames()
	if err != nil {
		return err
	}
	for i := range m.start {
		t := &m.start[i]
		key := strings.ToLower(t.schema.Name)
		n := known[key]
		if n.Table == "" {
			n.Table = t.file
		}
		if t.missing || !sameName(a.table, n.Table) && !sameName(a.table, t.schema.Name) {
			continue
		}
		if a.from == "" {
			n.Table = a.to
		} else if c := t.calledNow(n, a.from); c != "" {
			if n.Columns == nil {
				n.Columns = map[string]string{}
			}
			n.Columns[strings.ToLower(c)] = a.to
		}
		known[key] = n
	}
	raw, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return m.e.setMeta(metaNames, change.Text(string(raw)))
}

// calledNow is the setup's name of the column that the file calls name by now.
func (t *table) calledNow(now localNames, name string) string {
	for i, n := range t.names {
		c := now.Columns[strings.ToLower(n)]
		if c == "" {
			c = t.cols[i]
		}
		if sameName(c, name) {
			return n
		}
	}
	return ""
}

// hand hands in what the script did to synced rows, as one transaction. Rows of a
// table that is gone stay at the hub: the file has no place for them any more.
func (m *Migration) hand() error {
	e := m.e
	g := &group{begun: true}
	for i := range e.tables {
		b, t := m.copied[e.tables[i].id], &e.tables[i]
		if b == nil || t.missing || m.o.NoData {
			continue
		}
		anew, err := m.madeAnew(b, t)
		if err != nil {
			return err
		}
		if anew {
			if err := e.widenGap(t, gap{Behind: true}); err != nil {
				return err
			}
			continue
		}
		n := len(g.touched)
		if err := m.differ(g, i, b, t); err != nil {
			return fmt.Errorf("compare the rows of %s: %w", t.file, err)
		}
		for j := range m.out.Tables {
			if sameName(m.out.Tables[j].Table, t.file) {
				m.out.Tables[j].Rows = len(g.touched) - n
			}
		}
	}
	x, err := e.newExporter(e.cfg.Clock.Now())
	if err != nil {
		return err
	}
	ops, err := x.ops(g)
	if err != nil || len(ops) == 0 {
		return err
	}
	id, err := change.NewTxID(e.cfg.Rand)
	if err != nil {
		return err
	}
	if _, err := x.write(&change.Transaction{ID: id, Bases: x.takeBases(), Ops: ops}, x.now, x.now); err != nil {
		return err
	}
	return x.finish()
}

// madeAnew reports that the script dropped a table with rows, or renamed it away, and
// made it again without any. Nobody deleted those rows: they come from the hub.
func (m *Migration) madeAnew(b *before, t *table) (bool, error) {
	if !b.gone {
		return false, nil
	}
	empty, err := m.e.emptyTable(t)
	if err != nil || !empty {
		return false, err
	}
	_, some, err := sqlite.One(m.e.conn, "SELECT 1 FROM "+b.name+" LIMIT 1")
	return some, err
}

// differ adds to a group the rows of table i that the script changed.
func (m *Migration) differ(g *group, i int, b *before, t *table) error {
	from := make([]int, len(t.names)) // for each column its place in the copy, or -1
	for j, n := range t.names {
		from[j] = slices.IndexFunc(b.t.names, func(w string) bool { return sameName(w, n) })
	}
	read := "SELECT * FROM " + b.name + " WHERE "
	for j, k := range b.t.key {
		if j > 0 {
			read += " AND "
		}
		read += fmt.Sprintf("c%d=?", k)
	}
	old := func(key change.Key, now []change.Value) (row []change.Value, err error) {
		err = sqlite.Query(m.e.conn, read, func(s *sqlite.Stmt) error {
			if all := readRow(s, len(b.t.names)); b.t.keyOf(all).Equal(key) {
				row = b.as(t, all, from, now)
			}
			return nil
		}, key...)
		return row, err
	}
	note := func(key change.Key, was, now []change.Value) {
		g.touched = append(g.touched, &touch{id: rowID{i, key.ID()}, key: key, before: was, after: now})
	}
	err := sqlite.Query(m.e.conn, "SELECT "+sqlite.QuoteAll("", t.cols)+" FROM "+t.sql(), func(s *sqlite.Stmt) error {
		now := readRow(s, len(t.cols))
		key := t.keyOf(now)
		was, err := old(key, now)
		if err == nil && !slices.Equal(was, now) && !slices.ContainsFunc(key, change.Value.IsNull) {
			note(key, was, now)
		}
		return err
	})
	if err != nil {
		return err
	}
	return sqlite.Query(m.e.conn, "SELECT * FROM "+b.name, func(s *sqlite.Stmt) error {
		all := readRow(s, len(b.t.names))
		key := b.t.keyOf(all)
		now, err := m.e.readRow(t, key)
		if err == nil && now == nil {
			note(key, b.as(t, all, from, nil), nil)
		}
		return err
	})
}

// as is a copied row in the columns that the table has now. A column that was not
// captured has no former value, and one that only holds the value in another way, by
// its new type, is as it was.
func (b *before) as(t *table, all []change.Value, from []int, now []change.Value) []change.Value {
	row := make([]change.Value, len(from))
	for j, i := range from {
		if i >= 0 {
			row[j] = all[i]
		}
		if now != nil && (i < 0 || t.hubKind[j].Store(now[j]) == t.hubKind[j].Store(all[i])) {
			row[j] = now[j]
		}
	}
	return row
}
