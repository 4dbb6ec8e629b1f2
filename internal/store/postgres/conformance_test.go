package postgresstore

import (
	"context"
	"log/slog"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/storetest"
)

// The other program of the suite is psql: another process, another driver.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, rules *rule.Rules, ddl []string) (hub.Store, func(string), storetest.Dialect) {
		dsn := pgtest.Database(t)
		for _, q := range ddl {
			psql(t, dsn, storetest.PostgreSQL.Translate(q))
		}
		s := serve(t, Config{DSN: dsn, Rules: rules})
		return s, func(sql string) { t.Helper(); psql(t, dsn, storetest.PostgreSQL.Translate(sql)) }, storetest.PostgreSQL
	})
}

// serve opens a store that is closed when the test ends.
func serve(t testing.TB, cfg Config) *Store {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// psql runs statements one after another, each in a transaction of its own unless
// they say otherwise.
func psql(t testing.TB, dsn, sql string) string {
	t.Helper()
	cmd := osexec.Command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", dsn)
	cmd.Stdin = strings.NewReader(sql + ";\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, sql, out)
	}
	return strings.TrimSpace(string(out))
}

// connect opens a plain connection that is closed when the test ends.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
