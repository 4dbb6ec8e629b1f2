package config

import (
	"flag"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write golden files instead of comparing with them")

// golden compares got with a file, or writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: run with -rewrite if this is right; got\n%s\nwant\n%s", name, got, want)
	}
}

func TestReferencePageIsFresh(t *testing.T) {
	golden(t, "../../docs/reference/config.md", Reference())
}

func TestReferenceExplainsEveryPolicy(t *testing.T) {
	for _, p := range policies {
		if policyDocs[p] == "" {
			t.Errorf("policy %s is not explained", p)
		}
	}
}
