package edge

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// loadTables reads what the file now has of the setup's tables.
func (e *Engine) loadTables() error {
	shape, err := e.version()
	if err != nil {
		return err
	}
	known, err := e.followed()
	if err != nil {
		return err
	}
	all, _, err := sqlite.TableNames(e.conn)
	if err != nil {
		return err
	}
	gaps, err := e.gaps()
	if err != nil {
		return err
	}
	tables := make([]table, len(e.setup.Schema.Tables))
	for i := range tables {
		want := &e.setup.Schema.Tables[i]
		rules := e.setup.Rules.Table(want.Name)
		local := knownAs(known, want.Name, rules)
		var have *change.Table
		if name := fileTable(&e.setup.Schema, want.Name, local, rules, all); name != "" {
			s, err := sqlite.Describe(e.conn, []string{name})
			if err != nil {
				return err
			}
			have = s.Table(name)
		}
		tables[i] = share(int64(i+1), want, have, local, rules)
		tables[i].gap = gaps[tables[i].schema.Name]
	}
	if err := e.loadForms(tables); err != nil {
		return err
	}
	e.tables, e.shape, e.refs = tables, shape, nil
	return nil
}

// version is SQLite's own count of schema changes in the file.
func (e *Engine) version() (int64, error) {
	v, _, err := sqlite.One(e.conn, `PRAGMA schema_version`)
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return v.Int(), nil
}

// share is the part of a setup's table that the file has.
func share(id int64, want, have *change.Table, known localNames, rules *rule.Table) table {
	if have == nil {
		return table{id: id, schema: want, rules: rules, missing: true}
	}
	name := have.Name
	if !sameName(name, want.Name) {
		name = want.Name
	}
	t := table{id: id, rules: rules, file: have.Name, have: have, schema: &change.Table{
		Name: name, WithoutRowid: have.WithoutRowid, Strict: have.Strict,
	}}
	v := 0 // undo columns are numbered by the setup, whatever the file lacks
	for i := range want.Columns {
		w := want.Columns[i]
		j := fileColumnOf(want, have, i, known, rules)
		if j >= 0 && have.Columns[j].Generated == w.Generated {
			c := have.Columns[j]
			if !w.Generated {
				t.stored = append(t.stored, len(t.schema.Columns))
				t.names = append(t.names, w.Name)
				t.cols = append(t.cols, c.Name)
				t.undo = append(t.undo, v)
				t.hubKind = append(t.hubKind, want.Affinity(i))
			}
			c.Name = w.Name
			t.schema.Columns = append(t.schema.Columns, c)
		}
		if !w.Generated {
			v++
		}
	}
	for _, k := range want.Key {
		c := t.schema.Column(want.Columns[k].Name)
		if c < 0 { // a table without its key cannot be addressed
			t.missing = true
			return t
		}
		t.schema.Key = append(t.schema.Key, c)
		for s, i := range t.stored {
			if i == c {
				t.key = append(t.key, s)
			}
		}
	}
	t.schema.Unique = remap(want, t.schema)
	t.schema.ForeignKeys = remapKeys(want, t.schema)
	return t
}

// remap carries the setup's unique constraints over to the file's columns.
func remap(want, have *change.Table) []change.Unique {
	var out []change.Unique
	for _, u := range want.Unique {
		if cols, ok := remapColumns(want, have, u.Columns); ok {
			u.Columns = cols
			out = append(out, u)
		}
	}
	return out
}

func remapKeys(want, have *change.Table) []change.ForeignKey {
	var out []change.ForeignKey
	for _, fk := range want.ForeignKeys {
		if cols, ok := remapColumns(want, have, fk.Columns); ok {
			fk.Columns = cols
			out = append(out, fk)
		}
	}
	return out
}

func remapColumns(want, have *change.Table, cols []int) ([]int, bool) {
	out := make([]int, len(cols))
	for i, c := range cols {
		if c < 0 {
			out[i] = -1
			continue
		}
		if out[i] = have.Column(want.Columns[c].Name); out[i] < 0 {
			return nil, false
		}
	}
	return out, true
}

// createMissing runs the setup's DDL for the tables that the file lacks, and for
// their indexes. It returns the tables made. A table that the setup before had, too,
// was dropped here by the application, which may know why: it is left out.
func (e *Engine) createMissing(setup *wire.Setup) ([]string, error) {
	c := e.conn
	have, special, err := sqlite.TableNames(c)
	if err != nil {
		return nil, err
	}
	known, err := e.localNames()
	if err != nil {
		return nil, err
	}
	existed := map[string]bool{}
	for _, n := range have {
		existed[strings.ToLower(n)] = true
	}
	for i := range setup.Schema.Tables {
		n, r := setup.Schema.Tables[i].Name, setup.Rules.Table(setup.Schema.Tables[i].Name)
		before := e.setup != nil && e.tableNamed(n) != nil
		if before || fileTable(&setup.Schema, n, knownAs(known, n, r), r, have) != "" {
			existed[strings.ToLower(n)] = true
		}
	}
	var created []string
	for _, ddl := range setup.DDL {
		kind, name, on := ddlTarget(ddl)
		if on == "" {
			on = name
		}
		if existed[strings.ToLower(on)] {
			continue
		}
		for s, what := range special {
			if sameName(s, name) {
				return nil, fmt.Errorf("table %s: the file has a %s of that name", name, what)
			}
		}
		if err := sqlite.Script(c, ddl); err != nil {
			return nil, fmt.Errorf("create %s %s: %w", kind, name, err)
		}
		if kind == "table" {
			created = append(created, name)
		}
	}
	return created, nil
}

// ddlTarget says what a CREATE statement makes: "table" or "index" or another
// kind, its name, and for indexes and triggers the table it stands on.
func ddlTarget(sql string) (kind, name, on string) {
	toks := tokenize(sql)
	i := 0
	for i < len(toks) && !toks[i].is("TABLE") && !toks[i].is("INDEX") && !toks[i].is("TRIGGER") && !toks[i].is("VIEW") {
		i++
	}
	if i >= len(toks) {
		return "", "", ""
	}
	kind = strings.ToLower(toks[i].text)
	i++
	if i+2 < len(toks) && toks[i].is("IF") && toks[i+1].is("NOT") {
		i += 3
	}
	if i+2 < len(toks) && toks[i+1].punct('.') {
		i += 2
	}
	if i < len(toks) {
		name = toks[i].text
	}
	if kind == "table" || kind == "view" {
		return kind, name, ""
	}
	for i++; i+1 < len(toks); i++ {
		if toks[i].is("ON") {
			return kind, name, toks[i+1].text
		}
	}
	return kind, name, ""
}
