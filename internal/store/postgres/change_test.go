package postgresstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

// logOf is what the log says of a table: op, key, and the columns that were changed.
func logOf(t *testing.T, dsn, table string) string {
	t.Helper()
	return strings.ReplaceAll(psql(t, dsn, fmt.Sprintf(`SELECT l.op || ':' || array_to_string(l.key, '/') || ':' || (l.mask & %d) || ':' || l.scope FROM tidemark.log l JOIN tidemark.tbl t ON t.id = l.tbl
		WHERE t.name = '%s' ORDER BY l.pos`, ledger.MaskSeen-1, table)), "\n", " ")
}

// One statement changes rows in every way: each is logged as what became of it, with the
// columns that were changed in it and in no other.
func TestTrapP13_AnUpdateOfManyRows(t *testing.T) {
	_, dsn := shop(t, `INSERT INTO customer SELECT 'c' || i, CASE WHEN i > 6 THEN 'south' ELSE 'north' END, 'n' FROM generate_series(1, 8) i`)
	psql(t, dsn, `DELETE FROM tidemark.log WHERE tbl <> 0`)
	psql(t, dsn, `UPDATE customer SET name = CASE WHEN id IN ('c1', 'c3') THEN 'm' ELSE name END, region = CASE WHEN id = 'c7' THEN 'north' ELSE region END,
		id = CASE WHEN id = 'c5' THEN 'c9' ELSE id END`)
	expect(t, "the log", logOf(t, dsn, "customer"), "3:c5:0:region/north 1:c9:0:region/north 2:c7:2:region/north 5:c7:0:region/south 2:c1:4:region/north 2:c3:4:region/north")
	psql(t, dsn, `DELETE FROM tidemark.log WHERE tbl <> 0; UPDATE customer SET name = name; UPDATE customer SET name = 'x' WHERE id = 'c0'; UPDATE customer SET name = name WHERE id = 'c1'`)
	expect(t, "what changed nothing", logOf(t, dsn, "customer"), "")
	psql(t, dsn, `DELETE FROM tidemark.log WHERE tbl <> 0; ALTER TABLE customer ADD extra text; UPDATE customer SET extra = 'x' WHERE id IN ('c1', 'c2')`)
	expect(t, "a column that nobody knows yet", logOf(t, dsn, "customer"), "2:c1:0:region/north 2:c2:0:region/north")
}

// Whatever a session did before, an update takes what its rows take.
func TestTrapP13_PlansSuitFewAndMany(t *testing.T) {
	_, dsn := shop(t, `INSERT INTO customer SELECT 'c' || i, 'north', 'n' FROM generate_series(1, 20000) i; ANALYZE customer`)
	for name, first := range map[string]string{
		"few first":  `UPDATE customer SET name = 'a' WHERE id IN ('c1', 'c2')`,
		"many first": `UPDATE customer SET name = name || 'a'`,
	} {
		for _, q := range []string{`UPDATE customer SET name = name || 'b'`, `UPDATE customer SET name = name || 'c' WHERE id IN ('c3', 'c4')`, `UPDATE customer SET name = 'd' WHERE id = 'c5'`} {
			var said []string
			plans := explain(t, dsn, first, q)
			for _, plan := range plans {
				if strings.Contains(plan, "INSERT INTO tidemark.log") && strings.Contains(plan, "row_number") && (strings.Contains(plan, "Nested Loop") || strings.Contains(plan, "JIT")) {
					said = append(said, plan)
				}
			}
			if len(said) > 0 {
				t.Errorf("%s: %s\n%s", name, q, strings.Join(said, "\n"))
			}
			if len(plans) == 0 {
				t.Errorf("%s: nothing is known of the plans", name)
			}
		}
	}
}

// explain runs statements in one session, and returns the plans that ran in it.
func explain(t *testing.T, dsn string, list ...string) []string {
	t.Helper()
	out := psql(t, dsn, "LOAD 'auto_explain'; SET auto_explain.log_nested_statements = on; SET auto_explain.log_min_duration = 0; SET client_min_messages = log; "+
		"SET jit_above_cost = 0; "+strings.Join(list, "; "))
	return strings.Split(out, "LOG:  duration")[1:]
}

