package tidemark_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark"
	"github.com/tidemark-sync/tidemark/tidemarktest"
)

func TestSyncCarriesBothWays(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	write(t, one, `UPDATE stock SET qty = qty - 3 WHERE id = 'aspirin'`)
	write(t, two, `UPDATE stock SET qty = qty - 4 WHERE id = 'aspirin'`)
	hub.Exec(t, `UPDATE stock SET note = 'from above' WHERE id = 'aspirin'`)
	if st := status(t, one); st.Unsafe != 1 || st.OldestUnsafe <= 0 {
		t.Errorf("before: %+v", st)
	}
	hub.Settle(t, one, two)
	for _, db := range []*tidemark.DB{one, two} {
		if got := text(t, db, `SELECT qty || note FROM stock WHERE id='aspirin'`); got != "'3from above'" {
			t.Errorf("%s: %s", db.Path(), got)
		}
		if st := status(t, db); st.Unsafe != 0 || st.OldestUnsafe != 0 || !st.Complete || st.LastContact.IsZero() || st.LastProgress.IsZero() || st.Device.IsZero() || !strings.HasPrefix(st.Hub, "https://") {
			t.Errorf("after: %+v", st)
		}
	}
}

func TestSyncTellsWhyNot(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	hub.Link("till").Cut()
	if err := db.Sync(ctx); !errors.Is(err, tidemark.ErrUnreachable) {
		t.Errorf("no network: %v", err)
	}
	hub.Link("till").Restore()
	c, stop := context.WithCancel(ctx)
	stop()
	if err := db.Sync(c); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	other, err := tidemark.Open(ctx, tidemark.Config{Path: db.Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"sync": db.Sync(ctx), "start": db.Start(ctx)} {
		if !errors.Is(err, tidemark.ErrInUse) {
			t.Errorf("%s beside another agent: %v", what, err)
		}
	}
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	// Whoever answers at another address must hold the key of the hub it joined.
	stranger, err := tidemark.Open(ctx, tidemark.Config{Path: db.Path(), URL: status(t, newHub(t).Open(t, "till", "all")).Hub})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	if err := stranger.Sync(ctx); !errors.Is(err, tidemark.ErrRefused) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another hub: %v", err)
	}
	write(t, db, `DELETE FROM stock WHERE id = 'plaster'`)
	hub.Revoke(t, "till")
	if err := db.Sync(ctx); !errors.Is(err, tidemark.ErrRefused) || errors.Is(err, tidemark.ErrUnreachable) {
		t.Errorf("revoked: %v", err)
	}
	if st := status(t, db); st.Unsafe != 1 {
		t.Errorf("the work is gone: %+v", st)
	}
}

