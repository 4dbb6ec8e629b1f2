package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// chinookScript is the sample database's PostgreSQL form, without the lines that make
// a database for it.
func chinookScript(t *testing.T) string {
	t.Helper()
	b := chinookIn(t, "TIDEMARK_CHINOOK_SQL", "Chinook_PostgreSql.sql")
	_, text, ok := strings.Cut(string(b), "\\c chinook;")
	if !ok {
		t.Fatal("the sample database's script is not what it was")
	}
	return text
}

// psql runs SQL through PostgreSQL's own shell.
func psql(t *testing.T, dsn, sql string) string {
	t.Helper()
	out, err := tryPsql(dsn, sql)
	if err != nil {
		t.Fatalf("psql: %v\n%s\n%s", err, tail(sql, 5), tail(out, 20))
	}
	return out
}

func tryPsql(dsn, sql string) (string, error) {
	cmd := exec.Command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-")
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

// A seller is a program that knows nothing of Tidemark and sells forever, through
// PostgreSQL's or SQLite's own shell. The invoices that its commit confirmed go to a list.
const sellScript = `
n=$3
while :; do
  n=$((n + 1))
  sql="BEGIN; INSERT INTO invoice (invoice_id, customer_id, invoice_date, total) VALUES ($n, $((n % 59 + 1)), '2026-01-01 00:00:00', '1.98');
    INSERT INTO invoice_line (invoice_line_id, invoice_id, track_id, unit_price, quantity) VALUES ($n, $n, $((n % 3000 + 1)), '0.99', 2);
    UPDATE customer SET fax = '$n' WHERE customer_id = $((n % 59 + 1)); COMMIT;"
  case $1 in
    postgres*) psql -X -q -v ON_ERROR_STOP=1 -d "$1" -c "$sql" >/dev/null 2>&1 && echo "$n" >>"$2" ;;
    *) sqlite3 -batch -bail -cmd ".timeout 30000" "$1" "PRAGMA foreign_keys=ON; $sql" >/dev/null 2>&1 && echo "$n" >>"$2" ;;
  esac
  sleep 0.15
done`

func sell(t *testing.T, at, list string, from int) *exec.Cmd {
	t.Helper()
	c := exec.Command("bash", "-c", sellScript, "seller", at, list, fmt.Sprint(from))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

// A database that an application has had for years, as it is: adopted by two hub
// processes, with three sites and a psql that all write. Either hub is killed in the
// middle, and so is PostgreSQL. Nothing is lost, and all agree in the end (I1, I2).
func TestPostgresTownUnderFire(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	need(t, "sqlite3", "psql", "bash")
	server := pgtest.Own(t, pgtest.Options{Durable: true})
	dsn := server.Database(t)
	psql(t, dsn, chinookScript(t))
	one, two := postgresTown(t, dsn)
	one.join(t, "berlin", "all")
	one.join(t, "oslo", "all")
	two.join(t, "lima", "all")
	files := append(append([]string{}, one.files...), two.files...)
	one.startAgent(t, 0)
	one.startAgent(t, 1)
	two.startAgent(t, 0)

	var sellers []*exec.Cmd
	var lists []string
	for i, at := range append([]string{dsn}, files...) {
		lists = append(lists, filepath.Join(one.dir, fmt.Sprintf("sold%d", i)))
		sellers = append(sellers, sell(t, at, lists[i], 1_000_000*(i+1)))
	}
	sold := func() (total int) {
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			total += strings.Count(string(b), "\n")
		}
		return total
	}
	more := func() {
		t.Helper()
		was := sold()
		eventually(t, 30*time.Second, "work goes on", func() bool { return sold() >= was+20 })
	}
	more()
	one.hub.kill()
	more() // the others go on without it
	one.startHub(t)
	server.Kill(t)
	more() // devices go on without anybody
	server.Start(t)
	more()
	two.hub.kill()
	two.startHub(t)
	more()
	for _, s := range sellers {
		_ = s.Process.Kill()
		_ = s.Wait()
	}
	for _, a := range append(one.agents, two.agents...) {
		a.stop(t)
	}
	for range 2 {
		one.settle(t)
		two.settle(t)
	}
	for i, l := range lists {
		b, err := os.ReadFile(l)
		if err != nil {
			t.Fatal(err)
		}
		ids := strings.Fields(string(b))
		count := fmt.Sprintf("SELECT count(*) FROM invoice JOIN invoice_line USING (invoice_id) WHERE invoice_id IN (%s)", strings.Join(ids, ","))
		if got := psql(t, dsn, count); got != fmt.Sprint(len(ids)) {
			t.Errorf("I1: of %d sales that writer %d committed the hub has %s", len(ids), i, got)
		}
	}
	for _, table := range []string{"invoice", "invoice_line", "customer", "track"} {
		want := psql(t, dsn, "SELECT count(*) FROM "+table)
		for _, f := range files {
			if got := shell(t, f, "SELECT count(*) FROM "+table); got != want {
				t.Errorf("I2: %s has %s rows of %s, the hub %s", filepath.Base(f), got, table, want)
			}
		}
		for _, f := range files[1:] {
			if a, b := dump(t, files[0], table, ""), dump(t, f, table, ""); a != b {
				t.Errorf("I2: %s of %s and %s differ: %s", table, files[0], f, firstDifference(a, b))
			}
		}
	}
	for _, f := range files {
		must(t, "verify", f) // the digests of the hub and of the file
		if st := edgeStatus(t, f); st.OutboxDepth != 0 || st.Quarantined != 0 {
			t.Errorf("%s still holds %d unsafe and %d quarantined", filepath.Base(f), st.OutboxDepth, st.Quarantined)
		}
	}
	t.Logf("%d sales", sold())
}

// postgresTown starts two hub processes on a database with Chinook's tables, the
// second with the keys of the first.
func postgresTown(t *testing.T, dsn string) (one, two *town) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "tidemark.yaml")
	must(t, "init", "--database", dsn, "-o", conf)
	one = &town{dir: dir, data: filepath.Join(dir, "one"), listen: "127.0.0.1:0"}
	one.startHub(t, "--config", conf, "--database", dsn)
	two = &town{dir: dir, data: filepath.Join(dir, "two"), listen: "127.0.0.1:0"}
	if _, errs, code := try(t, "hub", "--data", two.data, "--listen", two.listen, "--config", conf, "--database", dsn); code == 0 || !strings.Contains(errs, one.data) {
		t.Fatalf("a second hub without the first one's keys: code %d: %s", code, errs)
	}
	giveKeys(t, one, two)
	two.startHub(t, "--database", dsn)
	return one, two
}

