package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/ward"
)

// onServer are settings for a fleet on the test binary's PostgreSQL server, in which the
// fleet's databases are gone at the end of the test.
func onServer(t *testing.T, devices, hubs int) Config {
	t.Helper()
	cfg := settings(t, devices)
	cfg.Database, cfg.Hubs = pgtest.Server(t).DSN("postgres"), hubs
	t.Cleanup(func() {
		if left := ask(t, cfg.Database, "SELECT coalesce(string_agg(datname, ' '), '') FROM pg_database WHERE datname LIKE 'tidemark_fleet%'"); left != "" {
			t.Errorf("still there: %s", left)
		}
		if found := ask(t, cfg.Database, "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'tidemark'"); found != "0" {
			t.Error("a hub served the database of the address")
		}
	})
	return cfg
}

func ask(t *testing.T, dsn, sql string) (answer string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.QueryRow(ctx, sql).Scan(&answer), c.Close(ctx)); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// The fleet comes back to a hub on PostgreSQL, in a database of the run's own.
func TestAFleetComesBackToPostgres(t *testing.T) {
	r, err := Run(t.Context(), onServer(t, 30, 0))
	if err != nil {
		t.Fatal(err)
	}
	complete(t, r)
	if r.Hubs != 1 || r.Memory <= 0 || !strings.HasPrefix(r.Database, "postgres:///tidemark_fleet_") {
		t.Errorf("%+v", r)
	}
}

// The same to several processes that share a Redis: each has its part of the devices.
func TestAFleetIsDealtOut(t *testing.T) {
	cfg := onServer(t, 30, 3)
	cfg.Redis = pgtest.NewRedis(t).URL()
	f := opened(t, cfg)
	if err := errors.Join(f.enrol(t.Context()), f.serve(t.Context())); err != nil {
		t.Fatal(err)
	}
	r, err := f.comeBack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]int{}
	for _, d := range f.devices {
		reached[d.hubs[d.at].URL]++
	}
	if len(reached) != 3 {
		t.Errorf("where they were: %v", reached)
	}
	for url, n := range reached {
		if n != 10 {
			t.Errorf("%d devices at %s", n, url)
		}
	}
	if err := errors.Join(f.stop(), f.count(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	complete(t, r)
}

// One of two hubs is killed while devices hand in: they go on to the other one, and what
// it had confirmed is there, once.
func TestAFleetOutlivesOneOfItsHubs(t *testing.T) {
	f := opened(t, onServer(t, 60, 2))
	if err := errors.Join(f.enrol(t.Context()), f.serve(t.Context())); err != nil {
		t.Fatal(err)
	}
	killed := make(chan error, 1)
	go func() {
		for {
			n := 0
			if err := f.base.rows(t.Context(), func(string, string, string, int64) { n++ }); err != nil {
				killed <- err
				return
			}
			if n > 0 {
				killed <- f.hubs[0].cmd.Process.Kill()
				return
			}
		}
	}()
	r, err := f.comeBack(t.Context())
	if err = errors.Join(err, <-killed); err != nil {
		t.Fatal(err)
	}
	if err := f.hubs[0].stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the first hub was not killed: %v", err)
	}
	if err := errors.Join(f.stop(), f.count(t.Context(), r)); err != nil {
		t.Fatal(err)
	}
	complete(t, r)
	if r.Moved == 0 {
		t.Error("nobody had to go to the other hub: the first one was done before it was killed")
	}
}

// Whatever ends a run, its database goes: onServer looks.
func TestTheDatabaseGoesWhenTheRunFails(t *testing.T) {
	cfg := onServer(t, 2, 1)
	cfg.Program = "/bin/false"
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "hub.log") {
		t.Error(err)
	}
	cfg = onServer(t, 2, 1)
	cfg.Redis = "http://nowhere"
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "hub.redis") {
		t.Error(err)
	}
}

func TestTheDatabaseGoesWhenTheRunIsInterrupted(t *testing.T) {
	for _, moment := range []string{"enrolling", "all of them"} {
		cfg := onServer(t, 50, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Tell = func(format string, _ ...any) {
			if strings.HasPrefix(format, moment) {
				if ask(t, cfg.Database, "SELECT count(*)::text FROM pg_database WHERE datname LIKE 'tidemark_fleet%'") != "1" {
					t.Error("there is no database of the run")
				}
				cancel()
			}
		}
		r, err := Run(ctx, cfg)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted when %s: %v", moment, err)
		}
		if began := moment != "enrolling"; (r != nil) != began {
			t.Errorf("interrupted when %s: %+v", moment, r)
		}
		if r != nil && (r.Whole() || r.Lost == 0) {
			t.Errorf("nothing was interrupted: %+v", r)
		}
	}
}

