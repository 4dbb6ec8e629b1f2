package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// A Postgres is a running PostgreSQL server that trusts everyone who reaches its
// socket. Its methods may be called concurrently.
type Postgres struct {
	den   *ward.Den
	proc  *ward.Process
	count atomic.Int64
}

// An Options says how a server differs from the usual one.
type Options struct {
	Durable  bool     // fsync on: what was committed survives Kill
	Settings []string // further settings, as "name=value"
	Base     string   // the directory to make the server's in; "" is in memory where the machine allows it
}

// shared is the server that a test binary's tests have in common.
var shared = sync.OnceValues(func() (*Postgres, error) { return start(context.Background(), Options{}) })

// Server is the PostgreSQL that all tests of this test binary share. It must not be
// stopped: see Own.
func Server(t testing.TB) *Postgres {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Own starts a server for one test, which may kill it and start it again.
func Own(t testing.TB, opt Options) *Postgres {
	t.Helper()
	s, err := start(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.den.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Database makes an empty database on the shared server, and returns its DSN. It is
// dropped at the test's end.
func Database(t testing.TB) string {
	t.Helper()
	return Server(t).Database(t)
}

func start(ctx context.Context, opt Options) (*Postgres, error) {
	initdb, err := ward.Find("/usr/lib/postgresql/*/bin/initdb", "initdb")
	if err != nil {
		return nil, err
	}
	den, err := open(opt.Base)
	if err != nil {
		return nil, err
	}
	s := &Postgres{den: den}
	data := filepath.Join(den.Path, "data")
	err = den.Run(ctx, initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	if err == nil {
		s.proc, err = den.Start(ctx, filepath.Join(filepath.Dir(initdb), "postgres"), s.ready, s.args(data, opt)...)
	}
	if err != nil {
		_ = den.Close() // the first error is the one to tell
		return nil, fmt.Errorf("start a PostgreSQL server for tests: %w", err)
	}
	return s, nil
}

func (s *Postgres) args(data string, opt Options) []string {
	set := []string{
		"listen_addresses=", "unix_socket_directories=" + s.den.Path, "shared_buffers=64MB", "max_connections=200",
		"max_wal_size=512MB", "log_min_messages=warning", "timezone=UTC", "autovacuum_naptime=5s",
		"dynamic_shared_memory_type=mmap", // in the data directory: a server that is killed leaves nothing behind
	}
	if !opt.Durable {
		set = append(set, "fsync=off", "full_page_writes=off", "synchronous_commit=off")
	}
	args := []string{"-D", data}
	for _, v := range append(set, opt.Settings...) {
		args = append(args, "-c", v)
	}
	return args
}

func (s *Postgres) ready(ctx context.Context) error {
	return s.do(ctx, "SELECT 1")
}

// do runs one statement in the database that administers the others.
func (s *Postgres) do(ctx context.Context, sql string) error {
	c, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, sql)
	return firstOf(err, c.Close(ctx))
}

func firstOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// DSN is the URL of a database of this server, for its superuser.
func (s *Postgres) DSN(database string) string {
	return "postgres:///" + url.PathEscape(database) + "?host=" + url.QueryEscape(s.den.Path) + "&user=postgres"
}

// Dir is the directory of the server's socket, as PGHOST would name it.
func (s *Postgres) Dir() string { return s.den.Path }

// Database makes an empty database and returns its DSN. It is dropped at the test's
// end, with whoever is still connected.
func (s *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("%s_%d", short(t.Name()), s.count.Add(1))
	quoted := pgx.Identifier{name}.Sanitize()
	if err := s.do(t.Context(), "CREATE DATABASE "+quoted+" TEMPLATE template0"); err != nil {
		t.Fatalf("make a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if s.proc.Pid() == 0 {
			return // the test has killed it, and the den's end takes the files
		}
		if err := s.do(context.Background(), "DROP DATABASE IF EXISTS "+quoted+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.DSN(name)
}

// short is a test's name as part of a database's: at most 40 plain characters.
func short(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, strings.TrimPrefix(name, "Test"))
	return clean[:min(len(clean), 40)]
}

// Kill ends the server as a power cut would: nothing is flushed.
func (s *Postgres) Kill(t testing.TB) {
	t.Helper()
	if err := s.proc.Kill(); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server in order, cutting off its clients.
func (s *Postgres) Stop(t testing.TB) {
	t.Helper()
	if err := s.proc.Stop(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server again, on the same socket, after Kill or Stop.
func (s *Postgres) Start(t testing.TB) {
	t.Helper()
	if err := s.again(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Restart is Kill and Start.
func (s *Postgres) Restart(t testing.TB) {
	t.Helper()
	s.Kill(t)
	s.Start(t)
}

// Log is the end of what the server wrote.
func (s *Postgres) Log() string { return s.proc.Log() }
