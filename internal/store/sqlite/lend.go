package sqlitestore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// The connection that writes for edges runs none of the file's triggers. The
// app's own are lent to it as TEMP triggers, but for those that write synced
// tables: their effects arrive from the edge as changes of their own, and a
// second run would sell twice (trap S23). Other programs' writes run them all.

// Triggers names the app's triggers that run when an edge's changes are applied,
// and those that do not, because they write synced tables or cannot work.
func (s *Store) Triggers() (run, mute []string) {
	p := s.plan.Load()
	return slices.Clone(p.lent), slices.Clone(p.muted)
}

// lend replaces the connection's TEMP triggers.
func (r *refreshing) lend() error {
	var old []string
	err := sqlite.Query(r.c, `SELECT name FROM temp.sqlite_schema WHERE type='trigger'`, func(s *sqlite.Stmt) error {
		old = append(old, s.ColumnText(0))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read lent triggers: %w", err)
	}
	for _, n := range old {
		if err := sqlite.Exec(r.c, "DROP TRIGGER temp."+sqlite.Quote(n)); err != nil {
			return fmt.Errorf("take trigger %s back: %w", n, err)
		}
	}
	var list []object
	err = sqlite.Query(r.c, `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type='trigger' ORDER BY rowid`, func(s *sqlite.Stmt) error {
		if o := (object{s.ColumnText(0), s.ColumnText(1), s.ColumnText(2), s.ColumnText(3)}); !sqlite.Ours(o.name) {
			list = append(list, o)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the app's triggers: %w", err)
	}
	for _, o := range list {
		text, ok := r.loan(o)
		if ok {
			ok, err = r.works(o, text)
			if err != nil {
				return err
			}
		}
		if ok {
			r.p.lent = append(r.p.lent, o.name)
		} else {
			r.p.muted = append(r.p.muted, o.name)
		}
	}
	return nil
}

// loan is a trigger as a TEMP trigger; not ok when it writes a synced table. A
// RAISE(ROLLBACK) would undo everything that shares the transaction, so it
// becomes an ABORT, of the one transaction that its savepoint undoes.
func (r *refreshing) loan(o object) (text string, ok bool) {
	list := tokens(o.sql)
	begin := slices.IndexFunc(list, func(t token) bool { return t.is("BEGIN") })
	if begin < 0 || len(list) < 3 {
		return "", false
	}
	var b strings.Builder
	b.WriteString("CREATE TEMP TRIGGER ")
	from := list[2].at // behind CREATE TRIGGER, as the schema keeps it
	for i, t := range list {
		if i >= begin && r.p.list.Index(written(list[i:])) >= 0 {
			return "", false
		}
		if t.is("ROLLBACK") && i >= 2 && list[i-1].text == "(" && list[i-2].is("RAISE") {
			b.WriteString(o.sql[from:t.at] + "ABORT")
			from = t.end
		}
	}
	b.WriteString(o.sql[from:])
	return b.String(), true
}

// written is the table that the statement starting at a token writes, or "".
func written(list []token) string {
	at := func(i int) token {
		if i < len(list) {
			return list[i]
		}
		return token{}
	}
	i := 1
	switch t := list[0]; {
	case t.is("UPDATE") && !at(1).is("SET"): // not the SET of ON CONFLICT DO UPDATE
		if at(1).is("OR") {
			i = 3
		}
	case t.is("INTO") || t.is("DELETE") && at(1).is("FROM"):
		if t.is("DELETE") {
			i = 2
		}
	default:
		return ""
	}
	return at(i).name()
}

// works lends a trigger if the statements that fire it then compile.
func (r *refreshing) works(o object, text string) (bool, error) {
	if err := sqlite.Exec(r.c, "SAVEPOINT loan"); err != nil {
		return false, err
	}
	fault := sqlite.Exec(r.c, text)
	if at := r.p.list.Index(o.table); at >= 0 {
		for _, q := range r.p.tables[at].firing() {
			if fault != nil {
				break
			}
			var s *sqlite.Stmt
			if s, _, fault = r.c.PrepareTransient(q); fault == nil {
				fault = s.Finalize()
			}
		}
	}
	if fault != nil {
		r.s.cfg.Logger.Warn("a trigger cannot run when edges' changes are applied", "trigger", o.name, "error", fault)
		if err := sqlite.Exec(r.c, "ROLLBACK TO loan"); err != nil {
			return false, err
		}
	}
	return fault == nil, sqlite.Exec(r.c, "RELEASE loan")
}

// firing are statements that fire every trigger of a table.
func (t *table) firing() []string {
	set := make([]string, len(t.names))
	for i, n := range t.names {
		set[i] = sqlite.Quote(n) + " = NULL"
	}
	return []string{t.insert, "UPDATE " + t.name + " SET " + strings.Join(set, ", "), "DELETE FROM " + t.name}
}
