package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestJoinKilledAtRandom: a join that is killed with -9 again and again leaves
// either nothing at the path or the whole file, goes on where it was, and the
// rows are those of the hub in the end (trap D18).
func TestJoinKilledAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	need(t, "sqlite3")
	source := filepath.Join(t.TempDir(), "shop.db")
	shell(t, source, shopDDL+`WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
		INSERT INTO sale SELECT 's' || i, 'i' || (i % 3), i, hex(randomblob(500)) FROM n;`)
	tn := newTown(t, source, shopRules, "")
	const sum = "SELECT count(*), sum(qty), sum(length(note)), max(note) FROM sale"
	want := shell(t, tn.db(), sum)
	for site := range 3 {
		name := "site" + string(rune('0'+site))
		file := filepath.Join(tn.dir, name+".db")
		invite := mustJSON[struct {
			Token string `json:"token"`
		}](t, "device", "add", name, "--data", tn.data, "--scope", "all")
		kills := 0
		for done := false; !done; {
			p := start(t, "", "join", invite.Token, file)
			deadline := time.NewTimer(time.Duration(10+6*kills+rand.IntN(120)) * time.Millisecond)
			select {
			case <-p.done:
				done = p.cmd.ProcessState.ExitCode() == 0 || strings.Contains(p.log(), "enrolled already")
				if !done {
					t.Fatalf("join: %s", p.log())
				}
			case <-deadline.C:
				p.kill()
				kills++
			}
			if _, err := os.Lstat(file); err != nil {
				continue
			}
			if got := shell(t, file, "SELECT value FROM _tidemark_meta WHERE key='complete'"); got != "1" {
				t.Fatalf("after %d kills the file is there, but not complete: %q", kills, got)
			}
			if got := shell(t, file, sum); got != want {
				t.Fatalf("after %d kills the file holds %s, not %s", kills, got, want)
			}
		}
		must(t, "sync", "--once", file)
		must(t, "verify", file)
		if got := shell(t, file, "PRAGMA integrity_check; "+sum); got != "ok\n"+want {
			t.Fatalf("%d kills: %s, not %s", kills, got, want)
		}
		shell(t, file, "INSERT INTO sale VALUES ('new-"+name+"', 'i0', 1, 'after the snapshot')")
		must(t, "sync", "--once", file)
		shell(t, tn.db(), "DELETE FROM sale WHERE id='new-"+name+"'")
		t.Logf("%s: %d kills", name, kills)
	}
}
