package postgresstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/storetest"
)

const shopDDL = `CREATE TABLE customer (id text PRIMARY KEY, region text NOT NULL, name text);
CREATE TABLE invoice (id int8 PRIMARY KEY, customer_id text NOT NULL REFERENCES customer ON DELETE CASCADE ON UPDATE CASCADE, total numeric(10,2));
CREATE TABLE line (id int8 PRIMARY KEY, invoice_id int8 NOT NULL REFERENCES invoice ON DELETE CASCADE, what text)`

func shopRules() *rule.Rules {
	return &rule.Rules{Tables: []rule.Table{
		{Name: "customer", Scope: rule.Scope{Kind: "region", Column: "region"}},
		{Name: "invoice", Scope: rule.Scope{Via: "customer_id"}},
		{Name: "line", Scope: rule.Scope{Via: "invoice_id"}},
	}}
}

// shop is a store over a schema with a chain of two parents.
func shop(t *testing.T, more ...string) (*Store, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	psql(t, dsn, shopDDL)
	for _, q := range more {
		psql(t, dsn, q)
	}
	return serve(t, Config{DSN: dsn, Rules: shopRules()}), dsn
}

func at(t testing.TB, s *Store) (c change.Cursor) {
	t.Helper()
	view1(t, s, func(v hub.View) (err error) { c, err = v.Cursor(); return err })
	return c
}

