package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// absent fails when something has the till's path.
func (x *till) absent() {
	x.w.t.Helper()
	if _, err := os.Lstat(x.path); !errors.Is(err, os.ErrNotExist) {
		x.w.t.Fatalf("something has the path: %v", err)
	}
}

// A cut anywhere loses nothing that came: the next try, by another process, goes
// on at the byte.
func TestSnapshotGoesOnAfterCuts(t *testing.T) {
	w := newDepot(t, 1000, "")
	w.sql("INSERT INTO product VALUES ('big', NULL, randomblob(6000000))")
	x := w.till("a.db", "branch/1")
	r := rand.New(rand.NewPCG(1, 2))
	tries, kept := 0, int64(0)
	for {
		d := x.download()
		if d.Have() < kept {
			t.Fatalf("%d bytes came, %d are left", kept, d.Have())
		}
		kept = d.Have()
		_, before := w.link.Bytes()
		limit := before + 1_500_000 + r.Int64N(3_000_000)
		stop := make(chan struct{})
		if tries < 12 {
			go func() { // pulls the plug in the middle of whatever passes
				for {
					select {
					case <-stop:
						return
					default:
						runtime.Gosched()
						if _, n := w.link.Bytes(); n >= limit {
							w.link.Cut()
							return
						}
					}
				}
			}()
		}
		err := x.fetch(d, nil)
		close(stop)
		if tries++; err == nil {
			if err := d.Install(); err != nil {
				t.Fatal(err)
			}
			break
		}
		x.absent()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		w.link.Restore()
	}
	if tries < 2 || kept == 0 {
		t.Fatalf("only %d tries, %d bytes kept: nothing was cut", tries, kept)
	}
	x.open()
	x.same("1")
}

// A process that dies between any two steps leaves either nothing at the path,
// or the whole file; and the next one goes on.
func TestTrapD18_HalfInstalledSnapshotIsNeverSeen(t *testing.T) {
	w := newDepot(t, 500, "")
	for _, step := range []string{"unpacked", "enrolled", "named"} {
		x := w.till(step+".db", "branch/1")
		d := x.download()
		if err := x.fetch(d, nil); err != nil {
			t.Fatal(err)
		}
		died := errors.New("died")
		d.cfg.step = func(name string) error {
			if name == step {
				return died
			}
			return nil
		}
		if err := d.Install(); !errors.Is(err, died) {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if step != "named" {
			x.absent()
			again := x.download()
			n := int64(0)
			again.cfg.Progress = func(done, _ int64) { n = done }
			if err := x.fetch(again, nil); err != nil {
				t.Fatal(err)
			}
			if n != 0 {
				t.Errorf("%s: what was here was fetched again", step)
			}
			if err := again.Install(); err != nil {
				t.Fatal(err)
			}
		} else if _, err := NewDownload(DownloadConfig{Config: x.config(), Device: x.device}); !errors.Is(err, ErrNotFresh) {
			t.Fatal(err)
		} else if err := DropDownload(x.path); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(x.path + "-tidemark/*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", step, left, err)
		}
		e := x.open()
		st, err := e.Status()
		if err != nil || !st.Complete {
			t.Fatalf("%s: %+v, %v", step, st, err)
		}
		x.sync(e)
		x.same("1")
	}
}

