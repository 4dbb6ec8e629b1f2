package pgtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// A Cluster is three machines that the guide describes: PostgreSQL below Patroni, with
// etcd, and HAProxy and pgbouncer in front, from the guide's own files. Machine 0 is the
// guide's db1. Its methods are for one goroutine.
type Cluster struct {
	den   *ward.Den
	guide string // the directory with the guide's files
	net   string // "127.64.9.", which stands for the guide's "10.0.0."
	nodes [3]node
}

// A node is what runs on one machine. Patroni's PostgreSQL is known by its own file.
type node struct{ etcd, patroni *ward.Process }

// ClusterPatience is how long anything may take in a cluster on a machine that is busy
// with other work.
const ClusterPatience = 4 * time.Minute

var clusters atomic.Int64

// NewCluster starts the three machines, and returns when one is the primary and another
// one has to confirm its commits.
func NewCluster(t testing.TB, guide string) *Cluster {
	t.Helper()
	den, err := ward.Open("postgres")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{den: den, guide: guide}
	t.Cleanup(c.close(t))
	if c.net, err = freeNet(); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		c.lay(t, i)
		c.startEtcd(t, i)
	}
	c.Until(t, "etcd agrees on a leader", func() bool { return c.get(c.addr(0)+":2379/health") == http.StatusOK })
	for i := range c.nodes {
		c.StartPatroni(t, i)
	}
	c.Settled(t)
	return c
}

// close ends HAProxy's and etcd's kind, which take a polite signal for something else, at
// once; the den's end does the rest.
func (c *Cluster) close(t testing.TB) func() {
	return func() {
		if t.Failed() {
			c.tell(t)
		}
		for _, n := range c.nodes {
			for _, p := range []*ward.Process{n.patroni, n.etcd} {
				if p == nil {
					continue
				}
				if err := p.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := c.den.Close(); err != nil {
			t.Error(err)
		}
	}
}

// tell prints what the machines said last.
func (c *Cluster) tell(t testing.TB) {
	for i, n := range c.nodes {
		if n.patroni != nil {
			t.Logf("Patroni of db%d:\n%s", i+1, n.patroni.Log())
		}
	}
}

// freeNet finds a part of the loopback network where nobody listens. Whoever connects to
// its addresses comes from 127.0.0.1.
func freeNet() (string, error) {
	var last error
	for range 16 {
		n := int(clusters.Add(1))*977 + os.Getpid()
		try := fmt.Sprintf("127.%d.%d.", 64+n>>8&63, n&255)
		l, err := net.Listen("tcp", try+"11:5432")
		if err == nil {
			return try, l.Close()
		}
		last = err
	}
	return "", fmt.Errorf("find free addresses for a cluster: %w", last)
}

func (c *Cluster) addr(i int) string { return fmt.Sprintf("%s1%d", c.net, i+1) }

func (c *Cluster) path(i int, name string) string {
	return filepath.Join(c.den.Path, fmt.Sprintf("db%d", i+1), name)
}

// Guide reads one of the guide's files, and changes in it what the machines' addresses
// are, and what else is said: each text must be there.
func (c *Cluster) Guide(t testing.TB, name string, change ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.guide, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(text, change[i]) {
			t.Fatalf("%s does not say %q", name, change[i])
		}
		text = strings.ReplaceAll(text, change[i], change[i+1])
	}
	text = strings.ReplaceAll(text, "127.0.0.1:", c.net+"21:") // the hub's machine
	return strings.ReplaceAll(text, "10.0.0.1", c.net+"1")
}

// lay writes a machine's files.
func (c *Cluster) lay(t testing.TB, i int) {
	t.Helper()
	name := fmt.Sprintf("db%d", i+1)
	if err := c.den.Run(t.Context(), "mkdir", "-m", "700", filepath.Join(c.den.Path, name)); err != nil {
		t.Fatal(err)
	}
	mine := []string{"10.0.0.0/24", "127.0.0.0/8", "name: db1", "name: " + name}
	for _, port := range []string{":8008", ":5432"} {
		mine = append(mine, "10.0.0.11"+port, fmt.Sprintf("10.0.0.1%d%s", i+1, port))
	}
	c.file(t, name+".yml", c.Guide(t, "patroni.yml", append(mine,
		"/var/lib/postgresql/15/shop", c.path(i, "data"),
		"/var/lib/postgresql/patroni.pgpass", c.path(i, "pgpass"),
		// What is killed leaves nothing behind, and three servers share a machine.
		"unix_socket_directories: /var/run/postgresql", "unix_socket_directories: "+c.path(i, "")+"\n    dynamic_shared_memory_type: mmap\n    shared_buffers: 32MB",
		// A lease that ends sooner: the shortest that Patroni thinks sound for these waits.
		"ttl: 30", "ttl: 10", "loop_wait: 10", "loop_wait: 1", "retry_timeout: 10", "retry_timeout: 4",
	)...))
	// The den's end finds the PostgreSQL that Patroni started by this.
	if err := os.Symlink(c.path(i, "data/postmaster.pid"), filepath.Join(c.den.Path, "postgres-"+name+".pid")); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) file(t testing.TB, name, text string) string {
	t.Helper()
	path, err := c.den.File(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *Cluster) start(t testing.TB, ready func(context.Context) error, name string, args ...string) *ward.Process {
	t.Helper()
	bin, err := ward.Find("/usr/sbin/"+name, name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.den.Start(t.Context(), bin, ready, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func atOnce(context.Context) error { return nil }

// startEtcd starts a machine's etcd with the guide's settings, as flags.
func (c *Cluster) startEtcd(t testing.TB, i int) {
	t.Helper()
	env := c.Guide(t, "etcd.env", "NAME=db1", fmt.Sprintf("NAME=db%d", i+1),
		"10.0.0.11:2380\n", fmt.Sprintf("10.0.0.1%d:2380\n", i+1), "10.0.0.11:2379\n", fmt.Sprintf("10.0.0.1%d:2379\n", i+1),
		"/var/lib/etcd/shop", c.path(i, "etcd"))
	var args []string
	for line := range strings.Lines(env) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "ETCD_") {
			name = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "ETCD_"), "_", "-"))
			args = append(args, "--"+name+"="+value)
		}
	}
	c.nodes[i].etcd = c.start(t, atOnce, "etcd", args...)
}

