package tidemark_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/tidemark-sync/tidemark"
)

// foreign stands for a driver over the C library.
type foreign struct{}

func (foreign) Open(string) (driver.Conn, error) { return nil, errors.New("opened") }

func own(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestTrapS13_OnlyOneSQLiteInTheProcess(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	for _, d := range []driver.Driver{foreign{}, &foreign{}} {
		c := sql.OpenDB(connector{d})
		err := db.Adopt(c)
		if !errors.Is(err, tidemark.ErrDriver) || !strings.Contains(err.Error(), "foreign") {
			t.Errorf("%T: %v", d, err)
		}
		_ = c.Close()
	}
	if err := db.Adopt(own(t, db.Path())); err != nil {
		t.Fatalf("the same engine: %v", err)
	}
}

type connector struct{ d driver.Driver }

func (c connector) Driver() driver.Driver { return c.d }

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.d.Open("") }

func TestAdoptLooksWhereTheConnectionLeads(t *testing.T) {
	db := newHub(t).Open(t, "till", "all")
	other := filepath.Join(t.TempDir(), "other.db")
	for what, path := range map[string]string{"another file": other, "no directory": filepath.Join(other, "x"), "memory": ":memory:"} {
		c := own(t, path)
		if path == other {
			if _, err := c.Exec(`CREATE TABLE t (a)`); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Adopt(c); err == nil || errors.Is(err, tidemark.ErrDriver) {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := own(t, db.Path())
	if err := errors.Join(c.Ping(), os.Rename(db.Path(), other)); err != nil {
		t.Fatal(err)
	}
	if err := db.Adopt(c); err == nil {
		t.Error("the file is gone")
	}
	if err := os.Rename(other, db.Path()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Adopt(c); !errors.Is(err, tidemark.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// The application's own connection writes, the DB's agent hands it in.
func TestTheAppsOwnConnection(t *testing.T) {
	hub := newHub(t)
	db := hub.Open(t, "till", "all")
	c := own(t, db.Path())
	if err := db.Adopt(c); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := tidemark.Begin(ctx, tx); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{`UPDATE stock SET qty = qty - 1 WHERE id = 'aspirin'`, `INSERT INTO sale (id, stock) VALUES ('` + id + `', 'aspirin')`} {
			if _, err := tx.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	list, err := db.Queue(ctx)
	if err != nil || len(list) != 2 || len(list[0].Ops) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	hub.Settle(t, db)
	if got := hub.Query(t, `SELECT qty, (SELECT count(*) FROM sale) FROM stock WHERE id='aspirin'`); got != "8|2" {
		t.Fatalf("at the hub: %s", got)
	}
	plain := own(t, filepath.Join(t.TempDir(), "plain.db"))
	if err := tidemark.Begin(ctx, plain); err == nil {
		t.Fatal("a file that is not enrolled")
	}
}
