package sqlitestore

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestWaitTellsThatTheFileIsGone(t *testing.T) {
	path := newFile(t, noteDDL)
	s := open(t, path, noteRules())
	c := now(t, s)
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Wait(ctx, c); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait on a file that is gone: %v", err)
	}
	if err := s.Wait(ctx, change.Cursor{Epoch: 1, Token: "1.1"}); !errors.Is(err, hub.ErrOtherHistory) {
		t.Errorf("wait with another hub's cursor: %v", err)
	}
	if err := os.Rename(path+".moved", path); err != nil {
		t.Fatal(err)
	}
}

// A cursor from beyond the end wakes at once: its holder must learn that it is lost.
func TestWaitBeyondTheEnd(t *testing.T) {
	s := open(t, newFile(t, noteDDL), noteRules())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Wait(ctx, change.Cursor{Epoch: s.Epoch(), Token: "3e8.1"}); err != nil {
		t.Errorf("wait beyond the end: %v", err)
	}
}

// The scope column of each affinity gives the scope the triggers give.
func TestScopeOfEveryAffinity(t *testing.T) {
	for _, typ := range []string{"TEXT", "INTEGER", "REAL", "BLOB", "NUMERIC", "VARCHAR(9)", "", "DATE"} {
		s := open(t, newFile(t, `CREATE TABLE note (id INTEGER PRIMARY KEY, b `+typ+`)`),
			&rule.Rules{Tables: []rule.Table{{Name: "note", Scope: rule.Scope{Kind: "k", Column: "b"}}}})
		values := []change.Value{change.Int(7), change.Text("7"), change.Text("x"), change.Float(7), change.Float(0.1), change.Blob([]byte("y")), change.Null}
		err := s.Update(context.Background(), func(tx hub.Tx) error {
			for i, v := range values {
				id := change.Int(int64(i))
				err := tx.Write(hub.Effect{Table: "note", Kind: change.Insert, Key: change.Key{id}, Columns: []string{"id", "b"}, Values: []change.Value{id, v}})
				if err == nil {
					err = tx.Write(hub.Effect{Table: "note", Kind: change.Delete, Key: change.Key{id}})
				}
				if err == nil {
					err = tx.Write(hub.Effect{Table: "note", Kind: change.Insert, Key: change.Key{id}, Columns: []string{"id", "b"}, Values: []change.Value{id, v}})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		bad := shell(t, s.cfg.Path, `SELECT op, l.scope, n.b, typeof(n.b) FROM _tidemark_log l JOIN note n ON n.id = l.k0 WHERE l.scope <> coalesce('k/' || n.b, '')`)
		if bad != "" {
			t.Errorf("column of type %q: %s", typ, bad)
		}
	}
}
