package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

func look(t *testing.T, e Edge, before *Sight) *Sight {
	t.Helper()
	s, err := Look(t.Context(), LookConfig{Edge: e, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A look tells what status and queue tell, and takes no lock that a writer waits for.
func TestALookSeesWhatWaitsAndWhatWasParked(t *testing.T) {
	w := newWorld(t)
	w.up()
	one, two := w.join("one.db", "branch/1"), w.join("two.db", "branch/1")
	s := look(t, one, nil)
	if len(s.Waiting)+len(s.Parked) != 0 || s.Status.Rows != 0 || !s.Status.Complete || len(s.Status.Schema) != 32 || s.Status.FreeDisk == 0 {
		t.Fatalf("%+v", s.Status)
	}
	sh(t, one.File, "INSERT INTO item VALUES('p',1,77,'x')")
	sh(t, two.File, "INSERT INTO item VALUES('q',1,77,'y')")
	if s = look(t, one, s); s.Status.OutboxDepth != 1 || len(s.Waiting) != 0 {
		t.Fatalf("what was not exported is counted, and not listed: %+v", s)
	}
	if sh(t, one.File, "SELECT count(*) FROM _tidemark_outbox WHERE state=0") != "0\n" {
		t.Error("the look exported: it wrote")
	}
	w.down() // offline, the agent exports
	a := w.agent(one)
	eventually(t, "it waits", func() bool { return len(look(t, one, nil).Waiting) == 1 })
	s = look(t, one, nil)
	if r := s.Waiting[0].Rows; len(r) != 1 || r[0].Table != "item" || r[0].Kind != "insert" || r[0].Key.String() != "'p'" {
		t.Errorf("%+v", s.Waiting)
	}
	s.Waiting[0].Rows = []Row{{Table: "kept"}}
	if again := look(t, one, s); again.Waiting[0].Rows[0].Table != "kept" {
		t.Error("a transaction that was seen is read again")
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	w.up()
	w.sync(two)
	w.sync(one)
	s, err := Look(t.Context(), LookConfig{Edge: one, Count: true})
	if err != nil || len(s.Parked) != 1 || !strings.Contains(s.Parked[0].Reason, "already has this value") || s.Status.Quarantined != 1 || s.Status.Rows == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	list, err := Waiting(context.Background(), one)
	if err != nil || len(list) != 1 || list[0] != s.Parked[0].Queued {
		t.Errorf("the queue says %+v, the look %+v: %v", list, s.Parked, err)
	}
}

// Only the first rows of a large transaction are named.
func TestALookNamesTheFirstRowsOnly(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	sh(t, e.File, "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n WHERE i<150) INSERT INTO item SELECT 'i'||i, 1, i, NULL FROM n")
	if _, err := Waiting(context.Background(), e); err != nil { // exports
		t.Fatal(err)
	}
	if s := look(t, e, nil); len(s.Waiting) != 1 || len(s.Waiting[0].Rows) != LookRows || s.Waiting[0].Ops != 51 {
		t.Errorf("%+v", s.Waiting)
	}
}

// A writer and a look do not wait for each other. Where readers are kept out, the look
// says so after a moment.
func TestALookWaitsForNobodyLong(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	app, err := sqlite.Open(e.File, sqlite.Options{MustExist: true, Busy: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	run := func(sql string) {
		t.Helper()
		if err := sqlite.Exec(app, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run("BEGIN IMMEDIATE")
	run("UPDATE item SET note='held' WHERE id='a'")
	look(t, e, nil)
	run("COMMIT")
	run("PRAGMA journal_mode=DELETE")
	run("BEGIN EXCLUSIVE")
	began := time.Now()
	if _, err := Look(t.Context(), LookConfig{Edge: e}); !sqlite.IsBusy(err) {
		t.Errorf("where nobody may read: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v to say so", d)
	}
	run("COMMIT")
	look(t, e, nil)
}

func TestWhatCannotBeLookedAt(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	if _, err := Look(t.Context(), LookConfig{Edge: w.edge("none.db")}); !errors.Is(err, ErrNotJoined) {
		t.Errorf("not enrolled: %v", err)
	}
	if err := os.Rename(e.File, e.File+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(t.Context(), LookConfig{Edge: e}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if exists(e.File) {
		t.Error("the look made a file")
	}
	if err := os.Rename(e.File+".away", e.File); err != nil {
		t.Fatal(err)
	}
	sh(t, e.File, "UPDATE _tidemark_meta SET value=1 WHERE key='format'")
	if _, err := Look(t.Context(), LookConfig{Edge: e}); !sqlite.IsReadOnly(err) {
		t.Errorf("a layout that has to be brought up to date first: %v", err)
	}
	for _, table := range []string{"_tidemark_outbox", "_tidemark_event"} {
		broken := w.join(table+".db", "branch/1")
		sh(t, broken.File, "ALTER TABLE "+table+" RENAME TO elsewhere")
		if _, err := Look(t.Context(), LookConfig{Edge: broken}); err == nil {
			t.Errorf("without %s it was read", table)
		}
	}
	torn := w.join("torn.db", "branch/1")
	sh(t, torn.File, "INSERT INTO item VALUES('t',1,9,NULL)")
	if _, err := Waiting(context.Background(), torn); err != nil {
		t.Fatal(err)
	}
	sh(t, torn.File, "UPDATE _tidemark_outbox SET body=x'00'")
	if _, err := Look(t.Context(), LookConfig{Edge: torn}); err == nil {
		t.Error("a transaction that cannot be decoded was read")
	}
}

// The agent says in which of the hub's words it was refused, and when it last heard it,
// also when nothing has moved since.
func TestAnAgentSaysWhyAndSinceWhen(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.join("one.db", "branch/1")
	e.RetryMost = time.Second
	began := time.Now()
	a := w.agent(e)
	eventually(t, "online", func() bool { return state(a) == StateOnline })
	if s := look(t, e, nil).Status.Agent; s.Version != "test" || s.Code != "" {
		t.Errorf("%+v", s)
	}
	w.down()
	said := func() *EdgeStatus { return look(t, e, nil).Status } // by the file and by what the agent wrote beside it
	eventually(t, "offline", func() bool { return said().Agent.State == StateOffline })
	s := said()
	if !s.LastContact.After(began) || s.LastContact.After(time.Now()) {
		t.Errorf("last contact %v, and it was online after %v", s.LastContact, began)
	}
	last := s.LastContact
	eventually(t, "it tried again", func() bool { return said().Agent.Next.After(s.Agent.Next) })
	if now := said().LastContact; !now.Equal(last) {
		t.Errorf("a try that failed moved the last contact from %v to %v", last, now)
	}
	w.up()
	eventually(t, "online again", func() bool { return state(a) == StateOnline })
	id, err := ReadIdentity(e.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.hub.Core().Revoke(t.Context(), id.Device, "stolen"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refused", func() bool { return said().Agent.State == StateRefused })
	if s := said().Agent; s.Code != "revoked" || !strings.Contains(s.Error, "stolen") {
		t.Errorf("%+v", s)
	}
	if got := fmt.Sprint(a.Status()[0].Code); got != "revoked" {
		t.Errorf("the agent itself says %q", got)
	}
}
