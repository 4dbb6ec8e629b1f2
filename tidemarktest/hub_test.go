package tidemarktest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

const ddl = `CREATE TABLE note (id TEXT PRIMARY KEY NOT NULL, room INTEGER NOT NULL, text);`

const rules = "tables:\n  note: {scope: \"room/{room}\"}\n"

func insert(t *testing.T, db *tidemark.DB, id string, room int) {
	t.Helper()
	err := db.Write(context.Background(), func(tx *tidemark.Tx) error { return tx.Exec(`INSERT INTO note VALUES (?, ?, 'x')`, id, room) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestHubIsARealOne(t *testing.T) {
	hub := tidemarktest.NewHub(t, ddl, rules)
	one, two := hub.Open(t, "one", "room/1"), hub.Open(t, "two", "room/1", "room/2")
	insert(t, one, "a", 1)
	insert(t, two, "b", 2)
	hub.Exec(t, `INSERT INTO note VALUES ('c', 1, 'plain'); INSERT INTO note VALUES ('d', 2, NULL)`)
	hub.Settle(t, one, two)
	if got := hub.Query(t, `SELECT id, room, text FROM note ORDER BY id`); got != "'a'|1|'x'\n'b'|2|'x'\n'c'|1|'plain'\n'd'|2|NULL" {
		t.Fatal(got)
	}
	for db, want := range map[*tidemark.DB]int64{one: 2, two: 4} {
		var n int64
		err := db.Read(context.Background(), func(tx *tidemark.Tx) error {
			return tx.Query(`SELECT count(*) FROM note`, func(r tidemark.Row) error { return r.Scan(&n) })
		})
		if err != nil || n != want {
			t.Errorf("%s has %d rows, want %d, %v", db.Path(), n, want, err)
		}
	}
	if r := hub.Receipts(t); len(r) != 0 {
		t.Errorf("%+v", r)
	}
}

// Each device has a network of its own.
func TestLinksAreCutOneByOne(t *testing.T) {
	hub := tidemarktest.NewHub(t, ddl, rules)
	one, two := hub.Open(t, "one", "room/1"), hub.Open(t, "two", "room/1")
	hub.Link("one").Cut()
	insert(t, one, "a", 1)
	if err := one.Sync(context.Background()); !errors.Is(err, tidemark.ErrUnreachable) {
		t.Fatal(err)
	}
	if err := two.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	hub.Link("one").Restore()
	hub.Settle(t, one, two)
	hub.Revoke(t, "two")
	if err := two.Sync(context.Background()); !errors.Is(err, tidemark.ErrRefused) {
		t.Fatal(err)
	}
}

// failing is a T that tells of its failure instead of ending.
type failing struct {
	*testing.T
	said string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

// nowhere is a T whose directory cannot be written.
type nowhere struct{ tidemarktest.T }

func (nowhere) TempDir() string { return "/dev/null/x" }

func fails(t *testing.T, want string, do func(tidemarktest.T)) {
	t.Helper()
	f := &failing{T: t}
	defer func() {
		if r := recover(); r != f {
			t.Fatalf("it did not fail, or otherwise: %v", r)
		}
		if !strings.Contains(f.said, want) {
			t.Fatalf("it said %q, not %q", f.said, want)
		}
	}()
	do(f)
}

func TestFailuresNameWhatFailed(t *testing.T) {
	hub := tidemarktest.NewHub(t, ddl, rules)
	db := hub.Open(t, "one", "room/1")
	fails(t, "start hub", func(t tidemarktest.T) { tidemarktest.NewHub(t, "nonsense", rules) })
	fails(t, "start hub", func(t tidemarktest.T) { tidemarktest.NewHub(t, ddl, "tables: {none: {scope: all}}") })
	fails(t, "add device", func(t tidemarktest.T) { hub.Token(t, "", "room/1") })
	fails(t, "at the hub", func(t tidemarktest.T) { hub.Exec(t, "nonsense") })
	fails(t, "at the hub", func(t tidemarktest.T) { hub.Query(t, "nonsense") })
	fails(t, "discard", func(t tidemarktest.T) { hub.Discard(t, [16]byte{1}, "no such one") })
	fails(t, "no such device", func(t tidemarktest.T) { hub.Revoke(t, "nobody") })
	hub.Link("two").Cut()
	fails(t, "open two", func(t tidemarktest.T) { hub.Open(t, "two", "room/1") })
	hub.Link("one").Cut()
	fails(t, "sync ", func(t tidemarktest.T) { hub.Settle(t, db) })
	fails(t, "start hub", func(t tidemarktest.T) { tidemarktest.NewHub(nowhere{t}, ddl, rules) })
	hub.Link("one").Restore()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, "closed", func(t tidemarktest.T) { hub.Settle(t, db) })
}

func TestRunCleansUp(t *testing.T) {
	var dir, order string
	func() {
		defer func() {
			if r := recover(); r != "over: 1" {
				t.Errorf("%v", r)
			}
		}()
		tidemarktest.Run(func(p tidemarktest.T) {
			p.Helper()
			dir = p.TempDir()
			for _, s := range []string{"a", "b"} {
				p.Cleanup(func() { order += s })
			}
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Error(err)
			}
			p.Fatalf("over: %d", 1)
		})
	}()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || order != "ba" {
		t.Fatalf("%v, %s", err, order)
	}
}
