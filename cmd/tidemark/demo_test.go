package main

import (
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/demo"
)

func TestScreenStyle(t *testing.T) {
	for locale, want := range map[string]bool{"": false, "LC_ALL=C LANG=en_GB.UTF-8": false, "LANG=C.utf8": true, "LC_CTYPE=de_DE.UTF-8 LANG=C": true} {
		env := func(name string) string {
			for _, kv := range strings.Fields(locale) {
				if k, v, _ := strings.Cut(kv, "="); k == name {
					return v
				}
			}
			return ""
		}
		if got := screenStyle(&strings.Builder{}, env); got != (demo.Style{UTF8: want}) {
			t.Errorf("%s: %+v", locale, got)
		}
	}
}
