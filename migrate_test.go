package tidemark_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark"
)

func TestMigrate(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	var old []string
	r, err := one.Migrate(ctx, func(m *tidemark.Migration) error {
		err := m.Query(`SELECT id FROM stock WHERE qty > ? ORDER BY id`, func(r tidemark.Row) error {
			var id string
			err := r.Scan(&id)
			old = append(old, id)
			return err
		}, 1)
		return errors.Join(err,
			m.Exec(`ALTER TABLE stock DROP COLUMN note; ALTER TABLE stock ADD COLUMN shelf TEXT;`),
			m.Exec(`UPDATE stock SET qty = qty + ?, shelf = ?`, 100, "A"))
	}, tidemark.MigrateOptions{})
	if err != nil || r.Rows != 2 || !slices.Equal(old, []string{"aspirin", "plaster"}) || !slices.Equal(r.Tables[0].Unsynced, []string{"shelf"}) {
		t.Fatalf("%+v, %v, %v", r, old, err)
	}
	write(t, one, `INSERT INTO stock (id, qty, shelf) VALUES ('gauze', 1, 'B')`) // on the connection from before
	hub.Settle(t, one, two)
	if got := text(t, two, `SELECT group_concat(id || qty || coalesce(note, '')) FROM stock`); got != "'aspirin110,plaster105blue,gauze1'" {
		t.Error(got)
	}
	hub.Exec(t, `ALTER TABLE stock ADD COLUMN shelf TEXT`)
	hub.Settle(t, one, two)
	write(t, two, `ALTER TABLE stock ADD COLUMN shelf TEXT`)
	hub.Settle(t, one, two)
	if got := text(t, two, `SELECT group_concat(id || shelf) FROM stock`); got != "'aspirinA,plasterA,gauzeB'" {
		t.Error(got)
	}
}

func TestMigrateRefused(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "one", "all")
	stop := errors.New("stop")
	c, cancel := context.WithCancel(ctx)
	for what, fn := range map[string]func(*tidemark.Migration) error{
		"stop":             func(m *tidemark.Migration) error { return errors.Join(m.Exec(`DROP TABLE sale`), stop) },
		"parameter 1":      func(m *tidemark.Migration) error { return m.Exec(`UPDATE stock SET qty=?`, struct{}{}) },
		"one transaction":  func(m *tidemark.Migration) error { return m.Exec(`COMMIT`) },
		"context canceled": func(m *tidemark.Migration) error { cancel(); return m.Exec(`DROP TABLE sale`) },
	} {
		run := ctx
		if what == "context canceled" {
			run = c
		}
		if _, err := db.Migrate(run, fn, tidemark.MigrateOptions{}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := db.Migrate(c, nil, tidemark.MigrateOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	write(t, db, `INSERT INTO sale VALUES ('s', 'aspirin', NULL, 1)`)
	if r, err := db.Migrate(ctx, func(m *tidemark.Migration) error { return m.Exec(`DELETE FROM sale`) }, tidemark.MigrateOptions{DryRun: true}); err != nil || r.Rows != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	hub.Settle(t, db)
	if got := text(t, db, `SELECT count(*) FROM sale`); got != "1" {
		t.Error(got)
	}
}

// A migration ends with its context, also in the middle of a statement, and leaves
// nothing behind; reads go on meanwhile.
func TestMigrateEndsWithItsContext(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "one", "all")
	c, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := db.Migrate(c, func(m *tidemark.Migration) error {
		if err := m.Exec(`DROP TABLE sale`); err != nil {
			return err
		}
		if got := text(t, db, `SELECT count(*) FROM sale`); got != "0" {
			t.Errorf("a read meanwhile: %s", got)
		}
		return m.Query(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n FROM c WHERE n IN (1, 1000000000)`, func(r tidemark.Row) error {
			var n int64
			err := r.Scan(&n)
			cancel()
			if n > 1 {
				err = errors.New("the statement went on")
			}
			return err
		})
	}, tidemark.MigrateOptions{})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "went on") {
		t.Fatal(err)
	}
	write(t, db, `INSERT INTO sale VALUES ('s', 'aspirin', NULL, 1)`)
	hub.Settle(t, db)
}
