package pgtest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// Standby starts a streaming copy of the server for one test. The server should be one
// of the test's own, for a copy keeps it from forgetting anything.
func (s *Postgres) Standby(t testing.TB, opt Options) *Postgres {
	t.Helper()
	copier, err := ward.Find("/usr/lib/postgresql/*/bin/pg_basebackup", "pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	den, err := ward.Open("postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := den.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &Postgres{den: den}
	data := filepath.Join(den.Path, "data")
	err = den.Run(t.Context(), copier, "-D", data, "-h", s.den.Path, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync", "--no-manifest")
	if err == nil {
		c.proc, err = den.Start(t.Context(), filepath.Join(filepath.Dir(copier), "postgres"), c.ready, c.args(data, opt)...)
	}
	if err != nil {
		t.Fatalf("start a standby for tests: %v", err)
	}
	return c
}

// Pair is the DSN of a database on whichever of two servers takes writes.
func (s *Postgres) Pair(other *Postgres, database string) string {
	return "postgres:///" + database + "?host=" + s.den.Path + "," + other.den.Path + "&user=postgres&target_session_attrs=read-write"
}

// Promote makes a standby a server that takes writes, and waits until it does.
func (s *Postgres) Promote(t testing.TB) { s.must(t, "SELECT pg_promote(true, 60)") }

// Cut makes a standby hear nothing more of its primary, as a broken network does.
func (s *Postgres) Cut(t testing.TB) {
	t.Helper()
	s.must(t, "ALTER SYSTEM SET primary_conninfo = ''")
	s.must(t, "SELECT pg_reload_conf()")
	s.until(t, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
}

// Pause keeps a standby at the state that it shows now; Resume lets it go on.
func (s *Postgres) Pause(t testing.TB) {
	t.Helper()
	s.must(t, "SELECT pg_wal_replay_pause()")
	s.until(t, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
}

// Resume is the opposite of Pause.
func (s *Postgres) Resume(t testing.TB) { s.must(t, "SELECT pg_wal_replay_resume()") }

// Follow waits until a standby shows all that its primary has written by now.
func (s *Postgres) Follow(t testing.TB, primary *Postgres) {
	t.Helper()
	lsn, err := primary.value(t.Context(), "SELECT pg_current_wal_insert_lsn()::text")
	if err != nil {
		t.Fatal(err)
	}
	// A record that is not full need not be written out: this one makes it so.
	primary.must(t, "SELECT pg_switch_wal()")
	s.until(t, "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'")
}

func (s *Postgres) must(t testing.TB, sql string) {
	t.Helper()
	if err := s.do(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// until asks until the answer is yes.
func (s *Postgres) until(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ward.Patience)
	defer cancel()
	for {
		v, err := s.value(ctx, "SELECT ("+sql+")::text")
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if v == "true" {
			return
		}
	}
}

func (s *Postgres) value(ctx context.Context, sql string) (v string, err error) {
	c, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	err = c.QueryRow(ctx, sql).Scan(&v)
	return v, firstOf(err, c.Close(ctx))
}
