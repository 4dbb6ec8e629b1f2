package edge

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A Guard is one of the application's triggers that Tidemark keeps from running
// while it applies (trap S23), and why. Its effects arrive as changes of their
// own: run again, a sale that came with its stock movement would sell twice.
type Guard struct {
	Trigger string
	Table   string // it stands on
	Why     string

	fresh bool // it was not guarded before
}

// An appTrigger is a trigger of the application's.
type appTrigger struct {
	name, table, sql string
}

// guardTriggers makes every trigger of the application's that writes synced
// tables, or may refuse a write, silent while Tidemark applies. Its original
// text is kept in the file for detach. Triggers that keep local-only tables
// (search indexes, caches) are left: those must follow what comes in.
func (e *Engine) guardTriggers() (guarded []Guard, left []string, err error) {
	list, err := e.appTriggers()
	if err != nil {
		return nil, nil, err
	}
	for _, t := range list {
		why := e.classify(t.sql)
		if why == "" {
			if e.tableInFile(t.table) != nil {
				left = append(left, t.name)
			}
			continue
		}
		fresh := !isGuarded(t.sql)
		guarded = append(guarded, Guard{t.name, t.table, why, fresh})
		if !fresh {
			continue
		}
		sql, err := guardSQL(t.sql)
		if err != nil {
			return nil, nil, fmt.Errorf("guard trigger %s: %w", t.name, err)
		}
		if err := e.setMeta(metaGuard+t.name, change.Text(t.sql)); err != nil {
			return nil, nil, err
		}
		if err := e.replaceTrigger(t.name, sql); err != nil {
			return nil, nil, fmt.Errorf("guard trigger %s: %w", t.name, err)
		}
	}
	return guarded, left, nil
}

func (e *Engine) appTriggers() ([]appTrigger, error) {
	var out []appTrigger
	err := sqlite.Query(e.conn, `SELECT name, tbl_name, sql FROM sqlite_schema WHERE type='trigger' ORDER BY rowid`, func(s *sqlite.Stmt) error {
		if t := (appTrigger{s.ColumnText(0), s.ColumnText(1), s.ColumnText(2)}); !sqlite.Ours(t.name) {
			out = append(out, t)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list triggers: %w", err)
	}
	return out, nil
}

func (e *Engine) replaceTrigger(name, sql string) error {
	if err := sqlite.Script(e.conn, "DROP TRIGGER "+sqlite.Quote(name)); err != nil {
		return err
	}
	return sqlite.Script(e.conn, sql)
}

// restoreTriggers puts the application's triggers back as they were. One that
// the application has changed or dropped since is left as it is.
func (e *Engine) restoreTriggers() error {
	originals := map[string]string{}
	var names []string
	err := sqlite.Query(e.conn, `SELECT key, value FROM _tidemark_meta WHERE substr(key,1,?2)=?1 ORDER BY key`, func(s *sqlite.Stmt) error {
		n := s.ColumnText(0)[len(metaGuard):]
		names, originals[n] = append(names, n), s.ColumnText(1)
		return nil
	}, change.Text(metaGuard), change.Int(int64(len(metaGuard))))
	if err != nil {
		return fmt.Errorf("list guarded triggers: %w", err)
	}
	for _, n := range names {
		now, ok, err := sqlite.One(e.conn, `SELECT sql FROM sqlite_schema WHERE type='trigger' AND name=?`, change.Text(n))
		if err != nil {
			return fmt.Errorf("restore trigger %s: %w", n, err)
		}
		if ok && isGuarded(now.Str()) {
			sql := originals[n]
			if want, err := guardSQL(sql); err != nil || want != now.Str() {
				sql = unguard(now.Str()) // SQLite rewrote it, for a renamed table or column
			}
			if err := e.replaceTrigger(n, sql); err != nil {
				return fmt.Errorf("restore trigger %s: %w", n, err)
			}
		}
		if err := e.setMeta(metaGuard+n, change.Null); err != nil {
			return err
		}
	}
	return nil
}

// classify says why a trigger must not run at apply, or "".
func (e *Engine) classify(sql string) string {
	body := triggerBody(tokenize(sql))
	for i, t := range body {
		if t.is("RAISE") {
			return "it can refuse a write that the hub has already accepted"
		}
		if name := target(body, i); name != "" && (e.tableInFile(name) != nil || e.setup.Schema.Table(name) != nil) {
			return "it writes " + name
		}
	}
	return ""
}

// triggerBody is the tokens behind BEGIN, where a trigger's statements are.
func triggerBody(toks []token) []token {
	depth := 0
	for i, t := range toks {
		switch {
		case t.punct('('):
			depth++
		case t.punct(')'):
			depth--
		case depth == 0 && t.is("BEGIN"):
			return toks[i+1:]
		}
	}
	return nil
}

// target is the name of the table that the statement at toks[i] writes, or "".
func target(toks []token, i int) string {
	next := func(k int) string {
		if k < len(toks) && toks[k].named() {
			return toks[k].text
		}
		return ""
	}
	switch t := toks[i]; {
	case t.is("INTO"):
		return next(i + 1)
	case t.is("FROM") && i > 0 && toks[i-1].is("DELETE"):
		return next(i + 1)
	case t.is("UPDATE") && (i == 0 || toks[i-1].punct(';')): // not ON CONFLICT DO UPDATE
		if i+1 < len(toks) && toks[i+1].is("OR") {
			return next(i + 3)
		}
		return next(i + 1)
	}
	return ""
}

// guardMark is how a guarded trigger is told from others.
const guardMark = mute + " /* tidemark */"

func isGuarded(sql string) bool { return strings.Contains(sql, guardMark) }

// guardSQL puts the guard into a CREATE TRIGGER statement's WHEN clause. SQLite
// keeps the text of the rest as it is.
func guardSQL(sql string) (string, error) {
	toks := tokenize(sql)
	depth, when := 0, -1
	for i, t := range toks {
		switch {
		case t.punct('('):
			depth++
		case t.punct(')'):
			depth--
		case depth == 0 && t.is("WHEN") && when < 0 && i > 3:
			when = i
		case depth == 0 && t.is("BEGIN") && i > 3:
			if when < 0 {
				return sql[:t.start] + "WHEN " + guardMark + " " + sql[t.start:], nil
			}
			cond := sql[toks[when+1].start:toks[i-1].end]
			return sql[:toks[when].start] + "WHEN " + guardMark + " AND (" + cond + ") " + sql[t.start:], nil
		}
	}
	return "", fmt.Errorf("no BEGIN in %q", sql)
}

// unguard takes the guard out again.
func unguard(sql string) string {
	if i := strings.Index(sql, "WHEN "+guardMark+" AND ("); i >= 0 {
		rest := sql[i+len("WHEN "+guardMark+" AND "):]
		toks := tokenize(rest)
		depth := 0
		for _, t := range toks {
			if t.punct('(') {
				depth++
			}
			if t.punct(')') {
				if depth--; depth == 0 {
					return sql[:i] + "WHEN " + rest[1:t.start] + rest[t.end:]
				}
			}
		}
	}
	return strings.Replace(sql, "WHEN "+guardMark+" ", "", 1)
}
