package edge

import (
	"errors"
	"fmt"
	"strings"

	zs "zombiezen.com/go/sqlite"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// errMigrated says that a Migration was used too late.
var errMigrated = errors.New("the migration has ended")

// Exec runs statements, several when there are no parameters. Rows are discarded.
func (m *Migration) Exec(sql string, args ...change.Value) error { return m.Query(sql, nil, args...) }

// Query is Exec that calls row, when it is set, for each row of a result. row may not
// run other statements.
func (m *Migration) Query(sql string, row func(*sqlite.Stmt) error, args ...change.Value) error {
	if m.ended {
		return errMigrated
	}
	if sqlite.Blank(sql) {
		return nil
	}
	for !sqlite.Blank(sql) {
		rest, err := m.statement(sql, row, args)
		if err != nil {
			return err
		}
		sql = rest
	}
	return nil
}

// statement runs the first statement of a text.
func (m *Migration) statement(sql string, row func(*sqlite.Stmt) error, args []change.Value) (rest string, err error) {
	sql = sqlite.Trim(sql)
	w := &watcher{e: m.e}
	st, n, err := m.prepare(sql, w)
	if w.refused != "" {
		return "", fmt.Errorf("%s: %s", brief(sql), w.refused)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", brief(sql), err)
	}
	text := sql[:len(sql)-n]
	if len(args) != st.BindParamCount() {
		return "", errors.Join(fmt.Errorf("%s: %d parameters for a statement that takes %d", brief(text), len(args), st.BindParamCount()), st.Finalize())
	}
	if err := m.keep(text, w); err != nil {
		return "", errors.Join(err, st.Finalize())
	}
	for i, a := range args {
		sqlite.Bind(st, i+1, a)
	}
	for more := true; more && err == nil; {
		if more, err = st.Step(); more && err == nil && row != nil {
			err = row(st)
		}
	}
	if e := st.Finalize(); err == nil {
		err = e
	}
	if err == nil {
		err = m.follow(text)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", brief(text), err)
	}
	return sql[len(sql)-n:], nil
}

// prepare compiles a statement while w looks on.
func (m *Migration) prepare(sql string, w *watcher) (st *sqlite.Stmt, rest int, err error) {
	if err := m.e.conn.SetAuthorizer(w); err != nil {
		return nil, 0, err
	}
	st, rest, err = m.e.conn.PrepareTransient(sql)
	if e := m.e.conn.SetAuthorizer(nil); err == nil && e != nil {
		return nil, 0, errors.Join(e, st.Finalize())
	}
	return st, rest, err
}

// brief is the beginning of a statement, for a message.
func brief(sql string) string {
	s := strings.Join(strings.Fields(sql), " ")
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "…"
	}
	return s
}

// A watcher sees what a statement is about to do, and refuses what would end the
// migration's transaction or reach into Tidemark's own tables.
type watcher struct {
	e       *Engine
	refused string
	writes  []string // tables of the file whose rows it writes, drops or renames
	gone    []string // tables that it drops
	made    []string // tables that it makes; also one that is there, with IF NOT EXISTS
}

// Authorize implements the driver's Authorizer.
func (w *watcher) Authorize(a zs.Action) zs.AuthResult {
	switch a.Type() {
	case zs.OpTransaction, zs.OpSavepoint:
		return w.refuse("a migration is one transaction already: take BEGIN, COMMIT, ROLLBACK and SAVEPOINT out")
	case zs.OpAttach, zs.OpDetach:
		return w.refuse("a migration works on one file: take ATTACH and DETACH out")
	case zs.OpPragma:
		if strings.EqualFold(a.Pragma(), "writable_schema") || strings.EqualFold(a.Pragma(), "journal_mode") {
			return w.refuse("PRAGMA " + a.Pragma() + " has no place in a migration")
		}
	case zs.OpInsert, zs.OpUpdate, zs.OpDelete:
		w.wrote(a.Table())
		if sqlite.Ours(a.Table()) {
			return w.refuse("it writes Tidemark's own table " + a.Table())
		}
	case zs.OpCreateTable:
		w.made = append(w.made, a.Table())
	case zs.OpDropTable:
		w.gone = append(w.gone, a.Table())
		w.wrote(a.Table())
	}
	return zs.AuthResultOK
}

func (w *watcher) refuse(why string) zs.AuthResult {
	if w.refused == "" {
		w.refused = why
	}
	return zs.AuthResultDeny
}

func (w *watcher) wrote(table string) {
	if table != "" {
		w.writes = append(w.writes, table)
	}
}
