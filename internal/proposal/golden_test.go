package proposal

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
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

// valid demands that a proposal reads back as it is and fits its database.
func valid(t *testing.T, p *Proposal) {
	t.Helper()
	c, err := config.Parse([]byte(p.YAML()))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.YAML())
	}
	schema := p.Schema()
	if err := c.ValidateAgainst(&schema); err != nil {
		t.Errorf("%v\n%s", err, p.YAML())
	}
	want, _ := json.Marshal(p.Rules())
	got, _ := json.Marshal(c.Tables)
	if string(got) != string(want) {
		t.Errorf("the file reads back as\n%s\nnot as\n%s", got, want)
	}
}

// propose reads a database made by ddl.
func propose(t *testing.T, ddl string) *Proposal {
	t.Helper()
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := sqlite.Script(c, ddl); err != nil {
		t.Fatal(err)
	}
	p, err := Read(c)
	if err != nil {
		t.Fatal(err)
	}
	valid(t, p)
	return p
}