// A database that cannot be dropped is named, with what to do.
func TestADatabaseThatStaysIsNamed(t *testing.T) {
	s := pgtest.Own(t, pgtest.Options{})
	db, err := makeServer(t.Context(), s.DSN("postgres"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	told := ""
	f := &fleet{Config: Config{Tell: func(_ string, list ...any) { told = list[0].(error).Error() }}, base: db}
	if err := f.close(t.Context()); err == nil || !strings.Contains(err.Error(), "DROP DATABASE "+db.name) || err.Error() != told {
		t.Errorf("%v; told %s", err, told)
	}
}

// What keeps a run from having its database is said, and nothing secret with it.
func TestServersThatWillNotDo(t *testing.T) {
	refused := func(ctx context.Context, address string, want ...string) {
		t.Helper()
		_, err := makeServer(ctx, address, rand.Reader)
		if err == nil {
			t.Fatalf("a database at %s", address)
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v; want %s", err, w)
			}
		}
		if strings.Contains(err.Error(), "geheim") {
			t.Error(err)
		}
	}
	s := pgtest.Server(t)
	refused(t.Context(), "postgres://me:geheim@127.0.0.1:1/postgres", "reach the server at postgres://me@127.0.0.1:1/postgres", "connect")
	refused(t.Context(), s.DSN("nowhere"), "nowhere", "does not exist")
	role := "guest" + strings.ToLower(rand.Text())
	made, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = made.Close(context.Background()) }()
	if _, err := made.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN"); err != nil {
		t.Fatal(err)
	}
	as := strings.Replace(s.DSN("postgres"), "user=postgres", "user="+role, 1)
	refused(t.Context(), as, "ALTER ROLE \""+role+"\" CREATEDB", "42501")
	if _, err := made.Exec(t.Context(), "ALTER ROLE "+role+" CREATEDB"); err != nil {
		t.Fatal(err)
	}
	db, err := makeServer(t.Context(), as, rand.Reader) // what the message says does it
	if err != nil {
		t.Fatal(err)
	}
	if err := db.remove(t.Context()); err != nil {
		t.Error(err)
	}
	late, cancel := context.WithDeadline(t.Context(), (clock.System{}).Now().Add(-time.Second))
	defer cancel()
	refused(late, s.DSN("postgres"), "deadline")
	if _, err := makeServer(t.Context(), s.DSN("postgres"), iotest.ErrReader(errors.New("none"))); err == nil {
		t.Error("a database without a name")
	}
}

// The address of another database of the same server differs in nothing else.
func TestAddresses(t *testing.T) {
	for _, c := range [][2]string{
		{"postgres://me:a%2Fb@db.example.com:5433/shop?sslmode=require", "postgres://me:a%2Fb@db.example.com:5433/new?sslmode=require"},
		{"postgres://db.example.com", "postgres://db.example.com/new"},
		{"postgresql:///shop?host=%2Frun&dbname=other", "postgresql:///new?host=%2Frun"},
		{"host=/run user=me dbname=shop", "host=/run user=me dbname=shop dbname=new"},
	} {
		if got := inside(c[0], "new", ""); got != c[1] {
			t.Errorf("%s: %s", c[0], got)
		}
		hasty, err := pgx.ParseConfig(inside(c[0], "new", "synchronous_commit"))
		if err != nil || hasty.Database != "new" || hasty.RuntimeParams["synchronous_commit"] != "off" {
			t.Errorf("%s in haste: %+v, %v", c[0], hasty, err)
		}
	}
	s := pgtest.Server(t)
	u, err := url.Parse(s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	plain := "host=" + u.Query().Get("host") + " user=postgres dbname=postgres"
	db, err := makeServer(t.Context(), plain, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, db.address(), "SELECT current_database()"); got != db.name {
		t.Errorf("in %s", got)
	}
	if got := ask(t, db.hasty(), "SHOW synchronous_commit"); got != "off" {
		t.Error(got)
	}
	if got := db.String(); strings.Contains(got, "postgres:///") {
		t.Error(got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ward.Patience)
	defer cancel()
	if err := db.remove(ctx); err != nil {
		t.Error(err)
	}
}
