package sqlitestore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// A plan is everything derived from a schema and its rules: it never changes
// once built, and a new one replaces it when either does.
type plan struct {
	schema  change.Schema
	hash    change.SchemaHash
	rules   rule.Rules
	version int64 // PRAGMA schema_version the plan was built for
	list    ledger.Tables
	tables  []*table // as list: parents first
	byID    map[int64]*table
	width   int             // columns of the widest key
	lost    map[string]bool // tables of the rules that cannot be served, in lower case
	lent    []string        // the app's triggers that our connection runs too
	muted   []string        // and those it does not
}

// A table is one synced table with the SQL the store needs for it.
type table struct {
	id       int64
	def      *change.Table
	rule     *rule.Table
	name     string   // quoted
	stored   []int    // indices into def.Columns
	names    []string // stored columns
	key      []int    // indices into names
	keyNames []string
	folds    bool // some key column's collation is not BINARY
	scope    scoping
	below    [][]*table // ways down to the rows that get their scope from this one's, see ledger.Descents
	cascades bool       // deleting a row here deletes rows elsewhere

	terms map[string][]term // of each UNIQUE index

	columns string // the stored columns as t."a", t."b"
	where   string // t."k" = ? AND … on the key
	insert  string // INSERT of all stored columns
	remove  string // DELETE by key, returning the stored columns
	byKey   string // SELECT of the stored columns by key

	writing
}

// A writing is what a tx needs to keep the log of a table, see prepare.
type writing struct {
	src, to             []string // columns that scopes here, and below, depend on
	scopeText, scopeInt bool     // the scope column keeps texts, or integers, as they come
	scopeSQL            string   // the scope of a row by key
	viaSQL, viaID       string   // the scope by the values that point at the parent
	bury                string   // INSERT of an image
	links               []link   // how direct children point here
	follows, adoptions  []string // see tx.follow, tx.arrived
}

// A link is one set of columns that children point at.
type link struct {
	viaID string // their table.viaID
	to    []string
}

// newPlan lays out the tables named by the rules. It does not number them.
func newPlan(schema change.Schema, rules *rule.Rules) (*plan, error) {
	p := &plan{schema: schema, rules: *rules, byID: map[int64]*table{}}
	var err error
	if p.list, err = ledger.Lay(&p.schema, &p.rules); err != nil {
		return nil, err
	}
	for _, l := range p.list {
		p.tables = append(p.tables, newTable(l))
	}
	for i, t := range p.tables {
		if up := p.list[i].Scope.Parent; up != nil {
			t.scope.parent = p.tables[up.Rank]
		}
	}
	for _, t := range p.tables {
		t.below = ledger.Descents(t, p.tables, func(c *table) *table { return c.scope.parent })
		t.cascades = p.cascades(t)
	}
	return p, nil
}

func newTable(l *ledger.Table) *table {
	def := l.Def
	t := &table{def: def, rule: l.Rule, name: sqlite.Quote(def.Name), stored: def.Stored(), names: def.StoredNames(), keyNames: def.KeyNames(),
		scope: scoping{Scope: l.Scope}}
	for _, c := range def.Key {
		t.key = append(t.key, slices.Index(t.stored, c))
		t.folds = t.folds || (def.Columns[c].Collation != "" && !strings.EqualFold(def.Columns[c].Collation, "BINARY"))
	}
	t.columns = sqlite.QuoteAll("t.", t.names)
	t.where = equals("t.", t.keyNames, params(len(t.key)))
	t.insert = t.insertSQL(t.names)
	t.remove = "DELETE FROM " + t.name + " AS t WHERE " + t.where + " RETURNING " + sqlite.QuoteAll("", t.names)
	t.byKey = "SELECT " + t.columns + " FROM " + t.name + " AS t WHERE " + t.where
	return t
}

// insertSQL inserts some columns. OR FAIL overrides what the schema says on
// conflict, REPLACE above all, and needs no statement journal as ABORT does: the
// caller's savepoint undoes what is left.
func (t *table) insertSQL(names []string) string {
	return "INSERT OR FAIL INTO " + t.name + " (" + sqlite.QuoteAll("", names) + ") VALUES (" + strings.Join(params(len(names)), ", ") + ")"
}

// table finds a synced table by name.
func (p *plan) table(name string) (*table, error) {
	i, err := p.list.Find(name)
	if err != nil {
		return nil, err
	}
	return p.tables[i], nil
}

// cascades reports whether deleting a row of t deletes rows of a synced table.
func (p *plan) cascades(t *table) bool {
	for _, c := range p.tables {
		for _, fk := range c.def.ForeignKeys {
			if strings.EqualFold(fk.Parent, t.def.Name) && strings.EqualFold(fk.OnDelete, "CASCADE") {
				return true
			}
		}
	}
	return false
}

// params is ?, ?, ….
func params(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "?"
	}
	return out
}

// equals is prefix"a" = v0 AND prefix"b" = v1 ….
func equals(prefix string, names, values []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = prefix + sqlite.Quote(n) + " = " + values[i]
	}
	return strings.Join(parts, " AND ")
}

// prefixed is prefix"a", prefix"b" … as a list.
func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + sqlite.Quote(n)
	}
	return out
}

// logKeys is k0, k1, … behind prefix, for a key of n columns.
func logKeys(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%sk%d", prefix, i)
	}
	return out
}
