package postgresstore

import (
	"errors"
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// What the hub stores otherwise than the edge wrote it, the edge itself is told.
func TestWhatLandsOtherwiseGoesBackToItsAuthor(t *testing.T) {
	dsn := pgtest.Database(t)
	run(t, connect(t, dsn), `CREATE TABLE thing (id uuid PRIMARY KEY, ok boolean, price numeric(10,2), doc jsonb, name text);
		CREATE TABLE stamped (id int PRIMARY KEY, name text, changed timestamptz);
		CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changed = '2024-01-01'; RETURN NEW; END $$;
		CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()`)
	s := serve(t, Config{DSN: dsn, Rules: everything([]string{"thing", "stamped"})})
	author, text := change.Incarnation{7}, change.Text
	x := &experiment{t: t, dsn: dsn}
	cols := []string{"id", "ok", "price", "doc", "name"}
	row := func(n string, v ...change.Value) hub.Effect {
		id := text("0190d3c4-5b7a-7cc1-9a3e-3f2b1c0d9e8" + n)
		return hub.Effect{Table: "thing", Kind: change.Insert, Key: change.Key{id}, Columns: cols, Values: append([]change.Value{id}, v...)}
	}
	plain := row("0", change.Int(1), text("0.90"), text(`{"a": 1}`), text("x"))
	for _, c := range []struct {
		what   string
		effect hub.Effect
		back   []change.Value // what the author is told; nil: nothing
	}{
		{"as it was written", plain, nil},
		{"a word for a boolean", row("1", text("true"), text("1.00"), change.Null, text("x")), []change.Value{change.Int(1), text("1.00"), change.Null, text("x")}},
		{"a decimal without its scale", row("2", change.Int(0), text("0.9"), change.Null, text("x")), []change.Value{change.Int(0), text("0.90"), change.Null, text("x")}},
		{"jsonb", row("3", change.Int(0), text("0.90"), text(`{"b":1,"a":2}`), text("x")), []change.Value{change.Int(0), text("0.90"), text(`{"a": 2, "b": 1}`), text("x")}},
		{"an update", hub.Effect{Table: "thing", Kind: change.Update, Key: plain.Key, Columns: []string{"price"}, Values: []change.Value{text("2")}},
			[]change.Value{change.Int(1), text("2.00"), text(`{"a": 1}`), text("x")}},
		{"an update as it was written", hub.Effect{Table: "thing", Kind: change.Update, Key: plain.Key, Columns: []string{"price"}, Values: []change.Value{text("3.00")}}, nil},
		{"a trigger of the app", hub.Effect{Table: "stamped", Kind: change.Insert, Key: change.Key{change.Int(1)}, Columns: []string{"id", "name"}, Values: []change.Value{change.Int(1), text("n")}},
			[]change.Value{text("n"), text("2024-01-01 00:00:00")}},
	} {
		cursor := x.cursor(s)
		err := s.Update(t.Context(), func(tx hub.Tx) error {
			if err := tx.As(author, 5); err != nil {
				return err
			}
			return tx.Savepoint(func() error { return tx.Write(c.effect) })
		})
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		var got []change.Value
		err = s.View(t.Context(), func(v hub.View) error {
			return v.Delta(cursor, author, []rule.ScopeID{rule.ScopeAll}, 1<<20, func(r *change.Rows) error {
				for i := range r.Len() {
					got = append(got, r.Row(i)[1:]...)
				}
				return nil
			})
		})
		if err != nil || !slices.Equal(got, c.back) {
			t.Errorf("%s: the author is told %v, want %v (%v)", c.what, got, c.back, err)
		}
	}
	// A key has one spelling, or there would be two rows.
	upper := row("a", change.Null, change.Null, change.Null, change.Null)
	upper.Key = change.Key{text("0190D3C4-5B7A-7CC1-9A3E-3F2B1C0D9E8A")}
	upper.Values[0] = upper.Key[0]
	err := s.Update(t.Context(), func(tx hub.Tx) error { return tx.Savepoint(func() error { return tx.Write(upper) }) })
	var broken *hub.ConstraintError
	if !errors.As(err, &broken) || broken.Kind != "type" {
		t.Errorf("a key in another spelling: %v", err)
	}
}
