package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	store "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// A district is a real hub with several branches, whose database can be put back.
type district struct {
	t     *testing.T
	clk   *clock.Manual
	path  string
	hub   *hub.Hub
	store *store.Store
	sites []*branch
	boots uint64
	rules *rule.Rules
}

func newDistrict(t *testing.T, n int) *district {
	t.Helper()
	f := &district{t: t, clk: clock.NewManual(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)), path: filepath.Join(t.TempDir(), "hub.db"),
		rules: &rule.Rules{Tables: []rule.Table{
			{Name: "patient", Scope: rule.Scope{All: true}, Columns: map[string]rule.Column{"visits": {Policy: rule.Counter}}},
			{Name: "visit", Scope: rule.Scope{Via: "patient_id"}},
		}}}
	if err := store.Create(f.path, clinicDDL); err != nil {
		t.Fatal(err)
	}
	f.serve()
	t.Cleanup(func() { _ = f.store.Close() })
	for i := range n {
		inv, err := f.hub.AddDevice(t.Context(), fmt.Sprintf("b%d", i), []rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		b := &branch{clinic: &clinic{t: t, clk: f.clk, path: filepath.Join(t.TempDir(), "app.db"), seed: uint64(20 * i)}}
		if b.dev, _, err = f.hub.Join(t.Context(), inv.Secret, []byte(fmt.Sprintf("key %d", i))); err != nil {
			t.Fatal(err)
		}
		b.open()
		t.Cleanup(b.close)
		f.sites = append(f.sites, b)
	}
	f.sync()
	return f
}

func (f *district) serve() {
	f.t.Helper()
	var key [32]byte
	f.boots++
	key[0], key[1] = byte(f.boots), 99
	rnd := rand.NewChaCha8(key)
	var err error
	if f.store, err = store.Open(store.Config{Path: f.path, Rules: f.rules, Clock: f.clk, Rand: rnd, NoSync: true}); err != nil {
		f.t.Fatal(err)
	}
	f.hub, err = hub.New(f.t.Context(), hub.Config{Store: f.store, Rules: f.rules, Clock: f.clk, Rand: rnd, SealKey: []byte(strings.Repeat("k", 32)),
		DDL: func(context.Context) ([]string, error) { return clinicDDL, nil }})
	if err != nil {
		f.t.Fatal(err)
	}
}