// Nobody hears of a statement that changed no row.
func TestTrapP12_NothingIsNotNotified(t *testing.T) {
	_, dsn := shop(t, family)
	l := connect(t, dsn)
	run(t, l, "LISTEN tidemark")
	psql(t, dsn, `UPDATE customer SET name = 'x' WHERE id = 'c0'; UPDATE customer SET name = name; DELETE FROM customer WHERE id = 'c0'; INSERT INTO customer SELECT * FROM customer WHERE id = 'c0';
		NOTIFY tidemark, 'end'`)
	got, err := l.WaitForNotification(t.Context())
	if err != nil || got.Payload != "end" {
		t.Errorf("somebody heard %q, %v", got.Payload, err)
	}
}

// Names that capture uses itself may be those of columns.
func TestCaptureKnowsNoNames(t *testing.T) {
	dsn := pgtest.Database(t)
	psql(t, dsn, `CREATE TABLE n (t text PRIMARY KEY, o text, n text, "_o" int, "_n" int, "_h" int, "_m" int, "_s" text, x int, at int, key text, tbl int);
		INSERT INTO n (t, o, "_o") VALUES ('a', '1', 1), ('b', '1', 1), ('c', '1', 1)`)
	s := serve(t, Config{DSN: dsn, Rules: &rule.Rules{Tables: []rule.Table{{Name: "n", Scope: rule.Scope{Kind: "o", Column: "o"}}}}})
	c := at(t, s)
	psql(t, dsn, `UPDATE n SET "_o" = 2 WHERE t = 'a'; UPDATE n SET n = 'x', "_n" = 3, "_s" = 'y', at = 2 WHERE t IN ('b', 'c'); DELETE FROM n WHERE t = 'c'; INSERT INTO n (t, o) VALUES ('d', '1')`)
	expect(t, "changes", since(t, s, c, edgeA, "o/1"), "n 'a'; n 'b'; n 'd'; n -'c'")
}

// Capture of builds that had fewer triggers is whole, and is brought up to date.
func TestCaptureOfAnOlderBuild(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	without := func(hash string, triggers ...string) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, tr := range triggers {
			for _, tb := range []string{"customer", "invoice", "line"} {
				psql(t, dsn, "DROP TRIGGER tidemark_"+tr+" ON "+tb)
			}
		}
		if hash != "" {
			psql(t, dsn, `UPDATE tidemark.tbl SET capture = '`+hash+`'`)
		}
		s = serve(t, Config{DSN: dsn, Rules: shopRules()})
	}
	for _, old := range []struct {
		hash string
		less []string
	}{{"abc", []string{"chg", "rep"}}, {"5-abc", []string{"rep"}}} {
		without(old.hash, old.less...)
		psql(t, dsn, `UPDATE customer SET name = name || 'x' WHERE id = 'c1'`)
		expect(t, "nobody reads anew", since(t, s, c, edgeA, "region/north"), "customer 'c1'")
		expect(t, "triggers", psql(t, dsn, `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tidemark%'`), "18")
	}
	without("", "chg") // of this build: who knows what it missed
	view1(t, s, func(v hub.View) error {
		if err := v.Check(c); err == nil {
			t.Error("a trigger was missing, and nobody reads anew")
		}
		return nil
	})
}

// What the hub asks is never compiled: the planner takes it for dear while it knows little
// of the log's newest part, and compiling takes longer than all else.
func TestTrapP13_NothingIsCompiled(t *testing.T) {
	s, dsn := shop(t, family)
	for _, s := range []*Store{s, serve(t, Config{DSN: dsn, Pooled: true, Rules: shopRules()})} {
		look := func(v *view) error {
			return query(t.Context(), v.c, `SELECT current_setting('jit')`, func(r *row) error {
				expect(t, "jit", r.text(0), "off")
				return nil
			})
		}
		view1(t, s, func(v hub.View) error { return look(v.(*view)) })
		if err := s.Update(t.Context(), func(v hub.Tx) error { return look(&v.(*tx).view) }); err != nil {
			t.Error(err)
		}
	}
}
