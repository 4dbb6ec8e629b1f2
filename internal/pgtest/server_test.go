package pgtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

func ask(t *testing.T, dsn, sql string, args ...any) string {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	var out string
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&out); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	a, b := Database(t), Database(t)
	if got := ask(t, a, "CREATE TABLE thing (n int)"); got != "" {
		t.Fatal(got)
	}
	if got := ask(t, b, "SELECT coalesce(to_regclass('thing')::text, 'none')"); got != "none" {
		t.Errorf("the second database has the first one's table")
	}
}

func TestADatabaseIsDroppedAtTheTestsEnd(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) { name = ask(t, Database(t), "SELECT current_database()") })
	if got := ask(t, Server(t).DSN("postgres"), "SELECT count(*)::text FROM pg_database WHERE datname = $1", name); got != "0" {
		t.Errorf("database %s is still there", name)
	}
}

func TestAKilledServerComesBackWithWhatWasCommitted(t *testing.T) {
	var dir string
	t.Run("inner", func(t *testing.T) {
		s := Own(t, Options{Durable: true})
		dir = s.Dir()
		dsn := s.Database(t)
		ask(t, dsn, "CREATE TABLE thing AS SELECT 'kept' AS word")
		s.Restart(t)
		if got := ask(t, dsn, "SELECT word FROM thing"); got != "kept" {
			t.Errorf("after the crash: %q", got)
		}
		s.Stop(t)
		s.Start(t)
		if got := ask(t, dsn, "SELECT word FROM thing"); got != "kept" {
			t.Errorf("after the stop: %q", got)
		}
	})
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the server's directory is still there: %v", err)
	}
}
