package postgresstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// plans explains a statement in a snapshot.
func plans(t *testing.T, s *Store, sql func(*view, *args) string) (out string) {
	t.Helper()
	view1(t, s, func(hv hub.View) error {
		v := hv.(*view)
		var a args
		q := sql(v, &a)
		return v.query("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) "+q, func(r *row) error {
			out += r.text(0) + "\n"
			return nil
		}, a.list...)
	})
	return out
}

// A row that was changed is found by its key's index, whatever the key's collation: the
// log's own, which its keys would be compared by, is that of no index but of the tables
// that Tidemark made.
func TestAChangedRowIsFoundByItsIndex(t *testing.T) {
	for name, typ := range map[string]string{"default": "text", "of its own": `text COLLATE "und-x-icu"`, "bytes": `text COLLATE "C"`,
		"varchar": "varchar(40)", "char": "char(36)", "a word": "word", "none": "uuid"} {
		t.Run(name, func(t *testing.T) {
			dsn := pgtest.Database(t)
			psql(t, dsn, fmt.Sprintf(`CREATE DOMAIN word AS text; CREATE TABLE item (id %[1]s PRIMARY KEY, name text);
				CREATE TABLE part (id int PRIMARY KEY, item %[1]s REFERENCES item ON DELETE CASCADE, name text);
				INSERT INTO item SELECT md5(i::text)::uuid::text::%[2]s, 'item' FROM generate_series(1, 5000) i;
				INSERT INTO part SELECT i, md5(i::text)::uuid::text::%[2]s, 'part' FROM generate_series(1, 50) i;
				ANALYZE item; ANALYZE part`, typ, strings.Split(typ, " ")[0]))
			s := serve(t, Config{DSN: dsn, Rules: &rule.Rules{Tables: []rule.Table{{Name: "item", Scope: rule.Scope{Kind: "name", Column: "name"}},
				{Name: "part", Scope: rule.Scope{Via: "item"}}}}})
			c := at(t, s)
			psql(t, dsn, `UPDATE item SET name = 'other' WHERE id = (SELECT item FROM part WHERE id = 7)`)
			key := "8f14e45f-ceea-167a-5a36-dedd4bea2543"
			expect(t, "what changed", since(t, s, c, edgeA, "name/other"), "item '"+key+"'; part 7")
			c = at(t, s)
			psql(t, dsn, `DELETE FROM item WHERE id = (SELECT item FROM part WHERE id = 7)`)
			expect(t, "what went", since(t, s, c, edgeA, "name/other"), "item -'"+key+"'; part -7")
			got := plans(t, s, func(v *view, a *args) string {
				m, err := readToken(c.Token)
				if err != nil {
					t.Fatal(err)
				}
				return v.p.tables[0].deltaSQL(&m, 0, []rule.ScopeID{"name/other"}, a)
			})
			if strings.Contains(got, "Seq Scan on item") || !strings.Contains(got, "item_pkey") {
				t.Errorf("the row is looked for in the whole table:\n%s", got)
			}
		})
	}
}

// Of a log of which the planner knows nothing, only the newest part is read, whether a
// writer was open when the reader looked last or not.
func TestOnlyTheNewestPartOfTheLogIsRead(t *testing.T) {
	s, dsn := shop(t, family)
	slow := connect(t, dsn)
	for range 2 {
		psql(t, dsn, `UPDATE customer SET name = name || 'x'`)
	}
	run(t, slow, `BEGIN; UPDATE invoice SET total = 3 WHERE id = 1`)
	psql(t, dsn, `INSERT INTO customer (id, region, name) SELECT 'n' || i, 'north', 'new' FROM generate_series(1, 3000) i`)
	c := at(t, s)
	run(t, slow, `COMMIT`)
	psql(t, dsn, `UPDATE customer SET name = 'y' WHERE id = 'n7'`)
	m, err := readToken(c.Token)
	if err != nil || len(m.open) == 0 {
		t.Fatalf("the cursor %s does not name the open transaction: %v", c.Token, err)
	}
	closed := m
	closed.open = nil
	north := []rule.ScopeID{"region/north"}
	for _, m := range []*moment{&m, &closed} {
		for name, sql := range map[string]func(*view, *args) string{
			"delta":   func(v *view, a *args) string { return v.p.tables[0].deltaSQL(m, 0, north, a) },
			"moved":   func(_ *view, a *args) string { return m.movedSQL(a) },
			"tables":  func(_ *view, a *args) string { return m.stirredTablesSQL(0, north, a) },
			"stirred": func(_ *view, a *args) string { return m.stirredSQL(a) },
		} {
			got := plans(t, s, sql)
			if strings.Contains(got, "Seq Scan on log_2") || strings.Contains(got, "tbl_key") || strings.Contains(got, "rows=3000") {
				t.Errorf("%s, %d open: all of the log is read:\n%s", name, len(m.open), got)
			}
		}
	}
	expect(t, "what both wrote", since(t, s, c, change.Incarnation{}, north...), "customer 'n7'; invoice 1")
}

