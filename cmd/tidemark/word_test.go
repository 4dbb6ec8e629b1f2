package main

import (
	"testing"
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
