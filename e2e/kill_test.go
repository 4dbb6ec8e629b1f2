package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shopDDL = `PRAGMA journal_mode=WAL;
CREATE TABLE item (id TEXT PRIMARY KEY, qty INTEGER NOT NULL);
CREATE TABLE sale (id TEXT PRIMARY KEY, item_id TEXT NOT NULL REFERENCES item(id), qty INTEGER NOT NULL, note TEXT);
INSERT INTO item VALUES ('i0', 100000), ('i1', 100000), ('i2', 100000);`

const shopRules = `
tables:
  item:
    scope: all
    columns:
      qty: {policy: counter}
  sale:
    scope: all
`

// writers are three programs that know nothing of Tidemark. Each sells forever: one
// transaction is a sale and what it takes from the stock. Each id that its commit
// confirmed goes to a list of its own, so that the test knows what was committed.
const pythonWriter = `
import sqlite3, sys, time, uuid, random
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute("PRAGMA foreign_keys=ON")
out = open(sys.argv[2], "a", buffering=1)
while True:
    id = str(uuid.uuid4()); n = random.randint(1, 3); item = "i%d" % random.randint(0, 2)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE _tidemark_tx SET id=id+1")
        db.execute("INSERT INTO sale VALUES (?,?,?,?)", (id, item, n, "python"))
        db.execute("UPDATE item SET qty=qty-? WHERE id=?", (n, item))
        db.execute("COMMIT")
    except sqlite3.OperationalError:
        if db.in_transaction: db.execute("ROLLBACK")
        continue
    out.write(id + "\n")
    time.sleep(0.02)
`

// shellWriter is the C library's shell, started anew for each sale.
func shellWriter(file, list string) *exec.Cmd {
	script := `
while :; do
  id=$(cat /proc/sys/kernel/random/uuid); n=$((RANDOM % 3 + 1)); item=i$((RANDOM % 3))
  sqlite3 -batch -bail -cmd ".timeout 30000" "$1" "PRAGMA foreign_keys=ON; BEGIN IMMEDIATE; INSERT INTO sale VALUES ('$id','$item',$n,'shell'); UPDATE item SET qty=qty-$n WHERE id='$item'; COMMIT;" >/dev/null 2>&1 && echo "$id" >>"$2"
  sleep 0.05
done`
	return exec.Command("bash", "-c", script, "shell-writer", file, list)
}

// TestKilledAtRandom: three sites whose applications never stop writing, the hub
// and the agents killed with -9 a hundred times. Nothing is lost, nothing is
// applied twice, and everyone agrees in the end (I1, I2, I8).
func TestKilledAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	need(t, "sqlite3", "python3", "bash")
	source := filepath.Join(t.TempDir(), "shop.db")
	shell(t, source, shopDDL)
	tn := newTown(t, source, shopRules, "")
	var lists []string
	for i := range 3 {
		tn.join(t, fmt.Sprintf("site%d", i), "all")
		tn.startAgent(t, i)
		lists = append(lists, filepath.Join(tn.dir, fmt.Sprintf("committed%d", i)))
	}
	goWriter := buildGoWriter(t)
	writers := []*exec.Cmd{
		exec.Command("python3", "-c", pythonWriter, tn.files[0], lists[0]),
		shellWriter(tn.files[1], lists[1]),
		exec.Command(goWriter, tn.files[2], lists[2]),
	}
	for _, w := range writers {
		w.Stderr = os.Stderr
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Process.Kill(); _ = w.Wait() })
	}

	const kills = 100
	rng := rand.New(rand.NewPCG(1, 2))
	pause := time.NewTimer(0)
	<-pause.C
	for range kills {
		pause.Reset(time.Duration(20+rng.IntN(250)) * time.Millisecond)
		<-pause.C
		switch i := rng.IntN(4); i {
		case 3:
			tn.hub.kill()
			tn.startHub(t)
		default:
			tn.agents[i].kill()
			tn.startAgent(t, i)
		}
	}
	for _, w := range writers {
		_ = w.Process.Kill()
		_ = w.Wait()
	}
	for _, a := range tn.agents {
		a.stop(t)
	}
	tn.settle(t)

	committed := 0
	for i, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		ids := strings.Fields(string(b))
		if len(ids) < 20 {
			t.Errorf("writer %d committed only %d sales: the test proves little", i, len(ids))
		}
		committed += len(ids)
		js, _ := json.Marshal(ids)
		lost := shell(t, tn.db(), fmt.Sprintf(`SELECT value FROM json_each('%s') WHERE value NOT IN (SELECT id FROM sale)`, js))
		if lost != "" {
			t.Errorf("I1: committed at site %d and not at the hub: %s", i, lost)
		}
	}
	if wrong := shell(t, tn.db(), `SELECT id, qty, (SELECT 100000 - sum(qty) FROM sale WHERE item_id=item.id) AS want FROM item WHERE qty <> want`); wrong != "" {
		t.Errorf("I1: stock and sales disagree at the hub: %s", wrong)
	}
	tn.sameRows(t, "item", "sale")
	for _, f := range tn.files {
		if st := edgeStatus(t, f); st.OutboxDepth != 0 || st.Quarantined != 0 {
			t.Errorf("%s still holds %d unsafe and %d quarantined", filepath.Base(f), st.OutboxDepth, st.Quarantined)
		}
		must(t, "verify", f)
	}
	t.Logf("%d kills, %d sales committed", kills, committed)
}

// buildGoWriter builds the third writer: Go, with database/sql.
func buildGoWriter(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "writer")
	cmd := exec.Command("go", "build", "-o", out, "./testdata/writer")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Go writer: %v\n%s", err, b)
	}
	return out
}

func readJSON[T any](t *testing.T, path string) T {
	t.Helper()
	var v T
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}
