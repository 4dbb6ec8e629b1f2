package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/cable"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A file that does not exist yet is complete as soon as it is there.
func TestJoinFillsAFreshPath(t *testing.T) {
	w := newWorld(t)
	w.up()
	e := w.edge("one.db")
	var done, total int64
	j, err := Join(context.Background(), JoinConfig{Edge: e, Token: w.token("till", "branch/1"), Fill: true,
		Progress: func(d, n int64) { done, total = d, n }})
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Created) != 1 || done == 0 || done != total {
		t.Fatalf("%+v, %d bytes of %d", j, done, total)
	}
	s, err := FileStatus(context.Background(), e)
	if err != nil || !s.Complete || s.Rows != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	reads(t, e.File, "PRAGMA journal_mode", "wal")
	reads(t, e.File, "PRAGMA integrity_check", "ok")
	if s := w.sync(e); s.Rows != 2 || s.Waiting != 0 {
		t.Fatalf("%+v", s)
	}
	sh(t, e.File, "UPDATE item SET note='captured' WHERE id='a'")
	w.sync(e)
	reads(t, w.hub.Dir().DB(), "SELECT note FROM item WHERE id='a'", "captured")
}

// A file that is there already, with or without tables, takes its rows one by one.
func TestJoinFillsAnExistingFileByRows(t *testing.T) {
	w := newWorld(t)
	w.up()
	for name, sql := range map[string]string{"empty.db": "PRAGMA user_version=7", "own.db": "CREATE TABLE mine(x); INSERT INTO mine VALUES(1)"} {
		e := w.edge(name)
		sh(t, e.File, sql)
		// A Join that died left these, one of them a second name of the file.
		if err := errors.Join(os.Mkdir(SideDir(e.File), 0o700), os.Link(e.File, SideDir(e.File)+"/snapshot.db"),
			os.WriteFile(SideDir(e.File)+"/snapshot", nil, 0o600), os.WriteFile(SideDir(e.File)+"/snapshot.json", nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		calls := 0
		if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: w.token(name, "branch/1"), Fill: true, Progress: func(int64, int64) { calls++ }}); err != nil {
			t.Fatal(err)
		}
		if s := w.sync(e); s.Rows != 2 || calls != 0 {
			t.Fatalf("%s: %+v, %d parts of a snapshot", name, s, calls)
		}
		for _, left := range []string{"snapshot", "snapshot.json", "snapshot.db"} {
			if exists(SideDir(e.File) + "/" + left) {
				t.Errorf("%s is left beside %s", left, name)
			}
		}
	}
}

// Where the hub has no snapshot to give, Join goes on without.
func TestJoinFillsByRowsWhereThereIsNoSnapshot(t *testing.T) {
	w := newWorld(t)
	sh(t, w.path("app.db"), "CREATE TABLE seen(id); CREATE TRIGGER look AFTER INSERT ON item BEGIN INSERT INTO seen VALUES(NEW.id); END")
	w.up()
	e := w.edge("one.db")
	if _, err := Join(context.Background(), JoinConfig{Edge: e, Token: w.token("till", "branch/1"), Fill: true}); err != nil {
		t.Fatal(err)
	}
	if s, err := FileStatus(context.Background(), e); err != nil || s.Complete {
		t.Fatalf("before the first sync: %+v, %v", s, err)
	}
	w.sync(e)
	reads(t, e.File, "SELECT count(*) FROM item JOIN seen USING(id)", "2")
}

// On a line that breaks all the time Join goes on as long as it gets further,
// and the next Join goes on where it gave up.
func TestJoinFillsOverAPoorLine(t *testing.T) {
	w := newWorld(t)
	sh(t, w.path("app.db"), "INSERT INTO item VALUES('big',1,4,randomblob(5000000))")
	w.up()
	link, err := cable.New(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	e := w.edge("one.db")
	token, err := transport.ParseToken(w.token("till", "branch/1"))
	if err != nil {
		t.Fatal(err)
	}
	token.URL = "https://" + link.Addr()
	var seen []int64
	cfg := JoinConfig{Edge: e, Token: token.String(), Fill: true}
	cfg.Progress = func(done, _ int64) {
		if seen = append(seen, done); len(seen) == 3 {
			link.Cut() // for good: this Join gives up
		}
	}
	if _, err := Join(context.Background(), cfg); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatal(err)
	}
	if _, err := os.Lstat(e.File); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a part of the file is there: %v", err)
	}
	link.Restore()
	kept := seen[len(seen)-1]
	cfg.Progress = func(done, _ int64) {
		if seen = append(seen, done); len(seen)%5 == 0 {
			link.Cut()
			link.Restore()
		}
	}
	mark := len(seen)
	if _, err := Join(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	if first := seen[mark]; first <= kept {
		t.Errorf("%d bytes were here, and it began at %d", kept, first)
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] <= seen[i-1] {
			t.Errorf("bytes came twice: %s", strings.ReplaceAll(fmt.Sprint(seen), " ", ", "))
		}
	}
	if s, err := FileStatus(context.Background(), e); err != nil || !s.Complete || s.Rows != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
}