func view1(t testing.TB, s *Store, fn func(hub.View) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// since is what a pull says, sorted: "table key" or "table -key".
func since(t testing.TB, s *Store, c change.Cursor, self change.Incarnation, scopes ...rule.ScopeID) string {
	t.Helper()
	var out string
	view1(t, s, func(v hub.View) (err error) { out, err = storetest.Changes(v, c, self, scopes); return err })
	return out
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

const family = `INSERT INTO customer VALUES ('c1', 'north', 'Ann'), ('c2', 'south', 'Bob');
	INSERT INTO invoice VALUES (1, 'c1', 1.50), (2, 'c2', 2); INSERT INTO line VALUES (11, 1, 'a'), (12, 1, 'b'), (21, 2, 'c')`

var edgeA = change.Incarnation{0xA}

// write runs effects as edgeA in one savepoint, and returns its error.
func write(t testing.TB, s *Store, list ...hub.Effect) (got error) {
	t.Helper()
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		got = tx.Savepoint(func() error {
			if err := tx.As(edgeA, change.NewHLC(1000, 1)); err != nil {
				return err
			}
			for _, e := range list {
				if err := tx.Write(e); err != nil {
					return err
				}
			}
			return nil
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func put1(table, cols string, vals ...change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Insert, Key: change.Key{vals[0]}, Columns: strings.Fields(cols), Values: vals}
}

func set1(table string, key change.Value, col string, v change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Update, Key: change.Key{key}, Columns: []string{col}, Values: []change.Value{v}}
}

func del1(table string, key change.Value) hub.Effect {
	return hub.Effect{Table: table, Kind: change.Delete, Key: change.Key{key}}
}

func TestTrapP7_TruncateIsADelete(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	psql(t, dsn, `TRUNCATE customer CASCADE`)
	expect(t, "every row of the scope", since(t, s, c, edgeA, "region/north"), "customer -'c1'; invoice -1; line -11; line -12")
	view1(t, s, func(v hub.View) error {
		ts, err := v.Tombstone("customer", change.Key{change.Text("c1")})
		if err != nil {
			return err
		}
		expect(t, "with its image", change.Key(ts.Row).String(), "'c1','north','Ann'")
		if len(ts.Children) != 3 {
			t.Errorf("it took %v along", ts.Children)
		}
		return nil
	})
}

// Whoever applies changes keeps the foreign keys on, and a replica's writes are
// captured, too.
func TestTrapP8_ForeignKeysStayOn(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	err := write(t, s, put1("line", "id invoice_id what", change.Int(5), change.Int(99), change.Text("x")))
	if ce, ok := asConstraint(err); !ok || ce.Kind != "foreign key" {
		t.Errorf("a line of no invoice: %v", err)
	}
	psql(t, dsn, `SET session_replication_role = replica; UPDATE customer SET name = 'Anne' WHERE id = 'c1'`)
	expect(t, "a replica's write", since(t, s, c, edgeA, "region/north"), "customer 'c1'")
}

func asConstraint(err error) (*hub.ConstraintError, bool) {
	ce, ok := err.(*hub.ConstraintError) //nolint:errorlint // that very value
	return ce, ok
}

// What a delete takes along by the foreign keys is the hub's doing: whoever deleted
// the parent may not have known of it.
func TestCascadeReachesItsAuthor(t *testing.T) {
	s, _ := shop(t, family)
	c := at(t, s)
	if err := write(t, s, del1("line", change.Int(11)), del1("customer", change.Text("c1"))); err != nil {
		t.Fatal(err)
	}
	expect(t, "the author hears of what it did not delete", since(t, s, c, edgeA, "region/north"), "invoice -1; line -12")
	expect(t, "others of everything", since(t, s, c, change.Incarnation{0xB}, "region/north"), "customer -'c1'; invoice -1; line -11; line -12")
}

// The hub deletes first, then updates, then inserts, with keys that are checked at the
// end. The database's act at once.
func TestWritesAreArranged(t *testing.T) {
	s, _ := shop(t, family)
	c := at(t, s)
	rekey := []hub.Effect{
		del1("customer", change.Text("c1")),
		set1("invoice", change.Int(1), "customer_id", change.Text("c9")),
		put1("customer", "id region name", change.Text("c9"), change.Text("north"), change.Text("Ann")),
	}
	if err := write(t, s, rekey...); err != nil {
		t.Fatal(err)
	}
	expect(t, "a parent's key changed", since(t, s, c, change.Incarnation{0xB}, "region/north"), "customer 'c9'; customer -'c1'; invoice 1")
	c = at(t, s)
	again := []hub.Effect{del1("customer", change.Text("c9")), put1("customer", "id region", change.Text("c9"), change.Text("south"))}
	if err := write(t, s, again...); err != nil {
		t.Fatal(err)
	}
	expect(t, "a parent went and came back elsewhere", since(t, s, c, change.Incarnation{0xB}, "region/south"), "customer 'c9'; invoice 1; line 11; line 12")
	view1(t, s, func(v hub.View) error {
		row, err := v.Row("customer", change.Key{change.Text("c9")})
		expect(t, "and what it left out is its default", change.Key(row).String(), "'c9','south',NULL")
		return err
	})
	children := []hub.Effect{
		put1("line", "id invoice_id what", change.Int(71), change.Int(70), change.Text("x")),
		put1("invoice", "id customer_id total", change.Int(70), change.Text("c2"), change.Text("3.10")),
	}
	if err := write(t, s, children...); err != nil {
		t.Errorf("a child before its parent: %v", err)
	}
}

// Statement triggers log a bulk write once a row, and notify once a transaction.
func TestTrapP12_OneNotificationATransaction(t *testing.T) {
	s, dsn := shop(t, family)
	c := at(t, s)
	l := connect(t, dsn)
	if _, err := l.Exec(t.Context(), "LISTEN tidemark"); err != nil {
		t.Fatal(err)
	}
	psql(t, dsn, `BEGIN; INSERT INTO customer SELECT 'x' || i, 'north', 'n' FROM generate_series(1, 500) i; UPDATE customer SET name = 'm'; DELETE FROM line; COMMIT; NOTIFY tidemark, 'end'`)
	n := 0
	for {
		got, err := l.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Payload == "end" {
			break
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d notifications of one transaction", n)
	}
	if got := strings.Count(since(t, s, c, edgeA, "region/north"), "customer"); got != 501 {
		t.Errorf("%d customers changed, want 501", got)
	}
}

// The app's role needs no rights on the schema tidemark, and can put nothing on the
// path of what runs as its owner.
func TestCaptureNeedsNoRights(t *testing.T) {
	s, dsn := shop(t, family)
	psql(t, dsn, `DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN END $$; GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk; GRANT CREATE ON SCHEMA public TO clerk`)
	t.Cleanup(func() {
		psql(t, dsn, `DROP OWNED BY clerk`)
	})
	c := at(t, s)
	psql(t, dsn, `SET ROLE clerk; CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0'; SET search_path = public, pg_catalog;
		INSERT INTO customer VALUES ('c5', 'north', 'Eve'); UPDATE customer SET name = 'E' WHERE id = 'c5'; DELETE FROM customer WHERE id = 'c1'`)
	expect(t, "a clerk's work", since(t, s, c, edgeA, "region/north"), "customer 'c5'; customer -'c1'; invoice -1; line -11; line -12")
}

func TestDeferredKeysAreCheckedInTheSavepoint(t *testing.T) {
	s, _ := shop(t, family, `ALTER TABLE line ALTER CONSTRAINT line_invoice_id_fkey DEFERRABLE INITIALLY DEFERRED`)
	err := write(t, s, put1("line", "id invoice_id what", change.Int(5), change.Int(99), change.Text("x")))
	if ce, ok := asConstraint(err); !ok || ce.Kind != "foreign key" || ce.Table != "line" {
		t.Errorf("a line of no invoice: %v", err)
	}
	if err := write(t, s, put1("line", "id invoice_id what", change.Int(5), change.Int(1), change.Text("x"))); err != nil {
		t.Error(err)
	}
}

func TestGuardIsTakenOffAgain(t *testing.T) {
	s, dsn := shop(t, family, `CREATE FUNCTION count_lines() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		-- not UPDATE line
		UPDATE public.invoice SET total = total + 1 WHERE id = NEW.invoice_id; RETURN NULL; END $$;
		CREATE TRIGGER counting AFTER INSERT ON line FOR EACH ROW WHEN (NEW.what <> 'free') EXECUTE FUNCTION count_lines()`)
	run, mute := s.Triggers()
	expect(t, "triggers", fmt.Sprint(run, mute), "[] [counting]")
	if err := write(t, s, put1("line", "id invoice_id what", change.Int(5), change.Int(1), change.Text("x"))); err != nil {
		t.Fatal(err)
	}
	psql(t, dsn, `INSERT INTO line VALUES (6, 1, 'y'), (7, 1, 'free')`)
	expect(t, "only the other program's line counts", psql(t, dsn, `SELECT total FROM invoice WHERE id = 1`), "2.50")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Detach(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	expect(t, "as it was", psql(t, dsn, `SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal`),
		`CREATE TRIGGER counting AFTER INSERT ON public.line FOR EACH ROW WHEN ((new.what <> 'free'::text)) EXECUTE FUNCTION count_lines()`)
}
