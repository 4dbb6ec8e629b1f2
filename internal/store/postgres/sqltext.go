package postgresstore

import (
	"fmt"
	"strings"
)

// quote makes a name an SQL identifier.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal makes a text an SQL literal.
func literal(s string) string {
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `'`, `''`) + `'`
	}
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}

// equals is a0 = b0 AND a1 = b1 ….
func equals(a, b []string) string {
	parts := make([]string, len(a))
	for i := range a {
		parts[i] = a[i] + " = " + b[i]
	}
	return strings.Join(parts, " AND ")
}

// keyParts is prefix.key[1], prefix.key[2] ….
func keyParts(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%skey[%d]", prefix, i+1)
	}
	return out
}
