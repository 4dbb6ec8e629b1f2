package main

import (
	"regexp"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// word writes a path the way a shell takes it, for commands that people copy.
func word(path string) string {
	if plainWord.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// readsOnly names the tables whose rows go to everybody, when a device with these
// grants writes elsewhere but not there: seldom what was meant.
func readsOnly(tables []rule.Table, grants []rule.Grant) (shared []string) {
	writes := false
	for _, g := range grants {
		if g.Scope == rule.ScopeAll {
			return nil // it was said what it may do there
		}
		writes = writes || g.Verbs&rule.Write != 0
	}
	if !writes {
		return nil
	}
	for _, t := range tables {
		if t.Scope.All && !t.Reference {
			shared = append(shared, t.Name)
		}
	}
	return shared
}
