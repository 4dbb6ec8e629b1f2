package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A ruin is a town on Chinook whose hub was put back from a copy, after two sites
// handed in more and somebody wrote at the hub itself.
type ruin struct {
	*town
	berlin, oslo, lima string
}

func newRuin(t *testing.T, agents bool) *ruin {
	t.Helper()
	need(t, "sqlite3")
	tn := newTown(t, chinook(t), "", "")
	r := &ruin{town: tn}
	r.berlin, r.oslo, r.lima = tn.join(t, "berlin", "all"), tn.join(t, "oslo", "all"), tn.join(t, "lima", "all")
	shell(t, r.berlin, `INSERT INTO Artist VALUES (9001, 'before the copy')`)
	tn.settle(t)

	copied := filepath.Join(tn.dir, "backup.db")
	shell(t, tn.db(), ".backup "+copied)
	// What the copy does not have. lima hears of none of it.
	shell(t, r.berlin, `INSERT INTO Artist VALUES (9002, 'berlin, lost'); INSERT INTO Album VALUES (9002, 'Debil', 9002); UPDATE Customer SET Phone='berlin' WHERE CustomerId=2`)
	must(t, "sync", "--once", r.berlin)
	shell(t, r.oslo, `INSERT INTO Artist VALUES (9003, 'oslo, lost'); DELETE FROM Artist WHERE ArtistId=25`)
	must(t, "sync", "--once", r.oslo)
	shell(t, tn.db(), `INSERT INTO MediaType VALUES (77, 'Vinyl'); UPDATE Genre SET Name='Opera!' WHERE GenreId=25; INSERT INTO Artist VALUES (9004, 'at the hub, lost')`)
	must(t, "sync", "--once", r.berlin)
	must(t, "sync", "--once", r.oslo)

	if agents {
		for i := range tn.files {
			tn.startAgent(t, i)
		}
		r.agents(t, "online")
	}
	tn.hub.stop(t)
	for _, end := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(tn.db() + end)
	}
	b, err := os.ReadFile(copied)
	if err == nil {
		err = os.WriteFile(tn.db(), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Written while nothing is connected, or while the hub waits.
	shell(t, r.berlin, `UPDATE Artist SET Name='berlin, later' WHERE ArtistId=9002`)
	shell(t, r.lima, `INSERT INTO Artist VALUES (9005, 'lima, unsent')`)
	return r
}

func (r *ruin) agents(t *testing.T, state string) {
	t.Helper()
	for _, f := range r.files {
		eventually(t, time.Minute, "the agent of "+filepath.Base(f)+" is "+state, func() bool {
			return strings.Contains(must(t, "status", f, "--json"), `"state": "`+state+`"`)
		})
	}
}

// come lets every site sync, whatever of its work is parked.
func (r *ruin) come(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, f := range r.files {
			if _, errs, code := try(t, "sync", "--once", "--wait", "60s", f); code != 0 && code != 6 {
				t.Fatalf("sync %s: exit code %d\n%s", f, code, errs)
			}
		}
	}
}

func (r *ruin) artists(t *testing.T) string {
	t.Helper()
	return shell(t, r.db(), `SELECT group_concat(ArtistId || ' ' || Name, '; ') FROM (SELECT * FROM Artist WHERE ArtistId > 9000 OR ArtistId = 25 ORDER BY ArtistId)`)
}

type queued struct {
	ID, Code, Device string
	Rows             int
}

func (r *ruin) queue(t *testing.T) []queued {
	t.Helper()
	return mustJSON[struct{ Queue []queued }](t, "queue", "list", "--data", r.data).Queue
}

func codes(list []queued) string {
	var out []string
	for _, q := range list {
		out = append(out, q.Code)
	}
	return strings.Join(out, " ")
}

const (
	atCopy   = "25 Milton Nascimento & Bebeto; 9001 before the copy"
	allBack  = "9001 before the copy; 9002 berlin, later; 9003 oslo, lost; 9005 lima, unsent"
	withOurs = "9001 before the copy; 9002 berlin, later; 9003 oslo, lost; 9004 at the hub, lost; 9005 lima, unsent"
)

