package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/serve"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

func TestAgentsKeepFilesInSync(t *testing.T) {
	w := newWorld(t)
	w.up()
	one, two := w.join("one.db", "branch/1"), w.join("two.db", "branch/1", "branch/2")
	one.Heartbeat = time.Second // ticks come between the changes
	a := w.agent(one, two)
	sh(t, one.File, "INSERT INTO item VALUES('d',1,4,'live')")
	reads(t, two.File, "SELECT note FROM item WHERE id='d'", "live")
	sh(t, w.config().Dir.DB(), "UPDATE item SET note='plain' WHERE id='d'")
	reads(t, one.File, "SELECT note FROM item WHERE id='d'", "plain")
	sh(t, two.File, "UPDATE item SET branch=2 WHERE id='a'")
	reads(t, one.File, "SELECT count(*) FROM item WHERE id='a'", "0")
	if err := a.Start(context.Background()); err == nil {
		t.Fatal("started twice")
	}
	for range 2 {
		if err := a.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if state(a) != StateStopped {
		t.Fatalf("after Stop: %+v", a.Status())
	}
}

// A connected device hears of other rights, and of its end, while nothing else
// happens.
func TestAgentHearsOfRightsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	id, err := ReadIdentity(e.File)
	if err != nil {
		t.Fatal(err)
	}
	office, err := serve.OpenOffice(context.Background(), serve.OfficeConfig{Dir: w.hub.Dir(), Clock: e.Clock, Rand: e.Rand, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = office.Close() }()
	grants := []rule.Grant{{Scope: "branch/2", Verbs: rule.Every}}
	if err := office.Core.SetGrants(context.Background(), id.Device, grants); err != nil {
		t.Fatal(err)
	}
	reads(t, e.File, "SELECT group_concat(id) FROM item", "b")
	if err := office.Core.Revoke(context.Background(), id.Device, "stolen"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused", func() bool { return state(a) == StateRefused })
}

// The hub goes away for a while and comes back; work done meanwhile arrives, and
// an unaware application's spells of writing become transactions of their own.
func TestAgentOutlivesTheHub(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	w.down()
	eventually(t, "offline", func() bool { return state(a) == StateOffline })
	for i := range 3 {
		sh(t, e.File, fmt.Sprintf("INSERT INTO item VALUES('o%d',1,%d,'offline')", i, 10+i))
		reads(t, e.File, "SELECT count(*) FROM _tidemark_outbox WHERE state=0", fmt.Sprint(i+1))
	}
	s, err := FileStatus(context.Background(), e)
	if err != nil || !s.Agent.Running || s.Agent.State != StateOffline || s.Agent.Error == "" || s.Agent.Hint == "" || s.OldestUnsafe <= 0 {
		t.Fatalf("status %+v, %v", s, err)
	}
	w.up()
	reads(t, w.config().Dir.DB(), "SELECT count(*) FROM item WHERE note='offline'", "3")
	eventually(t, "online again", func() bool { return state(a) == StateOnline })
}

// The file disappears and comes back, is replaced by another one, and is locked.
func TestAgentOutlivesItsFile(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	move := func(from, to string) {
		for _, s := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(from+s, to+s); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	move(e.File, w.path("away.db"))
	sh(t, w.path("wake.db"), "CREATE TABLE t(a)") // something happens in the directory
	eventually(t, "missing", func() bool { return state(a) == StateMissing })
	move(w.path("away.db"), e.File)
	eventually(t, "online again", func() bool { return state(a) == StateOnline })
	sh(t, e.File, "UPDATE item SET note='back' WHERE id='a'")
	reads(t, w.config().Dir.DB(), "SELECT note FROM item WHERE id='a'", "back")
}

// Another file in the place of the one that was opened is noticed, and taken as
// what it is (trap S12).
func TestTrapS12_AgentNoticesAReplacedFile(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	sh(t, e.File, "VACUUM INTO '"+w.path("copy.db")+"'")
	if err := os.Rename(w.path("copy.db"), e.File); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"-wal", "-shm"} {
		if err := os.Remove(e.File + s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	sh(t, e.File, "UPDATE item SET note='in the copy' WHERE id='a'")
	reads(t, w.config().Dir.DB(), "SELECT note FROM item WHERE id='a'", "in the copy")
	eventually(t, "online", func() bool { return state(a) == StateOnline })
}

// A file that lost what Tidemark keeps in it is enrolled anew by the next session.
func TestTrapS12_AgentEnrolsARestoredFile(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	if err := os.Remove(e.File); err != nil {
		t.Fatal(err)
	}
	sh(t, e.File, shopSQL+"; INSERT INTO item VALUES('old',1,77,'from a backup')")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	reads(t, w.config().Dir.DB(), "SELECT note FROM item WHERE id='old'", "from a backup")
}

func TestAgentGoesOnWhenTheLockIsGone(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	c, err := sqlite.Open(e.File, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	err = sqlite.Immediate(c, func() error {
		sh(t, w.config().Dir.DB(), "UPDATE item SET note='while locked' WHERE id='a'")
		return sqlite.Exec(c, "UPDATE item SET note='mine' WHERE id='c'")
	})
	if err != nil {
		t.Fatal(err)
	}
	reads(t, e.File, "SELECT note FROM item WHERE id='a'", "while locked")
	reads(t, w.config().Dir.DB(), "SELECT note FROM item WHERE id='c'", "mine")
}

func TestAgentRefusesWhatItCannotWorkOn(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	if _, err := NewAgent(AgentConfig{Edge: e}); err == nil {
		t.Fatal("no files")
	}
	twice, err := NewAgent(AgentConfig{Edge: e, Files: []string{e.File, filepath.Join(w.dir, ".", "one.db")}})
	if err != nil || len(twice.files) != 1 {
		t.Fatalf("one file named twice: %v, %v", twice, err)
	}
	a := w.agent(e)
	if err := twice.Start(context.Background()); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("second agent: %v", err)
	}
	if _, err := Once(context.Background(), OnceConfig{Edge: e}); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("sync beside an agent: %v", err)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	stranger, err := NewAgent(AgentConfig{Edge: e, Files: []string{e.File, w.path("stranger.db")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(context.Background()); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("a file that never joined: %v", err)
	}
	w.sync(e) // the lock of the other file was given back
	if err := stranger.Stop(); err != nil {
		t.Fatal(err)
	}
}

// Whatever goes wrong has a name, a hint, and does not end the agent (trap D13:
// a refusal pauses and keeps everything).
func TestTrapD13_JudgeNamesEachTrouble(t *testing.T) {
	dir := t.TempDir()
	busy := func() error {
		file := filepath.Join(dir, "a.db")
		sh(t, file, "CREATE TABLE t(a)")
		a, err := sqlite.Open(file, sqlite.Options{Busy: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Close() }()
		b, err := sqlite.Open(file, sqlite.Options{Busy: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Close() }()
		return sqlite.Immediate(a, func() error { return sqlite.Immediate(b, func() error { return nil }) })
	}
	full := func() error {
		c, err := sqlite.Open(filepath.Join(dir, "f.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return sqlite.Script(c, "CREATE TABLE t(a); PRAGMA max_page_count=3; INSERT INTO t VALUES(randomblob(99999))")
	}
	readOnly := func() error {
		c, err := sqlite.Open(filepath.Join(dir, "a.db"), sqlite.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return sqlite.Script(c, "DROP TABLE t")
	}
	damaged := func() error {
		file := filepath.Join(dir, "d.db")
		if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := sqlite.Open(file, sqlite.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, _, err = sqlite.One(c, "SELECT 1 FROM sqlite_schema")
		return err
	}
	_, gone := sqlite.Open(filepath.Join(dir, "none", "a.db"), sqlite.Options{})
	_, missing := os.Stat(filepath.Join(dir, "none"))
	for _, c := range []struct {
		err    error
		state  string
		reopen bool
		after  time.Duration
	}{
		{missing, StateMissing, true, time.Second},
		{errReplaced, StateStarting, true, 0},
		{busy(), StateLocked, false, 0},
		{full(), StateFull, false, time.Second},
		{readOnly(), StateReadOnly, true, time.Second},
		{damaged(), StateDamaged, true, time.Second},
		{gone, StateFailed, true, time.Second},
		{&transport.PinError{}, StateRefused, false, 30 * time.Second},
		{&wire.Fault{Code: "revoked", Hint: "h", Fatal: true}, StateRefused, false, 30 * time.Second},
		{&wire.Fault{Code: "busy", Hint: "h", RetryAfter: time.Minute}, StateOffline, false, time.Minute},
		{&wire.Fault{Code: "other", Hint: "h"}, StateFailed, false, 0},
		{fmt.Errorf("dial: %w", transport.ErrUnreachable), StateOffline, false, 0},
		{io.ErrUnexpectedEOF, StateFailed, false, 0},
	} {
		got := judge(fmt.Errorf("work: %w", c.err))
		if got.state != c.state || got.reopen != c.reopen || got.after < c.after || got.hint == "" {
			t.Errorf("%v: %+v, want %s, reopen %v, at least %v", c.err, got, c.state, c.reopen, c.after)
		}
	}
}

// What an agent says of itself reaches others even when nothing new fits on the
// disk, here: when no file can be made beside the old one.
func TestSideStatusIsWrittenOverTheOldOne(t *testing.T) {
	dir := t.TempDir()
	k := &keeper{Edge: Edge{File: filepath.Join(dir, "a.db")}}
	k.record(side{State: StateOnline}) // nowhere to write: no harm
	if _, err := makeSide(k.File); err != nil {
		t.Fatal(err)
	}
	k.record(side{State: StateOnline, Error: strings.Repeat("e", 2*sideSize)})
	path := filepath.Join(SideDir(k.File), "status.json")
	if err := overwrite(path, []byte(`{"state":"over"}`+strings.Repeat(" ", sideSize-16))); err != nil {
		t.Fatal(err)
	}
	var s side
	if err := disk.ReadJSON(path, &s); err != nil || s.State != "over" {
		t.Fatalf("%+v, %v", s, err)
	}
}

// A table rebuild drops the triggers: capture comes back by itself, and what was
// written in between is found and handed in (I8).
func TestTrapS18_AgentHandsInWhatNobodyCaptured(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	sh(t, e.File, `BEGIN; CREATE TABLE new(id TEXT PRIMARY KEY NOT NULL, branch INTEGER NOT NULL, n INTEGER UNIQUE, note);
		INSERT INTO new SELECT * FROM item; DROP TABLE item; ALTER TABLE new RENAME TO item;
		UPDATE item SET note='unseen' WHERE id='a'; COMMIT`)
	a = w.agent(e)
	reads(t, w.hub.Dir().DB(), "SELECT note FROM item WHERE id='a'", "unseen")
	sh(t, e.File, "UPDATE item SET note='seen' WHERE id='c'")
	reads(t, w.hub.Dir().DB(), "SELECT note FROM item WHERE id='c'", "seen")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if v, err := Verify(context.Background(), VerifyConfig{Edge: e}); err != nil || !v.InSync || v.Differs != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	if list := CheckFile(context.Background(), e); level(t, list, "drift") != checkup.Good {
		t.Fatalf("%+v", list)
	}
}

// A damaged file, a text in its place, and a file whose table is gone each have
// their state; the agent goes on when the file is whole again.
func TestAgentNamesADamagedFile(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "PRAGMA journal_mode=DELETE")
	good, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(e.File, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte(strings.Repeat("no database ", 500)))
	if _, err := FileStatus(context.Background(), e); err == nil {
		t.Fatal("status of a text")
	}
	if _, err := Detach(context.Background(), e, true); err == nil {
		t.Fatal("detached a text")
	}
	list := CheckFile(context.Background(), e)
	if level(t, list, "capture") != checkup.Bad {
		t.Fatalf("%+v", list)
	}
	a := w.agent(e)
	eventually(t, "damaged", func() bool { return state(a) == StateDamaged })
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	write(good)
	sh(t, e.File, "ALTER TABLE item RENAME TO away")
	a = w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	sh(t, e.File, "ALTER TABLE away RENAME TO item")
	reads(t, e.File, "SELECT count(*)>3 FROM sqlite_schema WHERE type='trigger' AND tbl_name='item'", "1")
	sh(t, e.File, "UPDATE item SET note='whole' WHERE id='a'")
	reads(t, w.hub.Dir().DB(), "SELECT note FROM item WHERE id='a'", "whole")
}

// A hub that moved is reached where the configuration says, under the same pin.
func TestHubMayMove(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	w.down()
	w.addr = "127.0.0.1:0"
	w.up()
	if _, err := Once(context.Background(), OnceConfig{Edge: e}); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("at the old address: %v", err)
	}
	e.URL = w.hub.Endpoint().URL
	w.sync(e)
}