// The file that an application made meanwhile is never replaced.
func TestTrapS21_SnapshotNeverReplacesAFile(t *testing.T) {
	w := newDepot(t, 500, "")
	x := w.till("a.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x.path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Install(); !errors.Is(err, ErrNotFresh) {
		t.Fatal(err)
	}
	d.cfg.step = func(name string) error { // comes in the last moment
		if name == "naming" {
			return os.WriteFile(x.path, []byte("mine"), 0o600)
		}
		return nil
	}
	if err := os.Remove(x.path); err != nil {
		t.Fatal(err)
	}
	if err := d.Install(); !errors.Is(err, ErrNotFresh) {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(x.path); err != nil || string(b) != "mine" {
		t.Fatalf("%q, %v", b, err)
	}
	// The log of a database that was there would be replayed into the new file.
	for _, end := range []string{"-wal", "-journal", "-shm"} {
		y := w.till("b.db", "branch/1")
		if err := os.WriteFile(y.path+end, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewDownload(DownloadConfig{Config: y.config(), Device: y.device}); !errors.Is(err, ErrNotFresh) {
			t.Errorf("%s: %v", end, err)
		}
		if err := os.Remove(y.path + end); err != nil {
			t.Fatal(err)
		}
	}
	_ = d.Drop()
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	w := newDepot(t, 2000, "")
	for name, bend := range map[string]func(*wire.SnapshotPart){
		"a bit":    func(p *wire.SnapshotPart) { p.Body[len(p.Body)/2] ^= 1 },
		"the size": func(p *wire.SnapshotPart) { p.Size-- },
		"cut":      func(p *wire.SnapshotPart) { p.Body, p.Packed = p.Body[:len(p.Body)-1], p.Packed-1 },
	} {
		w.bend = bend
		x := w.till(name+".db", "branch/1")
		d := x.download()
		if err := x.fetch(d, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := d.Install(); !errors.Is(err, ErrDamagedSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		x.absent()
		if _, err := os.Stat(x.path + "-tidemark"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the damaged bytes are kept: %v", name, err)
		}
	}
	w.bend = func(p *wire.SnapshotPart) { p.Offset++ }
	x := w.till("offset.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, nil); err == nil || !strings.Contains(err.Error(), "bytes of the snapshot") {
		t.Error(err)
	}
	_ = d.Drop()
	w.bend = nil
	x.fill()
	x.same("1")
}

// Bytes on disk that a power cut garbled are noticed, and fetched anew.
func TestGarbledRestOfASnapshotIsDropped(t *testing.T) {
	w := newDepot(t, 20_000, "")
	x := w.till("a.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, func() bool { return d.Have() > 0 }); err != nil || d.Done() {
		t.Fatal(err, d.Done())
	}
	if _, err := d.box.file.WriteAt(make([]byte, 4096), 1000); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = x.download()
	if err := x.fetch(d, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Install(); !errors.Is(err, ErrDamagedSnapshot) {
		t.Fatal(err)
	}
	// A label that does not read, or that promises less than there is.
	for _, label := range []string{"{", `{"packed": 3}`} {
		d = x.download()
		if err := d.box.add([]byte("more than three bytes")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.box.path(parcelLabel), []byte(label), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if d = x.download(); d.Have() != 0 {
			t.Fatalf("%q: %d bytes", label, d.Have())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	x.fill()
	x.same("1")
}

// Writers at the hub while the file is made, sent and installed: what they do
// comes with the pull that follows, whole.
func TestSnapshotUnderWriters(t *testing.T) {
	w := newDepot(t, 5000, "")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		c, err := sqlite.Open(w.dir+"/hub.db", sqlite.Options{NoSync: true})
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- c.Close()
				return
			default:
			}
			err = sqlite.Script(c, fmt.Sprintf(`UPDATE customer SET score = score + 1, branch = 3 - branch WHERE id = 'c%06d';
				INSERT INTO customer VALUES ('n%d', 1, 'new', NULL, %d); INSERT INTO invoice (customer, total) VALUES ('n%d', %d);
				DELETE FROM invoice WHERE id = %d`, (i*7919)%1000003, i, i, i, i, i*3))
		}
		done <- err
	}()
	var tills []*till
	var engines []*Engine
	for i := range 4 {
		x := w.till(fmt.Sprint(i, ".db"), rule.ScopeID(fmt.Sprint("branch/", 1+i%2)))
		tills, engines = append(tills, x), append(engines, x.fill())
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, x := range tills {
		x.sync(engines[i])
		x.same(fmt.Sprint(1 + i%2))
		for _, table := range []string{"customer", "invoice", "product"} {
			x.digest(engines[i], table)
		}
	}
}

// digest compares a table's digest with the hub's.
func (x *till) digest(e *Engine, table string) {
	x.w.t.Helper()
	here, err := e.Digest(table)
	if err != nil {
		x.w.t.Fatal(err)
	}
	grants, err := e.Grants()
	if err != nil {
		x.w.t.Fatal(err)
	}
	err = x.w.store.View(context.Background(), func(v hub.View) error {
		there, err := v.Digest(table, readable(grants))
		if err == nil && (here.Rows != there.Rows || here.Sums != there.Sums) {
			err = fmt.Errorf("table %s: %d rows here, %d at the hub", table, here.Rows, there.Rows)
		}
		return err
	})
	if err != nil {
		x.w.t.Fatal(err)
	}
}

// Where no file can be sent, the answer says so, and the rows are fetched.
func TestNoSnapshot(t *testing.T) {
	w := newDepot(t, 50, `CREATE TABLE heard (id TEXT); CREATE TRIGGER note AFTER INSERT ON customer BEGIN INSERT INTO heard VALUES (NEW.id); END;`)
	x := w.till("a.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, nil); !errors.Is(err, ErrNoSnapshot) || !strings.Contains(err.Error(), "trigger") {
		t.Fatal(err)
	}
	if err := d.Drop(); err != nil {
		t.Fatal(err)
	}
	e := x.open()
	x.sync(e)
	x.same("1")
}

// What was begun for other scopes is never gone on with (I6).
func TestSnapshotOfOtherScopesIsDropped(t *testing.T) {
	w := newDepot(t, 20_000, "")
	x := w.till("a.db", "branch/1")
	d := x.download()
	if err := x.fetch(d, func() bool { return d.Have() > 0 }); err != nil || d.Done() {
		t.Fatal(err, d.Done())
	}
	first := d.box.ID
	if err := w.hub.SetGrants(context.Background(), x.device, []rule.Grant{{Scope: "branch/2", Verbs: rule.Every}}); err != nil {
		t.Fatal(err)
	}
	if err := x.fetch(d, nil); err != nil {
		t.Fatal(err)
	}
	if d.box.ID == first {
		t.Fatal("the file of the scopes that are gone was sent on")
	}
	if err := d.Install(); err != nil {
		t.Fatal(err)
	}
	x.open()
	x.same("2")
	// Asked for by a device that may not read them, by the name of the file.
	y := w.till("b.db", "branch/1")
	s := w.hub.NewSession(y.device)
	var last wire.Message
	emit := func(m wire.Message) error { last = m; return nil }
	if err := s.Receive(context.Background(), &wire.Hello{Min: 1, Max: 1, Device: y.device}, emit); err != nil {
		t.Fatal(err)
	}
	hello := last.(*wire.Welcome)
	ask := &wire.Snapshot{ID: d.box.ID, Scopes: hello.Scopes, Setup: hello.Setup.Hash}
	if err := s.Receive(context.Background(), ask, emit); err != nil || last.(*wire.SnapshotPart).ID == d.box.ID {
		t.Fatalf("%+v, %v", last, err)
	}
	ask.Scopes = d.box.Scopes
	if err := s.Receive(context.Background(), ask, emit); err != nil || last.(*wire.SnapshotPart).Reason == "" {
		t.Fatalf("%+v, %v", last, err)
	}
}