// A hub's database is put back from a copy and the hub is started without a word,
// with three sites connected. It serves nothing and says so on all sides; on the
// operator's word everything handed in comes back exactly once, and what was
// written at the hub waits for review.
func TestTrapD5_HubPutBackFromACopy(t *testing.T) {
	r := newRuin(t, true)
	r.startHub(t)
	if log := r.hub.log(); !strings.Contains(log, "NOTHING IS SERVED") || !strings.Contains(log, "tidemark hub --restored") {
		t.Errorf("the hub does not say it:\n%s", log)
	}
	if out := must(t, "status", "--data", r.data); !strings.HasPrefix(out, "NOTHING IS SERVED") || !strings.Contains(out, "--undo") {
		t.Errorf("its status does not say it first:\n%s", out)
	}
	for _, f := range r.files {
		eventually(t, time.Minute, "the agent shows the hub's words", func() bool {
			return strings.Contains(must(t, "status", f), "put back from a copy")
		})
		if _, errs, code := try(t, "sync", "--once", "--wait", "1s", f); code == 0 {
			t.Errorf("a sync works: %s", errs)
		}
	}
	if got := r.artists(t); got != atCopy {
		t.Errorf("something was served: %s", got)
	}
	r.hub.stop(t)

	r.startHub(t, "--restored")
	if log := r.hub.log(); !strings.Contains(log, "a new life begins") {
		t.Errorf("the hub does not say what it did:\n%s", log)
	}
	eventually(t, 2*time.Minute, "everything is back", func() bool { return r.artists(t) == allBack })
	eventually(t, time.Minute, "salvage waits", func() bool { return len(r.queue(t)) > 0 })
	for i, a := range r.town.agents {
		eventually(t, time.Minute, "nothing is unsafe", func() bool { return edgeStatus(t, r.files[i]).OutboxDepth == 0 })
		a.stop(t)
	}
	r.settle(t)
	if got := r.artists(t); got != allBack {
		t.Errorf("after the restore: %s", got)
	}
	if got := shell(t, r.db(), `SELECT Phone, (SELECT count(*) FROM Album WHERE AlbumId=9002), (SELECT Name FROM Genre WHERE GenreId=25) FROM Customer WHERE CustomerId=2`); got != "berlin|1|Opera" {
		t.Errorf("after the restore: %s", got)
	}
	// What others wrote is salvaged, too, by sites that came before its author did.
	// Taking it over writes over nothing that was handed in since.
	for _, q := range r.queue(t) {
		if q.Code != "salvage" {
			t.Errorf("in quarantine: %+v", q)
		}
		_, errs, code := try(t, "queue", "retry", q.ID, "--data", r.data)
		if code == 6 {
			_, errs, code = try(t, "queue", "discard", q.ID, "--data", r.data, "--reason", "the hub's is newer")
		}
		if code != 0 {
			t.Errorf("settle %+v: exit code %d, %s", q, code, errs)
		}
	}
	if list := r.queue(t); len(list) != 0 {
		t.Errorf("still in quarantine: %+v", list)
	}
	r.settle(t)
	if got := r.artists(t); got != withOurs {
		t.Errorf("after the salvage: %s", got)
	}
	if got := shell(t, r.db(), `SELECT Name FROM MediaType WHERE MediaTypeId=77; SELECT Name FROM Genre WHERE GenreId=25`); got != "Vinyl\nOpera!" {
		t.Errorf("after the salvage: %s", got)
	}
	if out := must(t, "status", "--data", r.data); !strings.Contains(out, "restored") || !strings.Contains(out, "taken back") {
		t.Errorf("the status forgets:\n%s", out)
	}
	r.sameRows(t, tables(t, r.db())...)
	for _, f := range r.files {
		must(t, "verify", f)
	}
	// Another start, without a word, is an ordinary one.
	r.hub.stop(t)
	r.startHub(t)
	r.settle(t)
}

// The restore was meant to undo: what was handed in since waits for review, what was
// never handed in is applied as ever.
func TestTrapD5_HubPutBackToUndo(t *testing.T) {
	r := newRuin(t, false)
	r.startHub(t, "--restored", "--undo")
	r.come(t)
	want := atCopy + "; 9005 lima, unsent"
	if got := r.artists(t); got != want {
		t.Errorf("after the undo: %s", got)
	}
	list := r.queue(t)
	if strings.Contains(codes(list), "salvage") || !strings.Contains(codes(list), "undone") {
		t.Errorf("in quarantine: %+v", list)
	}
	for range 2 { // what depends on something goes with it
		for _, q := range r.queue(t) {
			try(t, "queue", "retry", q.ID, "--data", r.data)
		}
	}
	if left := r.queue(t); len(left) != 0 {
		t.Errorf("still in quarantine: %+v", left)
	}
	r.settle(t)
	if got := r.artists(t); got != allBack {
		t.Errorf("after taking it all: %s", got)
	}
	r.sameRows(t, tables(t, r.db())...)
}

// A hub that is configured to recover does so by itself.
func TestTrapD5_HubThatRecoversByItself(t *testing.T) {
	r := newRuin(t, false)
	conf := filepath.Join(r.data, "tidemark.yaml")
	b, err := os.ReadFile(conf)
	if err == nil {
		err = os.WriteFile(conf, []byte(strings.Replace(string(b), "\nhub:\n", "\nhub:\n  rollback: recover\n  salvage: false\n", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.startHub(t)
	r.settle(t)
	if got := r.artists(t); got != allBack {
		t.Errorf("after the restore: %s", got)
	}
	if list := r.queue(t); len(list) != 0 {
		t.Errorf("in quarantine: %+v", list)
	}
	var st struct {
		Lineage []struct{ Mode string }
	}
	if err := json.Unmarshal([]byte(must(t, "status", "--json", "--data", r.data)), &st); err != nil || len(st.Lineage) != 2 || st.Lineage[1].Mode != "restored" {
		t.Errorf("lineage %+v, %v", st, err)
	}
	r.sameRows(t, tables(t, r.db())...)
}
