package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestABouncerKeepsNothingBetweenTransactions(t *testing.T) {
	s := Server(t)
	direct := s.Database(t)
	b := s.Bouncer(t, 1)
	cfg, err := pgx.ParseConfig(b.DSN(direct))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	pid := func() (out int) {
		c, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		if err := c.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	one, two := pid(), pid()
	if one != two {
		t.Errorf("two clients reached the backends %d and %d: it pools nothing", one, two)
	}
	b.Restart(t)
	if three := pid(); three == one {
		t.Errorf("the bouncer was not restarted")
	}
}

func TestRedisForgetsWhenKilled(t *testing.T) {
	r := NewRedis(t)
	say := func(line string) string {
		c, err := net.Dial("unix", strings.TrimPrefix(r.URL(), "unix://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintf(c, "%s\r\n", line); err != nil {
			t.Fatal(err)
		}
		out, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	if got := say("SET word kept"); got != "+OK" {
		t.Fatal(got)
	}
	if got := say("GET word"); got != "$4" {
		t.Errorf("read back: %s", got)
	}
	r.Kill(t)
	r.Start(t)
	if got := say("GET word"); got != "$-1" {
		t.Errorf("after the kill: %s", got)
	}
}
