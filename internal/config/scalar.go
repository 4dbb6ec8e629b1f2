package config

import (
	"strconv"
	"strings"
)

// Scalar writes a text as a YAML scalar on one line: plain where that reads back
// as the same text, double-quoted otherwise.
func Scalar(s string) string {
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		case i > 0 && (r >= '0' && r <= '9' || strings.ContainsRune("-./", r)):
		case i > 0 && (r == '{' || r == '}') && strings.Contains(s, "/{"): // a scope
		default:
			return quote(s)
		}
	}
	switch strings.ToLower(s) {
	case "", "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return quote(s)
	}
	return s
}

// quote is a double-quoted YAML scalar. Go's escapes are YAML's, but for the ones
// of single invalid bytes, which a name in a database may hold: YAML text is
// Unicode and cannot.
func quote(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD")) }
