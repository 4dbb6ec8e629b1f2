package postgresstore

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A plan is everything derived from a schema and its rules: it never changes
// once built, and a new one replaces it when either does.
type plan struct {
	schema   change.Schema
	hash     change.SchemaHash
	rules    rule.Rules
	oids     []uint32 // of the tables
	version  string   // of their catalogue entries, see versionSQL
	list     ledger.Tables
	tables   []*table // as list: parents first
	byID     map[int64]*table
	run      []string          // the app's triggers that run for what edges did
	mute     []string          // and those that do not
	hanging  map[looseKey]bool // see readLoose
	deferred bool              // some foreign key can be checked at the commit
	lost     map[string]bool   // tables of the rules that cannot be served, in lower case

	seen atomic.Pointer[sight] // where it fits; nil: not known yet
}

// A table is one synced table with the SQL the store needs for it.
type table struct {
	id       int64
	rel      *relation
	def      *change.Table
	rule     *rule.Table
	name     string // quoted, with its schema
	cols     []column
	names    []string // stored columns, as cols
	key      []int    // indices into cols
	keyNames []string
	scope    scoping
	below    [][]*table // ways down to the rows that get their scope from this one's, see ledger.Descents
	cascades bool       // deleting a row here changes rows elsewhere
	dangles  bool       // rows may be there without the one their scope hangs on
	loose    bool       // rows below may be there without this table's row
	captured string     // hash of the triggers that stand

	mass atomic.Int64 // about how many bytes a row's values weigh, see scan.go; 0: nothing is known

	rank     int // place in plan.tables
	parents  []link
	pointers []pointer

	columns string // the stored columns of t, each read in its class
	byKey   string // SELECT of the stored columns by key
	remove  string // DELETE by key
	insert  string // INSERT of all stored columns
}

// newPlan lays out the tables named by the rules. It does not number them.
func newPlan(schema change.Schema, rels []relation, rules *rule.Rules) (*plan, error) {
	p := &plan{schema: schema, rules: *rules, byID: map[int64]*table{}}
	var err error
	if p.list, err = ledger.Lay(&p.schema, &p.rules); err != nil {
		return nil, err
	}
	for _, l := range p.list {
		at := slices.IndexFunc(rels, func(rel relation) bool { return rel.Name == l.Def.Name })
		t := newTable(&rels[at], l)
		p.tables = append(p.tables, t)
		p.oids = append(p.oids, t.rel.OID)
	}
	p.relate()
	for i, t := range p.tables {
		if err := t.placeScope(p, p.list[i].Scope); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// finish does what takes the foreign keys that hang.
func (p *plan) finish() {
	for _, t := range p.tables {
		t.dangles = t.scope.parent != nil && p.loose(t)
		t.below = ledger.Descents(t, p.tables, func(c *table) *table { return c.scope.parent })
		t.loose = slices.ContainsFunc(t.below, func(d []*table) bool { return p.loose(d[len(d)-1]) })
		t.cascades = p.cascades(t)
	}
}

func newTable(rel *relation, l *ledger.Table) *table {
	def := l.Def
	t := &table{rel: rel, def: def, rule: l.Rule, rank: l.Rank, name: quote(rel.Schema) + "." + quote(rel.Name), names: def.StoredNames(), keyNames: def.KeyNames()}
	stored := def.Stored()
	for _, i := range stored {
		t.cols = append(t.cols, rel.column(i))
	}
	for _, c := range def.Key {
		t.key = append(t.key, slices.Index(stored, c))
	}
	t.columns = strings.Join(t.reads("t."), ", ")
	t.byKey = "SELECT " + t.columns + " FROM " + t.name + " AS t WHERE " + t.where(1)
	t.remove = "DELETE FROM " + t.name + " AS t WHERE " + t.where(1)
	t.insert = t.insertSQL(t.names)
	return t
}

// reads is the stored columns of the row that prefix names, as column.read gives them.
func (t *table) reads(prefix string) []string {
	out := make([]string, len(t.cols))
	for i := range t.cols {
		out[i] = t.cols[i].read(prefix)
	}
	return out
}

// row decodes the stored columns from column from on of an answer.
func (t *table) row(r *row, from int) []change.Value {
	out := make([]change.Value, len(t.cols))
	for i := range t.cols {
		out[i] = t.cols[i].value(r.value(from + i))
	}
	return out
}

// where is the condition that row t has the key given as parameters from number n on.
func (t *table) where(n int) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = "t." + t.cols[k].quoted + " = " + t.cols[k].match(n+i)
	}
	return strings.Join(parts, " AND ")
}

// logKey is the key of the row that prefix names, as the log holds it.
func (t *table) logKey(prefix string) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = t.cols[k].text(prefix)
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "]"
}

// image is the stored columns of the row that prefix names, as the log holds them.
func (t *table) image(prefix string) string {
	parts := make([]string, len(t.cols))
	for i := range t.cols {
		parts[i] = t.cols[i].text(prefix)
	}
	return "ARRAY[" + strings.Join(parts, ", ") + "]"
}

