package sqlitestore

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

const salesDDL = `CREATE TABLE shop (id INTEGER PRIMARY KEY, area TEXT, name TEXT);
	CREATE TABLE sale (id INTEGER PRIMARY KEY, shop INTEGER REFERENCES shop, total INTEGER, note TEXT);
	CREATE TABLE unit (id TEXT PRIMARY KEY, label TEXT)`

func salesRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "shop", Scope: rule.Scope{Kind: "area", Column: "area"}},
		{Name: "sale", Scope: rule.Scope{Via: "shop"}},
		{Name: "unit", Scope: rule.Scope{All: true}},
	}}
}

func fill(t *testing.T, path string) {
	t.Helper()
	shell(t, path, `INSERT INTO shop VALUES (1, 'north', 'a'), (2, 'south', 'b'); INSERT INTO sale VALUES (1, 1, 5, 'x'), (2, 2, 6, 'y'); INSERT INTO unit VALUES ('kg', 'kilo')`)
}

// since renders what came after a cursor in the scope area/north and everyone's.
func since(t *testing.T, s *Store, c change.Cursor) string {
	t.Helper()
	var out []string
	err := s.View(context.Background(), func(v hub.View) error {
		return v.Delta(c, change.Incarnation{1}, []rule.ScopeID{"all", "area/north"}, 1000, func(r *change.Rows) error {
			for i := range r.Len() {
				out = append(out, r.Table+" "+change.Key(r.Row(i)).String())
			}
			for i := range r.GoneLen() {
				out = append(out, r.Table+" -"+r.GoneKey(i).String())
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "; ")
}

// A dropped table takes those along that get their scope from it, and nothing else.
func TestTableDroppedInTheShell(t *testing.T) {
	path := newFile(t, salesDDL)
	s := open(t, path, salesRules())
	fill(t, path)
	c := now(t, s)
	shell(t, path, `PRAGMA foreign_keys=OFF; DROP TABLE shop`)
	shell(t, path, `UPDATE unit SET label='kilogram'`)
	if got := since(t, s, c); got != "unit 'kg','kilogram'" {
		t.Errorf("changes: %s", got)
	}
	if err := check(s, c); err != nil {
		t.Errorf("the others start anew: %v", err)
	}
	s.Close()
	s = open(t, path, salesRules())
	if n := len(s.plan.Load().tables); n != 1 {
		t.Errorf("%d tables are served", n)
	}
	shell(t, path, `CREATE TABLE shop (id INTEGER PRIMARY KEY, area TEXT, name TEXT); INSERT INTO shop VALUES (1, 'north', 'new')`)
	if now(t, s); len(s.plan.Load().tables) != 3 {
		t.Error("the table is back, and not served")
	}
	if err := check(s, c); !errors.Is(err, hub.ErrBelowFloor) {
		t.Errorf("what happened to the table meanwhile is in no log: %v", err)
	}
	// A table that never was served is a mistake in the rules.
	bad := salesRules()
	bad.Tables = append(bad.Tables, rule.Table{Name: "nowhere", Scope: rule.Scope{All: true}})
	if _, err := s.Refresh(context.Background(), bad); err == nil {
		t.Error("rules about nothing were taken")
	}
}

func TestTrapS5_DroppedColumnInTheShell(t *testing.T) {
	path := newFile(t, salesDDL)
	rules := salesRules()
	rules.Tables[1].Columns = map[string]rule.Column{"memo": {Was: []string{"note"}}}
	s := open(t, path, rules)
	fill(t, path)
	c := now(t, s)
	shell(t, path, `UPDATE sale SET note='z' WHERE id=1; DELETE FROM sale WHERE id=2; ALTER TABLE sale RENAME COLUMN note TO memo; PRAGMA legacy_alter_table=ON; ALTER TABLE sale DROP COLUMN total`)
	if got := since(t, s, c); got != "sale 1,1,'z'" {
		t.Errorf("changes: %s", got)
	}
	if err := check(s, c); err != nil {
		t.Errorf("everybody starts anew: %v", err)
	}
	shell(t, path, `UPDATE sale SET memo='seen' WHERE id=1`)
	if got := since(t, s, c); got != "sale 1,1,'seen'" {
		t.Errorf("the table is not captured: %s", got)
	}
	lastImage(t, s, "sale", 2, "2,2,'y'")
}

func lastImage(t *testing.T, s *Store, table string, id int64, want string) {
	t.Helper()
	err := s.View(context.Background(), func(v hub.View) error {
		ts, err := v.Tombstone(table, change.Key{change.Int(id)})
		if err == nil && change.Key(ts.Row).String() != want {
			t.Errorf("image %s, want %s", change.Key(ts.Row), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// New names, which the rules tell, change nothing about what the log knows.
func TestRenamedInTheShell(t *testing.T) {
	path := newFile(t, salesDDL)
	rules := salesRules()
	rules.Tables[0].Was = []string{"branch"}
	rules.Tables[0].Columns = map[string]rule.Column{"area": {Was: []string{"region"}}, "id": {Was: []string{"no"}}}
	rules.Tables[1].Name, rules.Tables[1].Was = "receipt", []string{"sale"} // to come
	rules.Tables[1].Columns = map[string]rule.Column{"amount": {Was: []string{"total"}}, "store": {Was: []string{"shop"}}}
	s := open(t, path, rules)
	fill(t, path)
	c := now(t, s)
	shell(t, path, `UPDATE sale SET total=7 WHERE id=1; DELETE FROM sale WHERE id=2;
		ALTER TABLE sale RENAME TO receipt; ALTER TABLE receipt RENAME COLUMN total TO amount; ALTER TABLE receipt RENAME COLUMN shop TO store;
		ALTER TABLE shop RENAME COLUMN area TO region; ALTER TABLE shop RENAME COLUMN id TO no; ALTER TABLE shop RENAME TO branch`)
	if got := since(t, s, c); got != "receipt 1,1,7,'x'" {
		t.Errorf("changes: %s", got)
	}
	if err := check(s, c); err != nil {
		t.Errorf("everybody starts anew: %v", err)
	}
	lastImage(t, s, "receipt", 2, "2,2,6,'y'")
	err := s.View(context.Background(), func(v hub.View) error {
		list, err := v.Touched("receipt", change.Key{change.Int(1)}, c, change.Incarnation{1})
		if err != nil || len(list) != 1 || strings.Join(list[0].Columns, ",") != "amount" {
			t.Errorf("touched %+v, %v", list, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	shell(t, path, `UPDATE receipt SET amount=8 WHERE id=1; UPDATE branch SET name='seen'`)
	if got := since(t, s, c); got != "branch 1,'north','seen'; receipt 1,1,8,'x'" {
		t.Errorf("changes: %s", got)
	}
	// Another table under the old name is another table.
	shell(t, path, `CREATE TABLE sale (id INTEGER PRIMARY KEY, shop INTEGER REFERENCES branch, total INTEGER, note TEXT)`)
	rules.Tables[1].Was = nil
	rules.Tables = append(rules.Tables, rule.Table{Name: "sale", Scope: rule.Scope{Via: "shop"}})
	if _, err := s.Refresh(context.Background(), rules); err != nil {
		t.Fatal(err)
	}
	shell(t, path, `INSERT INTO sale VALUES (1, 1, 1, 'n')`)
	if got := since(t, s, c); got != "branch 1,'north','seen'; receipt 1,1,8,'x'; sale 1,1,1,'n'" {
		t.Errorf("changes: %s", got)
	}
}

// A name that comes back after it was given away gets a number of its own.
func TestRenamedOverARetiredTable(t *testing.T) {
	path := newFile(t, noteDDL+`; CREATE TABLE memo (id INTEGER PRIMARY KEY, v TEXT)`)
	both := noteRules()
	both.Tables = append(both.Tables, rule.Table{Name: "memo", Scope: rule.Scope{All: true}})
	s := open(t, path, both)
	shell(t, path, `INSERT INTO memo VALUES (1, 'memo'); INSERT INTO note VALUES (7, 'note')`)
	c := now(t, s)
	if _, err := s.Refresh(context.Background(), noteRules()); err != nil { // memo is taken out,
		t.Fatal(err)
	}
	shell(t, path, `DROP TABLE memo; ALTER TABLE note RENAME TO memo; UPDATE memo SET v='renamed'`) // and note takes its place
	rules := &rule.Rules{Tables: []rule.Table{{Name: "memo", Was: []string{"note"}, Scope: rule.Scope{All: true}}}}
	if _, err := s.Refresh(context.Background(), rules); err != nil {
		t.Fatal(err)
	}
	if got := since(t, s, c); got != "memo 7,'renamed'" {
		t.Errorf("changes: %s", got)
	}
	if n := shell(t, path, `SELECT count(*), count(DISTINCT id) FROM _tidemark_table`); n != "2|2" {
		t.Errorf("tables: %s", n)
	}
}