func TestSyncTellsItsProgress(t *testing.T) {
	hub := newHub(t)
	hub.Exec(t, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO stock SELECT 's'||i, i, hex(randomblob(100)) FROM n`)
	var last int64
	db, err := tidemark.Open(ctx, tidemark.Config{Path: filepath.Join(t.TempDir(), "a.db"), Token: hub.Token(t, "a", "all"),
		Progress: func(done, _ int64) { last = max(last, done) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Sync(ctx), db.Close()); err != nil || last == 0 {
		t.Fatalf("%d rows, %v", last, err)
	}
}

// A started DB hands in what is written, and shows what others write, by itself;
// also after the network was away.
func TestStartKeepsTheFileInSync(t *testing.T) {
	hub := newHub(t)
	one, two := hub.Open(t, "one", "all"), hub.Open(t, "two", "all")
	for _, db := range []*tidemark.DB{one, two} {
		if err := errors.Join(db.Start(ctx), db.Start(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(db *tidemark.DB, want string) {
		t.Helper()
		tidemarktest.Eventually(t, want, func() bool { return text(t, db, `SELECT qty FROM stock WHERE id='aspirin'`) == want })
	}
	write(t, one, `UPDATE stock SET qty = qty - 1 WHERE id = 'aspirin'`)
	sees(two, "9")
	hub.Link("one").Cut()
	write(t, one, `UPDATE stock SET qty = qty - 2 WHERE id = 'aspirin'`)
	write(t, two, `UPDATE stock SET qty = qty - 4 WHERE id = 'aspirin'`)
	tidemarktest.Eventually(t, "offline", func() bool { return status(t, one).Agent.State == tidemark.Offline })
	if st := status(t, one); st.Unsafe != 1 || st.Agent.Error == "" || st.Agent.Hint == "" || !st.Agent.Running {
		t.Errorf("%+v", st)
	}
	hub.Link("one").Restore()
	sees(one, "3")
	sees(two, "3")
	if err := one.Sync(ctx); err != nil { // the agent makes room
		t.Fatal(err)
	}
	tidemarktest.Eventually(t, "online again", func() bool { return status(t, one).Agent.State == tidemark.Online })
}

func TestTheContextOfStartEndsTheAgent(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	c, stop := context.WithCancel(ctx)
	if err := db.Start(c); err != nil {
		t.Fatal(err)
	}
	stop()
	tidemarktest.Eventually(t, "stopped", func() bool { return !status(t, db).Agent.Running })
	write(t, db, `UPDATE stock SET qty = 1`)
	if err := db.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if st := status(t, db); st.Agent.Running || st.Unsafe != 0 {
		t.Fatalf("%+v", st)
	}
	if err := db.Start(ctx); err != nil || !status(t, db).Agent.Running {
		t.Fatalf("started again: %v", err)
	}
}

func TestWatchTellsOfEachChange(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	var got []string
	var age time.Duration
	limited, end := context.WithTimeout(ctx, time.Minute)
	defer end()
	for st, err := range db.Watch(limited) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(got) == 0:
			got = append(got, "safe")
			write(t, db, `UPDATE stock SET qty = 1`)
		case len(got) == 1 && st.Unsafe == 1:
			got, age = append(got, "unsafe"), st.OldestUnsafe
		case len(got) == 2 && st.OldestUnsafe > age:
			got = append(got, "older")
			if err := db.Start(ctx); err != nil {
				t.Fatal(err)
			}
		case len(got) == 3 && st.Unsafe == 0 && st.Agent.State == tidemark.Online:
			got = append(got, "safe")
		}
		if len(got) == 4 {
			break
		}
	}
	if strings.Join(got, " ") != "safe unsafe older safe" {
		t.Fatal(got)
	}
	c, stop := context.WithCancel(ctx)
	defer stop()
	for range db.Watch(c) {
		stop()
	}
	faults := 0
	for _, err := range db.Watch(ctx) {
		if err != nil {
			faults++
			if err := os.Rename(db.Path()+"x", db.Path()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if faults > 0 {
			break
		}
		if err := errors.Join(db.Stop(), os.Rename(db.Path(), db.Path()+"x")); err != nil {
			t.Fatal(err)
		}
	}
	closed := false
	for range db.Watch(ctx) {
		if !closed {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		closed = true
	}
}

func TestTrapD20_DetachRefusesWhileWorkIsUnsafe(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	if err := db.Start(ctx); err != nil {
		t.Fatal(err)
	}
	hub.Link("till").Cut()
	write(t, db, `UPDATE stock SET qty = 0 WHERE id = 'aspirin'`)
	if _, err := db.Detach(ctx, false); !errors.Is(err, tidemark.ErrUnsafe) {
		t.Fatalf("unsafe: %v", err)
	}
	rescue, err := db.Detach(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(rescue); err != nil || !strings.Contains(string(b), "aspirin") {
		t.Fatalf("the rescue: %v\n%s", err, b)
	}
	if got := text(t, db, `SELECT count(*) FROM sqlite_schema WHERE name LIKE '\_tidemark%' ESCAPE '\'`); got != "0" {
		t.Errorf("%s things of ours are left", got)
	}
	_, statusErr := db.Status(ctx)
	_, queueErr := db.Queue(ctx)
	_, rescueErr := db.Rescues(ctx)
	for what, err := range map[string]error{"status": statusErr, "queue": queueErr, "rescues": rescueErr, "start": db.Start(ctx), "sync": db.Sync(ctx)} {
		if !errors.Is(err, tidemark.ErrNotJoined) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := db.Write(ctx, func(*tidemark.Tx) error { return nil }); err == nil {
		t.Error("a Write that nobody hands in")
	}
}

// A DB that cannot open another connection, because its file went away, says so
// and recovers.
func TestTheFileGoesAndComesBack(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	away := db.Path() + "-away"
	if err := os.Rename(db.Path(), away); err != nil {
		t.Fatal(err)
	}
	for range tidemark.DefaultReaders + 1 { // no slot is lost
		if err := db.Read(ctx, func(*tidemark.Tx) error { return nil }); !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(away, db.Path()); err != nil {
		t.Fatal(err)
	}
	if text(t, db, `SELECT count(*) FROM stock`) != "2" {
		t.Fatal("not what it was")
	}
}

// A file that was put in the place of the other one, say out of a backup, is the
// one that is written from then on.
func TestTrapS12_AReplacedFileIsOpenedAnew(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	write(t, db, `UPDATE stock SET note = 'before'`)
	backup := filepath.Join(t.TempDir(), "backup.db")
	c := own(t, db.Path())
	if _, err := c.Exec(`VACUUM INTO ?`, backup); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, db, `UPDATE stock SET note = 'after'`)
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(db.Path() + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(backup, db.Path()); err != nil {
		t.Fatal(err)
	}
	if got := text(t, db, `SELECT min(note) FROM stock`); got != "'before'" {
		t.Fatalf("reads %s, of the file that is gone", got)
	}
	write(t, db, `UPDATE stock SET note = 'restored'`)
	hub.Settle(t, db)
	if got := hub.Query(t, `SELECT min(note) FROM stock`); got != "'restored'" {
		t.Fatalf("at the hub: %s", got)
	}
}

func TestCloseEndsASync(t *testing.T) {
	hub := newHub(t)
	hub.Exec(t, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000) INSERT INTO stock SELECT 's'||i, i, hex(randomblob(200)) FROM n`)
	begun := make(chan struct{})
	var once sync.Once
	var db *tidemark.DB
	db, err := tidemark.Open(ctx, tidemark.Config{Path: filepath.Join(t.TempDir(), "a.db"), Token: hub.Token(t, "a", "all"),
		Progress: func(int64, int64) {
			once.Do(func() {
				close(begun)
				tidemarktest.Eventually(t, "closing", func() bool { _, err := db.Status(ctx); return errors.Is(err, tidemark.ErrClosed) })
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- db.Sync(ctx) }()
	<-begun
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, tidemark.ErrClosed) {
		t.Fatal(err)
	}
}
