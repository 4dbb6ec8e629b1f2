package postgresstore

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// Settings that somebody gave a database change no value on its way, and none in the log.
func TestTheDatabasesSettingsChangeNoValue(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		dsn := pgtest.Database(t)
		c := connect(t, dsn)
		name := ""
		if err := query(t.Context(), c, "SELECT current_database()::text", func(r *row) error { name = r.text(0); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"datestyle = 'German, DMY'", "extra_float_digits = -5", "bytea_output = 'escape'", "intervalstyle = 'sql_standard'",
			"timezone = 'Asia/Kolkata'", "standard_conforming_strings = off", "client_encoding = 'LATIN1'"} {
			run(t, c, "ALTER DATABASE "+pgx.Identifier{name}.Sanitize()+" SET "+set)
		}
		run(t, c, `CREATE TABLE thing (id bytea PRIMARY KEY, f double precision, r real, b bytea, at timestamptz, day date, t text, n numeric, span interval)`)
		s := serve(t, Config{DSN: dsn, Pooled: pooled, Rules: everything([]string{"thing"})})
		key := change.Key{change.Blob([]byte{0, 0xff, '\\'})}
		values := []change.Value{key[0], change.Float(0.30000000000000004), change.Float(float64(float32(0.1))), change.Blob([]byte{0xfe, '\\', 0}),
			change.Text("2024-02-01 03:04:05.000006"), change.Text("2024-02-01"), change.Text(`back\slash 'ü Ω`), change.Text("1.50"), change.Text("P1M2DT3.5S")}
		cols := []string{"id", "f", "r", "b", "at", "day", "t", "n", "span"}
		err := s.Update(t.Context(), func(tx hub.Tx) error {
			if err := tx.As(change.Incarnation{3}, 9); err != nil {
				return err
			}
			return tx.Write(hub.Effect{Table: "thing", Kind: change.Insert, Key: key, Columns: cols, Values: values})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := held(t, s)["thing"][key.String()]; !slices.Equal(got, values) {
			t.Errorf("pooled %v: %v, want %v", pooled, got, values)
		}
		// Another program, in a session with all of that, deletes it: the image is exact.
		run(t, connect(t, dsn), `DELETE FROM thing`)
		err = s.View(t.Context(), func(v hub.View) error {
			dead, err := v.Tombstone("thing", key)
			if err == nil && !slices.Equal(dead.Row, values) {
				t.Errorf("pooled %v: the image is %v, want %v", pooled, dead.Row, values)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
