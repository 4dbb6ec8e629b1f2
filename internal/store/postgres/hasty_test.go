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

const visitDDL = `CREATE TABLE customer (id text PRIMARY KEY, region text NOT NULL, name text, email text UNIQUE);
CREATE TABLE visit (id text PRIMARY KEY, customer_id text NOT NULL REFERENCES customer, note text, n int CHECK (n < 100));
INSERT INTO customer SELECT 'c' || i, CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END, 'name', 'e' || i FROM generate_series(1, 9) i`

func visits(t *testing.T) (*Store, string) {
	t.Helper()
	dsn := pgtest.Database(t)
	psql(t, dsn, visitDDL)
	return serve(t, Config{DSN: dsn, Rules: &rule.Rules{Tables: []rule.Table{
		{Name: "customer", Scope: rule.Scope{Kind: "region", Column: "region"}},
		{Name: "visit", Scope: rule.Scope{Via: "customer_id"}},
	}}}), dsn
}

// A deed is what one device does in one transaction.
type deed struct {
	inc  change.Incarnation
	list []hub.Effect
}

func visit(id, customer, note string, n int64) hub.Effect {
	return put1("visit", "id customer_id note n", change.Text(id), change.Text(customer), change.Text(note), change.Int(n))
}

var edgeB = change.Incarnation{0xB}

// deeds are of two devices, over each other's rows, some twice, some of nothing new.
var deeds = []deed{
	{edgeA, []hub.Effect{visit("v1", "c1", "a", 1), visit("v2", "c2", "b", 2), set1("customer", change.Text("c1"), "name", change.Text("x"))}},
	{edgeB, []hub.Effect{visit("v3", "c1", "c", 3), set1("visit", change.Text("v1"), "note", change.Text("A")), set1("customer", change.Text("c1"), "name", change.Text("y"))}},
	{edgeA, []hub.Effect{set1("customer", change.Text("c1"), "name", change.Text("y")), set1("visit", change.Text("v1"), "n", change.Int(7))}},
	{edgeA, []hub.Effect{set1("customer", change.Text("c3"), "name", change.Null), visit("v4", "c3", "", 0)}},
}

// asTransactions is what the hub would tell of deeds before.
func asTransactions(list []deed) []*change.Transaction {
	var out []*change.Transaction
	for i, d := range list {
		x := &change.Transaction{ID: change.TxID{byte(i + 1)}, Incarnation: d.inc}
		for _, e := range d.list {
			x.Ops = append(x.Ops, change.Op{Table: e.Table, Kind: e.Kind, Key: e.Key, Columns: e.Columns, New: e.Values})
		}
		out = append(out, x)
	}
	return out
}

