package run

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/disk"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

func TestJoinTakesATokenOnce(t *testing.T) {
	w := newWorld(t)
	w.up()
	token := w.token("till", "branch/1")
	e := w.edge("one.db")
	j, err := Join(context.Background(), JoinConfig{Edge: e, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if j.Name != "till" || !slices.Equal(j.Created, []string{"item"}) || j.Hub == "" || j.URL != w.hub.Endpoint().URL {
		t.Fatalf("%+v", j)
	}
	s, err := FileStatus(context.Background(), e)
	if err != nil || s.Complete || s.Agent.Running {
		t.Fatalf("before the first sync: %+v, %v", s, err)
	}
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); !errors.Is(err, ErrJoined) {
		t.Fatalf("the same file again: %v", err)
	}
	var f *wire.Fault
	if _, err := Join(context.Background(), JoinConfig{Edge: w.edge("two.db"), Token: token}); !errors.As(err, &f) || f.Code != "token-used" {
		t.Fatalf("another file: %v", err)
	}
	if _, err := Join(context.Background(), JoinConfig{Edge: w.edge("two.db"), Token: "tdm1_short"}); !errors.Is(err, ErrToken) {
		t.Fatalf("a torn token: %v", err)
	}
	if _, err := os.Stat(w.path("two.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a refused join left a file behind")
	}
}

// A join that was interrupted after the hub took the token can be done again.
func TestJoinCanBeDoneAgainAfterACut(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.edge("one.db")
	sh(t, e.File, "CREATE TABLE item(other TEXT PRIMARY KEY NOT NULL, id TEXT)")
	token := w.token("till", "branch/1")
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); err == nil || !strings.Contains(err.Error(), "item") {
		t.Fatalf("a file whose table does not fit: %v", err)
	}
	if _, err := ReadIdentity(e.File); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("after the refusal: %v", err)
	}
	sh(t, e.File, "DROP TABLE item")
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); err != nil {
		t.Fatalf("again, with the same token: %v", err)
	}
	if s := w.sync(e); s.Rows != 2 {
		t.Fatalf("%+v", s)
	}
}

func TestOnceTellsWhyNot(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	if _, err := Once(context.Background(), OnceConfig{Edge: w.edge("none.db")}); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("never joined: %v", err)
	}
	id, err := ReadIdentity(e.File)
	if err != nil {
		t.Fatal(err)
	}
	wrong := *id
	wrong.Pin[0] ^= 1
	if err := writeIdentity(e.File, &wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := Once(context.Background(), OnceConfig{Edge: e}); !errors.Is(err, transport.ErrPin) {
		t.Fatalf("wrong pin: %v", err)
	}
	if err := writeIdentity(e.File, id); err != nil {
		t.Fatal(err)
	}
	w.down()
	if _, err := Once(context.Background(), OnceConfig{Edge: e}); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("no hub: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := Once(ctx, OnceConfig{Edge: e, Wait: time.Hour})
		done <- err
	}()
	eventually(t, "at work", func() bool { return disk.Held(lockPath(e.File)) })
	w.up() // it was waiting for that
	if err := <-done; err != nil {
		t.Fatalf("waiting for the hub: %v", err)
	}
	stop()
	if _, err := Once(ctx, OnceConfig{Edge: e}); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if err := os.Remove(keyPath(e.File)); err != nil {
		t.Fatal(err)
	}
	if _, err := Once(context.Background(), OnceConfig{Edge: e}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("without the key: %v", err)
	}
}

// A bootstrap tells its progress.
func TestOnceTellsProgress(t *testing.T) {
	w := newWorld(t)
	sh(t, w.path("app.db"), "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO item SELECT 'r'||i, 1, i, hex(randomblob(200)) FROM n")
	w.up()
	e := w.edge("one.db")
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: w.token("one", "branch/1")}); err != nil {
		t.Fatal(err)
	}
	var last, total int64
	s, err := Once(context.Background(), OnceConfig{Edge: e, Progress: func(d, n int64) { last, total = d, n }})
	if err != nil || s.Rows != 2993 || last == 0 || total != 2993 {
		t.Fatalf("%+v, progress %d of %d, %v", s, last, total, err)
	}
}

