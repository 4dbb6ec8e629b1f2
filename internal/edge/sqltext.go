package edge

import "strings"

// A token is one lexical element of SQL text. Comments and space are skipped.
type token struct {
	kind       tokenKind
	text       string // unquoted
	start, end int    // bytes in the source
}

type tokenKind uint8

const (
	tokWord   tokenKind = iota // a keyword or a bare name
	tokName                    // a quoted name: "x", `x`, [x]
	tokString                  // 'x', which SQLite also takes for a name in places
	tokOther                   // a number, a parameter or one punctuation byte
)

// is reports whether t is the bare word w (upper case).
func (t token) is(w string) bool { return t.kind == tokWord && strings.EqualFold(t.text, w) }

// punct reports whether t is the punctuation byte c.
func (t token) punct(c byte) bool {
	return t.kind == tokOther && len(t.text) == 1 && t.text[0] == c
}

// named reports whether t can be a name.
func (t token) named() bool { return t.kind != tokOther }

// tokenize cuts SQL into tokens the way SQLite's own tokenizer does. Text that is
// not SQL gives some tokens too; it never fails.
func tokenize(sql string) []token {
	var out []token
	for i := 0; i < len(sql); {
		start, c := i, sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			i = after(sql, i, "\n")
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			i = after(sql, i+2, "*/")
			continue
		case c == '"' || c == '`' || c == '\'':
			var text string
			text, i = quoted(sql, i, c)
			kind := tokName
			if c == '\'' {
				kind = tokString
			}
			out = append(out, token{kind, text, start, i})
			continue
		case c == '[':
			i = after(sql, i, "]")
			out = append(out, token{tokName, strings.TrimSuffix(sql[start+1:i], "]"), start, i})
			continue
		case wordByte(c) && (c < '0' || c > '9'):
			for i < len(sql) && wordByte(sql[i]) {
				i++
			}
			out = append(out, token{tokWord, sql[start:i], start, i})
			continue
		case c >= '0' && c <= '9':
			for i < len(sql) && (wordByte(sql[i]) || sql[i] == '.') {
				i++
			}
		default:
			i++
		}
		out = append(out, token{tokOther, sql[start:i], start, i})
	}
	return out
}

// after is the offset just behind the next end, or the length of sql.
func after(sql string, i int, end string) int {
	if j := strings.Index(sql[i:], end); j >= 0 {
		return i + j + len(end)
	}
	return len(sql)
}

// quoted reads a quoted element whose quote is doubled inside it.
func quoted(sql string, i int, q byte) (text string, end int) {
	var b strings.Builder
	for i++; i < len(sql); i++ {
		if sql[i] != q {
			b.WriteByte(sql[i])
			continue
		}
		if i+1 >= len(sql) || sql[i+1] != q {
			return b.String(), i + 1
		}
		b.WriteByte(q)
		i++
	}
	return b.String(), i
}

// wordByte reports whether c may stand in a bare name: SQLite takes every byte
// above ASCII for a letter.
func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// sameName compares two identifiers the way SQLite does: ASCII case folded.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
