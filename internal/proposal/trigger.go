package proposal

import (
	"regexp"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// triggers lists the application's triggers. Those that write synced tables, or
// can refuse a write, are guarded at devices: their effects arrive as changes of
// their own, and would happen twice (trap S23). Those that keep local tables, such
// as search indexes, go on running.
func (r *reader) triggers() error {
	return sqlite.Query(r.conn, `SELECT name, tbl_name, sql FROM sqlite_schema WHERE type='trigger' ORDER BY name`, func(s *sqlite.Stmt) error {
		if sqlite.Ours(s.ColumnText(0)) {
			return nil
		}
		t := Trigger{Name: s.ColumnText(0), Table: s.ColumnText(1), Why: "it writes no synced table"}
		if why := r.writes(s.ColumnText(2)); why != "" {
			t.Guarded, t.Why = true, why
		}
		r.p.Triggers = append(r.p.Triggers, t)
		return nil
	})
}

// writes says why a trigger must be guarded, or "".
func (r *reader) writes(sql string) string {
	words := body(sql)
	at := func(i int) string {
		if i >= 0 && i < len(words) {
			return words[i]
		}
		return ""
	}
	for i, w := range words {
		target := ""
		switch strings.ToUpper(w) {
		case "RAISE":
			return "it can refuse a write that was accepted already"
		case "INTO":
			target = at(i + 1)
		case "FROM":
			if strings.EqualFold(at(i-1), "DELETE") {
				target = at(i + 1)
			}
		case "UPDATE":
			switch {
			case i > 0 && at(i-1) != ";": // ON CONFLICT DO UPDATE
			case strings.EqualFold(at(i+1), "OR"):
				target = at(i + 3)
			default:
				target = at(i + 1)
			}
		}
		if t := r.table(unquote(target)); target != "" && t != nil {
			return "it writes " + t.Name
		}
	}
	return ""
}

// sqlWord cuts SQL text: comments, quoted elements, names, single bytes.
var sqlWord = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?(?:\*/|$)|'(?:[^']|'')*'|"(?:[^"]|"")*"|` + "`(?:[^`]|``)*`" + `|\[[^\]]*\]|[\w$\x80-\x{10ffff}]+|\S`)

// body is the words of a trigger's statements, behind its BEGIN.
func body(sql string) []string {
	var out []string
	inside := false
	for _, w := range sqlWord.FindAllString(sql, -1) {
		switch {
		case strings.HasPrefix(w, "--"), strings.HasPrefix(w, "/*"):
		case inside:
			out = append(out, w)
		case strings.EqualFold(w, "BEGIN"):
			inside = true
		}
	}
	return out
}

func unquote(w string) string {
	if len(w) < 2 {
		return w
	}
	switch q := w[0]; q {
	case '"', '`', '\'':
		return strings.ReplaceAll(w[1:len(w)-1], string([]byte{q, q}), string(q))
	case '[':
		return w[1 : len(w)-1]
	}
	return w
}
