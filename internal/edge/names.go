package edge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// Tables and columns go by two names: the setup's, which travel, and the file's,
// which SQL here needs. They differ while a rename has reached one side only. How a
// name of the setup is called in the file is known
//
//   - because it is the same (ASCII case folded),
//   - because our triggers tell: SQLite rewrites them when the application renames
//     what they name,
//   - because tidemark.yaml lists it as another name (was).

// localNames are the file's own names for a table and its columns, where they are not
// the setup's.
type localNames struct {
	Table   string            `json:"table,omitempty"`
	Columns map[string]string `json:"columns,omitempty"` // lower-case name in the setup → in the file
}

// localNames reads what noteNames kept, by lower-case table name.
func (e *Engine) localNames() (map[string]localNames, error) {
	v, err := e.meta(metaNames)
	if err != nil || v.IsNull() {
		return map[string]localNames{}, err
	}
	out := map[string]localNames{}
	if err := json.Unmarshal([]byte(v.Str()), &out); err != nil {
		return nil, fmt.Errorf("read %s: %w", metaNames, err)
	}
	return out, nil
}

// noteNames keeps the names in use. A table that is missing keeps what it had.
func (e *Engine) noteNames() error {
	was, err := e.localNames()
	if err != nil {
		return err
	}
	now := map[string]localNames{}
	for i := range e.tables {
		t := &e.tables[i]
		key := strings.ToLower(t.schema.Name)
		if t.missing {
			if n, ok := was[key]; ok {
				now[key] = n
			}
			continue
		}
		n := localNames{}
		if !sameName(t.file, t.schema.Name) {
			n.Table = t.file
		}
		for j, c := range t.cols {
			if !sameName(c, t.names[j]) {
				if n.Columns == nil {
					n.Columns = map[string]string{}
				}
				n.Columns[strings.ToLower(t.names[j])] = c
			}
		}
		if n.Table != "" || n.Columns != nil {
			now[key] = n
		}
	}
	if len(now) == 0 && len(was) == 0 {
		return nil
	}
	raw, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return e.setMeta(metaNames, change.Text(string(raw)))
}

// deleteTrigger is the number of the table whose delete trigger has a name; 0 for
// any other name.
func deleteTrigger(name string) int {
	rest, ours := strings.CutPrefix(strings.ToLower(name), sqlite.Prefix)
	number, del := strings.CutSuffix(rest, "_delete")
	id, err := strconv.Atoi(number)
	if !ours || !del || err != nil {
		return 0
	}
	return id
}

