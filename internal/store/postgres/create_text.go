package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
)

// spoken is what PostgreSQL said.
func spoken(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message
	}
	return err.Error()
}

// lex splits SQLite's SQL into words, quoted things and single characters, without
// comments.
func lex(sql string) []string {
	var out []string
	for i := 0; i < len(sql); {
		start := i
		switch ch := sql[i]; {
		case strings.IndexByte(" \t\r\n\f", ch) >= 0:
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			i = after(sql, i, "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
			continue
		case ch == '\'' || ch == '"' || ch == '`':
			for i++; i < len(sql); i++ {
				if sql[i] == ch {
					if i+1 < len(sql) && sql[i+1] == ch {
						i++
						continue
					}
					break
				}
			}
			i = min(i+1, len(sql))
		case ch == '[':
			i = after(sql, i, "]")
		case letter(ch):
			for i < len(sql) && (letter(sql[i]) || sql[i] == '.' && sql[start] <= '9') {
				i++
			}
		default:
			i++
		}
		out = append(out, sql[start:i])
	}
	return out
}

// after is the offset behind the next mark.
func after(sql string, from int, mark string) int {
	if n := strings.Index(sql[from:], mark); n >= 0 {
		return from + n + len(mark)
	}
	return len(sql)
}

func letter(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// closing is the offset of the parenthesis that closes the one at an offset, or -1.
func closing(sql string, at int) int {
	depth := 0
	for i := at; i < len(sql); i++ {
		switch sql[i] {
		case '\'', '"', '`':
			q := sql[i]
			for i++; i < len(sql) && sql[i] != q; i++ {
			}
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// name is the identifier that a token stands for; "" when it is none.
func identifier(tok string) string {
	switch q := tok[0]; {
	case len(tok) < 2 && !letter(q):
		return ""
	case q == '"' || q == '`':
		return strings.ReplaceAll(tok[1:len(tok)-1], string([]byte{q, q}), string(q))
	case q == '[':
		return tok[1 : len(tok)-1]
	case letter(q) && (q < '0' || q > '9'):
		return tok
	}
	return ""
}

// sameWords mean the same to both databases.
var sameWords = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "IN": true, "IS": true, "NULL": true, "BETWEEN": true,
	"LENGTH": true, "ABS": true, "COALESCE": true, "NULLIF": true, "CASE": true, "WHEN": true, "THEN": true, "ELSE": true, "END": true,
}

// portable is an SQLite expression over a table's columns in PostgreSQL's words; not
// ok when it may mean something else there.
func portable(expr string, t *change.Table) (string, bool) {
	toks := lex(expr)
	out := make([]string, 0, len(toks))
	for i, tok := range toks {
		switch ch := tok[0]; {
		case strings.Contains("()<>=,+-*!", tok):
			if tok == "=" && i > 0 && toks[i-1] == "=" {
				continue
			}
		case ch >= '0' && ch <= '9' || ch == '\'':
		case sameWords[strings.ToUpper(tok)]:
		default:
			c := t.Column(identifier(tok))
			if c < 0 || t.Columns[c].Generated || t.Columns[c].Collation != "" {
				return "", false
			}
			tok = quote(t.Columns[c].Name)
		}
		out = append(out, tok)
	}
	s := strings.Join(out, " ")
	for _, op := range []string{"< =", "> =", "< >", "! ="} {
		s = strings.ReplaceAll(s, op, op[:1]+op[2:])
	}
	return s, s != ""
}

// checksOf finds the CHECK expressions in a CREATE TABLE statement.
func checksOf(sql string) []string {
	toks := lex(sql)
	var out []string
	for i, tok := range toks {
		if !strings.EqualFold(tok, "CHECK") || i+1 >= len(toks) || toks[i+1] != "(" {
			continue
		}
		depth := 0
		for j := i + 1; j < len(toks); j++ {
			switch toks[j] {
			case "(":
				depth++
			case ")":
				depth--
			}
			if depth == 0 {
				out = append(out, strings.Join(toks[i+2:j], " "))
				break
			}
		}
	}
	return out
}

// object says what a CREATE statement makes, and for which table.
func object(sql string) (kind, table string) {
	toks := lex(sql)
	words := func(i int) string {
		if i < len(toks) {
			return strings.ToUpper(toks[i])
		}
		return ""
	}
	if words(0) != "CREATE" {
		return "", ""
	}
	i := 1
	for words(i) == "UNIQUE" || words(i) == "TEMP" || words(i) == "TEMPORARY" || words(i) == "VIRTUAL" {
		if words(i) != "UNIQUE" {
			return "", ""
		}
		i++
	}
	kind = strings.ToLower(words(i))
	i++
	if words(i) == "IF" {
		i += 3
	}
	if kind == "index" || kind == "trigger" {
		for i < len(toks) && words(i) != "ON" {
			i++
		}
		i++
	}
	if i >= len(toks) {
		return "", ""
	}
	return kind, identifier(toks[i])
}

func (m *making) checks(t *change.Table) error {
	for _, sql := range m.src.DDL {
		kind, name := object(sql)
		if !strings.EqualFold(name, t.Name) {
			continue
		}
		switch kind {
		case "trigger":
			m.note(t.Name, "", "triggers run at edges only: the hub receives what they did")
		case "table":
			for _, expr := range checksOf(sql) {
				fault := "it may mean something else to PostgreSQL"
				if text, ok := portable(expr, t); ok {
					var err error
					if fault, err = m.try("ALTER TABLE " + m.ident(t) + " ADD CHECK (" + text + ")"); err != nil {
						return err
					}
				}
				if fault != "" {
					m.note(t.Name, "", "CHECK (%s) is left out: %s; declare it as a check in tidemark.yaml", expr, fault)
				}
			}
		}
	}
	return nil
}

// statements keeps what edges make their tables with.
func (m *making) statements() error {
	for _, sql := range m.src.DDL {
		_, name := object(sql)
		if t := m.src.Schema.Table(name); t != nil {
			if _, err := exec(m.ctx, m.c, "INSERT INTO tidemark.made (tbl, sql) VALUES ($1::text, $2::text)", m.space+"."+t.Name, sql); err != nil {
				return fmt.Errorf("keep the statement of %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// edgeDDL is the statements that create the tables in an empty SQLite file: those
// that a table was made from, as long as its columns are the same, or else new ones.
func edgeDDL(ctx context.Context, c *pgx.Conn, list []*relation) ([]string, error) {
	made := map[string][]string{}
	there := false
	err := query(ctx, c, `SELECT to_regclass('tidemark.made') IS NOT NULL`, func(r *row) error {
		there = r.bool(0)
		return nil
	})
	if err == nil && there {
		err = query(ctx, c, `SELECT tbl, sql FROM tidemark.made ORDER BY n`, func(r *row) error {
			made[r.text(0)] = append(made[r.text(0)], r.text(1))
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read the statements for edges: %w", err)
	}
	var tables, rest []string
	for _, r := range list {
		own := made[r.Schema+"."+r.Name]
		if !r.asMade(own) {
			tables = append(tables, r.edgeTable())
			continue
		}
		for _, sql := range own {
			if kind, _ := object(sql); kind == "table" {
				tables = append(tables, sql)
			} else {
				rest = append(rest, sql)
			}
		}
	}
	return append(tables, rest...), nil
}

// asMade reports whether every column of the table is in the statement it was made
// from: columns that came later make it out of date.
func (r *relation) asMade(own []string) bool {
	for _, sql := range own {
		if kind, _ := object(sql); kind != "table" {
			continue
		}
		words := map[string]bool{}
		for _, tok := range lex(sql) {
			words[strings.ToLower(identifier(tok))] = true
		}
		for i := range r.def.Columns {
			if !words[strings.ToLower(r.def.Columns[i].Name)] {
				return false
			}
		}
		return true
	}
	return false
}
