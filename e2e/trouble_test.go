package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newShop(t *testing.T, netns string, sites int) *town {
	t.Helper()
	need(t, "sqlite3")
	source := filepath.Join(t.TempDir(), "shop.db")
	shell(t, source, shopDDL)
	tn := newTown(t, source, shopRules, netns)
	for i := range sites {
		tn.join(t, fmt.Sprintf("site%d", i), "all")
	}
	return tn
}

func sale(id string) string {
	return fmt.Sprintf(`BEGIN IMMEDIATE; INSERT INTO sale VALUES ('%s','i0',1,'t'); UPDATE item SET qty=qty-1 WHERE id='i0'; COMMIT;`, id)
}

func (tn *town) hubHas(t *testing.T, id string) bool {
	t.Helper()
	out, err := tryShell(tn.db(), `SELECT 1 FROM sale WHERE id='`+id+`'`)
	return err == nil && out == "1"
}

func has(file, id string) bool {
	out, err := tryShell(file, `SELECT 1 FROM sale WHERE id='`+id+`'`)
	return err == nil && out == "1"
}

// A change at the hub reaches an idle connected edge well under a second, whether a
// device handed it in or another program wrote it with plain SQL.
func TestLive(t *testing.T) {
	tn := newShop(t, "", 2)
	tn.startAgent(t, 0)
	tn.startAgent(t, 1)
	for _, a := range []int{0, 1} {
		eventually(t, 20*time.Second, "both agents are online", func() bool {
			return strings.Contains(must(t, "status", tn.files[a]), "online")
		})
	}
	shell(t, tn.files[0], sale("from-a"))
	eventually(t, 10*time.Second, "a sale at site 0 reaches site 1", func() bool { return has(tn.files[1], "from-a") })
	shell(t, tn.db(), sale("from-hub"))
	eventually(t, 10*time.Second, "plain SQL at the hub reaches both", func() bool {
		return has(tn.files[0], "from-hub") && has(tn.files[1], "from-hub")
	})
	tn.sameRows(t, "item", "sale")
}

// A site's disk fills up: the application's own writes and ours fail cleanly, the
// agent says so, and everything goes on when there is room again.
func TestDiskFull(t *testing.T) {
	needRoot(t)
	tn := newShop(t, "", 1)
	small := filepath.Join(tn.dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small).CombinedOutput(); err != nil {
		t.Fatalf("mount a small tmpfs: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		for _, a := range tn.agents {
			if a != nil {
				a.kill()
			}
		}
		_ = exec.Command("umount", "-l", small).Run()
	})
	invite := mustJSON[struct {
		Token string `json:"token"`
	}](t, "device", "add", "small", "--data", tn.data, "--scope", "all")
	file := filepath.Join(small, "app.db")
	must(t, "join", invite.Token, file)
	tn.files = append(tn.files, file)
	tn.startAgent(t, 1)
	shell(t, file, sale("before"))
	eventually(t, 20*time.Second, "the first sale arrives", func() bool { return tn.hubHas(t, "before") })

	filler := filepath.Join(small, "filler")
	_ = exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=4k").Run() // until full
	shell(t, tn.files[0], `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)
		INSERT INTO sale SELECT 'big'||i, 'i0', 1, hex(randomblob(200)) FROM n`)
	must(t, "sync", "--once", tn.files[0])
	eventually(t, 30*time.Second, "the agent says the disk is full", func() bool {
		out, _, _ := try(t, "status", file)
		return strings.Contains(out, "disk-full") || strings.Contains(tn.agents[1].log(), "disk")
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "the site catches up once there is room", func() bool { return has(file, "big500") })
	shell(t, file, sale("after"))
	eventually(t, 60*time.Second, "and hands in again", func() bool { return tn.hubHas(t, "after") })
	if got := shell(t, file, `PRAGMA integrity_check`); got != "ok" {
		t.Errorf("integrity check: %s", got)
	}
}