// Most pulls follow the reader's own push: no row is read for what only the reader did,
// unless it may have taken rows out of its scopes.
func TestOwnChangesReadNoRows(t *testing.T) {
	s, dsn := visits(t)
	customer := func(id, column, v string) []hub.Effect {
		return []hub.Effect{set1("customer", change.Text(id), column, change.Text(v))}
	}
	for _, tc := range []struct {
		name, other string
		own         []hub.Effect
		read, want  string
	}{
		{"inserts", "", []hub.Effect{visit("v1", "c1", "a", 1), put1("customer", "id region name email", change.Text("c10"), change.Text("south"), change.Null, change.Null)}, "", ""},
		{"an update", "", customer("c1", "name", "x"), "", ""},
		{"an update of nothing", "", customer("c1", "name", "x"), "", ""},
		{"both of a row that another inserted", "INSERT INTO visit VALUES ('v2', 'c3')", []hub.Effect{set1("visit", change.Text("v2"), "note", change.Text("x"))}, "visit", "visit 'v2'"},
		{"another's change of another table", "UPDATE customer SET name = 'y' WHERE id = 'c5'", []hub.Effect{visit("v3", "c1", "a", 1)}, "customer", "customer 'c5'"},
		{"its move of a row", "", customer("c7", "region", "north"), "customer", "customer -'c7'"},
		{"its move of a row below", "", []hub.Effect{set1("visit", change.Text("v3"), "customer_id", change.Text("c2"))}, "visit", "visit -'v3'"},
		{"what it took along", "", customer("c1", "region", "north"), "customer visit", "customer -'c1'; visit -'v1'"},
		{"its deletion", "", []hub.Effect{{Table: "visit", Kind: change.Delete, Key: change.Key{change.Text("v2")}}}, "visit", ""},
	} {
		c := at(t, s)
		if tc.other != "" {
			psql(t, dsn, tc.other)
		}
		if _, errs := take(t, s, []deed{{edgeA, tc.own}}, false); errors.Join(errs...) != nil {
			t.Fatal(tc.name, errs)
		}
		south := []rule.ScopeID{"region/south"}
		expect(t, tc.name, since(t, s, c, edgeA, south...), tc.want)
		view1(t, s, func(hv hub.View) error {
			v := hv.(*view)
			m, err := readToken(c.Token)
			if err != nil {
				return err
			}
			self, err := v.origin(edgeA)
			if err != nil {
				return err
			}
			tables, err := v.stirredTables(&m, self, south)
			var got []string
			for _, tb := range v.p.tables {
				if tables[tb.id] {
					got = append(got, tb.def.Name)
				}
			}
			expect(t, tc.name+": tables read", strings.Join(got, " "), tc.read)
			return err
		})
	}
}

// What is read of a table page by page is read about once, however rows differ: a page
// does not read on to where the next ones begin.
func TestAPageReadsLittleMoreThanItHandsOut(t *testing.T) {
	dsn := pgtest.Database(t)
	psql(t, dsn, `CREATE TABLE item (id int PRIMARY KEY, name text);
		INSERT INTO item SELECT i, repeat('x', CASE WHEN i < 1000 THEN 20 WHEN i < 1500 THEN 2000 ELSE i % 90 END) FROM generate_series(1, 5000) i; ANALYZE item`)
	s := serve(t, Config{DSN: dsn, Rules: &rule.Rules{Tables: []rule.Table{{Name: "item", Scope: rule.Scope{All: true}}}}})
	for _, limit := range []int{1, 5_000, 50_000} {
		view1(t, s, func(hv hub.View) error {
			pages, next := 0, int64(1)
			for after := change.Key(nil); ; pages++ {
				rows, last, err := hv.Scan("item", after, []rule.ScopeID{rule.ScopeAll}, limit)
				if err != nil {
					return err
				}
				for i := range rows.Len() {
					if got := rows.Row(i)[0].Int(); got != next {
						t.Fatalf("limit %d: row %d comes after %d", limit, got, next-1)
					}
					next++
				}
				if after = last; last == nil || limit == 1 && pages == 300 {
					break
				}
			}
			read := int64(0)
			err := hv.(*view).query(`SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'item'`, func(r *row) error {
				read = r.int(0)
				return nil
			})
			if limit > 1 && next != 5001 || read > 3*next { // a region of wide rows is run into once, and once out of
				t.Errorf("limit %d: %d pages of %d rows read %d", limit, pages+1, next-1, read)
			}
			return err
		})
	}
}
