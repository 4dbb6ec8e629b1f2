package sqlitestore

import (
	"errors"
	"os"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

func lineageOf(t *testing.T, s *Store) (list []change.Branch) {
	t.Helper()
	if err := s.View(t.Context(), func(v hub.View) (err error) { list, err = v.Lineage(); return err }); err != nil {
		t.Fatal(err)
	}
	return list
}

// A file from before there were lineages keeps its epoch, and its cursors.
func TestFileWithoutLineageGetsOne(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	note(t, s, 1)
	c := now(t, s)
	s.Close()
	shell(t, path, `DROP TABLE _tidemark_epoch`)
	for range 2 {
		s = open(t, path, noteRules())
		if err := check(s, c); err != nil {
			t.Errorf("a cursor from before: %v", err)
		}
		list := lineageOf(t, s)
		if len(list) != 1 || list[0].Epoch != c.Epoch || list[0].Mode != change.Founded || !list[0].At.IsZero() {
			t.Errorf("lineage %+v of a file with epoch %s", list, c.Epoch)
		}
		s.Close()
	}
}

// Two stores over one file, as in two processes: what one begins the other knows.
func TestLifeBegunByAnotherProcess(t *testing.T) {
	path := newFile(t, noteDDL)
	s, other := open(t, path, noteRules()), open(t, path, noteRules())
	note(t, s, 1)
	before := now(t, s)
	b, err := other.Begin(t.Context(), change.Restored)
	if err != nil {
		t.Fatal(err)
	}
	// A cursor of the new life, and nobody looked at the file since.
	if err := s.Wait(t.Context(), change.Cursor{Epoch: b.Epoch, Token: before.Token}); err != nil {
		t.Errorf("wait with a cursor of the new life: %v", err)
	}
	if got := now(t, s); got.Epoch != b.Epoch {
		t.Errorf("cursor %s after epoch %s began", got, b.Epoch)
	}
	if s.Epoch() != b.Epoch || len(lineageOf(t, s)) != 2 {
		t.Errorf("epoch %s, lineage %+v", s.Epoch(), lineageOf(t, s))
	}
	note(t, s, 2)
	if err := check(other, now(t, s)); err != nil {
		t.Errorf("a cursor of the other process: %v", err)
	}
}

// The hub is put back from a copy, and told so: what was lost is told from what was
// not, though positions and epochs alone look alike.
func TestRestoredFileKeepsCursorsOfTheCommonPast(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	note(t, s, 1)
	early := now(t, s)
	s.Close()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, path, noteRules())
	note(t, s, 2)
	lost := now(t, s)
	s.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, noteRules())
	if _, err := s.Begin(t.Context(), change.Restored); err != nil {
		t.Fatal(err)
	}
	note(t, s, 3)
	note(t, s, 4)
	if err := check(s, early); err != nil {
		t.Errorf("cursor of the common past: %v", err)
	}
	if err := check(s, lost); !errors.Is(err, hub.ErrOtherHistory) {
		t.Errorf("cursor of the lost time: %v", err)
	}
	s.Close()
	s = open(t, path, noteRules())
	if err := check(s, early); err != nil || len(lineageOf(t, s)) != 2 {
		t.Errorf("after a restart: %v, lineage %+v", err, lineageOf(t, s))
	}
}

func TestDamagedLineage(t *testing.T) {
	for name, sql := range map[string]string{
		"a fork that is none":    `INSERT INTO _tidemark_epoch (epoch, fork, mode, at) VALUES (5, 'x', 'restored', 0)`,
		"a fork without a place": `INSERT INTO _tidemark_epoch (epoch, fork, mode, at) VALUES (5, '0000000000000001:zz', 'restored', 0)`,
		"another epoch in meta":  `UPDATE _tidemark_meta SET value = 77 WHERE key = 'epoch'`,
	} {
		path := newFile(t, noteDDL)
		s := open(t, path, noteRules())
		shell(t, path, sql+`; UPDATE _tidemark_meta SET value = value + 1 WHERE key = 'epoch'`)
		err := s.View(t.Context(), func(v hub.View) error { _, err := v.Cursor(); return err })
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := s.Begin(t.Context(), change.Restored); err == nil {
			t.Errorf("%s: a new life on top of it", name)
		}
		s.Close()
	}
}
