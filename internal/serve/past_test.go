package serve

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/run"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A cellar is the world's hub with copies of its database.
type cellar struct {
	*world
	old []byte
}

// newCellar has a copy of the hub's database, and a hub that went on since.
func newCellar(t *testing.T) *cellar {
	w := newWorld(t)
	w.up()
	w.down()
	c := &cellar{world: w, old: w.read()}
	w.up()
	sh(t, w.hub.Dir().DB(), `INSERT INTO item VALUES ('d', 1, 4, 'new')`)
	w.down()
	return c
}

func (w *world) read() []byte {
	w.t.Helper()
	b, err := os.ReadFile(w.hub.Dir().DB())
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) putBack(b []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.hub.Dir().DB(), b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// revive starts the hub with the operator's word.
func (w *world) revive(mode change.BranchMode) *Hub {
	w.t.Helper()
	cfg := w.config()
	cfg.Revive = mode
	h, err := NewHub(cfg)
	if err == nil {
		err = h.Start(context.Background())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = h.Stop() })
	w.hub = h
	return h
}

func faultCode(err error) string {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f.Code
	}
	return ""
}

// Nobody has to come by: the hub's own note says that its database was put back.
func TestTrapD5_HubNoticesThatItsFileWasPutBack(t *testing.T) {
	w := newCellar(t)
	newer := w.read()
	w.putBack(w.old)
	for range 2 { // a restart changes nothing
		w.up()
		if w.hub.Core().Behind() == nil {
			t.Fatal("it serves as if nothing had happened")
		}
		w.down()
	}
	w.up()
	_, err := run.Join(context.Background(), run.JoinConfig{Edge: w.edge("a.db"), Token: w.token("a", "branch/1")})
	if faultCode(err) != "hub-behind" {
		t.Errorf("join: %v", err)
	}
	w.down()

	// It was a mistake: the newer file comes back, and with it the record is gone.
	w.putBack(newer)
	if w.up(); w.hub.Core().Behind() != nil {
		t.Error("the right file does not serve")
	}
	w.down()

	w.putBack(w.old)
	h := w.revive(change.Restored)
	if b := h.Revived(); b == nil || b.Mode != change.Restored || h.Core().Behind() != nil {
		t.Errorf("revived %+v, behind %v", b, h.Core().Behind())
	}
	w.join("b.db", "branch/1")
	w.down()
	if w.up(); w.hub.Core().Behind() != nil || w.hub.Revived() != nil {
		t.Error("the new life does not last")
	}
	w.down()
}