func TestVerifyFindsAndRepairs(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1", "branch/2")
	sh(t, e.File, "INSERT INTO _tidemark_applying VALUES(1); UPDATE item SET note='bad' WHERE id='a'; DELETE FROM item WHERE id='b'; DELETE FROM _tidemark_applying")
	v, err := Verify(context.Background(), VerifyConfig{Edge: e})
	if err != nil || v.InSync || v.Differs != 2 || v.Tables[0].Differ[0] != "'a'" || v.Tables[0].Missing[0] != "'b'" {
		t.Fatalf("%+v, %v", v, err)
	}
	v, err = Verify(context.Background(), VerifyConfig{Edge: e, Repair: true})
	if err != nil || !v.InSync || !v.Tables[0].Repaired {
		t.Fatalf("%+v, %v", v, err)
	}
	reads(t, e.File, "SELECT note FROM item WHERE id='a'", "x")
	if _, err := Verify(context.Background(), VerifyConfig{Edge: e, Tables: []string{"nope"}}); err == nil {
		t.Fatal("verified a table that does not sync")
	}
}

// Logging out never empties the outbox by the way.
func TestTrapD20_DetachRefusesWhileWorkIsUnsafe(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "UPDATE item SET note='unsafe' WHERE id='a'")
	if _, err := Detach(context.Background(), e, false); !errors.Is(err, ErrUnsafe) {
		t.Fatalf("unsafe: %v", err)
	}
	if _, err := ReadIdentity(e.File); err != nil {
		t.Fatalf("the refusal changed something: %v", err)
	}
	if err := os.WriteFile(e.File+"-rescue.json", []byte("an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Detach(context.Background(), e, true)
	if err != nil || d.Rescued != 1 || d.Rescue != e.File+"-rescue-2.json" {
		t.Fatalf("forced: %+v, %v", d, err)
	}
	b, err := os.ReadFile(d.Rescue)
	var x exported
	if err != nil || json.Unmarshal(b, &x) != nil || len(x.Transactions) != 1 || x.Transactions[0].Ops[0].Columns[0].Name != "note" {
		t.Fatalf("rescue: %s, %v", b, err)
	}
	if _, err := os.Stat(SideDir(e.File)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("the side directory is still there")
	}
	if got := sh(t, e.File, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '_tidemark%'"); got != "0\n" {
		t.Fatalf("%s objects left", got)
	}
	if _, err := Detach(context.Background(), e, true); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("again: %v", err)
	}
}

func TestWaitingAndExport(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "ALTER TABLE item RENAME TO tmp; ALTER TABLE tmp RENAME TO item")
	sh(t, e.File, "INSERT INTO item VALUES('z',1,9,NULL); UPDATE item SET note=x'00ff' WHERE id='a'; UPDATE item SET note=0.5 WHERE id='c'")
	list, err := Waiting(context.Background(), e)
	if err != nil || len(list) != 1 || list[0].State != "waiting" || list[0].Ops != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	q, tx, err := WaitingOne(context.Background(), e, list[0].ID.String()[:8])
	if err != nil || q.ID != list[0].ID || len(tx.Ops) != 3 {
		t.Fatalf("%+v, %+v, %v", q, tx, err)
	}
	if _, _, err := WaitingOne(context.Background(), e, "ffff"); !errors.Is(err, ErrNoTransaction) {
		t.Fatalf("no such: %v", err)
	}
	b, err := ExportFile(context.Background(), e)
	for _, want := range []string{`"blob": "00ff"`, `"bits": "3fe0000000000000"`, `"null": ""`, `"integer": "9"`, `"text": "z"`} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Fatalf("%s is not in %s, %v", want, b, err)
		}
	}
	if _, err := Waiting(context.Background(), w.edge("none.db")); !errors.Is(err, ErrNotJoined) {
		t.Fatalf("never joined: %v", err)
	}
}