// backup copies the hub's database; the function it returns puts it back.
func (f *district) backup() (restore func()) {
	f.t.Helper()
	to := filepath.Join(f.t.TempDir(), "copy.db")
	f.atHub(func(c *sqlite.Conn) error { return sqlite.Exec(c, "VACUUM INTO ?", change.Text(to)) })
	return func() {
		f.clk.Advance(time.Hour)
		err := f.store.Close()
		for _, suffix := range []string{"-wal", "-shm"} {
			if e := os.Remove(f.path + suffix); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
		if err = errors.Join(err, os.Rename(to, f.path)); err != nil {
			f.t.Fatal(err)
		}
		f.serve()
	}
}

func (f *district) atHub(fn func(*sqlite.Conn) error) {
	f.t.Helper()
	c, err := sqlite.Open(f.path, sqlite.Options{})
	if err == nil {
		err = errors.Join(fn(c), c.Close())
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// write is another program's plain SQL at the hub.
func (f *district) write(sql string) {
	f.t.Helper()
	f.atHub(func(c *sqlite.Conn) error { return sqlite.Script(c, sql) })
}

// session runs one session of a branch until both sides are idle.
func (f *district) session(b *branch) error {
	ctx := f.t.Context()
	f.clk.Advance(time.Second)
	es, hs := NewSession(b.e, SessionConfig{Device: b.dev}), f.hub.NewSession(b.dev)
	defer es.Close()
	return converse(ctx, es, hs, passes, passes)
}

// sync lets every branch come twice.
func (f *district) sync() {
	f.t.Helper()
	for range 2 {
		for i, b := range f.sites {
			if err := f.session(b); err != nil {
				f.t.Fatalf("branch %d: %v", i, err)
			}
		}
	}
}

const districtRows = "SELECT * FROM (SELECT id, name, visits FROM patient UNION ALL SELECT id, patient_id, note FROM visit) ORDER BY 1"

// same wants these rows at the hub and in every branch, with nothing pending.
func (f *district) same(want string) {
	f.t.Helper()
	read := &clinic{t: f.t}
	f.atHub(func(c *sqlite.Conn) error {
		read.app = c
		read.want(districtRows, want)
		return nil
	})
	for _, b := range f.sites {
		b.want(districtRows, want)
		b.want("SELECT (SELECT count(*) FROM _tidemark_shadow) + (SELECT count(*) FROM _tidemark_pending) + (SELECT count(*) FROM _tidemark_salvage)", "0")
	}
}

func (f *district) parked() (codes string, ids []change.TxID) {
	f.t.Helper()
	list, err := f.hub.Queue(f.t.Context(), change.DeviceID{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, p := range list {
		codes += p.Code + " "
		ids = append(ids, p.ID)
	}
	return strings.TrimSpace(codes), ids
}

// retry retries what waits with one of the codes, until none of it can be taken.
func (f *district) retry(codes ...string) {
	f.t.Helper()
	for range 3 {
		list, err := f.hub.Queue(f.t.Context(), change.DeviceID{})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, p := range list {
			if !slices.Contains(codes, p.Code) {
				continue
			}
			if _, err := f.hub.Retry(f.t.Context(), p.ID); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	f.sync()
}

// disaster is a district whose hub is put back to before most of what was done.
func disaster(t *testing.T) *district {
	f := newDistrict(t, 2)
	a, b := f.sites[0], f.sites[1]
	a.tx("INSERT INTO patient VALUES ('a1', 1, 'Ann', 1, NULL)", "INSERT INTO visit VALUES ('va', 'a1', 'first')")
	f.sync()
	restore := f.backup()
	a.tx("UPDATE patient SET visits=visits+1 WHERE id='a1'")
	f.sync()
	b.tx("UPDATE patient SET visits=visits+10, name='Anna' WHERE id='a1'", "INSERT INTO patient VALUES ('b1', 2, 'Bob', 0, 'card')")
	f.sync()
	a.tx("INSERT INTO visit VALUES ('vb', 'b1', 'by a')", "DELETE FROM visit WHERE id='va'")
	f.write("INSERT INTO patient VALUES ('h1', 3, 'Hub', 0, NULL)")
	f.sync()
	f.same("'a1'|'Anna'|12\n'b1'|'Bob'|0\n'h1'|'Hub'|0\n'vb'|'b1'|'by a'")
	b.tx("INSERT INTO patient VALUES ('b2', 2, 'Bea', 0, NULL)") // not handed in yet
	restore()
	return f
}

// I9, with a real hub: the hub notices, waits for the word, and the branches heal it.
func TestTrapD5_DistrictHealsTheHub(t *testing.T) {
	f := disaster(t)
	for i, b := range f.sites {
		err := f.session(b)
		var fault *wire.Fault
		if !errors.As(err, &fault) || fault.Code != "hub-behind" {
			t.Fatalf("branch %d: %v", i, err)
		}
	}
	if _, err := f.hub.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	f.sync()
	// What one branch did on top of another one's lost work came before that.
	f.retry("missing-parent")
	f.same("'a1'|'Anna'|12\n'b1'|'Bob'|0\n'b2'|'Bea'|0\n'vb'|'b1'|'by a'")
	// What only the hub had is in the branches' salvage, once.
	codes, ids := f.parked()
	if codes != "salvage" {
		t.Fatalf("parked: %s", codes)
	}
	if _, err := f.hub.Retry(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	f.sync()
	f.same("'a1'|'Anna'|12\n'b1'|'Bob'|0\n'b2'|'Bea'|0\n'h1'|'Hub'|0\n'vb'|'b1'|'by a'")
	if codes, _ := f.parked(); codes != "" {
		t.Errorf("parked: %s", codes)
	}
	for _, b := range f.sites {
		b.want("SELECT count(*) FROM _tidemark_event WHERE kind='hub-restored'", "1")
	}
}

func TestTrapD5_DistrictWhenTheRestoreWasMeant(t *testing.T) {
	f := disaster(t)
	if _, err := f.hub.Begin(t.Context(), change.Undone); err != nil {
		t.Fatal(err)
	}
	f.sync()
	// b2 had never been handed in: it is taken.
	if codes, _ := f.parked(); codes != "undone undone undone" {
		t.Fatalf("parked: %s", codes)
	}
	f.retry("undone", "missing-parent")
	f.same("'a1'|'Anna'|12\n'b1'|'Bob'|0\n'b2'|'Bea'|0\n'vb'|'b1'|'by a'")
}

func TestTrapD5_DistrictWhenTheUndoneIsLetGo(t *testing.T) {
	f := disaster(t)
	if _, err := f.hub.Begin(t.Context(), change.Undone); err != nil {
		t.Fatal(err)
	}
	f.sync()
	_, ids := f.parked()
	for i := range ids {
		if _, err := f.hub.Discard(t.Context(), ids[len(ids)-1-i], "meant"); err != nil {
			t.Fatal(err)
		}
	}
	f.sync()
	f.same("'a1'|'Ann'|1\n'b2'|'Bea'|0\n'va'|'a1'|'first'")
}

// Twice set back, with a file that was restored in between: its work of earlier
// incarnations comes back, too.
func TestTrapD5_DistrictSetBackTwice(t *testing.T) {
	f := newDistrict(t, 2)
	a := f.sites[0]
	first := f.backup()
	for i := range 3 {
		a.tx(fmt.Sprintf("INSERT INTO patient VALUES ('a%d', 1, 'x', 0, NULL)", i))
	}
	f.sync()
	if err := a.e.locked(a.e.fork); err != nil {
		t.Fatal(err)
	}
	f.sync()
	a.tx("UPDATE patient SET visits=visits+1")
	f.sync()
	second := f.backup()
	a.tx("UPDATE patient SET visits=visits+1 WHERE id='a1'")
	f.sync()
	second()
	if _, err := f.hub.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	a.tx("UPDATE patient SET visits=visits+5 WHERE id='a2'")
	f.sync()
	want := "'a0'|'x'|1\n'a1'|'x'|2\n'a2'|'x'|6"
	f.same(want)
	first()
	if _, err := f.hub.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	f.sync()
	f.same(want)
	if codes, _ := f.parked(); codes != "" {
		t.Errorf("parked: %s", codes)
	}
}

// What waits for review after an undo waits for it again when the hub is put back
// once more, to before that work came a second time: nobody has looked at it. The
// same for what a person discarded, when the hub lost that; not for what was retried.
func TestTrapD5_DistrictUndoneThenSetBackAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  change.BranchMode
		judge func(f *district, id change.TxID) error
		after bool // the copy put back is from after the work came again: the hub knows it
		codes string
	}{
		{"waiting", change.Restored, nil, false, "undone"},
		{"waiting, undone", change.Undone, nil, false, "undone"},
		{"waiting, and then lost", change.Restored, nil, true, "undone"},
		{"discarded", change.Restored, func(f *district, id change.TxID) error {
			_, err := f.hub.Discard(t.Context(), id, "meant")
			return err
		}, false, "undone"},
		{"retried", change.Restored, func(f *district, id change.TxID) error {
			_, err := f.hub.Retry(t.Context(), id)
			return err
		}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newDistrict(t, 1)
			a := f.sites[0]
			begin := func(mode change.BranchMode) {
				if _, err := f.hub.Begin(t.Context(), mode); err != nil {
					t.Fatal(err)
				}
			}
			first := f.backup()
			a.tx("INSERT INTO patient VALUES ('a1', 1, 'Ann', 0, NULL)")
			f.sync()
			first()
			begin(change.Undone)
			second := f.backup()
			f.sync()
			codes, ids := f.parked()
			if codes != "undone" {
				t.Fatalf("parked: %q", codes)
			}
			if c.after { // a life that knows it, and then one that does not
				third := f.backup()
				third()
				begin(change.Restored)
				f.sync()
			}
			if c.judge != nil {
				if err := c.judge(f, ids[0]); err != nil {
					t.Fatal(err)
				}
				f.sync()
			}
			second()
			begin(c.mode)
			f.sync()
			if codes, _ := f.parked(); codes != c.codes {
				t.Errorf("parked %q, want %q", codes, c.codes)
			}
		})
	}
}

// A file put back to before the hub confirmed its work, and a hub put back on purpose
// to before that: nobody knows any more that the work had been handed in. It is new.
func TestTrapD5_DistrictUndoneUnknownToTheFile(t *testing.T) {
	f := newDistrict(t, 1)
	a := f.sites[0]
	restore := f.backup()
	a.tx("INSERT INTO patient VALUES ('a1', 1, 'Ann', 0, NULL)")
	if _, err := a.e.Export(); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old.db")
	if err := sqlite.Exec(a.app, "VACUUM INTO ?", change.Text(old)); err != nil {
		t.Fatal(err)
	}
	f.sync()
	restore()
	if _, err := f.hub.Begin(t.Context(), change.Undone); err != nil {
		t.Fatal(err)
	}
	a.close()
	a.clinic.path = old // a branch's own is the hub's
	a.open()
	f.sync()
	if codes, _ := f.parked(); codes != "" {
		t.Errorf("parked: %q", codes)
	}
	f.same("'a1'|'Ann'|0")
}
