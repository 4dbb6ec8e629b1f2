package sqlitestore

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/store/ledger"
)

func TestTokens(t *testing.T) {
	sql := "SELECT 'it''s', \"a \"\"b\"\"\", [c d], `e` -- rest\n/* more\n */ , x1 FROM été;"
	var got []string
	for _, tok := range tokens(sql) {
		if sql[tok.at:tok.end] != tok.text {
			t.Errorf("token %q is at %d to %d", tok.text, tok.at, tok.end)
		}
		got = append(got, tok.name())
	}
	want := []string{"SELECT", "it's", ",", `a "b"`, ",", "c d", ",", "e", ",", "x1", "FROM", "été", ";"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, open := range []string{"'never closed", "\"never", "[never", "/* never", "-- never", "'a'''"} {
		if n := len(tokens(open)); n > 1 {
			t.Errorf("%q gave %d tokens", open, n)
		}
	}
}

func TestIndexExprs(t *testing.T) {
	for sql, want := range map[string]string{
		`CREATE UNIQUE INDEX i ON t (a, lower(b) COLLATE NOCASE DESC, coalesce(c, ')') ASC) WHERE d > 0`: "a|lower(b)|coalesce(c, ')')",
		`CREATE INDEX "on" ON "t (x" ("a b")`: `"a b"`,
		`CREATE TABLE t (a)`:                  "",
		`CREATE INDEX i ON t (a`:              "",
		`CREATE INDEX i ON t ()`:              "",
	} {
		if got := strings.Join(indexExprs(sql), "|"); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("CREATE INDEX i ON t (a, \"b\", [c], 'd''', /* e */ f) -- g")
	f.Fuzz(func(t *testing.T, sql string) {
		end := 0
		for _, tok := range tokens(sql) {
			if tok.at < end || tok.end <= tok.at || sql[tok.at:tok.end] != tok.text {
				t.Fatalf("token %+v after %d", tok, end)
			}
			end = tok.end
			tok.name()
		}
		indexExprs(sql)
	})
}

// Which table a trigger's statements write decides whether it runs at apply (trap S23).
func TestTrapS23_WhatATriggerWrites(t *testing.T) {
	r := &refreshing{p: &plan{list: ledger.Tables{{Def: &change.Table{Name: "stock"}}, {Def: &change.Table{Name: "my table"}}}}}
	for body, runs := range map[string]bool{
		`UPDATE stock SET n = n - 1`:                                                               false,
		`UPDATE OR IGNORE "STOCK" SET n = n - 1`:                                                   false,
		`INSERT OR REPLACE INTO [my table] VALUES (1)`:                                             false,
		`REPLACE INTO stock VALUES (1)`:                                                            false,
		`DELETE FROM stock`:                                                                        false,
		`INSERT INTO audit SELECT 'UPDATE stock', n FROM stock`:                                    true,
		`INSERT INTO audit VALUES (1) ON CONFLICT DO UPDATE SET stock = 1`:                         true,
		`SELECT RAISE(ROLLBACK, 'no') FROM stock`:                                                  true,
		`SELECT 1 /* UPDATE stock */; -- DELETE FROM stock` + "\n" + `INSERT INTO audit VALUES(1)`: true,
	} {
		text, ok := r.loan(object{sql: "CREATE TRIGGER \"t r\" AFTER INSERT ON item BEGIN " + body + "; END"})
		if ok != runs {
			t.Errorf("%s: runs is %v", body, ok)
		}
		if ok && (!strings.HasPrefix(text, `CREATE TEMP TRIGGER "t r" AFTER`) || strings.Contains(text, "ROLLBACK")) {
			t.Errorf("lent as %s", text)
		}
	}
	if _, ok := r.loan(object{sql: "nonsense"}); ok {
		t.Error("nonsense was lent")
	}
}
