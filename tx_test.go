package tidemark_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark-sync/tidemark"
)

func TestWriteIsAllOrNothing(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	boom := errors.New("boom")
	var kept *tidemark.Tx
	err := db.Write(ctx, func(tx *tidemark.Tx) error {
		kept = tx
		if err := tx.Exec(`UPDATE stock SET qty = 0`); err != nil || tx.Changes() != 2 {
			t.Errorf("%v, %d rows", err, tx.Changes())
		}
		return boom
	})
	if !errors.Is(err, boom) || text(t, db, `SELECT sum(qty) FROM stock`) != "15" {
		t.Fatalf("after an error: %v", err)
	}
	if err := kept.Exec(`DELETE FROM stock`); err == nil || kept.Changes() != 0 {
		t.Fatal("a transaction that has ended was used")
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.Write(ctx, func(tx *tidemark.Tx) error {
			_ = tx.Exec(`DELETE FROM stock`)
			panic(boom)
		})
	}()
	if got := text(t, db, `SELECT count(*) FROM stock`); got != "2" {
		t.Fatalf("after a panic: %s rows", got)
	}
	if err := db.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`COMMIT`) }); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Fatalf("a function that commits by itself: %v", err)
	}
	write(t, db, `DELETE FROM stock WHERE id=?`, "plaster") // it all still works
}

