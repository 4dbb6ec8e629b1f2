package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// A server is a PostgreSQL database for one test, with hubs on it.
type server struct {
	t   *testing.T
	dsn string
}

func newServer(t *testing.T) *server { return &server{t, pgtest.Database(t)} }

// sql runs statements as another program would, and returns the first value.
func (s *server) sql(text string) string {
	s.t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	list, err := c.PgConn().Exec(ctx, text).ReadAll()
	if err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	for _, r := range list {
		if len(r.Rows) > 0 {
			return string(r.Rows[0][0])
		}
	}
	return ""
}

// world is a world whose hub is on the server.
func (s *server) world() *world {
	s.t.Helper()
	w := newWorld(s.t)
	w.dsn, w.served = s.dsn, true
	return w
}

// The database of an application of its own becomes a hub's: rows of both sides meet.
func TestServer_ImportedTablesSyncBothWays(t *testing.T) {
	s := newServer(t)
	w := s.world()
	h := w.up()
	if s.sql("SELECT count(*) FROM item") != "3" {
		t.Fatal("the rows were not imported")
	}
	if len(h.Notes()) == 0 || !strings.Contains(strings.Join(h.Notes(), "\n"), "item.note") {
		t.Errorf("notes: %q", h.Notes())
	}
	e := w.join("one.db", "branch/1")
	reads(t, e.File, "SELECT count(*) FROM item", "2")
	sh(t, e.File, "INSERT INTO item VALUES ('new', 1, 9, 'edge'); UPDATE item SET note='changed' WHERE id='a'")
	s.sql("INSERT INTO item VALUES ('psql', 1, 8, 'other'); UPDATE item SET n=33 WHERE id='c'")
	w.sync(e)
	w.sync(e)
	if got := s.sql("SELECT string_agg(id || coalesce(note, ''), ',' ORDER BY id) FROM item"); got != "achanged,by,cz,newedge,psqlother" {
		t.Errorf("at the hub: %s", got)
	}
	reads(t, e.File, "SELECT group_concat(id || n, ',') FROM (SELECT * FROM item ORDER BY id)", "a1,c33,new9,psql8")
	w.down()
	w.up()
	sh(t, e.File, "DELETE FROM item WHERE id='psql'")
	w.sync(e)
	if got := s.sql("SELECT count(*) FROM item WHERE id='psql'"); got != "0" {
		t.Error("the delete after the restart did not arrive")
	}
	if _, err := os.Stat(h.Dir().DB()); err == nil {
		t.Error("there is a SQLite file")
	}
}

func TestServer_AdoptsTables(t *testing.T) {
	s := newServer(t)
	s.sql(`CREATE TABLE item (id text PRIMARY KEY, branch int NOT NULL, n int UNIQUE, note text); INSERT INTO item VALUES ('a', 1, 1, NULL)`)
	w := s.world()
	w.source = ""
	w.up()
	e := w.join("one.db", "branch/1")
	reads(t, e.File, "SELECT count(*) FROM item", "1")
	sh(t, e.File, "UPDATE item SET note='x'")
	w.sync(e)
	if got := s.sql("SELECT note FROM item"); got != "x" {
		t.Errorf("at the hub: %q", got)
	}
}

// What cannot sync is refused before anything is changed.
func TestServer_RefusesWhatCannotSync(t *testing.T) {
	for name, c := range map[string]struct{ sql, want string }{
		"no table":  {"", "no hub yet"},
		"no key":    {"CREATE TABLE item (id text, branch int)", "primary key"},
		"no branch": {"CREATE TABLE item (id text PRIMARY KEY)", "branch"},
		"other":     {"CREATE TABLE other (id text PRIMARY KEY)", "item"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.sql(c.sql)
			w := s.world()
			cfg := w.config()
			cfg.ConfigFile = w.path("tidemark.yaml")
			err := startFault(t, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if s.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidemark'") != "0" || cfg.Dir.Configured() {
				t.Error("something was changed")
			}
		})
	}
}