// Every verb of a hub's operator works beside a hub on PostgreSQL, at either process.
func TestPostgresVerbs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	need(t, "sqlite3", "psql")
	dsn := pgtest.Database(t)
	psql(t, dsn, "CREATE TABLE item (id text PRIMARY KEY, n int CHECK (n > 0)); INSERT INTO item VALUES ('a', 1)")
	one, two := postgresTown(t, dsn)
	file := one.join(t, "till", "all")
	one.startAgent(t, 0)
	for _, args := range [][]string{
		{"device", "list"}, {"status"}, {"queue", "list"}, {"conflicts", "list"}, {"schema", "status"}, {"lease", "list"}, {"outbox", "recipient"}, {"doctor"},
	} {
		for _, tn := range []*town{one, two} {
			must(t, append(args, "--data", tn.data)...)
		}
	}
	doctor := must(t, "doctor", "--data", two.data)
	if !strings.Contains(doctor, "PostgreSQL 1") || !strings.Contains(doctor, "1 table") {
		t.Errorf("doctor says\n%s", doctor)
	}
	shell(t, file, "INSERT INTO item VALUES ('b', -1)")
	eventually(t, 20*time.Second, "the bad row is in quarantine", func() bool {
		return strings.Contains(must(t, "queue", "list", "--data", two.data), "constraint")
	})
	must(t, "device", "revoke", "till", "--data", two.data, "--reason", "stolen")
	eventually(t, 20*time.Second, "the other process turns the device away", func() bool {
		return strings.Contains(one.agents[0].log(), "revoked")
	})
	if !strings.Contains(one.hub.log(), "does the chores") {
		t.Error("the first process does not do the chores")
	}
	one.hub.kill()
	eventually(t, 15*time.Second, "the other process takes the chores over", func() bool {
		return strings.Contains(two.hub.log(), "does the chores")
	})
}

// giveKeys copies a hub's keys to the directory of another process, as the guide says.
func giveKeys(t *testing.T, from, to *town) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", "-t", to.data, filepath.Join(from.data, "tls"), filepath.Join(from.data, "seal.key"), filepath.Join(from.data, "parcel.key")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