func TestTrapD5_HubThatIsToldToRecover(t *testing.T) {
	w := newCellar(t)
	w.putBack(w.old)
	text, err := os.ReadFile(w.hub.Dir().Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.hub.Dir().Config(), append(text, "hub: {rollback: recover, salvage: false}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.up()
	list, err := w.hub.Core().Lineage(t.Context())
	if err != nil || w.hub.Core().Behind() != nil || len(list) != 2 || list[1].Mode != change.Restored {
		t.Errorf("lineage %+v, %v", list, err)
	}
}

// A hub that recovers by itself remembers, too, which lives were over before.
func TestNoteRemembersEveryLifeOfAHubThatRecovers(t *testing.T) {
	w := newCellar(t)
	text, err := os.ReadFile(w.hub.Dir().Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.hub.Dir().Config(), append(text, "hub: {rollback: recover}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for over := range 3 {
		w.putBack(w.old)
		w.up()
		got := sh(t, w.hub.Dir().DB(), "SELECT count(*) FROM _tidemark_record WHERE kind='replaced' AND id NOT IN (SELECT printf('%016x', epoch) FROM _tidemark_epoch)")
		if strings.TrimSpace(got) != strconv.Itoa(over) {
			t.Fatalf("recovered %d times before: %s lives are known to be over", over, got)
		}
		sh(t, w.hub.Dir().DB(), `INSERT INTO item VALUES ('e', 1, 4, 'new')`)
		w.down()
	}
}

// What the note says counts only when it can be read, and only for the database
// that it is about.
func TestNoteBesideTheDatabase(t *testing.T) {
	w := newCellar(t)
	dir := w.hub.Dir()
	var n note
	if err := disk.ReadJSON(dir.note(), &n); err != nil || n.Cursor.IsZero() || len(n.Lineage) != 1 {
		t.Fatalf("note %+v, %v", n, err)
	}
	w.putBack(w.old)
	if err := os.WriteFile(dir.note(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.up(); w.hub.Core().Behind() != nil {
		t.Error("a note that cannot be read stopped the hub")
	}
	w.down()
	if err := disk.ReadJSON(dir.note(), &n); err != nil {
		t.Errorf("no note since: %v", err)
	}
	// A new database in the old directory.
	if err := os.Remove(dir.DB()); err != nil {
		t.Fatal(err)
	}
	if w.up(); w.hub.Core().Behind() != nil {
		t.Error("a new hub is told from an old one by a note about the old one")
	}
}

func TestNoteKeepsUp(t *testing.T) {
	w := newWorld(t)
	w.up()
	var before, after note
	if err := disk.ReadJSON(w.hub.Dir().note(), &before); err != nil {
		t.Fatal(err)
	}
	sh(t, w.hub.Dir().DB(), `INSERT INTO item VALUES ('d', 1, 4, 'new')`)
	chore := func() {
		t.Helper()
		for _, c := range w.hub.chores(w.hub.office.Config) {
			if c.what == "note the database's state" {
				if err := c.do(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	chore()
	if err := disk.ReadJSON(w.hub.Dir().note(), &after); err != nil || after.Cursor == before.Cursor {
		t.Errorf("note %+v, %v", after, err)
	}
	if err := os.Remove(w.hub.Dir().note()); err != nil {
		t.Fatal(err)
	}
	chore()
	if _, err := os.Stat(w.hub.Dir().note()); err == nil {
		t.Error("a quiet hub writes its note again and again")
	}
}

func TestSealKey(t *testing.T) {
	path := t.TempDir() + "/seal.key"
	key, err := loadSealKey(path, bytes.NewReader(bytes.Repeat([]byte{7}, hub.SealKeySize)))
	if err != nil || !bytes.Equal(key, bytes.Repeat([]byte{7}, hub.SealKeySize)) {
		t.Fatalf("a new key: %x, %v", key, err)
	}
	again, err := loadSealKey(path, strings.NewReader(""))
	if err != nil || !bytes.Equal(again, key) {
		t.Errorf("read again: %x, %v", again, err)
	}
	// Another process made one at the same time.
	text, err := makeSealKey(path, bytes.NewReader(bytes.Repeat([]byte{8}, hub.SealKeySize)))
	if err != nil || !strings.HasPrefix(string(text), "0707") {
		t.Errorf("made over another one: %s, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, bad := range []string{"", "07", strings.Repeat("zz", hub.SealKeySize)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadSealKey(path, nil); err == nil || !strings.Contains(err.Error(), "hexadecimal") {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	if _, err := loadSealKey(path+".none", strings.NewReader("short")); err == nil {
		t.Error("a key without randomness")
	}
	if _, err := loadSealKey(t.TempDir(), nil); err == nil {
		t.Error("a directory for a key")
	}
	w := newWorld(t)
	w.up()
	w.down()
	if err := os.WriteFile(w.hub.Dir().sealKey(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startFault(t, w.config()); err == nil || !strings.Contains(err.Error(), "seal key") {
		t.Errorf("a hub with a damaged key: %v", err)
	}
}

// The same copy put back again and again: each time the database has forgotten one
// more life, in which numbers may have been leased. The note has not.
func TestNoteRemembersEveryLife(t *testing.T) {
	w := newCellar(t)
	for over := range 3 {
		w.putBack(w.old)
		w.revive(change.Restored)
		if got := sh(t, w.hub.Dir().DB(), "SELECT count(*) FROM _tidemark_record WHERE kind='replaced'"); strings.TrimSpace(got) != strconv.Itoa(over) {
			t.Fatalf("restored %d times before: %s lives are known to be over", over, got)
		}
		w.down()
	}
}
