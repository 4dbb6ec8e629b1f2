package sqlitestore

import "strings"

// tokens splits SQL into words, quoted things, numbers and single characters.
// Comments and blanks are left out. at and end are byte offsets.
func tokens(sql string) []token {
	var out []token
	for i := 0; i < len(sql); {
		start := i
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--"):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			if n := strings.Index(sql[i+2:], "*/"); n >= 0 {
				i += n + 4
			} else {
				i = len(sql)
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			i = quotedEnd(sql, i, c)
		case c == '[':
			if n := strings.IndexByte(sql[i:], ']'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
		case wordByte(c):
			for i < len(sql) && wordByte(sql[i]) {
				i++
			}
		default:
			i++
		}
		out = append(out, token{text: sql[start:i], at: start, end: i})
	}
	return out
}

// A token is one lexical element of SQL.
type token struct {
	text    string
	at, end int
}

// is compares a bare word.
func (t token) is(word string) bool { return strings.EqualFold(t.text, word) }

// name is the identifier a token stands for, without quotes.
func (t token) name() string {
	s := t.text
	if len(s) < 2 {
		return s
	}
	switch q := s[0]; q {
	case '"', '`', '\'':
		return strings.ReplaceAll(s[1:len(s)-1], string([]byte{q, q}), string(q))
	case '[':
		return s[1 : len(s)-1]
	}
	return s
}

func quotedEnd(sql string, i int, q byte) int {
	for i++; i < len(sql); i++ {
		if sql[i] != q {
			continue
		}
		if i+1 < len(sql) && sql[i+1] == q {
			i++
			continue
		}
		return i + 1
	}
	return len(sql)
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// indexExprs are the terms of a CREATE INDEX as written, without COLLATE, ASC
// and DESC; nil when the text is not one.
func indexExprs(sql string) []string {
	list := tokens(sql)
	open := -1
	for i, t := range list {
		if t.is("ON") {
			for j := i + 1; j < len(list); j++ {
				if list[j].text == "(" {
					open = j
					break
				}
			}
			break
		}
	}
	if open < 0 {
		return nil
	}
	var out []string
	depth, from := 0, open+1
	for i := open; i < len(list); i++ {
		switch list[i].text {
		case "(":
			depth++
		case ")":
			depth--
			if depth == 0 {
				return append(out, termText(sql, list[from:i]))
			}
		case ",":
			if depth == 1 {
				out = append(out, termText(sql, list[from:i]))
				from = i + 1
			}
		}
	}
	return nil
}

func termText(sql string, list []token) string {
	for len(list) > 1 {
		n := len(list)
		switch {
		case list[n-1].is("ASC") || list[n-1].is("DESC"):
			list = list[:n-1]
		case n > 2 && list[n-2].is("COLLATE"):
			list = list[:n-2]
		default:
			return sql[list[0].at:list[n-1].end]
		}
	}
	if len(list) == 0 {
		return ""
	}
	return sql[list[0].at:list[0].end]
}
