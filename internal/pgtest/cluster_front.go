package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// Kill ends everything on a machine at once, as a power cut would.
func (c *Cluster) Kill(t testing.TB, i int) {
	t.Helper()
	c.KillPatroni(t, i) // which would start the others again
	gone, err := c.killPostgres(i)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[i].etcd.Kill(); err != nil {
		t.Fatal(err)
	}
	// One that still dies would keep the next PostgreSQL from its memory.
	c.Until(t, "the killed processes are gone", gone)
}

func (c *Cluster) killPostgres(i int) (gone func() bool, err error) {
	b, err := os.ReadFile(c.path(i, "data/postmaster.pid"))
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return nil, fmt.Errorf("read which PostgreSQL runs: %w", err)
	}
	if cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err != nil || !strings.Contains(string(cmd), c.den.Path) {
		return nil, fmt.Errorf("process %d is not the machine's PostgreSQL: %q, %w", pid, cmd, err)
	}
	all := append(ward.Children(pid), pid)
	for _, p := range all {
		_ = syscall.Kill(p, syscall.SIGKILL) // it may have ended by itself
	}
	return func() bool {
		for _, p := range all {
			if !errors.Is(syscall.Kill(p, 0), syscall.ESRCH) {
				return false
			}
		}
		return true
	}, nil
}

// Patronictl runs an operator's command, as root of the first machine that is not left out.
func (c *Cluster) Patronictl(t testing.TB, args ...string) error {
	t.Helper()
	return c.den.Run(t.Context(), "patronictl", append([]string{"-c", filepath.Join(c.den.Path, "db1.yml")}, args...)...)
}

// Front starts HAProxy and pgbouncer, as on a hub's machine. The list is pgbouncer's, of
// who may log in with which password.
func (c *Cluster) Front(t testing.TB, users string) {
	t.Helper()
	cfg := c.file(t, "haproxy.cfg", c.Guide(t, "haproxy.cfg", "    user haproxy\n    group haproxy\n", "", "    log /dev/log local0\n", "", "    log global\n", ""))
	ini := c.file(t, "pgbouncer.ini", c.Guide(t, "pgbouncer.ini", "/etc/pgbouncer/userlist.txt", c.file(t, "userlist.txt", users),
		"host=127.0.0.1 ", "host="+c.net+"21 ", "listen_addr = 127.0.0.1", "listen_addr = "+c.net+"21\nunix_socket_dir ="))
	c.behind(t, c.start(t, c.answers(5000), "haproxy", "-db", "-f", cfg)) // in the foreground
	// It takes every server for a good one until it has asked.
	c.Until(t, "HAProxy leads to the primary alone", func() bool {
		for range 2 * len(c.nodes) {
			out, err := shell(t, "host="+c.net+"21 port=5000 dbname=postgres", "SELECT pg_is_in_recovery()")
			if err != nil || out != "f" {
				return false
			}
		}
		return true
	})
	c.behind(t, c.start(t, c.answers(6432), "pgbouncer", ini))
}

func (c *Cluster) behind(t testing.TB, p *ward.Process) {
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
}

func (c *Cluster) answers(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		k, err := d.DialContext(ctx, "tcp", c.net+"21:"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		return k.Close()
	}
}

// Psql runs SQL with PostgreSQL's own shell, as the superuser, at the primary.
func (c *Cluster) Psql(t testing.TB, database, sql string) string {
	t.Helper()
	out, err := shell(t, fmt.Sprintf("host=%s,%s,%s dbname=%s target_session_attrs=read-write", c.addr(0), c.addr(1), c.addr(2), database), sql)
	if err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, sql, out)
	}
	return out
}

// shell runs psql with the superuser's password of the guide.
func shell(t testing.TB, at, sql string) (string, error) {
	cmd := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-",
		"-d", at+" user=postgres password=change-me-superuser")
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
