package config

import (
	"fmt"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

const scopeForms = `want "all", "kind/{column}" such as branch/{branch_id}, or {via: column}`

// ParseScope reads the text forms of a scope: all, or kind/{column}. A kind is
// lower-case letters, digits, '-' and '_', beginning with a letter. The column is
// taken as it stands between the braces, spaces included.
func ParseScope(s string) (rule.Scope, error) {
	if s == string(rule.ScopeAll) {
		return rule.Scope{All: true}, nil
	}
	kind, rest, ok := strings.Cut(s, "/")
	if !ok || len(rest) < 3 || rest[0] != '{' || rest[len(rest)-1] != '}' || strings.ContainsAny(rest[1:len(rest)-1], "{}\x00") {
		return rule.Scope{}, fmt.Errorf("scope %q: %s", s, scopeForms)
	}
	if !isKind(kind) {
		return rule.Scope{}, fmt.Errorf("scope %q: the kind %q must be lower-case letters, digits, '-' and '_', beginning with a letter, and not \"all\"", s, kind)
	}
	return rule.Scope{Kind: kind, Column: rest[1 : len(rest)-1]}, nil
}

func isKind(s string) bool {
	for i, r := range s {
		if r >= 'a' && r <= 'z' || i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_') {
			continue
		}
		return false
	}
	return s != "" && s != string(rule.ScopeAll)
}

// FormatScope writes a scope as it stands after `scope:` in the file
// (quoted where the column's name asks for it).
func FormatScope(s rule.Scope) string {
	switch {
	case s.All:
		return string(rule.ScopeAll)
	case s.Via != "":
		return "{via: " + Scalar(s.Via) + "}"
	}
	return Scalar(s.Kind + "/{" + s.Column + "}")
}