func TestCheckFile(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	list := CheckFile(context.Background(), e)
	for _, c := range []string{"file", "integrity", "journal", "enrolled", "agent", "clock", "drift", "hub"} {
		if level(t, list, c) != checkup.Good {
			t.Errorf("%s: %+v", c, list)
		}
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	w.down()
	sh(t, e.File, "UPDATE item SET note='unsafe'; ALTER TABLE item ADD COLUMN extra; DROP TRIGGER "+
		strings.TrimSpace(sh(t, e.File, "SELECT name FROM sqlite_schema WHERE type='trigger' AND tbl_name='item' AND name LIKE '_tidemark%' LIMIT 1")))
	list = CheckFile(context.Background(), e)
	for c, want := range map[string]checkup.Level{"agent": checkup.Note, "unsafe": checkup.Note, "hub": checkup.Warn, "drift": checkup.Warn} {
		if level(t, list, c) != want {
			t.Errorf("%s: want %s in %+v", c, want, list)
		}
	}
	sh(t, e.File, "DROP TABLE item")
	if err := os.Remove(keyPath(e.File)); err != nil {
		t.Fatal(err)
	}
	list = CheckFile(context.Background(), e)
	if level(t, list, "drift") != checkup.Bad || level(t, list, "key") != checkup.Bad {
		t.Errorf("%+v", list)
	}
	if list := CheckFile(context.Background(), w.edge("none.db")); level(t, list, "file") != checkup.Bad || level(t, list, "enrolled") != checkup.Note {
		t.Errorf("%+v", list)
	}
	if err := os.WriteFile(filepath.Join(SideDir(e.File), "agent.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list := CheckFile(context.Background(), e); level(t, list, "enrolled") != checkup.Bad {
		t.Errorf("%+v", list)
	}
}

// The application's own triggers are classified, and the person is told.
func TestJoinTellsWhatBecomesOfTriggers(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.edge("one.db")
	sh(t, e.File, shopSQL+`CREATE TABLE log(x);
CREATE TRIGGER again AFTER INSERT ON item BEGIN UPDATE item SET note='t' WHERE id=new.id; END;
CREATE TRIGGER local AFTER INSERT ON item BEGIN INSERT INTO log VALUES(1); END;`)
	j, err := Join(context.Background(), JoinConfig{Edge: e, Token: w.token("one", "branch/1", "branch/2")})
	if err != nil || !slices.Equal(j.Guarded, []string{"again"}) || !slices.Equal(j.Left, []string{"local"}) || len(j.Created) != 0 {
		t.Fatalf("%+v, %v", j, err)
	}
}

// A damaged file, or one that cannot be written, does not cost the token.
func TestJoinLooksBeforeItSpendsTheToken(t *testing.T) {
	w := newWorld(t)
	w.up()
	token := w.token("one", "branch/1")
	e := w.edge("one.db")
	sh(t, e.File, "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t SELECT hex(randomblob(50)) FROM n")
	good, err := os.ReadFile(e.File)
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(good)
	for i := 2 * 4096; i < 6*4096; i++ {
		bad[i] ^= 0x5a
	}
	write := func(b []byte) {
		if err := os.WriteFile(e.File, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(bad)
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); err == nil {
		t.Fatal("joined a damaged file")
	}
	write([]byte(strings.Repeat("text", 1000)))
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); err == nil {
		t.Fatal("joined a text")
	}
	write(good)
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: token}); err != nil {
		t.Fatalf("the token was spent: %v", err)
	}
}

// What was discarded at the hub is in the file's export as a rescue copy.
func TestExportHoldsRescueCopies(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	sh(t, w.hub.Dir().DB(), "INSERT INTO item VALUES('h',1,50,'hub')")
	sh(t, e.File, "INSERT INTO item VALUES('mine',1,50,'edge')")
	if s := w.sync(e); s.Quarantined != 1 {
		t.Fatalf("%+v", s)
	}
	list, err := w.hub.Core().Queue(context.Background(), change.DeviceID{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := w.hub.Core().Discard(context.Background(), list[0].ID, "twice"); err != nil {
		t.Fatal(err)
	}
	w.sync(e)
	b, err := ExportFile(context.Background(), e)
	var x exported
	if err != nil || json.Unmarshal(b, &x) != nil || len(x.Transactions) != 0 || len(x.Rescues) != 1 {
		t.Fatalf("%s, %v", b, err)
	}
}

func TestCheckFileKnowsAStranger(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	id, err := ReadIdentity(e.File)
	if err != nil {
		t.Fatal(err)
	}
	id.Pin[0] ^= 1
	if err := writeIdentity(e.File, id); err != nil {
		t.Fatal(err)
	}
	if list := CheckFile(context.Background(), e); level(t, list, "hub") != checkup.Bad {
		t.Fatalf("%+v", list)
	}
	var c exam
	c.Disk(filepath.Join(w.dir, "none", "a.db"))
	if level(t, c.Found, "disk") != checkup.Note {
		t.Fatalf("%+v", c.Found)
	}
}