// Another program holds the write lock for seconds: the agent waits, loses
// nothing and does not spin.
func TestLockedFile(t *testing.T) {
	need(t, "python3")
	tn := newShop(t, "", 1)
	tn.startAgent(t, 0)
	shell(t, tn.files[0], sale("one"))
	holder := exec.Command("python3", "-c", `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO sale VALUES ('held','i0',1,'h')")
print("held", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
`, tn.files[0])
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	shell(t, tn.db(), sale("meanwhile")) // something to apply while the lock is held
	hold := time.NewTimer(12 * time.Second)
	<-hold.C
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if err := holder.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 40*time.Second, "the held transaction arrives at the hub, the hub's at the site", func() bool {
		return tn.hubHas(t, "held") && has(tn.files[0], "meanwhile")
	})
}

// The file becomes read-only: the agent says so and picks up when it is writable again.
func TestReadOnlyFile(t *testing.T) {
	needRoot(t)
	need(t, "chattr")
	tn := newShop(t, "", 1)
	file := tn.files[0]
	shell(t, file, `PRAGMA wal_checkpoint(TRUNCATE)`)
	if out, err := exec.Command("chattr", "+i", file).CombinedOutput(); err != nil {
		t.Skipf("this file system has no immutable files: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", file).Run() })
	shell(t, tn.db(), sale("from-hub")) // something to write
	_, errs, code := try(t, "sync", "--once", file)
	if code == 0 || !strings.Contains(errs, file) {
		t.Errorf("exit code %d, said: %s", code, errs)
	}
	if out, err := exec.Command("chattr", "-i", file).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	shell(t, file, sale("writable"))
	must(t, "sync", "--once", file)
	if !tn.hubHas(t, "writable") || !has(file, "from-hub") {
		t.Error("the sales did not arrive")
	}
}

// The hub is away for long: the agent keeps the work, says since when, and hands
// it in when the hub is back.
func TestHubUnreachable(t *testing.T) {
	tn := newShop(t, "", 1)
	tn.startAgent(t, 0)
	eventually(t, 20*time.Second, "online", func() bool { return strings.Contains(must(t, "status", tn.files[0]), "online") })
	tn.hub.kill()
	for i := range 30 {
		shell(t, tn.files[0], sale(fmt.Sprintf("offline%d", i)))
	}
	eventually(t, 30*time.Second, "status tells of unsafe work", func() bool {
		st := edgeStatus(t, tn.files[0])
		return st.OutboxDepth > 0 && st.OldestUnsafe > 0
	})
	_, errs, code := try(t, "sync", "--once", tn.files[0])
	if code == 0 {
		t.Errorf("sync --once beside a running agent and without a hub exits 0: %s", errs)
	}
	tn.startHub(t)
	eventually(t, 60*time.Second, "everything arrives", func() bool { return tn.hubHas(t, "offline29") })
	eventually(t, 30*time.Second, "and the edge knows", func() bool { return edgeStatus(t, tn.files[0]).OutboxDepth == 0 })
}

// Packets are dropped without a word, so that both ends think they are connected:
// heartbeats notice, and the agent gets through once packets pass (trap D17).
func TestTrapD17_HalfOpen(t *testing.T) {
	needRoot(t)
	need(t, "ip", "iptables")
	ns := fmt.Sprintf("tidemark%d", os.Getpid())
	sh := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	sh("ip", "netns", "add", ns)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	sh("ip", "netns", "exec", ns, "ip", "link", "set", "lo", "up")
	tn := newShop(t, ns, 1)
	tn.startAgent(t, 0)
	eventually(t, 20*time.Second, "online", func() bool { return strings.Contains(must(t, "status", tn.files[0]), "online") })
	port := tn.listen[strings.LastIndex(tn.listen, ":")+1:]
	for _, dir := range []string{"--dport", "--sport"} {
		sh("ip", "netns", "exec", ns, "iptables", "-A", "INPUT", "-p", "tcp", dir, port, "-j", "DROP")
	}
	shell(t, tn.files[0], sale("dropped"))
	eventually(t, 90*time.Second, "the agent notices that nobody answers", func() bool {
		return !strings.Contains(must(t, "status", tn.files[0]), "online")
	})
	sh("ip", "netns", "exec", ns, "iptables", "-F", "INPUT")
	eventually(t, 90*time.Second, "the sale arrives once packets pass", func() bool { return tn.hubHas(t, "dropped") })
}