// followed are the file's names as our triggers tell them: the delete trigger of a
// table names every captured column.
func (e *Engine) followed() (map[string]localNames, error) {
	out, err := e.localNames()
	if err != nil {
		return nil, err
	}
	err = sqlite.Query(e.conn, `SELECT name, tbl_name, sql FROM sqlite_schema WHERE type='trigger'`, func(s *sqlite.Stmt) error {
		id := deleteTrigger(s.ColumnText(0))
		if id < 1 || id > len(e.setup.Schema.Tables) {
			return nil
		}
		want := &e.setup.Schema.Tables[id-1]
		stored := want.StoredNames()
		n := localNames{Table: s.ColumnText(1), Columns: map[string]string{}}
		for v, c := range capturedColumns(s.ColumnText(2)) {
			if v < len(stored) {
				n.Columns[strings.ToLower(stored[v])] = c
			}
		}
		out[strings.ToLower(want.Name)] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list triggers: %w", err)
	}
	return out, nil
}

// capturedColumns reads from a delete trigger which column each value of the capture
// log holds.
func capturedColumns(sql string) map[int]string {
	toks := tokenize(sql)
	var at []int
	out := map[int]string{}
	n := 0
	for i, t := range toks {
		var v int
		switch {
		case t.kind == tokWord && len(t.text) > 1 && lower(t.text[0]) == 'v' && digits(t.text[1:]):
			if _, err := fmt.Sscanf(t.text[1:], "%d", &v); err == nil {
				at = append(at, v)
			}
		case t.is("OLD") && i+2 < len(toks) && toks[i+1].punct('.') && toks[i+2].named():
			if n < len(at) {
				out[at[n]] = toks[i+2].text
			}
			n++
		}
	}
	return out
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// fileTable finds the table of the file that a table of the setup stands for.
func fileTable(setup *change.Schema, want string, known localNames, r *rule.Table, have []string) string {
	find := func(name string) string {
		if i := slices.IndexFunc(have, func(h string) bool { return sameName(h, name) }); i >= 0 {
			return have[i]
		}
		return ""
	}
	if n := find(want); n != "" {
		return n
	}
	others := []string{known.Table}
	if r != nil {
		others = append(others, r.Was...)
	}
	for _, o := range others {
		if n := find(o); o != "" && n != "" && setup.Table(o) == nil {
			return n
		}
	}
	return ""
}

// knownAs is what is known of the file's names for a table of a setup, which an
// earlier setup may have called otherwise.
func knownAs(known map[string]localNames, want string, r *rule.Table) localNames {
	n, ok := known[strings.ToLower(want)]
	if !ok && r != nil {
		for _, w := range r.Was {
			if n, ok = known[strings.ToLower(w)]; ok {
				break
			}
		}
	}
	return n
}

// fileColumnOf finds the column of the file's table that column w of the setup's
// table stands for, or -1.
func fileColumnOf(want, have *change.Table, w int, known localNames, r *rule.Table) int {
	name := want.Columns[w].Name
	if j := have.Column(name); j >= 0 {
		return j
	}
	others := []string{known.Columns[strings.ToLower(name)]}
	if r != nil {
		for _, w := range r.Columns[strings.ToLower(name)].Was {
			others = append(others, known.Columns[strings.ToLower(w)], w)
		}
	}
	for _, o := range others {
		if j := have.Column(o); o != "" && j >= 0 && want.Column(o) < 0 {
			return j
		}
	}
	return -1
}

// called reports whether name is one of the table's: the setup's, the file's, or
// another one that the rules list.
func (t *table) called(name string) bool {
	if sameName(t.schema.Name, name) || t.file != "" && sameName(t.file, name) {
		return true
	}
	return t.rules != nil && slices.ContainsFunc(t.rules.Was, func(w string) bool { return sameName(w, name) })
}

// column returns the place of a stored column by any of its names, or -1. The
// present name comes first: one that was given up may have been given again.
func (t *table) column(name string) int {
	for i, n := range t.names {
		if n == name {
			return i
		}
	}
	for i, n := range t.names {
		if sameName(n, name) {
			return i
		}
	}
	if t.schema.Column(name) >= 0 { // a generated one
		return -1
	}
	for i, n := range t.cols {
		if sameName(n, name) {
			return i
		}
	}
	if t.rules == nil {
		return -1
	}
	for i, n := range t.names {
		if slices.ContainsFunc(t.rules.Columns[strings.ToLower(n)].Was, func(w string) bool { return sameName(w, name) }) {
			return i
		}
	}
	return -1
}

// opColumn is the place in an operation of the table's column i, or -1.
func (t *table) opColumn(op *change.Op, i int) int {
	if j := op.Column(t.names[i]); j >= 0 {
		return j
	}
	return slices.IndexFunc(op.Columns, func(c string) bool { return t.column(c) == i })
}

// sql is the table's name in the file, quoted.
func (t *table) sql() string { return sqlite.Quote(t.file) }

// local is what the file calls a column that the setup calls name.
func (t *table) local(name string) string {
	if i := t.column(name); i >= 0 {
		return t.cols[i]
	}
	return name
}

func (t *table) locals(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = t.local(n)
	}
	return out
}

// tableInFile returns a synced table by its name in the file, or nil.
func (e *Engine) tableInFile(name string) *table {
	for i := range e.tables {
		if !e.tables[i].missing && sameName(e.tables[i].file, name) {
			return &e.tables[i]
		}
	}
	return nil
}

// renamePending brings what is kept by table name under the names of the setup in
// force. Bodies stay as they were written: their names are looked up.
func (e *Engine) renamePending() error {
	for i := range e.tables {
		t := &e.tables[i]
		if t.rules == nil {
			continue
		}
		for _, w := range t.rules.Was {
			if other := e.tableNamed(w); other != t {
				continue // the name was given again
			}
			for _, of := range []string{"_tidemark_pending", "_tidemark_shadow"} {
				err := sqlite.Exec(e.conn, "UPDATE OR REPLACE "+of+" SET tbl=?1 WHERE tbl=?2 COLLATE NOCASE AND tbl<>?1",
					change.Text(t.schema.Name), change.Text(w))
				if err != nil {
					return fmt.Errorf("rename pending work of %s: %w", w, err)
				}
			}
		}
	}
	return e.renameGaps()
}

func (e *Engine) renameGaps() error {
	all, err := e.gaps()
	if err != nil || len(all) == 0 {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		t := e.tableNamed(n)
		if t == nil {
			continue
		}
		g := all[n]
		for i, c := range g.Columns {
			if j := t.column(c); j >= 0 {
				g.Columns[i] = t.names[j]
			}
		}
		for c, k := range maps.Clone(g.Kinds) {
			if j := t.column(c); j >= 0 {
				delete(g.Kinds, c)
				g.Kinds[t.names[j]] = k
			}
		}
		delete(all, n)
		all[t.schema.Name], t.gap = g, g
	}
	return e.setGaps(all)
}

// nameNow is what a table is called now that an operation calls name.
func (e *Engine) nameNow(name string) string {
	if t := e.tableNamed(name); t != nil {
		return t.schema.Name
	}
	return name
}
