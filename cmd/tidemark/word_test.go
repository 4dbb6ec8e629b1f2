package main

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/rule"
)

func TestWordIsWhatAShellTakes(t *testing.T) {
	for path, want := range map[string]string{
		"till.db": "till.db", "/srv/a-b_1/till.db": "/srv/a-b_1/till.db",
		"my till.db": "'my till.db'", "o'ne.db": `'o'\''ne.db'`, "$HOME.db": "'$HOME.db'", "🍵.db": "'🍵.db'", "": "''",
	} {
		if got := word(path); got != want {
			t.Errorf("word(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestReadsOnlyNamesWhatADeviceCannotWrite(t *testing.T) {
	tables := []rule.Table{
		{Name: "product", Scope: rule.Scope{All: true}},
		{Name: "branch", Scope: rule.Scope{All: true}, Reference: true},
		{Name: "sale", Scope: rule.Scope{Kind: "branch", Column: "branch_id"}},
	}
	for _, c := range []struct {
		grants []rule.Grant
		want   string
	}{
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Every}}, "product"},
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Read}}, ""},
		{[]rule.Grant{{Scope: "branch/7", Verbs: rule.Every}, {Scope: rule.ScopeAll, Verbs: rule.Read}}, ""},
		{[]rule.Grant{{Scope: rule.ScopeAll, Verbs: rule.Every}}, ""},
	} {
		if got := strings.Join(readsOnly(tables, c.grants), " "); got != c.want {
			t.Errorf("grants %v: %q, want %q", c.grants, got, c.want)
		}
	}
}