// An import that fails leaves nothing behind, so that it can be done again.
func TestServer_ImportIsAllOrNothing(t *testing.T) {
	s := newServer(t)
	w := s.world()
	sh(t, w.path("app.db"), "INSERT INTO item VALUES('d', 4, 4, x'00ff')") // no text
	cfg := w.config()
	cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.path("app.db")
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "note") {
		t.Fatalf("got %v", err)
	}
	if s.sql("SELECT to_regclass('item') IS NULL") != "t" {
		t.Error("there is a table")
	}
	sh(t, w.path("app.db"), "DELETE FROM item WHERE id='d'")
	if err := os.Remove(cfg.Dir.Config()); err != nil {
		t.Fatal(err)
	}
	w.up()
	if s.sql("SELECT count(*) FROM item") != "3" {
		t.Error("the second import brought something else")
	}
	w.down()
	cfg.Schema, cfg.Import = "", w.path("app.db")
	if err := startFault(t, cfg); !errors.Is(err, ErrHubExists) {
		t.Errorf("a second import: %v", err)
	}
}

// Nobody learns a password from what the hub says.
func TestServer_SaysNoPassword(t *testing.T) {
	const secret = "Hush-4711"
	t.Setenv("HUB_PASSWORD", secret)
	w := newWorld(t)
	for _, dsn := range []string{
		"postgres://me:" + secret + "@127.0.0.1:1/shop", "postgres://me:${HUB_PASSWORD}@127.0.0.1:1/shop",
		"postgres://me@127.0.0.1:1/shop?password=" + secret, "postgres://me:" + secret + "@127.0.0.1:bad/shop", "postgres://me:${NO_SUCH_ONE}@h/" + secret,
	} {
		cfg := w.config()
		cfg.Database, cfg.ConfigFile = dsn, w.path("tidemark.yaml")
		err := startFault(t, cfg)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// Through a pgbouncer in transaction mode, with a second address for what cannot go
// through one.
func TestServer_ThroughABouncer(t *testing.T) {
	s := newServer(t)
	b := pgtest.Server(t).Bouncer(t, 4)
	a := s.world()
	a.dsn = ""
	a.yaml("hub:\n  database: \"" + b.DSN(s.dsn) + "\"\n  listen_database: \"" + s.dsn + "\"\n  pooled: true\n" + shopYAML)
	a.up()
	c := beside(t, a)
	one, two := a.join("one.db", "branch/1"), a.join("two.db", "branch/1")
	a.agent(a.at(two))
	sh(t, one.File, "INSERT INTO item VALUES ('k', 1, 11, 'pushed')")
	c.sync(c.at(one))
	reads(t, two.File, "SELECT note FROM item WHERE id='k'", "pushed")
	s.sql("UPDATE item SET note='psql' WHERE id='k'")
	reads(t, two.File, "SELECT note FROM item WHERE id='k'", "psql")
	if n := s.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"); n > "8" || len(n) > 1 {
		t.Errorf("%s connections", n)
	}
}

// Tables without rows, from a script; the column map says what one of them is made of.
func TestServer_MakesTablesOfAScript(t *testing.T) {
	s := newServer(t)
	w := s.world()
	w.yaml("hub:\n  types: [\"item.at timestamptz\"]\n" + shopYAML)
	script := "CREATE TABLE item (id TEXT PRIMARY KEY NOT NULL, branch INTEGER NOT NULL, at DATETIME, email TEXT COLLATE NOCASE UNIQUE); CREATE TABLE other (x);"
	if err := os.WriteFile(w.path("tables.sql"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := w.config()
	cfg.ConfigFile, cfg.Schema = w.path("tidemark.yaml"), w.path("tables.sql")
	h := started(t, cfg)
	if got := s.sql("SELECT data_type FROM information_schema.columns WHERE table_name = 'item' AND column_name = 'at'"); got != "timestamp with time zone" {
		t.Errorf("at is %s", got)
	}
	notes := strings.Join(h.Notes(), "\n")
	for _, want := range []string{"item.email: it is unique without regard to case", "other: it does not sync"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}
}

// An address given by hand is kept for the verbs that come later; one that says
// otherwise than the configuration is refused.
func TestServer_WhereTheDatabaseIs(t *testing.T) {
	s := newServer(t)
	w := s.world()
	w.up()
	open := func() error {
		o, err := OpenOffice(context.Background(), OfficeConfig{Dir: w.config().Dir, Clock: clock.System{}, Rand: rand.Reader})
		if err != nil {
			return err
		}
		return o.Close()
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(w.config().Dir.database()); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, ErrNoHub) {
		t.Errorf("nobody says where: %v", err)
	}
	t.Setenv(EnvDatabase, s.dsn)
	if err := open(); err != nil {
		t.Errorf("the environment says where: %v", err)
	}
	w.down()
	w.yaml("hub:\n  database: \"postgres:///elsewhere\"\n" + shopYAML)
	cfg := w.config()
	cfg.ConfigFile = w.path("tidemark.yaml")
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "--database") {
		t.Errorf("two addresses: %v", err)
	}
	file := newWorld(t)
	if err := os.Unsetenv(EnvDatabase); err != nil {
		t.Fatal(err)
	}
	file.up()
	file.down()
	cfg = file.config()
	cfg.Database = s.dsn
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "SQLite") {
		t.Errorf("a directory of a hub on SQLite: %v", err)
	}
}

func TestServer_Doctor(t *testing.T) {
	s := newServer(t)
	w := s.world()
	w.up()
	list := CheckHub(context.Background(), w.config().Dir, clock.System{})
	for _, what := range []string{"database", "config", "serving"} {
		if level(t, list, what) != checkup.Good {
			t.Errorf("%s: %+v", what, list)
		}
	}
	s.sql("INSERT INTO tidemark.record VALUES ('behind', 'hub', '{}')")
	if level(t, CheckHub(context.Background(), w.config().Dir, clock.System{}), "history") != checkup.Bad {
		t.Error("a hub that is behind looks good")
	}
	if err := os.WriteFile(w.config().Dir.database(), []byte("postgres://127.0.0.1:1/none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if level(t, CheckHub(context.Background(), w.config().Dir, clock.System{}), "data") != checkup.Bad {
		t.Error("a database that cannot be reached looks good")
	}
}

// The hub's role is an ordinary one that owns the tables; the application's has no
// rights on anything of Tidemark's.
func TestServer_OrdinaryRolesAreEnough(t *testing.T) {
	s := newServer(t)
	name := s.sql("SELECT current_database()")
	owner, app := name+"_o", name+"_a"
	s.sql(`CREATE ROLE "` + owner + `" LOGIN; CREATE ROLE "` + app + `" LOGIN; ALTER DATABASE "` + name + `" OWNER TO "` + owner + `"`)
	t.Cleanup(func() {
		s.sql(`REASSIGN OWNED BY "` + owner + `" TO postgres; DROP OWNED BY "` + app + `"; DROP OWNED BY "` + owner + `"; DROP ROLE "` + owner + `", "` + app + `"`)
	})
	w := s.world()
	w.dsn = strings.Replace(s.dsn, "user=postgres", "user="+owner, 1)
	w.up()
	s.sql(`GRANT SELECT, INSERT, UPDATE, DELETE ON item TO "` + app + `"`)
	(&server{t, strings.Replace(s.dsn, "user=postgres", "user="+app, 1)}).sql("INSERT INTO item VALUES ('app', 1, 50, NULL); DELETE FROM item WHERE id='a'")
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "UPDATE item SET note='x' WHERE id='app'")
	w.sync(e)
	if got := s.sql("SELECT string_agg(id || note, ',' ORDER BY id) FROM item"); got != "appx,by,cz" {
		t.Error(got)
	}
	w.down()
}