// Trap S10: triggers cannot see where a transaction begins, so Write says it.
func TestTrapS10_EachWriteIsOneTransaction(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	for i := range 3 {
		err := db.Write(ctx, func(tx *tidemark.Tx) error {
			id := fmt.Sprintf("s%d", i)
			return errors.Join(tx.Exec(`UPDATE stock SET qty = qty - 1 WHERE id = 'aspirin'`),
				tx.Exec(`INSERT INTO sale (id, stock) VALUES (?, 'aspirin')`, id))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := db.Queue(ctx)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d transactions, %v", len(list), err)
	}
	for _, q := range list {
		if q.State != tidemark.Waiting || len(q.Ops) != 2 || q.ID.IsZero() || q.At.IsZero() {
			t.Errorf("%+v", q)
		}
	}
}

func TestReadSeesOneSnapshot(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	err := db.Read(ctx, func(tx *tidemark.Tx) error {
		read := func() (n int64) {
			if err := tx.Query(`SELECT sum(qty) FROM stock`, func(r tidemark.Row) error { return r.Scan(&n) }); err != nil {
				t.Error(err)
			}
			return n
		}
		before := read()
		write(t, db, `UPDATE stock SET qty = 0`)
		if read() != before {
			t.Error("a write in between shows")
		}
		return tx.Exec(`DELETE FROM stock`)
	})
	if err == nil || text(t, db, `SELECT count(*) FROM stock`) != "2" {
		t.Fatalf("a read that writes: %v", err)
	}
}

func TestReadsRunBesideEachOther(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	var all, ended sync.WaitGroup
	all.Add(tidemark.DefaultReaders)
	for range tidemark.DefaultReaders {
		ended.Go(func() {
			if err := db.Read(ctx, func(*tidemark.Tx) error { all.Done(); all.Wait(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	c, stop := context.WithCancel(ctx)
	hold := make(chan struct{})
	for range tidemark.DefaultReaders {
		all.Add(1)
		ended.Go(func() {
			_ = db.Read(ctx, func(*tidemark.Tx) error { all.Done(); <-hold; return nil })
		})
	}
	all.Wait()
	stop()
	if err := db.Read(c, func(*tidemark.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("one more, without patience: %v", err)
	}
	close(hold)
	ended.Wait()
}

func TestQueriesNest(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	const each = `SELECT id FROM stock ORDER BY id`
	var got []string
	err := db.Read(ctx, func(tx *tidemark.Tx) error {
		return tx.Query(each, func(outer tidemark.Row) error {
			return tx.Query(each, func(inner tidemark.Row) error {
				got = append(got, outer.Value(0).Str()+"-"+inner.Value(0).Str())
				return nil
			})
		})
	})
	if err != nil || strings.Join(got, " ") != "aspirin-aspirin aspirin-plaster plaster-aspirin plaster-plaster" {
		t.Fatalf("%v, %v", got, err)
	}
	boom := errors.New("boom")
	err = db.Read(ctx, func(tx *tidemark.Tx) error {
		if err := tx.Query(each, func(tidemark.Row) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("the function's error: %v", err)
		}
		return tx.Query(each, func(tidemark.Row) error { return tx.Query(each+"x", nil) })
	})
	if err == nil {
		t.Fatal("no error from a wrong inner query")
	}
}

func TestStatementsThatCannotRun(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	err := db.Write(ctx, func(tx *tidemark.Tx) error {
		for sql, args := range map[string][]any{
			`SELECT`:                          nil,
			`SELECT 1; SELECT 2`:              nil,
			``:                                nil,
			`SELECT ?`:                        nil,
			`SELECT 1`:                        {1},
			`SELECT ? + ?`:                    {1, struct{}{}},
			`INSERT INTO sale (id) VALUES(1)`: nil,
		} {
			if err := tx.Exec(sql, args...); err == nil {
				t.Errorf("%q with %v ran", sql, args)
			}
		}
		return tx.Query(`SELECT 1`, func(tidemark.Row) error { return tx.Exec(`SELECT 1; SELECT 2`) })
	})
	if err == nil {
		t.Fatal("no error")
	}
	// Foreign keys hold on a DB's connections.
	err = db.Write(ctx, func(tx *tidemark.Tx) error { return tx.Exec(`INSERT INTO sale (id, stock) VALUES ('x', 'nothing')`) })
	if err == nil || !strings.Contains(err.Error(), "FOREIGN KEY") {
		t.Fatalf("a sale of nothing: %v", err)
	}
}

func TestACommitThatFailsUndoesEverything(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	err := db.Write(ctx, func(tx *tidemark.Tx) error {
		return errors.Join(tx.Exec(`PRAGMA defer_foreign_keys=ON`), tx.Exec(`INSERT INTO sale (id, stock) VALUES ('x', 'nothing')`))
	})
	if err == nil || !strings.Contains(err.Error(), "commit") {
		t.Fatalf("a sale of nothing: %v", err)
	}
	if got := text(t, db, `SELECT count(*) FROM sale`); got != "0" {
		t.Fatalf("%s sales", got)
	}
	write(t, db, `DELETE FROM stock WHERE id = 'plaster'`) // it all still works
}

func TestTheContextEndsATransaction(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	c, stop := context.WithCancel(ctx)
	err := db.Write(c, func(tx *tidemark.Tx) error {
		if err := tx.Exec(`DELETE FROM stock`); err != nil {
			t.Error(err)
		}
		stop()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("ended before the commit: %v", err)
	}
	c, stop = context.WithCancel(ctx)
	rows := 0
	err = db.Read(c, func(tx *tidemark.Tx) error {
		return tx.Query(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i FROM n`, func(tidemark.Row) error {
			if rows++; rows == 3 {
				stop()
			}
			return nil
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an endless query: %v", err)
	}
	if err := db.Write(c, func(*tidemark.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended before it began: %v", err)
	}
	if text(t, db, `SELECT count(*) FROM stock`) != "2" {
		t.Fatal("something was written")
	}
	write(t, db, `UPDATE stock SET qty = 1`) // and no transaction was left open
}

func TestALockedFileIsToldOf(t *testing.T) {
	hub := newHub(t)
	path := hub.Open(t, "till", "all").Path()
	first, err := tidemark.Open(ctx, tidemark.Config{Path: path, Busy: -1, Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	second, err := tidemark.Open(ctx, tidemark.Config{Path: path, Busy: -1})
	if err != nil {
		t.Fatal(err)
	}
	err = first.Write(ctx, func(*tidemark.Tx) error {
		if err := second.Write(ctx, func(*tidemark.Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("locked by another one: %v", err)
		}
		return nil
	})
	if err := errors.Join(err, first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	if err := db.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	_, statusErr := db.Status(ctx)
	_, queueErr := db.Queue(ctx)
	_, rescueErr := db.Rescues(ctx)
	_, detachErr := db.Detach(ctx, false)
	for what, err := range map[string]error{
		"write": db.Write(ctx, nil), "read": db.Read(ctx, nil), "start": db.Start(ctx), "sync": db.Sync(ctx), "reapply": db.Reapply(ctx, 1),
		"status": statusErr, "queue": queueErr, "rescues": rescueErr, "detach": detachErr,
	} {
		if !errors.Is(err, tidemark.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range db.Watch(ctx) {
		t.Error("a closed DB has a status")
	}
	if err := db.Stop(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	hub := newHub(t)
	path := filepath.Join(t.TempDir(), "new.db")
	junk := filepath.Join(t.TempDir(), "junk.db")
	if err := os.WriteFile(junk, []byte("this is a text, not a database, and long enough to be one ..........................................."), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		cfg  tidemark.Config
		want error
	}{
		"no path":      {tidemark.Config{}, nil},
		"no token":     {tidemark.Config{Path: path}, tidemark.ErrNotJoined},
		"half a token": {tidemark.Config{Path: path, Token: hub.Token(t, "a", "all")[:40]}, tidemark.ErrToken},
		"below a file": {tidemark.Config{Path: filepath.Join(junk, "y.db"), Token: hub.Token(t, "b", "all")}, nil},
		"no database":  {tidemark.Config{Path: junk, Token: hub.Token(t, "c", "all")}, nil},
	} {
		db, err := tidemark.Open(ctx, c.cfg)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			_ = db.Close()
		}
	}
	token := hub.Token(t, "late", "all")
	hub.Link("late").Cut()
	if _, err := tidemark.Open(ctx, tidemark.Config{Path: path, Token: token}); !errors.Is(err, tidemark.ErrUnreachable) {
		t.Fatalf("no network: %v", err)
	}
	hub.Link("late").Restore()
	db, err := tidemark.Open(ctx, tidemark.Config{Path: path, Token: token})
	if err != nil {
		t.Fatalf("with the same token, later: %v", err)
	}
	if st := status(t, db); st.Complete || st.Name != "late" || st.Agent.Running || st.Agent.State != tidemark.Stopped {
		t.Errorf("before the first sync: %+v", st)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = tidemark.Open(ctx, tidemark.Config{Path: path + "2", Token: token})
	if !errors.Is(err, tidemark.ErrRefused) || tidemark.Hint(err) == "" {
		t.Fatalf("the token again: %v, hint %q", err, tidemark.Hint(err))
	}
}
