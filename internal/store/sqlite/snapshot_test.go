package sqlitestore

import (
	"context"
	"errors"
	"fmt"
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
)

// studio is a store of notes with a clock to move.
func studio(t *testing.T, ddl ...string) (*Store, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s, err := Open(Config{Path: newFile(t, append([]string{noteDDL}, ddl...)...), Rules: noteRules(), NoSync: true, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, c
}

func askNotes(t *testing.T, s *Store) hub.SnapshotAsk {
	t.Helper()
	ddl, err := s.DDL(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return hub.SnapshotAsk{DDL: ddl, Scopes: []rule.ScopeID{rule.ScopeAll}}
}

// shoot asks for a snapshot and returns what it is.
func shoot(t *testing.T, s *Store, ask hub.SnapshotAsk) hub.SnapshotInfo {
	t.Helper()
	f, err := s.Snapshot(context.Background(), ask)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, f.Info().Packed)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Info()
}

func files(t *testing.T, s *Store) []string {
	t.Helper()
	list, err := filepath.Glob(s.cfg.Path + "-snapshots/*")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSnapshotIsMadeOnceWhileFresh(t *testing.T) {
	s, c := studio(t)
	note(t, s, 1)
	ask := askNotes(t, s)
	first := shoot(t, s, ask)
	if check(s, first.At) != nil || first.At != now(t, s) || first.Size == 0 || first.Packed == 0 {
		t.Fatalf("%+v", first)
	}
	c.Advance(24 * time.Hour)
	if again := shoot(t, s, ask); again != first {
		t.Fatal("made anew although nothing happened")
	}
	note(t, s, 2)
	if again := shoot(t, s, ask); again == first {
		t.Fatal("a day old and behind, but not made anew")
	}
	second := shoot(t, s, ask)
	note(t, s, 3)
	if again := shoot(t, s, ask); again != second {
		t.Fatal("made anew for one change that comes with the pull")
	}
	err := s.Update(context.Background(), func(tx hub.Tx) error {
		for i := int64(10); i < 12+snapshotBehind; i++ {
			if err := tx.Write(hub.Effect{Table: "note", Kind: change.Insert, Key: change.Key{change.Int(i)},
				Columns: []string{"id", "v"}, Values: []change.Value{change.Int(i), change.Null}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	third := shoot(t, s, ask)
	if third == second {
		t.Fatal("far behind, but not made anew")
	}
	// Who began an older one gets the rest of it.
	ask.ID = second.ID
	if rest := shoot(t, s, ask); rest != second {
		t.Fatal("the file begun earlier is not sent on")
	}
	other := ask
	other.Setup = change.Hash{1}
	if o := shoot(t, s, other); o.ID == second.ID && o.At == second.At {
		t.Fatal("found by another setup")
	}
}

// A file whose cursor is served no more is of no use to anyone.
func TestSnapshotBelowTheFloorIsForgotten(t *testing.T) {
	s, c := studio(t)
	note(t, s, 1)
	ask := askNotes(t, s)
	first := shoot(t, s, ask)
	c.Advance(time.Hour)
	note(t, s, 2)
	note(t, s, 3)
	if _, err := s.Prune(context.Background(), c.Advance(time.Hour)); err != nil {
		t.Fatal(err)
	}
	ask.ID = first.ID
	if again := shoot(t, s, ask); again.At == first.At {
		t.Fatal("sent although its cursor is below the floor")
	}
	if len(files(t, s)) != 1 {
		t.Fatalf("kept: %v", files(t, s))
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	s, _ := studio(t)
	note(t, s, 1)
	ask := askNotes(t, s)
	one := shoot(t, s, ask)
	s.photos.room = 2*one.Packed + one.Packed/2
	for i := range 5 {
		ask.Setup = change.Hash{byte(i + 1)}
		shoot(t, s, ask)
		ask.Setup = change.Hash{1}
		shoot(t, s, ask) // used all the time: stays
	}
	if list := files(t, s); len(list) != 2 || !slices.ContainsFunc(list, func(f string) bool { return strings.Contains(f, photoKey(ask.Setup, ask.Scopes)) }) {
		t.Fatalf("kept: %v", list)
	}
	// One that is gone from the disk is an error once, and made anew then.
	for _, f := range files(t, s) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Snapshot(context.Background(), ask); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	shoot(t, s, ask)
}

// Many that ask at once wait for one build; who runs out of patience hears so,
// and the build goes on.
func TestSnapshotIsMadeForAllWhoWait(t *testing.T) {
	s, _ := studio(t)
	note(t, s, 1)
	ask := askNotes(t, s)
	s.photos.turn <- struct{}{} // another one is being made
	s.photos.wait = time.Millisecond
	if _, err := s.Snapshot(context.Background(), ask); !errors.Is(err, hub.ErrPreparing) {
		t.Fatal(err)
	}
	s.photos.wait = time.Hour
	gone, leave := context.WithCancel(context.Background())
	leave()
	if _, err := s.made(gone, photoKey(ask.Setup, ask.Scopes), ask); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got := make(chan error, 8)
	for range cap(got) {
		go func() {
			f, err := s.Snapshot(context.Background(), ask)
			if err == nil {
				err = f.Close()
			}
			got <- err
		}()
	}
	<-s.photos.turn
	for range cap(got) {
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	if s.photos.number != 1 || len(files(t, s)) != 1 {
		t.Fatalf("%d were made: %v", s.photos.number, files(t, s))
	}
}

func TestSnapshotEndsWithTheStore(t *testing.T) {
	s, _ := studio(t)
	ask := askNotes(t, s)
	s.photos.turn <- struct{}{}
	got := make(chan error, 1)
	go func() { _, err := s.Snapshot(context.Background(), ask); got <- err }()
	for range 1000 {
		s.photos.mu.Lock()
		n := len(s.photos.making)
		s.photos.mu.Unlock()
		if n > 0 {
			break
		}
		<-time.After(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
	if _, err := s.Snapshot(context.Background(), ask); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}

// What cannot be made is said to be so, and nothing is left behind.
func TestSnapshotThatCannotBeMade(t *testing.T) {
	s, _ := studio(t, `CREATE TABLE heard (id)`, `CREATE TRIGGER hear AFTER INSERT ON note BEGIN INSERT INTO heard VALUES (NEW.id); END`)
	if _, err := s.Snapshot(context.Background(), askNotes(t, s)); !errors.Is(err, hub.ErrNoSnapshot) || !strings.Contains(err.Error(), "trigger") {
		t.Fatal(err)
	}
	s, _ = studio(t)
	note(t, s, 1)
	for what, ddl := range map[string][]string{
		"no such table":        {"CREATE TABLE other (id)"},
		"constraint":           {"CREATE TABLE note (id INTEGER PRIMARY KEY, v TEXT CHECK (v IS NULL))"},
		"already exists":       {noteDDL, noteDDL},
		"no such column: lost": {noteDDL, "CREATE INDEX i ON note (lost)"},
		"nothing":              {noteDDL, "-- nothing"},
	} {
		ask := hub.SnapshotAsk{DDL: ddl, Scopes: []rule.ScopeID{rule.ScopeAll}}
		if _, err := s.Snapshot(context.Background(), ask); !errors.Is(err, hub.ErrNoSnapshot) {
			t.Errorf("%s: %v", what, err)
		}
		if len(files(t, s)) != 0 {
			t.Errorf("%s: left behind: %v", what, files(t, s))
		}
	}
	// Scopes that no row can be in make an empty file.
	ask := askNotes(t, s)
	ask.Scopes = []rule.ScopeID{"branch/1"}
	shoot(t, s, ask)
}

func TestDDLKind(t *testing.T) {
	for sql, want := range map[string]string{
		"create table t (x)": "TABLE", "CREATE UNIQUE INDEX i ON t (x)": "INDEX", "/* c */ CREATE VIEW v AS SELECT 1": "VIEW",
		"CREATE VIRTUAL TABLE f USING fts5(x)": "VIRTUAL", "": "",
	} {
		if got := ddlKind(sql); got != want {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if fmt.Sprint(fit([]string{"CREATE VIRTUAL TABLE f USING fts5(x)"})) == "<nil>" {
		t.Error("a virtual table fits")
	}
}
