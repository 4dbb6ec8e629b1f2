package serve

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/run"
)

// keys copies the keys of a data directory, as an operator would.
func keys(t *testing.T, from, to HubDir) {
	t.Helper()
	copied(t, string(to), from.tls(), from.sealKey(), from.parcelKey())
}

func copied(t *testing.T, to string, from ...string) {
	t.Helper()
	if out, err := exec.Command("cp", append([]string{"-a", "-t", to}, from...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// beside starts one more process's hub on the database of w.
func beside(t *testing.T, w *world) *world {
	t.Helper()
	other := &world{t: t, dir: t.TempDir(), addr: "127.0.0.1:0", dsn: w.dsn, served: true}
	text, err := os.ReadFile(w.path("tidemark.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := other.config().Dir
	if err := dir.create(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Config(), text, 0o600); err != nil {
		t.Fatal(err)
	}
	keys(t, w.config().Dir, dir)
	other.up()
	return other
}

// together is two processes on one database.
func together(t *testing.T) (s *server, a, b *world) {
	t.Helper()
	s = newServer(t)
	a = s.world()
	a.up()
	return s, a, beside(t, a)
}

// at is a device's file as it syncs with the hub of w.
func (w *world) at(e run.Edge) run.Edge {
	e.URL = w.hub.Endpoint().URL
	return e
}

// A second process has the keys of the first, or does not start: to devices they are
// one hub.
func TestTogether_KeysAreTheSame(t *testing.T) {
	s := newServer(t)
	w := s.world()
	w.up()
	cfg := HubConfig{Dir: HubDir(t.TempDir()), Listen: "127.0.0.1:0", Database: s.dsn, ConfigFile: w.path("tidemark.yaml"), Clock: clock.System{}, Rand: rand.Reader}
	err := startFault(t, cfg)
	if !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), w.path("hub")) {
		t.Fatalf("without keys: %v", err)
	}
	if _, err := os.Stat(cfg.Dir.sealKey()); err == nil {
		t.Error("it made keys of its own")
	}
	keys(t, w.hub.Dir(), cfg.Dir)
	other := bytes.Repeat([]byte("ab"), 32)
	if err := os.WriteFile(cfg.Dir.sealKey(), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startFault(t, cfg); !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), "seal.key") || strings.Contains(err.Error(), "tls/") {
		t.Fatalf("with another seal key: %v", err)
	}
	if _, err := OpenOffice(context.Background(), OfficeConfig{Dir: cfg.Dir, Clock: clock.System{}, Rand: rand.Reader}); !errors.Is(err, ErrKeys) {
		t.Fatalf("an office with another seal key: %v", err)
	}
}

// What a device hands in at one process is at the devices of the other one at once, and
// so is what its operator decides.
func TestTogether_OneHearsOfTheOther(t *testing.T) {
	_, a, b := together(t)
	one, two := a.join("one.db", "branch/1"), a.join("two.db", "branch/1")
	agent := b.agent(b.at(two))
	sh(t, one.File, "INSERT INTO item VALUES ('k', 1, 11, 'pushed')")
	a.sync(one)
	reads(t, two.File, "SELECT note FROM item WHERE id='k'", "pushed")

	ctx := context.Background()
	began := clock.System{}.Now()
	list, err := a.hub.Core().Devices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Name != "two.db" {
			continue
		}
		if err := a.hub.Core().SetGrants(ctx, d.ID, []rule.Grant{{Scope: "branch/2", Verbs: rule.Every}}); err != nil {
			t.Fatal(err)
		}
	}
	reads(t, two.File, "SELECT group_concat(id) FROM item", "b")
	if took := (clock.System{}).Now().Sub(began); took > 8*time.Second { // a heartbeat would bring it, too
		t.Errorf("the operator's decision took %v to get there", took)
	}
	if state(agent) == "failed" {
		t.Error(agent.Status())
	}
}

// An operator's word at one process is every process's.
func TestTogether_ANewLifeIsEverybodys(t *testing.T) {
	s, a, b := together(t)
	one := a.join("one.db", "branch/1")
	b.sync(b.at(one))
	ctx := context.Background()
	life, err := a.hub.Core().Begin(ctx, change.Restored)
	if err != nil {
		t.Fatal(err)
	}
	b.sync(b.at(one))
	list, err := b.hub.Core().Lineage(ctx)
	if err != nil || list[len(list)-1].Epoch != life.Epoch {
		t.Errorf("%v, %v", list, err)
	}
	sh(t, one.File, "UPDATE item SET note='after' WHERE id='a'")
	b.sync(b.at(one))
	a.sync(one)
	if got := s.sql("SELECT note FROM item WHERE id='a'"); got != "after" {
		t.Error(got)
	}
}

// Rules that one process puts in force are those of all, whatever their files say; and
// they do not make the triggers anew in turns.
func TestTogether_RulesInForceAreEverybodys(t *testing.T) {
	s, a, b := together(t)
	b.down()
	b.yaml("tables:\n  item: {scope: all}\n")
	cfg := b.config()
	cfg.ConfigFile = b.path("tidemark.yaml")
	b.hub = started(t, cfg)
	eventually(t, "the first process serves under the new rules", func() bool {
		return reflect.DeepEqual(a.hub.Core().Setup().Rules, b.hub.Core().Setup().Rules)
	})
	state := func() string {
		return s.sql("SELECT string_agg(xmin::text, ',' ORDER BY oid) FROM pg_trigger WHERE tgrelid = 'item'::regclass")
	}
	was := state()
	e := a.join("one.db", "all")
	b.sync(b.at(e))
	sh(t, e.File, "UPDATE item SET note='x'")
	a.sync(e)
	if now := state(); now != was {
		t.Errorf("the triggers were made anew: %s, then %s", was, now)
	}
	reads(t, e.File, "SELECT count(*) FROM item", "3")
	a.down()
	a.up() // its own file still says otherwise
	if !reflect.DeepEqual(a.hub.Core().Setup().Rules, b.hub.Core().Setup().Rules) {
		t.Error("a restart put the old rules in force")
	}
}

// What a process knows of a device does not undo what another one learned later.
func TestTogether_PresenceIsTheLatest(t *testing.T) {
	_, a, b := together(t)
	e := a.join("one.db", "branch/1")
	a.sync(e)
	b.sync(b.at(e))
	ctx := context.Background()
	sh(t, e.File, "UPDATE item SET note='late' WHERE id='a'")
	b.sync(b.at(e))
	want, err := b.hub.Core().Devices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*world{b, a, b, a} {
		if err := w.hub.Core().Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range []*world{a, b} {
		got, err := w.hub.Core().Devices(ctx)
		if err != nil || !got[0].Seen.Equal(want[0].Seen) || got[0].Cursor != want[0].Cursor || got[0].Status != want[0].Status {
			t.Errorf("got %+v, want %+v, %v", got, want, err)
		}
	}
}

// Two files of one device are found out, each at a process of its own (the copies of
// one file speak in turns).
func TestTogether_CopiesAreFoundOut(t *testing.T) {
	s, a, b := together(t)
	one := a.join("one.db", "branch/1")
	a.sync(one)
	twin := a.edge("copy/one.db")
	if err := os.Mkdir(filepath.Dir(twin.File), 0o700); err != nil {
		t.Fatal(err)
	}
	copied(t, filepath.Dir(twin.File), one.File, one.File+"-tidemark")
	for i := range 3 {
		sh(t, one.File, fmt.Sprintf("UPDATE item SET note='one%d' WHERE id='a'", i))
		a.sync(one)
		sh(t, twin.File, fmt.Sprintf("UPDATE item SET note='copy%d' WHERE id='c'", i))
		b.sync(b.at(twin))
	}
	list, err := a.hub.Core().Devices(context.Background())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d devices, %v", len(list), err)
	}
	a.sync(one)
	if got := s.sql("SELECT string_agg(note, ',' ORDER BY id) FROM item WHERE branch=1"); got != "one2,copy2" {
		t.Error(got)
	}
}

// A chore is done by one process, and by the other when that one is gone. The one that
// comes back late writes nothing.
func TestTogether_OneDoesTheChores(t *testing.T) {
	s := newServer(t)
	a := s.world()
	a.up()
	eventually(t, "the first process has the duty", func() bool { return a.hub.duty.Load() != nil })
	b := beside(t, a)
	ctx := context.Background()
	ran := 0
	chore := func(h *Hub) error {
		return h.alone(func(ctx context.Context) error {
			ran++
			_, err := h.Core().Retain(ctx, 0)
			return err
		})(ctx)
	}
	if err := errors.Join(chore(a.hub), chore(b.hub)); err != nil || ran != 1 || b.hub.duty.Load() != nil {
		t.Fatalf("ran %d times, %v", ran, err)
	}
	s.sql("UPDATE tidemark.duty SET until = '-infinity'") // it hung
	if err := b.hub.stand(ctx); err != nil || b.hub.duty.Load() == nil {
		t.Fatalf("not taken over: %v", err)
	}
	floor := s.sql("SELECT count(*) FROM tidemark.log")
	if err := chore(a.hub); err != nil || a.hub.duty.Load() != nil || ran != 2 {
		t.Errorf("the late one: ran %d times, %v", ran, err)
	}
	if s.sql("SELECT count(*) FROM tidemark.log") != floor {
		t.Error("the late one wrote")
	}
	b.down()
	if err := a.hub.stand(ctx); err != nil || a.hub.duty.Load() == nil {
		t.Errorf("the duty of one that stopped is not free at once: %v", err)
	}
}

// The same history through one process, and through two, gives the same rows.
func TestTogether_TwoProcessesAreAsOne(t *testing.T) {
	const steps = 25
	for seed := range uint64(2) {
		var ends []string
		for processes := 1; processes <= 2; processes++ {
			s := newServer(t)
			worlds := []*world{s.world()}
			worlds[0].up()
			if processes == 2 {
				worlds = append(worlds, beside(t, worlds[0]))
			}
			edges := []run.Edge{worlds[0].join("one.db", "branch/1"), worlds[0].join("two.db", "branch/1", "branch/2"), worlds[0].join("three.db", "branch/2")}
			what, where := mathrand.New(mathrand.NewPCG(seed, 1)), mathrand.New(mathrand.NewPCG(seed, uint64(processes)))
			for i := range steps {
				e := edges[what.IntN(len(edges))]
				branch := 1 + what.IntN(2)
				switch id := fmt.Sprintf("r%d", what.IntN(8)); what.IntN(4) {
				case 0:
					sh(t, e.File, fmt.Sprintf("INSERT OR IGNORE INTO item VALUES ('%s%d', %d, NULL, 'n%d')", id, branch, branch, i))
				case 1:
					sh(t, e.File, fmt.Sprintf("UPDATE item SET note='u%d' WHERE id LIKE '%s%%'", i, id))
				case 2:
					sh(t, e.File, fmt.Sprintf("DELETE FROM item WHERE id LIKE '%s%%'", id))
				case 3:
					s.sql(fmt.Sprintf("UPDATE item SET n = %d WHERE id = 'a'", i+100))
				}
				w := worlds[where.IntN(len(worlds))]
				w.sync(w.at(e))
			}
			for range 2 {
				for _, e := range edges {
					w := worlds[where.IntN(len(worlds))]
					w.sync(w.at(e))
				}
			}
			var digests []string
			for _, w := range worlds {
				_, list, err := w.hub.Core().Digests(context.Background(), []rule.ScopeID{"branch/1", "branch/2"})
				if err != nil {
					t.Fatal(err)
				}
				digests = append(digests, fmt.Sprint(list))
			}
			rows := s.sql("SELECT string_agg(i::text, '|' ORDER BY id) FROM item i")
			local := sh(t, edges[1].File, "SELECT group_concat('(' || id || ',' || branch || ',' || coalesce(n, '') || ',' || coalesce(note, '') || ')', '|') FROM (SELECT * FROM item ORDER BY id)")
			if strings.TrimSpace(local) != rows {
				t.Errorf("seed %d: the device that has all differs: %s, the hub %s", seed, local, rows)
			}
			for _, d := range digests {
				ends = append(ends, d+rows)
			}
			for _, w := range worlds {
				w.down()
			}
		}
		for _, e := range ends[1:] {
			if e != ends[0] {
				t.Errorf("seed %d: %s\nand %s", seed, ends[0], e)
			}
		}
	}
}

// A database that was put back stops every process, and the operator's word at one lets
// all of them go on.
func TestTogether_BehindIsEverybodys(t *testing.T) {
	s := newServer(t)
	admin := &server{t, pgtest.Server(t).DSN("postgres")}
	name := s.sql("SELECT current_database()")
	a := s.world()
	a.up()
	b := beside(t, a)
	a.down()
	b.down()
	admin.sql(`CREATE DATABASE "` + name + `_old" TEMPLATE "` + name + `"`)
	t.Cleanup(func() { admin.sql(`DROP DATABASE IF EXISTS "` + name + `_old" WITH (FORCE)`) })
	a.up()
	s.sql("INSERT INTO item VALUES ('later', 1, 77, NULL)")
	a.down()
	admin.sql(`DROP DATABASE "` + name + `" WITH (FORCE)`)
	admin.sql(`CREATE DATABASE "` + name + `" TEMPLATE "` + name + `_old"`)
	b.up() // its own note is older: it sees nothing
	if b.hub.Core().Behind() != nil {
		t.Error("the second process cannot know yet")
	}
	a.up()
	if a.hub.Core().Behind() == nil {
		t.Fatal("the note of the first process was not looked at")
	}
	eventually(t, "the second process serves nobody either", func() bool { return b.hub.Core().Behind() != nil })
	a.down()
	a.revive(change.Restored)
	eventually(t, "the operator's word lets the second process go on", func() bool { return b.hub.Core().Behind() == nil })
	e := a.join("one.db", "branch/1")
	b.sync(b.at(e))
}
