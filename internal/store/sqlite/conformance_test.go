package sqlitestore

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/store/storetest"
)

// The other program of the suite is the sqlite3 shell: another process, another
// SQLite, another version.
func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, rules *rule.Rules, ddl []string) (hub.Store, func(string), storetest.Dialect) {
		path := filepath.Join(t.TempDir(), "hub.db")
		if err := Create(path, ddl); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Config{Path: path, Rules: rules, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s, func(sql string) { t.Helper(); shell(t, path, sql) }, storetest.SQLite
	})
}

// shell runs SQL in the sqlite3 shell with foreign keys on.
func shell(t testing.TB, path, sql string) string {
	t.Helper()
	cmd := exec.Command("sqlite3", "-bail", path)
	cmd.Stdin = strings.NewReader(".timeout 10000\nPRAGMA foreign_keys=ON;\n" + sql + ";\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v\n%s\n%s", err, sql, out)
	}
	return strings.TrimSpace(string(out))
}
