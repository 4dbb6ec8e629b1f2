package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

const haGuide = "../docs/guide/ha"

// A writer inserts rows as long as the test's process lives, and keeps a list of those whose commit was confirmed.
const writeScript = `
n=0
while kill -0 "$4" 2>/dev/null; do
  n=$((n + 1)) id="$3-$n"
  sql="INSERT INTO item VALUES ('$id', 7, '$n');"
  case $1 in
    postgres*) psql -X -q -v ON_ERROR_STOP=1 -d "$1" -c "$sql" >/dev/null 2>&1 && echo "$id" >>"$2" ;;
    *) sqlite3 -batch -bail -cmd ".timeout 30000" "$1" "$sql" >/dev/null 2>&1 && echo "$id" >>"$2" ;;
  esac
  sleep 0.1
done`

// A coast is a Patroni cluster, two hub processes that reach it as the guide says, a site
// at each, and a program at the hub; all three write all the time.
type coast struct {
	*pgtest.Cluster
	one, two *town
	dsn      string // for the program: through HAProxy
	lists    []string
	writers  []*exec.Cmd
}

func newCoast(t *testing.T) *coast {
	t.Helper()
	c := &coast{Cluster: pgtest.NewCluster(t, haGuide)}
	guide, err := os.ReadFile("../docs/guide/high-availability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sql, _ := strings.Cut(string(guide), "```sql\n")
	sql, users, ok := strings.Cut(sql, "```")
	_, users, found := strings.Cut(users, "-c \"")
	users, _, end := strings.Cut(users, "\" >")
	if !ok || !found || !end {
		t.Fatal("the guide does not say how to make the role and the list of users")
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(sql), "\n") {
		c.Psql(t, "postgres", statement)
	}
	c.Front(t, c.Psql(t, "postgres", strings.ReplaceAll(users, `\"`, `"`))+"\n")
	pass := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(pass, []byte("*:*:shop:tidemark:change-me-tidemark\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", pass)
	c.hubs(t)
	return c
}

// hubs starts a hub process on the guide's tidemark.yaml, and one through pgbouncer.
func (c *coast) hubs(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	plain := c.Guide(t, "tidemark.yaml", "  url: https://sync.example.com:8443", "  # url:",
		"redis://cache.example.com:6379/0", pgtest.NewRedis(t).URL())
	_, c.dsn, _ = strings.Cut(plain, "\n  database: ")
	c.dsn, _, _ = strings.Cut(c.dsn, "\n")
	psql(t, c.dsn, "CREATE TABLE item (id text PRIMARY KEY, branch int, note text)")
	pooled := strings.NewReplacer("\n  database:", "\n  # database:", "\n  # database:", "\n  database:",
		"\n  # listen_database:", "\n  listen_database:", "\n  # pooled:", "\n  pooled:").Replace(plain)
	c.one = &town{dir: dir, data: filepath.Join(dir, "one"), listen: "127.0.0.1:0"}
	c.two = &town{dir: dir, data: filepath.Join(dir, "two"), listen: "127.0.0.1:0"}
	for i, text := range []string{pooled, plain} {
		conf := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			c.one.startHub(t, "--config", conf)
			if err := os.MkdirAll(c.two.data, 0o700); err != nil {
				t.Fatal(err)
			}
			giveKeys(t, c.one, c.two)
			continue
		}
		c.two.startHub(t, "--config", conf)
	}
}

// write starts the sites' agents, and all who write.
func (c *coast) write(t *testing.T) {
	t.Helper()
	for _, tn := range []*town{c.one, c.two} {
		tn.join(t, "site-"+filepath.Base(tn.data), "branch/7")
		tn.startAgent(t, 0)
	}
	for i, at := range []string{c.dsn, c.one.files[0], c.two.files[0]} {
		c.lists = append(c.lists, filepath.Join(c.one.dir, fmt.Sprintf("written%d", i)))
		w := exec.Command("bash", "-c", writeScript, "writer", at, c.lists[i], []string{"sql", "one", "two"}[i], fmt.Sprint(os.Getpid()))
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		c.writers = append(c.writers, w)
		t.Cleanup(func() { _ = w.Process.Kill(); _ = w.Wait() })
	}
}

// takes does something, and logs for how long.
func takes(t *testing.T, what string, do func()) {
	t.Helper()
	began := clock.System{}.Now()
	do()
	t.Logf("%5.1f s: %s", clock.System{}.Now().Sub(began).Seconds(), what)
}

// flows waits until each site has heard of a row that each of the others wrote since now.
func (c *coast) flows(t *testing.T, what string) {
	t.Helper()
	written := func(who int) []string {
		b, err := os.ReadFile(c.lists[who])
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Fields(string(b))
	}
	takes(t, "work flows "+what, func() {
		var was [3]int
		for who := range was {
			was[who] = len(written(who))
		}
		for who := range was {
			eventually(t, pgtest.ClusterPatience, fmt.Sprintf("writer %d goes on %s", who, what), func() bool { return len(written(who)) > was[who] })
			row := written(who)[was[who]]
			for _, tn := range []*town{c.one, c.two} {
				eventually(t, pgtest.ClusterPatience, fmt.Sprintf("%s has %s %s", filepath.Base(tn.files[0]), row, what), func() bool {
					out, err := tryShell(tn.files[0], "SELECT count(*) FROM item WHERE id = '"+row+"'")
					return err == nil && out == "1"
				})
			}
		}
	})
}

// another waits until another machine than was is the primary.
func (c *coast) another(t *testing.T, was int) {
	t.Helper()
	takes(t, "another machine is the primary", func() {
		c.Until(t, "another primary", func() bool { now := c.Primary(); return now >= 0 && now != was })
	})
}

// settled waits until all machines are there again.
func (c *coast) settled(t *testing.T) {
	t.Helper()
	takes(t, "all machines are there", func() { c.Settled(t) })
}

// nothingLost stops all who write, and compares.
func (c *coast) nothingLost(t *testing.T) {
	t.Helper()
	for _, w := range c.writers {
		_ = w.Process.Kill()
		_ = w.Wait()
	}
	towns := []*town{c.one, c.two}
	for _, tn := range towns {
		tn.agents[0].stop(t)
	}
	for range 2 {
		for _, tn := range towns {
			tn.settle(t)
		}
	}
	for _, list := range c.lists {
		b, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		ids := strings.Fields(string(b))
		if got := psql(t, c.dsn, "SELECT count(*) FROM item WHERE id IN ('"+strings.Join(ids, "','")+"')"); got != fmt.Sprint(len(ids)) {
			t.Errorf("I1: of %d confirmed rows like %s the hub has %s", len(ids), ids[0], got)
		}
	}
	want := psql(t, c.dsn, "SELECT count(*) FROM item")
	for _, tn := range towns {
		f := tn.files[0]
		if got := shell(t, f, "SELECT count(*) FROM item"); got != want {
			t.Errorf("I2: %s has %s rows, the hub %s", filepath.Base(f), got, want)
		}
		must(t, "verify", f) // the digests of the hub and of the file
		if st := edgeStatus(t, f); st.OutboxDepth != 0 || st.Quarantined != 0 {
			t.Errorf("%s still holds %d unsafe and %d quarantined", filepath.Base(f), st.OutboxDepth, st.Quarantined)
		}
		if log := tn.agents[0].log(); strings.Contains(log, "offered again") && !strings.Contains(log, "nothing had to be offered again") {
			t.Errorf("a device handed something in again, so something was lost:\n%s", log)
		}
	}
	t.Logf("%s rows", want)
}

// The guide's own files, with a lease of 10 s in place of 30: the primary's machine dies,
// comes back, is switched over to, and loses its Patroni alone, while two hub processes, two
// sites and a program work. Whatever was confirmed to anybody is there.
func TestThePatroniReferenceFailsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	need(t, "sqlite3", "psql", "bash", "patroni", "patronictl", "etcd", "cp")
	var c *coast
	takes(t, "three machines and two hub processes run", func() { c = newCoast(t) })
	c.write(t)
	c.flows(t, "at first")

	first := c.Primary()
	c.Kill(t, first)
	c.another(t, first)
	c.flows(t, "after the primary's machine died")
	c.Start(t, first)
	c.settled(t)

	second := c.Primary()
	if err := c.Patronictl(t, "switchover", "shop", "--force"); err != nil {
		t.Fatal(err)
	}
	c.another(t, second)
	c.flows(t, "after a planned switchover")
	c.settled(t)

	third := c.Primary()
	c.KillPatroni(t, third) // its PostgreSQL still takes itself for the primary
	c.another(t, third)
	c.flows(t, "after the primary's Patroni died alone")
	c.StartPatroni(t, third)
	takes(t, "compared", func() { c.nothingLost(t) })
	c.settled(t)
}
