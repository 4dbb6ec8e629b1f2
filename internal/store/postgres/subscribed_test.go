package postgresstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// subscribe lets the tables of one database of a server follow those of another one, and
// returns when it does. Statements at source then end when the other has applied them.
func subscribe(t *testing.T, server *pgtest.Postgres, source, target string) (write func(sql string)) {
	t.Helper()
	psql(t, source, `CREATE PUBLICATION shop FOR ALL TABLES; SELECT pg_create_logical_replication_slot('shop', 'pgoutput')`)
	// The slot must be there before: one of the same server would wait for this very statement.
	psql(t, target, `CREATE SUBSCRIPTION shop CONNECTION '`+strings.ReplaceAll(source, "'", "''")+`' PUBLICATION shop WITH (create_slot = false)`)
	t.Cleanup(func() {
		psql(t, target, `ALTER SUBSCRIPTION shop DISABLE; ALTER SUBSCRIPTION shop SET (slot_name = NONE); DROP SUBSCRIPTION shop`)
	})
	psql(t, target, `SET statement_timeout = '2min'; DO $$ BEGIN
		WHILE EXISTS (SELECT FROM pg_subscription_rel WHERE srsubstate <> 'r') LOOP
			COMMIT;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END $$`)
	psql(t, server.DSN("postgres"), `ALTER SYSTEM SET synchronous_standby_names = 'shop'; SELECT pg_reload_conf()`)
	return func(sql string) {
		t.Helper()
		psql(t, source, `SET synchronous_commit = remote_apply; `+sql)
	}
}

// What a logical subscription brings into a table fires the triggers of rows only, and is
// captured like any other program's work.
func TestWhatASubscriptionBringsIsCaptured(t *testing.T) {
	server := pgtest.Own(t, pgtest.Options{Settings: []string{"wal_level=logical"}})
	source, target := server.Database(t), server.Database(t)
	for _, dsn := range []string{source, target} {
		psql(t, dsn, shopDDL)
	}
	psql(t, source, family)
	s := serve(t, Config{DSN: target, Rules: shopRules()})
	c := at(t, s)
	write := subscribe(t, server, source, target)
	step := func(what, want string, scopes ...string) {
		t.Helper()
		followed(t, s)
		for _, scope := range scopes {
			expect(t, what+", "+scope, since(t, s, c, edgeA, rule.ScopeID(scope)), want)
		}
		c = at(t, s)
	}
	step("the first copy", "customer 'c1'; invoice 1; line 11; line 12", "region/north")

	write(`INSERT INTO customer VALUES ('c3', 'north', 'Cy'); INSERT INTO invoice VALUES (3, 'c3', 3); INSERT INTO line VALUES (31, 3, 'd'), (32, 3, 'e')`)
	step("inserts", "customer 'c3'; invoice 3; line 31; line 32", "region/north")
	write(`UPDATE line SET what = 'x' WHERE invoice_id = 3; UPDATE invoice SET total = 4 WHERE id = 3`)
	step("updates", "invoice 3; line 31; line 32", "region/north")
	before := at(t, s)
	write(`UPDATE line SET what = 'x' WHERE id = 31; UPDATE line SET what = 'y' WHERE id = 32`)
	view1(t, s, func(v hub.View) error {
		for key, want := range map[int64]string{31: "[]", 32: "[[what]]"} {
			touches, err := v.Touched("line", change.Key{change.Int(key)}, before, edgeA)
			if err != nil {
				return err
			}
			var cols [][]string
			for _, touch := range touches {
				cols = append(cols, touch.Columns)
			}
			expect(t, "what was changed of a row", fmt.Sprint(cols), want)
		}
		return nil
	})
	c = at(t, s)
	write(`DELETE FROM line WHERE id = 31`)
	step("a delete", "line -31", "region/north")
	view1(t, s, func(v hub.View) error {
		ts, err := v.Tombstone("line", change.Key{change.Int(31)})
		if err != nil {
			return err
		}
		expect(t, "with its image", change.Key(ts.Row).String(), "31,3,'x'")
		return nil
	})
	write(`UPDATE line SET id = 33 WHERE id = 32`)
	step("another key", "line -32; line 33", "region/north")
	write(`UPDATE customer SET region = 'south' WHERE id = 'c3'`)
	expect(t, "arrives below another scope", since(t, s, c, edgeA, "region/south"), "customer 'c3'; invoice 3; line 33")
	step("leaves with all below", "customer -'c3'; invoice -3; line -33", "region/north")
	write(`DELETE FROM customer WHERE id = 'c3'`)
	step("goes with all below", "customer -'c3'; invoice -3; line -33", "region/south")
	write(`TRUNCATE customer, invoice, line`)
	step("everything", "customer -'c1'; invoice -1; line -11; line -12", "region/north")
}