// take writes deeds in one Update, and returns how often it ran, and the error of each.
func take(t *testing.T, s *Store, list []deed, ahead bool) (runs int, errs []error) {
	t.Helper()
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		runs++
		errs = nil
		if ahead {
			if err := tx.(hub.Foreseer).Foresee(&hub.Ahead{Txs: asTransactions(list)}); err != nil {
				return err
			}
		}
		for i, d := range list {
			err := tx.Savepoint(func() error {
				if err := tx.As(d.inc, change.NewHLC(int64(1000+i), 0)); err != nil {
					return err
				}
				for _, e := range d.list {
					if err := tx.Write(e); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil && !errors.As(err, new(*hub.ConstraintError)) {
				return err
			}
			errs = append(errs, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs, errs
}

// entries is the log in the order of each row's own, and the rows.
func entries(t *testing.T, dsn string) string {
	t.Helper()
	var out []string
	err := query(t.Context(), connect(t, dsn), `SELECT l.tbl || ' ' || l.key::text || ' op ' || l.op || ' mask ' || l.mask || ' by ' || encode(o.inc, 'hex') || ' at ' || l.hlc || ' in ' || l.scope
		FROM tidemark.log AS l JOIN tidemark.origin AS o ON o.id = l.origin WHERE l.tbl > 0 ORDER BY l.tbl, l.key, l.pos`, func(r *row) error { out = append(out, r.text(0)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, tb := range []string{"customer", "visit"} {
		err := query(t.Context(), connect(t, dsn), "SELECT t::text FROM "+tb+" AS t ORDER BY id", func(r *row) error { out = append(out, r.text(0)); return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(out, "\n")
}

func TestHasteWritesWhatTheTriggersWouldHave(t *testing.T) {
	slow, slowDSN := visits(t)
	fast, fastDSN := visits(t)
	take(t, slow, deeds, false)
	runs, _ := take(t, fast, deeds, true)
	if runs != 1 {
		t.Errorf("it ran %d times", runs)
	}
	if got, want := entries(t, fastDSN), entries(t, slowDSN); got != want {
		t.Errorf("in haste:\n%s\nwith triggers:\n%s", got, want)
	}
}

// One transaction that the database refuses is its own affair (I11), whatever it was sent
// together with.
func TestHasteIsUndoneWhereTheDatabaseRefuses(t *testing.T) {
	for name, bad := range map[string]hub.Effect{
		"check":       visit("bad", "c1", "", 100),
		"unique":      put1("customer", "id region name email", change.Text("new"), change.Text("north"), change.Null, change.Text("e1")),
		"foreign key": visit("bad", "nobody", "", 1),
		"key":         visit("v1", "c2", "again", 1),
	} {
		t.Run(name, func(t *testing.T) {
			slow, slowDSN := visits(t)
			fast, fastDSN := visits(t)
			list := append(append([]deed{}, deeds[:2]...), deed{edgeB, []hub.Effect{bad, visit("v9", "c1", "never", 1)}})
			list = append(list, deeds[2:]...)
			take(t, slow, list, false)
			runs, errs := take(t, fast, list, true)
			if runs != 2 || len(errs) != 5 || errs[2] == nil || errors.Join(errs[0], errs[1], errs[3], errs[4]) != nil {
				t.Errorf("it ran %d times: %v", runs, errs)
			}
			if got, want := entries(t, fastDSN), entries(t, slowDSN); got != want {
				t.Errorf("in haste:\n%s\nwith triggers:\n%s", got, want)
			}
		})
	}
}

// What was read ahead must not outlive what this very Update writes.
func TestForeseenRowsFollowWrites(t *testing.T) {
	s, dsn := visits(t)
	take(t, s, deeds[:1], false)
	fail := errors.New("never mind")
	name := func(tx hub.Tx) string {
		row, err := tx.Row("customer", change.Key{change.Text("c1")})
		if err != nil {
			t.Fatal(err)
		}
		return row[2].Str()
	}
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		if err := tx.(hub.Foreseer).Foresee(&hub.Ahead{Txs: asTransactions(deeds[1:])}); err != nil {
			return err
		}
		_ = tx.Savepoint(func() error {
			if err := errors.Join(tx.As(edgeB, 1), tx.Write(set1("customer", change.Text("c1"), "name", change.Text("wrong")))); err != nil {
				return err
			}
			if got := name(tx); got != "wrong" {
				t.Errorf("after the write it is %q", got)
			}
			return fail
		})
		if got := name(tx); got != "x" {
			t.Errorf("after the savepoint was undone it is %q", got)
		}
		sc, err := tx.ScopeOf("visit", []change.Value{change.Text("v"), change.Text("c1"), change.Null, change.Null})
		if err != nil || sc != "region/south" {
			t.Errorf("scope %q, %v", sc, err)
		}
		if _, err := tx.Known(change.TxID{1}); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("known: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := countOf(t, dsn, "customer WHERE name = 'wrong'"); n != 0 {
		t.Errorf("%d rows of an undone savepoint", n)
	}
}

// Who touched a row since a base is the same whether it was read ahead or not, and what
// another device wrote in the same Update counts.
func TestForeseenTouches(t *testing.T) {
	s, _ := visits(t)
	var base change.Cursor
	take(t, s, deeds[:1], false)
	if err := s.View(t.Context(), func(v hub.View) (err error) { base, err = v.Cursor(); return err }); err != nil {
		t.Fatal(err)
	}
	take(t, s, deeds[1:2], false)
	txs := asTransactions(deeds[2:])
	for _, x := range txs {
		x.Bases = []change.Cursor{base}
	}
	err := s.Update(t.Context(), func(tx hub.Tx) error {
		if err := tx.(hub.Foreseer).Foresee(&hub.Ahead{Txs: txs}); err != nil {
			return err
		}
		for _, row := range [][2]string{{"customer", "c1"}, {"visit", "v1"}, {"customer", "c3"}} {
			for _, self := range []change.Incarnation{edgeA, edgeB} {
				key := change.Key{change.Text(row[1])}
				got, err := tx.Touched(row[0], key, base, self)
				if err != nil {
					return err
				}
				want, err := tx.(*txOf).view.Touched(row[0], key, base, self)
				if err != nil {
					return err
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s %s for %s: %v, not %v", row[0], row[1], self, got, want)
				}
			}
		}
		if err := errors.Join(tx.As(edgeB, 5), tx.Write(set1("customer", change.Text("c3"), "name", change.Text("z")))); err != nil {
			return err
		}
		if got, err := tx.Touched("customer", change.Key{change.Text("c3")}, base, edgeA); err != nil || len(got) != 1 {
			t.Errorf("what B wrote just now: %v, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type txOf = tx
