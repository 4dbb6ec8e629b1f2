package pgtest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// firstBouncer is the number that the first bouncer's socket is known by.
const firstBouncer = 6432

// A Bouncer is a running pgbouncer in transaction mode: statements of one session
// may reach different connections of the server, so that nothing a session keeps
// outside a transaction can be relied on.
type Bouncer struct {
	server *Postgres
	proc   *ward.Process
	port   int
}

// Bouncer starts a pgbouncer in front of the server for one test, with at most size
// connections to each database.
func (s *Postgres) Bouncer(t testing.TB, size int) *Bouncer {
	t.Helper()
	bin, err := ward.Find("/usr/sbin/pgbouncer", "pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bouncer{server: s, port: firstBouncer + int(s.count.Add(1))}
	ini, err := s.den.File(fmt.Sprintf("bouncer-%d.ini", b.port), fmt.Sprintf(`[databases]
* = host=%s port=5432 user=postgres
[pgbouncer]
listen_port = %d
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 2000
server_lifetime = 60
log_connections = 0
log_disconnections = 0
`, s.den.Path, b.port, s.den.Path, size))
	if err != nil {
		t.Fatal(err)
	}
	b.proc, err = s.den.Start(t.Context(), bin, b.ready, ini)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.proc.Kill(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *Bouncer) ready(ctx context.Context) error {
	return knock(ctx, filepath.Join(b.server.den.Path, ".s.PGSQL."+strconv.Itoa(b.port)))
}

// DSN is the way through the bouncer to a database of the server.
func (b *Bouncer) DSN(direct string) string { return direct + "&port=" + strconv.Itoa(b.port) }

// Restart ends the bouncer, and with it every connection, and starts it again.
func (b *Bouncer) Restart(t testing.TB) {
	t.Helper()
	err := b.proc.Kill()
	if err == nil {
		err = b.proc.Start(t.Context(), b.ready)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// knock connects to a socket and hangs up.
func knock(ctx context.Context, path string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}
