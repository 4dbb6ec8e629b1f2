package proposal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// chinook opens the sample database, or ends the test. In CI it must be there.
func chinook(t *testing.T) *sqlite.Conn {
	t.Helper()
	path := os.Getenv("TIDEMARK_CHINOOK")
	if path == "" {
		path = filepath.Join("..", "..", "..", "shared", "data", "Chinook_Sqlite.sqlite")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the Chinook database is not at %s: set TIDEMARK_CHINOOK", path)
		}
		t.Skipf("the Chinook database is not at %s: set TIDEMARK_CHINOOK", path)
	}
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestChinook(t *testing.T) {
	p, err := Read(chinook(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Tables) != 11 || len(p.Refused) != 0 {
		t.Errorf("%d tables, refused %v", len(p.Tables), p.Refused)
	}
	valid(t, p)
	golden(t, "testdata/chinook.yaml", p.YAML())
	golden(t, "testdata/chinook.txt", p.Report())
}