// atLogKey is the condition that a row has the key that a log entry is about.
func (t *table) atLogKey(row, entry string) string {
	parts := make([]string, len(t.key))
	for i, k := range t.key {
		parts[i] = row + t.cols[k].quoted + " = " + t.cols[k].fromText(fmt.Sprintf("%skey[%d]", entry, i+1))
	}
	return strings.Join(parts, " AND ")
}

// keyTexts is a key as the log holds it; nil when no row can have it.
func (t *table) keyTexts(key change.Key) []string {
	if len(key) != len(t.key) {
		return nil
	}
	out := make([]string, len(key))
	for i, v := range key {
		var err error
		if out[i], err = t.cols[t.key[i]].spell(v); err != nil {
			return nil
		}
	}
	return out
}

// keyArgs is a key as parameters; nil when no row can have it.
func (t *table) keyArgs(key change.Key) ([]any, error) {
	if len(key) != len(t.key) {
		return nil, fmt.Errorf("a key of %s has %d values, not %d", t.def.Name, len(t.key), len(key))
	}
	out := make([]any, len(key))
	for i, v := range key {
		p, err := t.cols[t.key[i]].same(v)
		if err != nil || p.arg == nil {
			return nil, nil //nolint:nilerr // a value that the column cannot hold
		}
		out[i] = p.arg
	}
	return out, nil
}

// match is placeholder n for comparing the column with: in a form that serves an
// index, and that does not fail where the value is beyond the type's range.
func (c *column) match(n int) string {
	switch {
	case c.form == formInt2 || c.form == formInt4:
		return fmt.Sprintf("$%d::int8", n)
	case c.form == formText && (c.cast == "character varying" || c.cast == "varchar"):
		return fmt.Sprintf("$%d::text", n)
	}
	return c.param(n)
}

// fromText is the opposite of text, in a form that finds a row by its index. That is one
// of the column's collation; without a word, the log's own would be taken to compare.
func (c *column) fromText(expr string) string {
	if c.collated != "" {
		return "(" + c.fromAny(expr) + " COLLATE " + c.collated + ")"
	}
	return c.fromAny(expr)
}

func (c *column) fromAny(expr string) string {
	switch c.form {
	case formBool:
		return "(" + expr + "::int4 <> 0)"
	case formBytes:
		return "decode(" + expr + ", 'hex')"
	case formMoment:
		return "(" + expr + "::timestamp AT TIME ZONE 'UTC')"
	}
	if c.cast == "text" || c.cast == "character varying" || c.cast == "varchar" {
		return expr
	}
	return expr + "::" + c.cast
}

// differs is the condition that the column is another one in the row that now names than
// in the one that was names.
func (c *column) differs(was, now string) string {
	a, b := was+c.quoted, now+c.quoted
	switch c.form {
	case formInt2, formInt4, formInt8, formBool, formUUID, formDate, formStamp, formMoment, formBytes:
		return a + " IS DISTINCT FROM " + b
	case formText:
		if !c.folds && (c.cast == "text" || c.cast == "character varying" || c.cast == "varchar") {
			return a + " IS DISTINCT FROM " + b
		}
	}
	// Equal is not identical: 1.0 and 1.00, or 'a' and 'A' where case folds. And json has
	// no equality at all.
	return "(" + c.text(was) + ") COLLATE \"C\" IS DISTINCT FROM (" + c.text(now) + ") COLLATE \"C\""
}

// insertSQL inserts some columns.
func (t *table) insertSQL(names []string) string {
	cols, vals := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		cols[i], vals[i] = quote(n), fmt.Sprintf("$%d", i+1)
		if j := ledger.IndexFold(t.names, n); j >= 0 {
			cols[i], vals[i] = t.cols[j].quoted, t.cols[j].param(i+1)
		}
	}
	return "INSERT INTO " + t.name + " (" + strings.Join(cols, ", ") + ") OVERRIDING SYSTEM VALUE VALUES (" + strings.Join(vals, ", ") + ")"
}

// updateSQL updates some columns; the key comes behind their values.
// defaults are columns that get theirs.
func (t *table) updateSQL(names, defaults []string) string {
	set := make([]string, len(names), len(names)+len(defaults))
	for i, n := range names {
		set[i] = quote(n) + fmt.Sprintf(" = $%d", i+1)
		if j := ledger.IndexFold(t.names, n); j >= 0 {
			set[i] = t.cols[j].quoted + " = " + t.cols[j].param(i+1)
		}
	}
	for _, n := range defaults {
		set = append(set, quote(n)+" = DEFAULT")
	}
	return "UPDATE " + t.name + " AS t SET " + strings.Join(set, ", ") + " WHERE " + t.where(len(names)+1)
}

// table finds a synced table by name.
func (p *plan) table(name string) (*table, error) {
	i, err := p.list.Find(name)
	if err != nil {
		return nil, err
	}
	return p.tables[i], nil
}

// cascades reports whether the database's foreign keys change rows of a synced
// table when a row of t goes.
func (p *plan) cascades(t *table) bool {
	for _, c := range p.tables {
		for _, fk := range c.def.ForeignKeys {
			if strings.EqualFold(fk.Parent, t.def.Name) && fk.OnDelete != "NO ACTION" && fk.OnDelete != "RESTRICT" {
				return true
			}
		}
	}
	return false
}
