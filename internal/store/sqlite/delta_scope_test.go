package sqlitestore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A pull reads the entries of its own scopes, through the index on (scope, pos),
// however much happened in the others: what a hub reads for its devices does not
// grow as changes × devices.
func TestTrapD19_PullReadsOnlyItsScopes(t *testing.T) {
	path := newFile(t, `CREATE TABLE visit (id INTEGER PRIMARY KEY, branch TEXT, n INTEGER)`)
	rules := &rule.Rules{Tables: []rule.Table{{Name: "visit", Scope: rule.Scope{Kind: "branch", Column: "branch"}}}}
	s := open(t, path, rules)
	start := now(t, s)
	shell(t, path, `WITH i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i WHERE n<3000)
		INSERT INTO visit SELECT n, 'b' || (n % 100), 0 FROM i; UPDATE visit SET n=1`)
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			shell(t, path, "ANALYZE")
		}
		err := s.View(context.Background(), func(v hub.View) error {
			w := v.(*view)
			tab, err := w.p.table("visit")
			if err != nil {
				return err
			}
			for what, sql := range map[string]string{"touched tables": touchedSQL(2), "touched rows": tab.deltaSQL(2, 2)} {
				var args []change.Value
				for range strings.Count(sql, "?") {
					args = append(args, change.Int(0))
				}
				var plan []string
				err := sqlite.Query(w.c, "EXPLAIN QUERY PLAN "+sql, func(s *sqlite.Stmt) error {
					plan = append(plan, s.ColumnText(3))
					return nil
				}, args...)
				if err != nil {
					return err
				}
				all := strings.Join(plan, "\n")
				if !strings.Contains(all, "_tidemark_log_scope (scope=? AND pos>?)") || strings.Contains(all, "SCAN _tidemark_log") {
					t.Errorf("%s, analyzed %v:\n%s", what, analyzed, all)
				}
			}
			rows := 0
			err = v.Delta(start, change.Incarnation{1}, []rule.ScopeID{"branch/b7"}, 1<<20, func(r *change.Rows) error { rows += r.Len(); return nil })
			if err == nil && rows != 30 {
				err = fmt.Errorf("%d rows of 30", rows)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