// StartPatroni starts a machine's Patroni, which starts its PostgreSQL.
func (c *Cluster) StartPatroni(t testing.TB, i int) {
	t.Helper()
	c.nodes[i].patroni = c.start(t, atOnce, "patroni", filepath.Join(c.den.Path, fmt.Sprintf("db%d.yml", i+1)))
}

// Start starts a machine again after Kill.
func (c *Cluster) Start(t testing.TB, i int) {
	t.Helper()
	c.startEtcd(t, i)
	c.StartPatroni(t, i)
}

// KillPatroni ends a machine's Patroni at once. Its PostgreSQL runs on.
func (c *Cluster) KillPatroni(t testing.TB, i int) {
	t.Helper()
	if err := c.nodes[i].patroni.Kill(); err != nil {
		t.Fatal(err)
	}
}

// get asks for a page, and returns its status, 0 when nobody answers.
func (c *Cluster) get(at string) int {
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + at)
	if err != nil {
		return 0
	}
	_ = r.Body.Close() // only the status counts
	return r.StatusCode
}

// Primary is the machine whose Patroni says that it is the primary, -1 when none does.
func (c *Cluster) Primary() int {
	for i := range c.nodes {
		if c.get(c.addr(i)+":8008/primary") == http.StatusOK {
			return i
		}
	}
	return -1
}

// A Member is what Patroni says of a machine.
type Member struct {
	Name, Role, State string
	Timeline          int
}

// Members are the machines, as any of them sees them; none when nobody answers.
func (c *Cluster) Members() []Member {
	for i := range c.nodes {
		r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + c.addr(i) + ":8008/cluster")
		if err != nil {
			continue
		}
		var out struct{ Members []Member }
		err = json.NewDecoder(r.Body).Decode(&out)
		_ = r.Body.Close() // it was read
		if err == nil && len(out.Members) > 0 {
			return out.Members
		}
	}
	return nil
}

// Settled waits until all machines run: a primary, and standbys on its timeline, one of
// which has to confirm commits.
func (c *Cluster) Settled(t testing.TB) {
	t.Helper()
	c.Until(t, "a primary, a standby that confirms its commits, and all on one timeline", func() bool {
		list := c.Members()
		roles := map[string]int{}
		for _, m := range list {
			if m.State != "running" || m.Timeline != list[0].Timeline {
				return false
			}
			roles[m.Role]++
		}
		return len(list) == len(c.nodes) && roles["leader"] == 1 && roles["sync_standby"] == 1
	})
}

// Until looks ten times a second until ok says yes.
func (c *Cluster) Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(ClusterPatience)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-limit.C:
			t.Fatalf("not within %v: %s; %+v", ClusterPatience, what, c.Members())
		case <-look.C:
		}
	}
}
