package storetest

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// Open makes a fresh store with a schema and rules, closed when the test ends.
// other runs plain SQL as another program would, with foreign keys on. What the suite
// says comes in SQLite's SQL, and other takes that: see Dialect.Translate.
type Open func(t *testing.T, rules *rule.Rules, ddl []string) (store hub.Store, other func(sql string), d Dialect)

// An aspect is one test of the suite.
type aspect struct {
	name string
	test func(t *testing.T, open Open)
}

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for _, c := range []aspect{
		{"Write", write}, {"Constraint", constraint}, {"Savepoint", savepoint}, {"Again", again}, {"Touched", touched},
		{"Delta", delta}, {"DeltaOwn", deltaOwn}, {"DeltaOrder", deltaOrder}, {"Scan", scan}, {"Highest", highest}, {"Digest", digest}, {"Bucket", bucket},
		{"Scope", scope}, {"ScopeMove", scopeMove}, {"ScopeVia", scopeVia}, {"ScopeParent", scopeParent},
		{"ScopeReplaced", scopeReplaced}, {"ScopeArrival", scopeArrival}, {"ScopeRekey", scopeRekey},
		{"Tombstone", tombstone}, {"TombstoneCascade", tombstoneCascade}, {"Touch", touch},
		{"Cursor", cursor}, {"Prune", prune}, {"Journal", journal}, {"TrapD22_CopiesOfOneFile", journalCopy}, {"Outcome", outcome}, {"Record", record}, {"Stamp", stamp}, {"Books", books},
		{"Wait", wait}, {"Refresh", refresh}, {"Dropped", dropped},
		{"Lineage", lineage}, {"LineageCursors", lineageCursors}, {"LineageMarks", lineageMarks},
		{"TrapS1_ReplaceDeletesSilently", onlySQLite(trapS1)}, {"TrapS7_DeleteWithoutWhere", trapS7}, {"TrapS8_KeyChange", trapS8},
		{"TrapS9_KeysOfAllShapes", trapS9}, {"TrapS16_OuterConflictPolicy", onlySQLite(trapS16)}, {"TrapS17_NocaseUpdate", trapS17},
		{"TrapS18_AddedColumn", trapS18}, {"TrapS23_AppTriggerAtApply", trapS23},
		{"TrapP1_NothingIsSkipped", trapP1}, {"TrapD7_BelowTheFloor", trapD7}, {"TrapD9_ColumnMasks", trapD9},
		{"TrapD19_LogByScope", trapD19}, {"TrapD23_OneBadTransaction", trapD23},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

// clinicDDL has a scope column, a chain of two parents, an unscoped table and one
// that refers to itself.
var clinicDDL = []string{
	`CREATE TABLE patient (id TEXT PRIMARY KEY, branch INTEGER, name TEXT, note TEXT UNIQUE)`,
	`CREATE TABLE visit (id TEXT PRIMARY KEY, patient_id TEXT REFERENCES patient(id) ON DELETE CASCADE ON UPDATE CASCADE, reason TEXT)`,
	`CREATE TABLE item (id INTEGER PRIMARY KEY, visit_id TEXT NOT NULL REFERENCES visit(id) ON DELETE CASCADE, qty INTEGER CHECK (qty >= 0))`,
	`CREATE TABLE product (sku TEXT PRIMARY KEY, price REAL)`,
	`CREATE INDEX visit_patient ON visit (patient_id)`,
}

func clinic() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "patient", Scope: rule.Scope{Kind: "branch", Column: "branch"}},
		{Name: "visit", Scope: rule.Scope{Via: "patient_id"}},
		{Name: "item", Scope: rule.Scope{Via: "visit_id"}},
		{Name: "product", Scope: rule.Scope{All: true}},
	}}
}

var (
	edgeA = change.Incarnation{0xA}
	edgeB = change.Incarnation{0xB}
	all   = []rule.ScopeID{rule.ScopeAll}
)

func branch(n ...int) []rule.ScopeID {
	var out []rule.ScopeID
	for _, b := range n {
		out = append(out, rule.ScopeID(fmt.Sprintf("branch/%d", b)))
	}
	return out
}

func text(s string) change.Value { return change.Text(s) }

// A bench is a store with shorthands that fail the test.
type bench struct {
	*testing.T
	s     hub.Store
	other func(sql string)
	n     uint16

	dialect Dialect
}

func start(t *testing.T, open Open) *bench {
	return begin(t, open, clinic(), clinicDDL)
}

func begin(t *testing.T, open Open, rules *rule.Rules, ddl []string) *bench {
	s, other, d := open(t, rules, ddl)
	return &bench{T: t, s: s, other: other, dialect: d}
}

func (b *bench) update(fn func(hub.Tx) error) {
	b.Helper()
	if err := b.s.Update(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) view(fn func(hub.View) error) {
	b.Helper()
	if err := b.s.View(context.Background(), fn); err != nil {
		b.Fatal(err)
	}
}

// as writes effects as an incarnation, in one transaction.
func (b *bench) as(who change.Incarnation, effects ...hub.Effect) {
	b.Helper()
	b.n++
	b.update(func(t hub.Tx) error {
		if err := t.As(who, change.NewHLC(1_000_000, b.n)); err != nil {
			return err
		}
		for _, e := range effects {
			if err := t.Write(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) now() (c change.Cursor) {
	b.Helper()
	b.view(func(v hub.View) (err error) { c, err = v.Cursor(); return err })
	return c
}

func (b *bench) changes(since change.Cursor, self change.Incarnation, scopes []rule.ScopeID) string {
	b.Helper()
	var out string
	b.view(func(v hub.View) (err error) { out, err = Changes(v, since, self, scopes); return err })
	return out
}

// Changes is what a pull says, sorted: "table key" or "table -key".
func Changes(v hub.View, since change.Cursor, self change.Incarnation, scopes []rule.ScopeID) (string, error) {
	var out []string
	err := v.Delta(since, self, scopes, 1<<20, func(r *change.Rows) error {
		for i := range r.Len() {
			out = append(out, r.Table+" "+r.KeyOf(i).String())
		}
		for i := range r.GoneLen() {
			out = append(out, r.Table+" -"+r.GoneKey(i).String())
		}
		return nil
	})
	sort.Strings(out)
	return strings.Join(out, "; "), err
}

func (b *bench) expect(what, got, want string) {
	b.Helper()
	if got != want {
		b.Fatalf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func (b *bench) row(table string, key ...change.Value) string {
	b.Helper()
	out := "none"
	b.view(func(v hub.View) error {
		row, err := v.Row(table, key)
		if row != nil {
			out = change.Key(row).String()
		}
		return err
	})
	return out
}

func insert(table string, cols string, vals ...change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Insert, Key: change.Key{vals[0]}, Columns: strings.Fields(cols), Values: vals}
}

func update(table string, key change.Value, cols string, vals ...change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Update, Key: change.Key{key}, Columns: strings.Fields(cols), Values: vals}
}

func remove(table string, key change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Delete, Key: change.Key{key}}
}

func patient(id string, branch int, name string) hub.Effect {
	return insert("patient", "id branch name note", text(id), change.Int(int64(branch)), text(name), change.Null)
}

func visit(id, patient string) hub.Effect {
	return insert("visit", "id patient_id reason", text(id), text(patient), text("cough"))
}

func item(id int64, visit string) hub.Effect {
	return insert("item", "id visit_id qty", change.Int(id), text(visit), change.Int(1))
}

// soon is how long a test waits for something that must happen.
const soon = 10 * time.Second
