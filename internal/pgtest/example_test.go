package pgtest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// The guide's pgbouncer.ini starts, and leads to the database; only where things are is
// changed.
func TestTheGuidesBouncerStarts(t *testing.T) {
	text, err := os.ReadFile("../../docs/guide/ha/pgbouncer.ini")
	if err != nil {
		t.Fatal(err)
	}
	s := Own(t, Options{})
	dsn := s.Database(t)
	name := strings.TrimPrefix(strings.Split(dsn, "?")[0], "postgres:///")
	users, err := s.den.File("userlist.txt", "\"postgres\" \"\"\n")
	if err != nil {
		t.Fatal(err)
	}
	ini := string(text)
	for _, r := range [][2]string{
		{"shop = host=127.0.0.1 port=5000 dbname=shop", name + " = host=" + s.den.Path + " port=5432 dbname=" + name},
		{"listen_addr = 127.0.0.1\n", "unix_socket_dir = " + s.den.Path + "\n"},
		{"auth_type = scram-sha-256", "auth_type = trust"},
		{"/etc/pgbouncer/userlist.txt", users},
	} {
		if strings.Count(ini, r[0]) != 1 {
			t.Fatalf("%q is not there once", r[0])
		}
		ini = strings.ReplaceAll(ini, r[0], r[1])
	}
	path, err := s.den.File("guide.ini", ini)
	if err != nil {
		t.Fatal(err)
	}
	bin, err := ward.Find("/usr/sbin/pgbouncer", "pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.den.Path, ".s.PGSQL.6432")
	proc, err := s.den.Start(t.Context(), bin, func(ctx context.Context) error { return knock(ctx, socket) }, path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := proc.Kill(); err != nil {
			t.Error(err)
		}
	}()
	if log := proc.Log(); strings.Contains(log, "unknown parameter") || strings.Contains(log, "WARNING") {
		t.Errorf("it complains: %s", log)
	}
	cfg, err := pgx.ParseConfig("postgres:///" + name + "?port=6432&user=postgres&host=" + url.QueryEscape(s.den.Path))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	var got string
	if err := c.QueryRow(t.Context(), "SELECT current_database()").Scan(&got); err != nil || got != name {
		t.Errorf("%q, %v", got, err)
	}
}
